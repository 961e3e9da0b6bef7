/* NEON as every ARMv8 CPU of 64 bits has it. */
#include "../kernels.h"

#if defined(FT_HAS_NEON)

#define NEON_FN /* the base architecture */

#include "neon_common.h"

/* In int16: a pair of products is at most 2 * 128 * 127. */
NEON_TEMPLATE int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    return vpadalq_s16(acc, vpaddq_s16(low, vmull_high_s8(w, x)));
}

#include "neon_blocks.h"
#include "neon_encode.h"
#include "neon_f32.h"
#include "neon_gemm.h"
#include "neon_input.h"

#include "../cpu.h"

const ft_isa ft_isa_neon = {
    .name = "neon",
    .needs = FT_CPU_NEON,
    .gemm = {.run = gemm, .mr = NEON_MR, .nr = NR, .kr = 4, .pad = 8, .nibbles = 1, .column = 1},
    .blocks = {.run = gemm_blocks, .narrowest = 8, .cost = {0.3f, 0.55f, 1.05f}},
    .gemm_f32 = {.run = gemm_f32, .nr = NR},
    .find_infinity = find_infinity,
    .scale = scale,
    .encode = encode,
    .encode_f32 = encode_f32,
};

#else
typedef int ft_no_neon_here; /* ISO C forbids an empty translation unit */
#endif
