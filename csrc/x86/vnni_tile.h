/* Tiles of the VNNI kernels: sums of MR rows and LANES * NV columns over a run of k.
 *
 * One source for AVX-VNNI and AVX-512-VNNI.  The file that includes it defines VNNI_FN (the
 * target), VEC, LANES (int32 in a VEC) and v_* below.  Layout as in avx2_tile.h: one vector holds
 * four weights of each of LANES columns, and vpdpbusd adds their products with four activations
 * to an int32 a column: exact for every u8 and s8. */
#ifndef FT_X86_VNNI_TILE_H
#define FT_X86_VNNI_TILE_H

#define VNNI_TEMPLATE static inline __attribute__((always_inline)) VNNI_FN

/* k values of an int4 chain whose sum fits the int16 that vpdpwssd reads: 32 * 127 * 7 and
 * 16 * 255 * 7 are below 32768. */
VNNI_TEMPLATE size_t longest_chain(const ft_packed *w) { return w->amax <= 127 ? 32 : 16; }

/* acc += chain * scale: group scales lie twice, and the sign bits in the upper half of a chain
 * are to meet 0. */
VNNI_TEMPLATE VEC add_chain(VEC acc, VEC chain, const int16_t *scale) {
    return v_dpwssd(acc, chain, v_and(v_load(scale), v_set1(0xffff)));
}

/* MR rows on weights in bytes: int8, or unpacked int4 without groups. */
VNNI_TEMPLATE void tile_plain(const int MR, const int NV, size_t k, const uint8_t *a, size_t lda,
                              const int8_t *b, VEC acc[VNNI_MR][VNNI_NV]) {
    for (; k; k -= 4, a += 4, b += 4 * LANES * NV) {
        VEC w[VNNI_NV];
        UNROLL for (int v = 0; v < NV; v++) w[v] = v_load(b + 4 * LANES * v);
        UNROLL for (int r = 0; r < MR; r++) {
            const VEC x = v_broadcast(a + (size_t)r * lda);
            UNROLL for (int v = 0; v < NV; v++) {
                acc[r][v] = v_dpbusd(acc[r][v], x, w[v]);
                KEEP_IN_REGISTER(acc[r][v]);
            }
        }
    }
}

/* The same of int4 with groups, a chain at a time. */
VNNI_TEMPLATE void tile_chain(const int MR, const int NV, size_t k, const uint8_t *a, size_t lda,
                              const int8_t *b, const x86_scales *scales,
                              VEC acc[VNNI_MR][VNNI_NV]) {
    for (size_t begin = 0; begin < k; begin += scales->chain) {
        const size_t end = k - begin < scales->chain ? k : begin + scales->chain;
        const int16_t *scale = scales->first + (begin >> scales->shift) * scales->stride;
        VEC sum[VNNI_MR][VNNI_NV];
        UNROLL for (int r = 0; r < MR; r++) {
            UNROLL for (int v = 0; v < NV; v++) sum[r][v] = v_zero();
        }
        tile_plain(MR, NV, end - begin, a + begin, lda, b + begin * LANES * NV, sum);
        UNROLL for (int r = 0; r < MR; r++) {
            UNROLL for (int v = 0; v < NV; v++)
                acc[r][v] = add_chain(acc[r][v], sum[r][v], scale + 2 * LANES * v);
        }
    }
}

/* One row: two sums a vector, of even and of odd blocks of four k, hide the latency. */
VNNI_TEMPLATE void row_plain(const int NV, size_t k, const uint8_t *a, const int8_t *b,
                             VEC acc[VNNI_NV]) {
    VEC odd[VNNI_NV];
    UNROLL for (int v = 0; v < NV; v++) odd[v] = v_zero();
    for (; k; k -= 8, a += 8, b += 8 * LANES * NV) {
        const VEC x0 = v_broadcast(a), x1 = v_broadcast(a + 4);
        UNROLL for (int v = 0; v < NV; v++) {
            acc[v] = v_dpbusd(acc[v], x0, v_load(b + 4 * LANES * v));
            odd[v] = v_dpbusd(odd[v], x1, v_load(b + 4 * LANES * (NV + v)));
            KEEP_IN_REGISTER(acc[v]);
            KEEP_IN_REGISTER(odd[v]);
        }
    }
    UNROLL for (int v = 0; v < NV; v++) acc[v] = v_add(acc[v], odd[v]);
}

/* One row on `k` values of packed nibbles.  OFFSET (u7 only): the nibble w + 8 is the unsigned
 * operand and the activation the signed one; `start` is then -8 times the sum of the latter. */
VNNI_TEMPLATE void row_nibbles(const int OFFSET, const int NV, size_t k, const uint8_t *a,
                               const uint8_t *b, int32_t start, VEC acc[VNNI_NV]) {
    const VEC low = v_set1(0x0f0f0f0f), eight = v_set1(0x08080808);
    VEC odd[VNNI_NV];
    UNROLL for (int v = 0; v < NV; v++) {
        acc[v] = OFFSET ? v_set1(start) : v_zero();
        odd[v] = v_zero();
    }
    for (; k; k -= 8, a += 8, b += 4 * LANES * NV) {
        const VEC x0 = v_broadcast(a), x1 = v_broadcast(a + 4);
        UNROLL for (int v = 0; v < NV; v++) {
            const VEC w = v_load(b + 4 * LANES * v);
            const VEC w0 = v_and(w, low), w1 = v_and(v_shift_right_4(w), low);
            acc[v] = OFFSET ? v_dpbusd(acc[v], w0, x0) : v_dpbusd(acc[v], x0, v_sub8(w0, eight));
            odd[v] = OFFSET ? v_dpbusd(odd[v], w1, x1) : v_dpbusd(odd[v], x1, v_sub8(w1, eight));
            KEEP_IN_REGISTER(acc[v]);
            KEEP_IN_REGISTER(odd[v]);
        }
    }
    UNROLL for (int v = 0; v < NV; v++) acc[v] = v_add(acc[v], odd[v]);
}

/* -8 times the sum of k activations: signed, as row_nibbles reads them, so that
 * what lies past k cancels. */
VNNI_TEMPLATE int32_t nibble_start(const uint8_t *a, size_t k) {
    const __m128i eights = _mm_set1_epi8(8), minus_one = _mm_set1_epi16(-1);
    __m128i sum = _mm_setzero_si128();
    for (size_t at = 0; at < k; at += 8) {
        const __m128i x = _mm_loadl_epi64((const __m128i *)(a + at));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(eights, x), minus_one));
    }
    sum = _mm_add_epi32(sum, _mm_srli_epi64(sum, 32));
    return _mm_cvtsi128_si32(sum);
}

#endif
