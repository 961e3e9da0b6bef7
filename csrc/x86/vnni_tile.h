/* Tiles of the VNNI kernels: sums of MR rows and LANES * NV columns over a run of k.
 *
 * One source for AVX-VNNI and AVX-512-VNNI.  The file that includes it defines VNNI_FN (the
 * target), VEC, LANES (int32 in a VEC), KEEPS_NIBBLES (whether batches meet int4 as it lies) and
 * v_* below.  Layout as in avx2_tile.h: one vector holds four weights of each of LANES columns,
 * and vpdpbusd adds their products with four activations to an int32 a column: exact for every u8
 * and s8. */
#ifndef FT_X86_VNNI_TILE_H
#define FT_X86_VNNI_TILE_H

#define VNNI_TEMPLATE static inline __attribute__((always_inline)) VNNI_FN

/* k values of an int4 chain whose sum fits the int16 that vpmaddwd reads: 32 * 127 * 7 and
 * 16 * 255 * 7 are below 32768. */
VNNI_TEMPLATE size_t longest_chain(const ft_packed *w) { return w->amax <= 127 ? 32 : 16; }

/* acc += chain * scale: a chain fits int16, and its sign bits above meet the 0 of the scale. */
VNNI_TEMPLATE VEC add_chain(VEC acc, VEC chain, VEC scale) {
    return v_add(acc, v_madd(chain, scale));
}

/* MR rows times one block of four k. */
VNNI_TEMPLATE void tile_step(const int MR, const int NV, const uint8_t *a, size_t lda,
                             const VEC w[VNNI_NV], VEC acc[VNNI_MR][VNNI_NV]) {
    UNROLL for (int r = 0; r < MR; r++) {
        const VEC x = v_broadcast(a + (size_t)r * lda);
        UNROLL for (int v = 0; v < NV; v++) {
            acc[r][v] = v_dpbusd(acc[r][v], x, w[v]);
            KEEP_IN_REGISTER(acc[r][v]);
        }
    }
}

/* MR rows on weights in bytes, NV of the PANEL vectors of a block of k. */
VNNI_TEMPLATE void tile_bytes(const int MR, const int NV, const int PANEL, size_t k,
                              const uint8_t *a, size_t lda, const int8_t *b,
                              VEC acc[VNNI_MR][VNNI_NV]) {
    for (; k; k -= 4, a += 4, b += 4 * LANES * PANEL) {
        VEC w[VNNI_NV];
        UNROLL for (int v = 0; v < NV; v++) w[v] = v_load(b + 4 * LANES * v);
        tile_step(MR, NV, a, lda, w, acc);
    }
}

/* The same on nibbles, unpacked in the registers. */
VNNI_TEMPLATE void tile_nibbles(const int MR, const int NV, const int PANEL, size_t k,
                                const uint8_t *a, size_t lda, const int8_t *b,
                                VEC acc[VNNI_MR][VNNI_NV]) {
    const VEC low = v_set1(0x0f0f0f0f), eight = v_set1(0x08080808);
    for (; k; k -= 8, a += 8, b += 4 * LANES * PANEL) {
        VEC packed[VNNI_NV], w[VNNI_NV];
        UNROLL for (int v = 0; v < NV; v++) {
            packed[v] = v_load(b + 4 * LANES * v);
            w[v] = v_sub8(v_and(packed[v], low), eight);
        }
        tile_step(MR, NV, a, lda, w, acc);
        UNROLL for (int v = 0; v < NV; v++)
            w[v] = v_sub8(v_and(v_shift_right_4(packed[v]), low), eight);
        tile_step(MR, NV, a + 4, lda, w, acc);
    }
}

/* int4 in groups: a chain of one vector at a time, since chains take as many registers as the sums
 * that they are added to. */
VNNI_TEMPLATE void tile_chain(const int MR, const int NV, size_t k, const uint8_t *a, size_t lda,
                              const int8_t *b, const x86_scales *scales,
                              VEC acc[VNNI_MR][VNNI_NV]) {
    for (size_t begin = 0; begin < k; begin += scales->chain) {
        const size_t count = k - begin < scales->chain ? k - begin : scales->chain;
        const uint8_t *scale = scales->first + (begin >> scales->shift) * scales->stride;
        const int8_t *panel = b + begin * LANES * NV / (KEEPS_NIBBLES ? 2 : 1);
        UNROLL for (int v = 0; v < NV; v++) {
            const int8_t *w = panel + 4 * LANES * v;
            VEC chain[VNNI_MR][VNNI_NV];
            UNROLL for (int r = 0; r < MR; r++) chain[r][0] = v_zero();
            if (KEEPS_NIBBLES) tile_nibbles(MR, 1, NV, count, a + begin, lda, w, chain);
            else tile_bytes(MR, 1, NV, count, a + begin, lda, w, chain);
            const VEC factor = v_load_scales(scale + LANES * v);
            UNROLL for (int r = 0; r < MR; r++) {
                acc[r][v] = add_chain(acc[r][v], chain[r][0], factor);
                KEEP_IN_REGISTER(acc[r][v]);
            }
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

/* k values of one row whose high nibbles add up, 16-fold, in an int32: 240 * 127 * 2^15 and
 * 128 * 255 * 2^15 are below 2^31. */
enum { NIBBLE_SLICE = 65536 };

/* One row on up to NIBBLE_SLICE values of k in nibbles.  The high ones stay where they are, 16
 * times their worth: a shift of their sum is cheaper than one of each vector.  OFFSET (u7 only):
 * the nibble w + 8 is the unsigned operand and the activation the signed one; `start` is then -8
 * times the sum of the latter. */
VNNI_TEMPLATE void row_nibbles(const int OFFSET, const int NV, size_t k, const uint8_t *a,
                               const uint8_t *b, int32_t start, VEC sum[VNNI_NV]) {
    const VEC low = v_set1(0x0f0f0f0f), high = v_set1((int32_t)0xf0f0f0f0);
    const VEC eight = v_set1(0x08080808), top = v_set1((int32_t)0x80808080);
    VEC sixteen[VNNI_NV];
    UNROLL for (int v = 0; v < NV; v++) {
        sum[v] = OFFSET ? v_set1(start) : v_zero();
        sixteen[v] = v_zero();
    }
    for (; k; k -= 8, a += 8, b += 4 * LANES * NV) {
        const VEC x0 = v_broadcast(a), x1 = v_broadcast(a + 4);
        UNROLL for (int v = 0; v < NV; v++) {
            VEC w = v_load(b + 4 * LANES * v);
            KEEP_IN_REGISTER(w); /* or gcc loads it twice: half the speed */
            const VEC w0 = v_and(w, low), w1 = v_and(w, high);
            sum[v] = OFFSET ? v_dpbusd(sum[v], w0, x0) : v_dpbusd(sum[v], x0, v_sub8(w0, eight));
            sixteen[v] = OFFSET ? v_dpbusd(sixteen[v], w1, x1)
                                : v_dpbusd(sixteen[v], x1, v_sub8(w1, top));
            KEEP_IN_REGISTER(sum[v]);
            KEEP_IN_REGISTER(sixteen[v]);
        }
    }
    UNROLL for (int v = 0; v < NV; v++) sum[v] = v_add(sum[v], v_shift_right32_4(sixteen[v]));
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
