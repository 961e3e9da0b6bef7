/* Weights between floats, integers and nibbles, at the speed of memory. */
#ifndef FT_X86_AVX2_QUANTIZE_H
#define FT_X86_AVX2_QUANTIZE_H

#include "avx2_store.h"

static AVX2_FN void find_range(const float *x, size_t count, float *low, float *high) {
    __m256 lows[4], highs[4];
    UNROLL for (int v = 0; v < 4; v++) {
        lows[v] = _mm256_set1_ps(*low);
        highs[v] = _mm256_set1_ps(*high);
    }
    size_t at = 0;
    for (; at + 32 <= count; at += 32) {
        UNROLL for (int v = 0; v < 4; v++) {
            /* The second operand where the first is NaN. */
            const __m256 y = _mm256_loadu_ps(x + at + 8 * (size_t)v);
            lows[v] = _mm256_min_ps(y, lows[v]);
            highs[v] = _mm256_max_ps(y, highs[v]);
        }
    }
    float ends[2][32];
    UNROLL for (int v = 0; v < 4; v++) {
        _mm256_storeu_ps(ends[0] + 8 * v, lows[v]);
        _mm256_storeu_ps(ends[1] + 8 * v, highs[v]);
    }
    for (size_t i = 0; i < 32; i++) {
        *low = ends[0][i] < *low ? ends[0][i] : *low;
        *high = ends[1][i] > *high ? ends[1][i] : *high;
    }
    for (; at < count; at++) {
        *low = x[at] < *low ? x[at] : *low;
        *high = x[at] > *high ? x[at] : *high;
    }
}

AVX2_TEMPLATE __m256i divide8(const float *x, __m256 scale, __m256 limit) {
    const __m256 v = _mm256_div_ps(_mm256_loadu_ps(x), scale);
    const __m256 floor = _mm256_sub_ps(_mm256_setzero_ps(), limit);
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, floor), limit));
}

static AVX2_FN void quantize_row(const float *x, size_t count, float scale, int32_t limit,
                                 int8_t *q) {
    const __m256 s = _mm256_set1_ps(scale), most = _mm256_set1_ps((float)limit);
    size_t at = 0;
    for (; at + 32 <= count; at += 32) {
        __m256i v[4];
        UNROLL for (size_t i = 0; i < 4; i++) v[i] = divide8(x + at + 8 * i, s, most);
        const __m256i bytes =
            _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
        store256(q + at, _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    }
    for (; at < count; at++) q[at] = ft_quantized(x[at], scale, limit);
}

static AVX2_FN void dequantize_row(const int8_t *q, size_t count, float scale, float *x) {
    const __m256 s = _mm256_set1_ps(scale);
    size_t at = 0;
    for (; at + 8 <= count; at += 8) {
        const __m256i v = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q + at)));
        _mm256_storeu_ps(x + at, _mm256_mul_ps(_mm256_cvtepi32_ps(v), s));
    }
    for (; at < count; at++) x[at] = (float)q[at] * scale;
}

static AVX2_FN void join_nibbles(const int8_t *q, size_t count, uint8_t *out) {
    const __m256i factors = _mm256_set1_epi16(0x1001), low = _mm256_set1_epi8(0x0f);
    size_t at = 0;
    for (; at + 64 <= count; at += 64) {
        /* low + 16 * high in each 16-bit element, both 0..15. */
        const __m256i a = _mm256_maddubs_epi16(_mm256_and_si256(load256(q + at), low), factors);
        const __m256i b = _mm256_maddubs_epi16(_mm256_and_si256(load256(q + at + 32), low), factors);
        store256(out + at / 2, _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8));
    }
    ft_join_nibbles_scalar(q + at, count - at, out + at / 2);
}

static AVX2_FN void split_nibbles(const uint8_t *in, size_t count, int8_t *q) {
    const __m256i low = _mm256_set1_epi8(0x0f), eight = _mm256_set1_epi8(8);
    size_t at = 0;
    for (; at + 64 <= count; at += 64) {
        const __m256i w = load256(in + at / 2);
        __m256i even = _mm256_and_si256(w, low);
        __m256i odd = _mm256_and_si256(_mm256_srli_epi16(w, 4), low);
        /* Two's complement of four bits. */
        even = _mm256_sub_epi8(_mm256_xor_si256(even, eight), eight);
        odd = _mm256_sub_epi8(_mm256_xor_si256(odd, eight), eight);
        const __m256i first = _mm256_unpacklo_epi8(even, odd), second = _mm256_unpackhi_epi8(even, odd);
        store256(q + at, _mm256_permute2x128_si256(first, second, 0x20));
        store256(q + at + 32, _mm256_permute2x128_si256(first, second, 0x31));
    }
    ft_split_nibbles_scalar(in + at / 2, count - at, q + at);
}

#endif
