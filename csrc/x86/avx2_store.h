/* Epilogues: 8 * NV int32 sums of one row to c, from column `n` on. */
#ifndef FT_X86_AVX2_STORE_H
#define FT_X86_AVX2_STORE_H

#include "avx2_common.h"
#include "blocks.h"

AVX2_TEMPLATE __m256 scale_sums(const x86_output *out, __m256i sums, size_t n) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(out->mult + n));
    return _mm256_add_ps(product, _mm256_loadu_ps(out->add + n));
}

/* maxps and minps take their second operand where the first is NaN or equal, as the contract's
 * v > 0 ? v : 0 and v < amax ? v : amax do. */
AVX2_TEMPLATE __m256 clamp8(__m256 v, __m256 amax) {
    return _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), amax);
}

/* Clamped first: v may lie outside of int32. */
AVX2_TEMPLATE __m256i round8(__m256 v, __m256 amax) { return _mm256_cvtps_epi32(clamp8(v, amax)); }

/* Eight int32 to eight bytes in the low half, saturated. */
AVX2_TEMPLATE __m128i pack8(__m256i v) {
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_packus_epi16(words, words);
}

/* The same for 32: packs work within 128-bit halves, the permutation sorts them. */
AVX2_TEMPLATE __m256i pack32(const __m256i *v) {
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* The loader keeps |sum * mult + add| < 2^30, so the conversion is exact up to its rounding;
 * the packs saturate to 0..255. */
AVX2_TEMPLATE __m256i round_sums(const x86_output *out, __m256i sums, size_t n) {
    return _mm256_cvtps_epi32(scale_sums(out, sums, n));
}

AVX2_TEMPLATE void store_u8(const int NV, const x86_output *out, const __m256i *sums, uint8_t *c,
                            size_t n) {
    const __m256i amax = _mm256_set1_epi8((char)out->out_amax);
    if (NV == 4) {
        __m256i v[4];
        UNROLL for (int i = 0; i < 4; i++) v[i] = round_sums(out, sums[i], n + 8 * (size_t)i);
        store256(c + n, _mm256_min_epu8(pack32(v), amax));
        return;
    }
    UNROLL for (int i = 0; i < NV; i++) {
        const size_t at = n + 8 * (size_t)i;
        const __m128i bytes = pack8(round_sums(out, sums[i], at));
        _mm_storel_epi64((__m128i *)(c + at), _mm_min_epu8(bytes, _mm256_castsi256_si128(amax)));
    }
}

AVX2_TEMPLATE void store_f32(const int NV, const x86_output *out, const __m256i *sums, float *c,
                             size_t n) {
    UNROLL for (int i = 0; i < NV; i++) {
        const size_t at = n + 8 * (size_t)i;
        const __m256 v = scale_sums(out, sums[i], at);
        _mm256_storeu_ps(c + at, out->relu ? _mm256_max_ps(v, _mm256_setzero_ps()) : v);
    }
}

/* The sum of all elements, in the lowest. */
AVX2_TEMPLATE __m128i sum8(__m256i v) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
}

/* The sum of a layer's only output, in the lowest element. */
AVX2_TEMPLATE void store_sum(const x86_output *out, __m128i sum, void *c) {
    if (out->store == FT_STORE_I32) {
        *(int32_t *)c = _mm_cvtsi128_si32(sum);
        return;
    }
    const __m128 product = _mm_mul_ss(_mm_cvtepi32_ps(sum), _mm_load_ss(out->mult));
    const __m128 v = _mm_add_ss(product, _mm_load_ss(out->add));
    if (out->store == FT_STORE_U8) {
        const int rounded = _mm_cvtss_si32(v), amax = (int)out->out_amax;
        *(uint8_t *)c = (uint8_t)(rounded < 0 ? 0 : rounded > amax ? amax : rounded);
    } else {
        _mm_store_ss(c, out->relu ? _mm_max_ss(v, _mm_setzero_ps()) : v);
    }
}

AVX2_TEMPLATE void store_sums(const int NV, const x86_output *out, const __m256i *sums, void *c,
                              size_t n) {
    if (out->store == FT_STORE_U8) store_u8(NV, out, sums, c, n);
    else if (out->store == FT_STORE_F32) store_f32(NV, out, sums, c, n);
    else UNROLL for (int i = 0; i < NV; i++) store256((int32_t *)c + n + 8 * (size_t)i, sums[i]);
}

#endif
