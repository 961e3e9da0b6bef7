/* What the NEON templates share.  Templates are always-inline functions whose leading
 * `const int` parameters are literals at every instantiation. */
#ifndef FT_ARM_NEON_COMMON_H
#define FT_ARM_NEON_COMMON_H

#include "../kernels.h"

#include <arm_neon.h>
#include <string.h>

/* The file that includes this defines NEON_FN, the target, and dot16 (see neon_tile.h). */
#define NEON_TEMPLATE static inline __attribute__((always_inline)) NEON_FN

/* Loops over template parameters must disappear, or arrays of vectors stay in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* The largest tile: 4 rows of 16 columns, four in a vector. */
enum { NEON_MR = 4, NEON_NV = 4, NR = 4 * NEON_NV };

/* What becomes of the sums. */
typedef struct neon_output {
    ft_store store;
    const float *mult, *add;
    uint32_t out_amax, relu;
} neon_output;

/* v > 0 ? v : 0, NaN and -0.0 to 0.0 as well. */
NEON_TEMPLATE float32x4_t positive4(float32x4_t v) {
    const uint32x4_t is_positive = vcgtq_f32(v, vdupq_n_f32(0.0f));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), is_positive));
}

/* To [0, amax], as the contract's v > 0 ? v : 0 and v < amax ? v : amax do. */
NEON_TEMPLATE float32x4_t clamp4(float32x4_t v, float32x4_t amax) {
    const float32x4_t low = positive4(v);
    return vbslq_f32(vcltq_f32(low, amax), low, amax);
}

#endif
