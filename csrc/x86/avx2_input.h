/* Raw features to the input of the first layer. */
#ifndef FT_X86_AVX2_INPUT_H
#define FT_X86_AVX2_INPUT_H

#include "avx2_store.h"

AVX2_TEMPLATE __m256i is_infinite(const float *x) {
    const __m256i magnitude = _mm256_and_si256(load256(x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
}

static AVX2_FN size_t find_infinity(const float *x, size_t count) {
    size_t at = 0;
    for (; at + 32 <= count; at += 32) {
        const __m256i low = _mm256_or_si256(is_infinite(x + at), is_infinite(x + at + 8));
        const __m256i high = _mm256_or_si256(is_infinite(x + at + 16), is_infinite(x + at + 24));
        const __m256i any = _mm256_or_si256(low, high);
        if (!_mm256_testz_si256(any, any)) break;
    }
    for (; at < count; at++) {
        uint32_t pattern;
        memcpy(&pattern, x + at, sizeof pattern);
        if ((pattern & 0x7fffffff) == 0x7f800000) break;
    }
    return at;
}

/* Eight of the features that remain at x, fewer at the end of the row. */
AVX2_TEMPLATE __m256 load_features(const float *x, size_t remain) {
    if (remain >= 8) return _mm256_loadu_ps(x);
    float part[8] = {0};
    memcpy(part, x, remain * sizeof *x);
    return _mm256_loadu_ps(part);
}

AVX2_TEMPLATE __m256 scale8(const ft_scaler *s, __m256 x, size_t at) {
    const __m256 missing = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    const __m256 known = _mm256_blendv_ps(x, _mm256_loadu_ps(s->fill + at), missing);
    const __m256 centred = _mm256_sub_ps(known, _mm256_loadu_ps(s->shift + at));
    return _mm256_mul_ps(centred, _mm256_loadu_ps(s->scale + at));
}

/* As clamp8: the limit where v is NaN. */
AVX2_TEMPLATE __m256 clamp_standard(__m256 v) {
    const __m256 limit = _mm256_set1_ps(FT_STANDARD_LIMIT);
    return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-FT_STANDARD_LIMIT)), limit);
}

static AVX2_FN void scale(const ft_scaler *s, ft_store store, const float *x, void *y) {
    const __m256 amax = _mm256_set1_ps((float)s->out_amax);
    size_t at = 0;
    if (store == FT_STORE_U8) {
        for (; at + 32 <= s->n; at += 32) {
            __m256i v[4];
            UNROLL for (size_t i = 0; i < 4; i++)
                v[i] = round8(scale8(s, _mm256_loadu_ps(x + at + 8 * i), at + 8 * i), amax);
            store256((uint8_t *)y + at, pack32(v));
        }
    }
    for (; at < s->n; at += 8) {
        const __m256 v = scale8(s, load_features(x + at, s->n - at), at);
        if (store == FT_STORE_U8)
            _mm_storel_epi64((__m128i *)((uint8_t *)y + at), pack8(round8(v, amax)));
        else
            _mm256_storeu_ps((float *)y + at, clamp_standard(v));
    }
}

#endif
