/* What this CPU and its operating system can run. */
#ifndef FT_CPU_H
#define FT_CPU_H

#include <stdint.h>

enum {
    FT_CPU_AVX2 = 1u << 0, /* AVX2 and POPCNT, ymm state saved by the OS */
};

/* Bits of the above; measured once. */
uint64_t ft_cpu_features(void);

#endif
