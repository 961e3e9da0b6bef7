/* Raw features to the input of the first layer. */
#ifndef FT_ARM_NEON_INPUT_H
#define FT_ARM_NEON_INPUT_H

#include "neon_store.h"

static NEON_FN size_t find_infinity(const float *x, size_t count) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff), infinity = vdupq_n_u32(0x7f800000);
    size_t at = 0;
    for (; at + 8 <= count; at += 8) {
        const uint32x4_t low = vreinterpretq_u32_f32(vld1q_f32(x + at));
        const uint32x4_t high = vreinterpretq_u32_f32(vld1q_f32(x + at + 4));
        const uint32x4_t any = vorrq_u32(vceqq_u32(vandq_u32(low, magnitude), infinity),
                                         vceqq_u32(vandq_u32(high, magnitude), infinity));
        if (vmaxvq_u32(any)) break;
    }
    for (; at < count; at++) {
        uint32_t pattern;
        memcpy(&pattern, x + at, sizeof pattern);
        if ((pattern & 0x7fffffff) == 0x7f800000) break;
    }
    return at;
}

/* Four of the features that remain at x, fewer at the end of the row. */
NEON_TEMPLATE float32x4_t load_features(const float *x, size_t remain) {
    if (remain >= 4) return vld1q_f32(x);
    float part[4] = {0};
    memcpy(part, x, remain * sizeof *x);
    return vld1q_f32(part);
}

NEON_TEMPLATE float32x4_t scale4(const ft_scaler *s, float32x4_t x, size_t at) {
    const float32x4_t known = vbslq_f32(vceqq_f32(x, x), x, vld1q_f32(s->fill + at));
    return vmulq_f32(vsubq_f32(known, vld1q_f32(s->shift + at)), vld1q_f32(s->scale + at));
}

/* v > -limit ? v : -limit, then likewise from above: -limit where v is NaN. */
NEON_TEMPLATE float32x4_t clamp_standard(float32x4_t v) {
    const float32x4_t most = vdupq_n_f32(FT_STANDARD_LIMIT), least = vnegq_f32(most);
    const float32x4_t above = vbslq_f32(vcgtq_f32(v, least), v, least);
    return vbslq_f32(vcltq_f32(above, most), above, most);
}

static NEON_FN void scale(const ft_scaler *s, ft_store store, const float *x, void *y) {
    const float32x4_t amax = vdupq_n_f32((float)s->out_amax);
    for (size_t at = 0; at < s->n; at += 4) {
        const float32x4_t v = scale4(s, load_features(x + at, s->n - at), at);
        if (store == FT_STORE_U8) store_bytes(vcvtnq_s32_f32(clamp4(v, amax)), (uint8_t *)y + at);
        else vst1q_f32((float *)y + at, clamp_standard(v));
    }
}

#endif
