/* AVX2: Haswell (2013), Zen (2017) and later. */
#if defined(__x86_64__) || defined(_M_X64)

#include "avx2_blocks.h"
#include "avx2_encode.h"
#include "avx2_f32.h"
#include "avx2_gemm.h"
#include "avx2_input.h"
#include "avx2_quantize.h"
#include "lists.h"

#include "../cpu.h"

const ft_isa ft_isa_avx2 = {
    .name = "avx2",
    .needs = FT_CPU_AVX2,
    .gemm = {.run = gemm, .mr = AVX2_MR, .nr = NR, .kr = 4, .pad = 8, .nibbles = 1, .column = 1},
    .blocks = {.run = gemm_blocks, .narrowest = 8, .cost = {0.3f, 0.6f, 1.1f}},
    .lists = {.run = x86_gemm_lists, .rows = LIST_ROWS, .cost = 2.4f},
    .gemm_f32 = {.run = gemm_f32, .nr = 8 * F32_NV},
    .find_infinity = find_infinity,
    .scale = scale,
    .encode = encode,
    .encode_f32 = encode_f32,
    .range = find_range,
    .quantize = quantize_row,
    .dequantize = dequantize_row,
    .join_nibbles = join_nibbles,
    .split_nibbles = split_nibbles,
};

#else
typedef int ft_no_avx2_here; /* ISO C forbids an empty translation unit */
#endif
