/* The integer product of block-sparse weights: the blocks of a strip of 8 * NV columns, one after
 * the other. */
#ifndef FT_X86_AVX2_BLOCKS_H
#define FT_X86_AVX2_BLOCKS_H

#include "avx2_store.h"

/* How a block is added: straight, with its group's scales, or in int16 halves, where one
 * vpmaddubsw could saturate. */
enum { BLOCKS_PLAIN, BLOCKS_SCALED, BLOCKS_WIDE, BLOCKS_PATHS };

AVX2_TEMPLATE __m256i wide_products(__m256i x, __m256i w) {
    const __m256i x_even = _mm256_and_si256(x, _mm256_set1_epi16(0x00ff));
    const __m256i w_even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
    return _mm256_add_epi32(_mm256_madd_epi16(x_even, w_even),
                            _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8)));
}

/* MR rows: 8 accumulators for any width. */
AVX2_TEMPLATE void strip_tile(const int PATH, const int MR, const int NV, const ft_packed *w,
                              size_t s, const uint8_t *a, size_t lda, __m256i acc[8]) {
    const uint32_t *at = w->at + w->first[s], *end = w->at + w->first[s + 1];
    const int8_t *b = (const int8_t *)w->data + (size_t)w->first[s] * 32 * NV;
    const x86_scales scales = x86_panel_scales(w, s * 8 * NV, 8 * NV, 0, FT_CHAIN);
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (int i = 0; i < MR * NV; i++) acc[i] = _mm256_setzero_si256();
    for (; at < end; at++, b += 32 * NV) {
        const uint8_t *scale = scales.first + (*at >> scales.shift) * scales.stride;
        UNROLL for (int r = 0; r < MR; r++) {
            const __m256i x = broadcast32(a + (size_t)r * lda + *at);
            UNROLL for (int v = 0; v < NV; v++) {
                const __m256i y = load256(b + 32 * v);
                const __m256i factor = PATH == BLOCKS_SCALED ? load_scales(scale + 8 * v) : ones;
                const __m256i sum =
                    PATH == BLOCKS_WIDE ? wide_products(x, y)
                                        : _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), factor);
                acc[r * NV + v] = _mm256_add_epi32(acc[r * NV + v], sum);
                KEEP_IN_REGISTER(acc[r * NV + v]);
            }
        }
    }
}

AVX2_TEMPLATE void strip_rows(const int PATH, const int MR, const int NV, const ft_packed *w,
                              const x86_output *out, size_t s, const uint8_t *a, size_t lda, char *c,
                              size_t row_bytes) {
    __m256i acc[8];
    strip_tile(PATH, MR, NV, w, s, a, lda, acc);
    UNROLL for (int r = 0; r < MR; r++)
        store_sums(NV, out, acc + r * NV, c + (size_t)r * row_bytes, s * 8 * NV);
}

/* All strips for m rows. */
AVX2_TEMPLATE void strips(const int PATH, const int NV, const ft_packed *w, const x86_output *out,
                          size_t m, const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    const size_t count = w->n_padded / (8 * NV);
    for (size_t s = 0; s < count; s++) {
        size_t row = 0;
        for (; row + 8 / NV <= m; row += 8 / NV)
            strip_rows(PATH, 8 / NV, NV, w, out, s, a + row * lda, lda, c + row * row_bytes,
                       row_bytes);
        for (; row < m; row++)
            strip_rows(PATH, 1, NV, w, out, s, a + row * lda, lda, c + row * row_bytes, row_bytes);
    }
}

#define STRIPS(path, nv)                                                                     \
    static AVX2_FN void strips_##path##_##nv(const ft_packed *w, const x86_output *out,      \
                                             size_t m, const uint8_t *a, size_t lda, char *c, \
                                             size_t row_bytes) {                             \
        strips(BLOCKS_##path, nv, w, out, m, a, lda, c, row_bytes);                          \
    }
#define STRIPS_ENTRY(path) [BLOCKS_##path] = {strips_##path##_1, strips_##path##_2, strips_##path##_4}
STRIPS(PLAIN, 1) STRIPS(PLAIN, 2) STRIPS(PLAIN, 4)
STRIPS(SCALED, 1) STRIPS(SCALED, 2) STRIPS(SCALED, 4)
STRIPS(WIDE, 1) STRIPS(WIDE, 2) STRIPS(WIDE, 4)

static x86_strips_fn *const strips_fns[BLOCKS_PATHS][WIDTHS] = {
    STRIPS_ENTRY(PLAIN), STRIPS_ENTRY(SCALED), STRIPS_ENTRY(WIDE)};

static AVX2_FN void gemm_blocks(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                                size_t lda, void *c, size_t ldc, void *scratch) {
    (void)scratch;
    const uint32_t depth = w->amax <= 127 ? w->depth_u7 : w->depth_u8;
    const int path = w->group ? BLOCKS_SCALED : depth ? BLOCKS_PLAIN : BLOCKS_WIDE;
    x86_gemm_strips(w, strips_fns[path][width_index(w->strip)], store, m, a, lda, c, ldc);
}

#endif
