/* fuzz_open.c as a test of the suite, under the name its tests have. */
#include "fuzz_open.c"
