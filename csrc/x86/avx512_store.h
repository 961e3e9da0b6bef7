/* Epilogues: LANES * NV int32 sums of one row to c, from column `n` on.  As avx2_store.h. */
#ifndef FT_X86_AVX512_STORE_H
#define FT_X86_AVX512_STORE_H

VNNI_INLINE __m512 scale16(const x86_output *out, VEC sums, size_t n) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(out->mult + n));
    return _mm512_add_ps(product, _mm512_loadu_ps(out->add + n));
}

/* 32 sums to bytes, saturated: packs work within 128-bit parts, the permutation sorts them. */
VNNI_INLINE __m256i pack_sums(VEC first, VEC second) {
    const VEC order = _mm512_castsi256_si512(_mm256_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13));
    const VEC words = _mm512_packs_epi32(first, second);
    const VEC bytes = _mm512_packus_epi16(words, words);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, bytes));
}

/* The loader keeps a rounded sum in int32's range: see round_sums. */
VNNI_INLINE void store_u8_sums(const int NV, const x86_output *out, const VEC *sums, uint8_t *c,
                               size_t n) {
    const __m256i amax = _mm256_set1_epi8((char)out->out_amax);
    VEC y[2];
    UNROLL for (int v = 0; v < NV; v++)
        y[v] = _mm512_cvtps_epi32(scale16(out, sums[v], n + LANES * (size_t)v));
    const __m256i bytes = _mm256_min_epu8(pack_sums(y[0], y[NV - 1]), amax);
    if (NV == 2) store256(c + n, bytes);
    else _mm_storeu_si128((__m128i *)(c + n), _mm256_castsi256_si128(bytes));
}

VNNI_INLINE void v_store_sums(const int NV, const x86_output *out, const VEC *sums, void *c,
                              size_t n) {
    if (out->store == FT_STORE_U8) {
        store_u8_sums(NV, out, sums, c, n);
        return;
    }
    UNROLL for (int v = 0; v < NV; v++) {
        const size_t at = n + LANES * (size_t)v;
        if (out->store == FT_STORE_I32) {
            v_store((int32_t *)c + at, sums[v]);
            continue;
        }
        const __m512 y = scale16(out, sums[v], at);
        _mm512_storeu_ps((float *)c + at, out->relu ? _mm512_max_ps(y, _mm512_setzero_ps()) : y);
    }
}

#endif
