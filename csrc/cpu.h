/* What this CPU and its operating system can run. */
#ifndef FT_CPU_H
#define FT_CPU_H

#include <stdint.h>

enum {
    FT_CPU_AVX2 = 1u << 0,        /* AVX2 and POPCNT, ymm state saved by the OS */
    FT_CPU_AVX_VNNI = 1u << 1,    /* with VEX encoding */
    FT_CPU_AVX512_VNNI = 1u << 2, /* AVX512 F, BW, VL and VNNI, zmm state saved by the OS */
    FT_CPU_SLOWS_FOR_512 = 1u << 3, /* lowers its clock for 512-bit multiplications */
    FT_CPU_NEON = 1u << 4,
    FT_CPU_NEON_DOTPROD = 1u << 5,
};

/* Bits of the above; measured once. */
uint64_t ft_cpu_features(void);

#endif
