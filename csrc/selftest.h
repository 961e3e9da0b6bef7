/* A known-answer test of an ISA: some CPUs in the field compute vector products wrongly. */
#ifndef FT_SELFTEST_H
#define FT_SELFTEST_H

#include "kernels.h"

/* 1 where every entry of `isa`, which are all filled, gives the scalar answer on a few
 * dozen small cases that reach each path; 0 otherwise, also where memory is short. */
int ft_selftest(const ft_isa *isa);

#endif
