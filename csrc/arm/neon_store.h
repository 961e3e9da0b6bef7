/* Epilogues: 4 * NV int32 sums of one row to c, from column `n` on. */
#ifndef FT_ARM_NEON_STORE_H
#define FT_ARM_NEON_STORE_H

#include "neon_common.h"

/* Multiply and add apart: vmlaq_f32 may be one fused instruction. */
NEON_TEMPLATE float32x4_t scale_sums(const neon_output *out, int32x4_t sums, size_t n) {
    const float32x4_t product = vmulq_f32(vcvtq_f32_s32(sums), vld1q_f32(out->mult + n));
    return vaddq_f32(product, vld1q_f32(out->add + n));
}

/* Four int32 in 0..255 to four bytes. */
NEON_TEMPLATE void store_bytes(int32x4_t v, uint8_t *c) {
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(v));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    memcpy(c, &four, sizeof four);
}

/* The loader keeps |sum * mult + add| < 2^30, so that rounding first and clamping the integers
 * then gives what the contract says. */
NEON_TEMPLATE int32x4_t round_sums(const neon_output *out, int32x4_t sums, size_t n) {
    const int32x4_t rounded = vcvtnq_s32_f32(scale_sums(out, sums, n));
    return vminq_s32(vmaxq_s32(rounded, vdupq_n_s32(0)), vdupq_n_s32((int32_t)out->out_amax));
}

NEON_TEMPLATE void store_sums(const int NV, const neon_output *out, const int32x4_t *sums, void *c,
                              size_t n) {
    UNROLL for (int v = 0; v < NV; v++) {
        const size_t at = n + 4 * (size_t)v;
        if (out->store == FT_STORE_I32) {
            vst1q_s32((int32_t *)c + at, sums[v]);
        } else if (out->store == FT_STORE_U8) {
            store_bytes(round_sums(out, sums[v], at), (uint8_t *)c + at);
        } else {
            const float32x4_t y = scale_sums(out, sums[v], at);
            vst1q_f32((float *)c + at, out->relu ? positive4(y) : y);
        }
    }
}

/* The sum of a layer's only output. */
NEON_TEMPLATE void store_sum(const neon_output *out, int32_t sum, void *c) {
    if (out->store == FT_STORE_I32) {
        memcpy(c, &sum, sizeof sum);
        return;
    }
    const float product = (float)sum * out->mult[0];
    const float32x4_t y = vdupq_n_f32(product + out->add[0]);
    if (out->store == FT_STORE_U8) {
        const float32x4_t amax = vdupq_n_f32((float)out->out_amax);
        *(uint8_t *)c = (uint8_t)vgetq_lane_s32(vcvtnq_s32_f32(clamp4(y, amax)), 0);
    } else {
        vst1q_lane_f32(c, out->relu ? positive4(y) : y, 0);
    }
}

#endif
