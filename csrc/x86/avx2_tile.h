/* Tiles: sums of MR rows and 8 * NV columns over a run of k, added to acc.
 *
 * `b` holds blocks of four k: [k / 4][column][4].  One vector is eight columns, so a
 * broadcast of four activations meets four weights of each column, and vpmaddubsw leaves
 * two int16 sums of two products per column. */
#ifndef FT_X86_AVX2_TILE_H
#define FT_X86_AVX2_TILE_H

#include "avx2_common.h"
#include "blocks.h"

enum { AVX2_MR = 2, AVX2_NV = 4 }; /* the largest tile: 8 accumulators of the 16 registers */

/* DEPTH vpmaddubsw results are added in int16 before vpmaddwd with ones widens them.  Exact
 * because pack.c certified it: in every lane of every aligned run of DEPTH blocks the
 * positive weights sum to at most 32767 / amax and the negative ones to at most
 * 32768 / amax (258 for u7, 128 for u8), so no partial sum leaves int16. */
AVX2_TEMPLATE void tile_block(const int DEPTH, const int MR, const int NV, const uint8_t *a,
                              size_t lda, const int8_t *b, __m256i acc[AVX2_MR][AVX2_NV]) {
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (int r = 0; r < MR; r++) {
        __m256i x[4];
        UNROLL for (int d = 0; d < DEPTH; d++)
            x[d] = broadcast32(a + (size_t)r * lda + 4 * (size_t)d);
        UNROLL for (int v = 0; v < NV; v++) {
            __m256i sum[4];
            UNROLL for (int d = 0; d < DEPTH; d++)
                sum[d] = _mm256_maddubs_epi16(x[d], load256(b + 32 * (d * NV + v)));
            UNROLL for (int d = 1; d < DEPTH; d++) sum[0] = _mm256_add_epi16(sum[0], sum[d]);
            acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(sum[0], ones));
            KEEP_IN_REGISTER(acc[r][v]);
        }
    }
}

/* k is a multiple of 8: depth 4 leaves at most one half step, which is a certified one. */
AVX2_TEMPLATE void tile_depth(const int DEPTH, const int MR, const int NV, size_t k,
                              const uint8_t *a, size_t lda, const int8_t *b,
                              __m256i acc[AVX2_MR][AVX2_NV]) {
    const size_t step = 4 * DEPTH;
    for (; k >= step; k -= step, a += step, b += 32 * DEPTH * NV)
        tile_block(DEPTH, MR, NV, a, lda, b, acc);
    if (DEPTH == 4 && k) tile_block(2, MR, NV, a, lda, b, acc);
}

/* Any u8 activation with any weight: bytes widened to int16, even and odd k apart, so that
 * each vpmaddwd adds two products of at most 255 * 127 straight in int32. */
AVX2_TEMPLATE void tile_wide(const int MR, const int NV, size_t k, const uint8_t *a, size_t lda,
                             const int8_t *b, __m256i acc[AVX2_MR][AVX2_NV]) {
    const __m256i low_bytes = _mm256_set1_epi16(0x00ff);
    for (; k; k -= 4, a += 4, b += 32 * NV) {
        __m256i even[AVX2_MR], odd[AVX2_MR];
        UNROLL for (int r = 0; r < MR; r++) {
            const __m256i x = broadcast32(a + (size_t)r * lda);
            even[r] = _mm256_and_si256(x, low_bytes);
            odd[r] = _mm256_srli_epi16(x, 8);
        }
        UNROLL for (int v = 0; v < NV; v++) {
            const __m256i w = load256(b + 32 * v);
            const __m256i w_even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
            const __m256i w_odd = _mm256_srai_epi16(w, 8);
            UNROLL for (int r = 0; r < MR; r++) {
                acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(even[r], w_even));
                acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(odd[r], w_odd));
                KEEP_IN_REGISTER(acc[r][v]);
            }
        }
    }
}

/* int4 weights as signed bytes: a chain of results adds up in int16, then vpmaddwd widens
 * and multiplies by the group's scale at once.  |w| <= 7, so a result is at most
 * 2 * 127 * 7 = 1778 for u7 and 2 * 255 * 7 = 3570 for u8: chains of 16 and of 8 results
 * (64 and 32 k) stay within 28560. */
AVX2_TEMPLATE void tile_chain(const int MR, const int NV, size_t k, const uint8_t *a, size_t lda,
                              const int8_t *b, const x86_scales *scales,
                              __m256i acc[AVX2_MR][AVX2_NV]) {
    for (size_t begin = 0; begin < k; begin += scales->chain) {
        const size_t end = k - begin < scales->chain ? k : begin + scales->chain;
        const uint8_t *scale = scales->first + (begin >> scales->shift) * scales->stride;
        __m256i sum[AVX2_MR][AVX2_NV];
        UNROLL for (int r = 0; r < MR; r++) {
            UNROLL for (int v = 0; v < NV; v++) sum[r][v] = _mm256_setzero_si256();
        }
        for (size_t at = begin; at < end; at += 8, a += 8, b += 64 * NV) {
            UNROLL for (int half = 0; half < 2; half++) {
                UNROLL for (int r = 0; r < MR; r++) {
                    const __m256i x = broadcast32(a + (size_t)r * lda + 4 * half);
                    UNROLL for (int v = 0; v < NV; v++) {
                        const __m256i w = load256(b + 32 * (half * NV + v));
                        sum[r][v] = _mm256_add_epi16(sum[r][v], _mm256_maddubs_epi16(x, w));
                        KEEP_IN_REGISTER(sum[r][v]);
                    }
                }
            }
        }
        UNROLL for (int v = 0; v < NV; v++) {
            const __m256i s = load_scales(scale + 8 * v);
            UNROLL for (int r = 0; r < MR; r++)
                acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(sum[r][v], s));
        }
    }
}

/* One row on packed nibbles, without a buffer of unpacked ones.
 *
 * OFFSET (u7 only): the nibble w + 8 is the unsigned operand and the activation the signed
 * one, which saves the subtraction; each chain then starts at `starts`, -8 times the
 * activations its lane meets.  vpaddw wraps, so only the final sum, tile_chain's, must fit;
 * a result is at most 2 * 15 * 127.  Otherwise weights and chains are tile_chain's. */
AVX2_TEMPLATE void tile_nibbles(const int OFFSET, const int NV, size_t k, const uint8_t *a,
                                const uint8_t *b, const int32_t *starts,
                                const x86_scales *scales, __m256i acc[AVX2_NV]) {
    const __m256i low = _mm256_set1_epi8(0x0f), eight = _mm256_set1_epi8(8);
    for (size_t begin = 0; begin < k; begin += scales->chain) {
        const size_t end = k - begin < scales->chain ? k : begin + scales->chain;
        const uint8_t *scale = scales->first + (begin >> scales->shift) * scales->stride;
        __m256i sum[AVX2_NV];
        UNROLL for (int v = 0; v < NV; v++) sum[v] = _mm256_setzero_si256();
        for (size_t at = begin; at < end; at += 8, a += 8, b += 32 * NV) {
            const __m256i x0 = broadcast32(a), x1 = broadcast32(a + 4);
            UNROLL for (int v = 0; v < NV; v++) {
                const __m256i w = load256(b + 32 * v);
                const __m256i w0 = _mm256_and_si256(w, low);
                const __m256i w1 = _mm256_and_si256(_mm256_srli_epi16(w, 4), low);
                const __m256i y0 = OFFSET ? _mm256_maddubs_epi16(w0, x0)
                                          : _mm256_maddubs_epi16(x0, _mm256_sub_epi8(w0, eight));
                const __m256i y1 = OFFSET ? _mm256_maddubs_epi16(w1, x1)
                                          : _mm256_maddubs_epi16(x1, _mm256_sub_epi8(w1, eight));
                sum[v] = _mm256_add_epi16(_mm256_add_epi16(sum[v], y0), y1);
                KEEP_IN_REGISTER(sum[v]);
            }
        }
        const __m256i start = OFFSET ? _mm256_set1_epi32(*starts++) : _mm256_setzero_si256();
        UNROLL for (int v = 0; v < NV; v++) {
            if (OFFSET) sum[v] = _mm256_add_epi16(sum[v], start);
            acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(sum[v], load_scales(scale + 8 * v)));
        }
    }
}

#endif
