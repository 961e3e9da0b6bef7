/* Epilogues: LANES * NV int32 sums of one row to c, from column `n` on.  As avx2_store.h. */
#ifndef FT_X86_AVX512_STORE_H
#define FT_X86_AVX512_STORE_H

VNNI_INLINE __m512 scale16(const x86_output *out, VEC sums, size_t n) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(out->mult + n));
    return _mm512_add_ps(product, _mm512_loadu_ps(out->add + n));
}

VNNI_INLINE void v_store_sums(const int NV, const x86_output *out, const VEC *sums, void *c,
                              size_t n) {
    const __m128i amax = _mm_set1_epi8((char)out->out_amax);
    UNROLL for (int v = 0; v < NV; v++) {
        const size_t at = n + LANES * (size_t)v;
        if (out->store == FT_STORE_I32) {
            v_store((int32_t *)c + at, sums[v]);
            continue;
        }
        const __m512 y = scale16(out, sums[v], at);
        if (out->store == FT_STORE_U8) {
            /* In int32's range: see round_sums. */
            const VEC rounded = _mm512_max_epi32(_mm512_cvtps_epi32(y), v_zero());
            const __m128i bytes = _mm_min_epu8(_mm512_cvtusepi32_epi8(rounded), amax);
            _mm_storeu_si128((__m128i *)((uint8_t *)c + at), bytes);
        } else {
            _mm512_storeu_ps((float *)c + at,
                             out->relu ? _mm512_max_ps(y, _mm512_setzero_ps()) : y);
        }
    }
}

#endif
