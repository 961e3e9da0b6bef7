/* The integer product of a layer of one output: 32 k at a time. */
#ifndef FT_X86_AVX2_COLUMN_H
#define FT_X86_AVX2_COLUMN_H

#include "avx2_store.h"

/* Whether one vpmaddubsw of these weights is known to be exact. */
AVX2_TEMPLATE int is_certified(const ft_packed *w) {
    return w->bits == 4 || (w->amax <= 127 ? w->depth_u7 : w->depth_u8) > 0;
}

AVX2_TEMPLATE __m256i dot16(const uint8_t *a, const int8_t *b) {
    return _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)a)),
                             _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b)));
}

AVX2_TEMPLATE __m128i dot(const ft_packed *w, const uint8_t *a) {
    const int8_t *b = w->data;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc = _mm256_setzero_si256();
    if (is_certified(w)) {
        for (size_t k = 0; k < w->k_padded; k += 32) {
            const __m256i products = _mm256_maddubs_epi16(load256(a + k), load256(b + k));
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(products, ones));
        }
    } else {
        for (size_t k = 0; k < w->k_padded; k += 16)
            acc = _mm256_add_epi32(acc, dot16(a + k, b + k));
    }
    return sum8(acc);
}

static AVX2_FN void gemm_column(const ft_packed *w, const x86_output *out, size_t m,
                                const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    for (size_t row = 0; row < m; row++) store_sum(out, dot(w, a + row * lda), c + row * row_bytes);
}

#endif
