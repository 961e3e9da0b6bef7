/* Tiles of the integer products: sums of MR rows and 4 * NV columns over all of k.
 *
 * One source for plain NEON and the dot-product extension.  The file that includes it defines
 *
 *     int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x)
 *
 * which adds the products of four neighbouring bytes each to an int32, exact for |w| <= 127 and
 * every x.  A vector holds four weights of each of four columns; x the same four activations for
 * all of them, as signed bytes: those of u7 are, and of u8 the kernel takes x - 128 and adds 128
 * times the sum of the weights. */
#ifndef FT_ARM_NEON_TILE_H
#define FT_ARM_NEON_TILE_H

#include "neon_store.h"

/* Four activations of a row, for all columns of a vector. */
NEON_TEMPLATE int8x16_t load_values(const int IS_U8, const uint8_t *a) {
    uint32_t value;
    memcpy(&value, a, sizeof value);
    return vreinterpretq_s8_u32(vdupq_n_u32(IS_U8 ? value ^ 0x80808080u : value));
}

/* Sums without group scales, or those of one group; the sums of the weights are formed where
 * activations are shifted. */
typedef struct neon_sums {
    int32x4_t rows[NEON_MR][NEON_NV];
    int32x4_t weights[NEON_NV];
} neon_sums;

NEON_TEMPLATE void clear_sums(const int MR, const int NV, neon_sums *sums) {
    UNROLL for (int v = 0; v < NV; v++) {
        sums->weights[v] = vdupq_n_s32(0);
        UNROLL for (int r = 0; r < MR; r++) sums->rows[r][v] = vdupq_n_s32(0);
    }
}

/* Four values of k. */
NEON_TEMPLATE void add_block(const int IS_U8, const int MR, const int NV, const uint8_t *a,
                             size_t lda, const int8x16_t w[NEON_NV], neon_sums *sums) {
    if (IS_U8) {
        UNROLL for (int v = 0; v < NV; v++)
            sums->weights[v] = dot16(sums->weights[v], w[v], vdupq_n_s8(1));
    }
    UNROLL for (int r = 0; r < MR; r++) {
        const int8x16_t x = load_values(IS_U8, a + (size_t)r * lda);
        UNROLL for (int v = 0; v < NV; v++)
            sums->rows[r][v] = dot16(sums->rows[r][v], w[v], x);
    }
}

/* `k` values, a multiple of 8, of weights in bytes or in nibbles. */
NEON_TEMPLATE void add_run(const int IS_NIBBLES, const int IS_U8, const int MR, const int NV,
                           size_t k, const uint8_t *a, size_t lda, const uint8_t *b,
                           neon_sums *sums) {
    const uint8x16_t low = vdupq_n_u8(0x0f);
    const int8x16_t eight = vdupq_n_s8(8);
    for (; k; k -= 8, a += 8) {
        int8x16_t even[NEON_NV], odd[NEON_NV];
        UNROLL for (int v = 0; v < NV; v++) {
            if (IS_NIBBLES) {
                const uint8x16_t w = vld1q_u8(b + 16 * v);
                even[v] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(w, low)), eight);
                odd[v] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(w, 4)), eight);
            } else {
                even[v] = vreinterpretq_s8_u8(vld1q_u8(b + 16 * v));
                odd[v] = vreinterpretq_s8_u8(vld1q_u8(b + 16 * (NV + v)));
            }
        }
        b += 16 * (size_t)NV * (IS_NIBBLES ? 1 : 2);
        add_block(IS_U8, MR, NV, a, lda, even, sums);
        add_block(IS_U8, MR, NV, a + 4, lda, odd, sums);
    }
}

NEON_TEMPLATE int32x4_t load_scales(const uint8_t *p) {
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
}

/* acc += sums * scale, of shifted activations too: acc + 128 * weights fits int32 as the product
 * does, and what passes it on the way wraps. */
NEON_TEMPLATE void finish_sums(const int IS_U8, const int IS_SCALED, const int MR, const int NV,
                               const neon_sums *sums, const uint8_t *scale, neon_sums *acc) {
    UNROLL for (int v = 0; v < NV; v++) {
        const int32x4_t factor = IS_SCALED ? load_scales(scale + 4 * v) : vdupq_n_s32(1);
        UNROLL for (int r = 0; r < MR; r++) {
            int32x4_t sum = sums->rows[r][v];
            if (IS_U8) sum = vaddq_s32(sum, vshlq_n_s32(sums->weights[v], 7));
            acc->rows[r][v] = IS_SCALED ? vmlaq_s32(acc->rows[r][v], sum, factor) : sum;
        }
    }
}

#endif
