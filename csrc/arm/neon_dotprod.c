/* NEON with the dot-product extension: Cortex-A75 and A76 (2018), Neoverse N1, Apple M1 and
 * later.  All but the integer product is that of neon.c. */
#include "../kernels.h"

#if defined(FT_HAS_NEON)

#if defined(__clang__)
#define NEON_FN __attribute__((target("dotprod")))
#else
#define NEON_FN __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

#include "neon_common.h"

NEON_TEMPLATE int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x) {
    return vdotq_s32(acc, w, x);
}

#include "neon_blocks.h"
#include "neon_gemm.h"

#include "../cpu.h"

const ft_isa ft_isa_neon_dotprod = {
    .name = "neon_dotprod",
    .needs = FT_CPU_NEON | FT_CPU_NEON_DOTPROD,
    .gemm = {.run = gemm, .mr = NEON_MR, .nr = NR, .kr = 4, .pad = 8, .nibbles = 1, .column = 1},
    .blocks = {.run = gemm_blocks, .narrowest = 8, .cost = {0.3f, 0.55f, 1.05f}},
};

#else
typedef int ft_no_neon_dotprod_here; /* ISO C forbids an empty translation unit */
#endif
