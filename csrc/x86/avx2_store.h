/* Epilogues: 8 * NV int32 sums of one row to c, from column `n` on. */
#ifndef FT_X86_AVX2_STORE_H
#define FT_X86_AVX2_STORE_H

#include "avx2_common.h"

typedef struct avx2_output {
    ft_store store;
    const float *mult, *add;
    uint32_t out_amax, relu;
} avx2_output;

AVX2_TEMPLATE __m256 scale_sums(const avx2_output *out, __m256i sums, size_t n) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(out->mult + n));
    return _mm256_add_ps(product, _mm256_loadu_ps(out->add + n));
}

/* Eight sums to eight bytes.  The loader keeps |sum * mult + add| < 2^30, so the conversion
 * is exact up to its rounding, and the saturating packs leave 0..255. */
AVX2_TEMPLATE __m128i quantize8(const avx2_output *out, __m256i sums, size_t n) {
    const __m256i v = _mm256_cvtps_epi32(scale_sums(out, sums, n));
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_packus_epi16(words, words);
}

/* The same for 32 sums: packs work within 128-bit halves, the permutation sorts them. */
AVX2_TEMPLATE __m256i quantize32(const avx2_output *out, const __m256i *sums, size_t n) {
    __m256i v[4];
    UNROLL for (int i = 0; i < 4; i++)
        v[i] = _mm256_cvtps_epi32(scale_sums(out, sums[i], n + 8 * (size_t)i));
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

AVX2_TEMPLATE void store_u8(const int NV, const avx2_output *out, const __m256i *sums, uint8_t *c,
                            size_t n) {
    const __m256i amax = _mm256_set1_epi8((char)out->out_amax);
    if (NV == 4) {
        store256(c + n, _mm256_min_epu8(quantize32(out, sums, n), amax));
        return;
    }
    UNROLL for (int i = 0; i < NV; i++) {
        const size_t at = n + 8 * (size_t)i;
        const __m128i bytes = quantize8(out, sums[i], at);
        _mm_storel_epi64((__m128i *)(c + at), _mm_min_epu8(bytes, _mm256_castsi256_si128(amax)));
    }
}

AVX2_TEMPLATE void store_f32(const int NV, const avx2_output *out, const __m256i *sums, float *c,
                             size_t n) {
    UNROLL for (int i = 0; i < NV; i++) {
        const size_t at = n + 8 * (size_t)i;
        const __m256 v = scale_sums(out, sums[i], at);
        _mm256_storeu_ps(c + at, out->relu ? _mm256_max_ps(v, _mm256_setzero_ps()) : v);
    }
}

AVX2_TEMPLATE void store_sums(const int NV, const avx2_output *out, const __m256i *sums, void *c,
                              size_t n) {
    if (out->store == FT_STORE_U8) store_u8(NV, out, sums, c, n);
    else if (out->store == FT_STORE_F32) store_f32(NV, out, sums, c, n);
    else UNROLL for (int i = 0; i < NV; i++) store256((int32_t *)c + n + 8 * (size_t)i, sums[i]);
}

#endif
