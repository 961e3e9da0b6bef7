/* The fused piecewise-linear first layer: codes of all features first, then their table rows
 * summed for up to 32 columns at a time. */
#ifndef FT_ARM_NEON_ENCODE_H
#define FT_ARM_NEON_ENCODE_H

#include "neon_store.h"

/* The table rows of eight features. */
NEON_TEMPLATE void find_rows(const ft_encoder *e, const ft_encoder_eight *eight, const float *x,
                             uint32_t *rows) {
    const float *inner = e->inner + eight->inner;
    float raw[8];
    for (size_t j = 0; j < 8; j++) raw[j] = x[eight->column[j]];
    const float32x4_t low = vld1q_f32(raw), high = vld1q_f32(raw + 4);
    uint32x4_t first = vld1q_u32(eight->row), second = vld1q_u32(eight->row + 4);
    for (size_t t = 0; t < eight->steps; t++) { /* true is -1 */
        first = vsubq_u32(first, vcgeq_f32(low, vld1q_f32(inner + 8 * t)));
        second = vsubq_u32(second, vcgeq_f32(high, vld1q_f32(inner + 8 * t + 4)));
    }
    vst1q_u32(rows, first);
    vst1q_u32(rows + 4, second);
}

/* The codes of every feature: table rows, then pairs or values. */
NEON_TEMPLATE void find_codes(const int IS_FLOAT, const ft_encoded *w, const float *x,
                              uint32_t *rows, uint32_t *values) {
    const ft_encoder *e = w->encoder;
    const float32x4_t amax = vdupq_n_f32((float)w->amax);
    for (size_t j = 0; j < e->used; j += 8) find_rows(e, &e->eight[j / 8], x, rows + j);
    for (size_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        const float raw = x[f->column];
        if (raw != raw || (e->categorical && e->categorical[j].rows)) {
            rows[j] = raw != raw ? f->missing_row : ft_category_row(&e->categorical[j], raw);
            if (IS_FLOAT) memcpy(&values[j], &f->missing_value, sizeof *values);
            else values[j] = f->missing_pair;
            continue;
        }
        const ft_bin *bin = &e->bin[rows[j]];
        const float offset = raw - bin->low;
        const float32x4_t value = clamp4(vdupq_n_f32(offset * bin->scale), amax);
        if (IS_FLOAT) vst1q_lane_u32(&values[j], vreinterpretq_u32_f32(value), 0);
        else values[j] = w->amax | (uint32_t)vgetq_lane_s32(vcvtnq_s32_f32(value), 0) << 16;
    }
}

/* 4 * NV columns from n on. */
NEON_TEMPLATE void sum_pairs(const int NV, const ft_encoded *w, const neon_output *out,
                             const uint32_t *rows, const uint32_t *pairs, void *c, size_t n) {
    const size_t used = w->encoder->used;
    const int16_t *table = w->table + 2 * n;
    int32x4_t acc[8];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = vdupq_n_s32(0);
    for (size_t j = 0; j < used; j++) {
        const int16x8_t pair = vreinterpretq_s16_u32(vdupq_n_u32(pairs[j]));
        const int16_t *entry = table + (size_t)rows[j] * w->n_padded * 2;
        UNROLL for (int v = 0; v < NV; v++) {
            const int16x8_t t = vld1q_s16(entry + 8 * v);
            const int32x4_t low = vmull_s16(vget_low_s16(t), vget_low_s16(pair));
            acc[v] = vaddq_s32(acc[v], vpaddq_s32(low, vmull_high_s16(t, pair)));
        }
    }
    store_sums(NV, out, acc, c, n);
}

static NEON_FN void encode(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                           void *c) {
    uint32_t *rows = codes, *pairs = codes + FT_CODES(w->encoder->used);
    const neon_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    find_codes(0, w, x, rows, pairs);
    size_t n = 0;
    for (; n + 32 <= w->n_padded; n += 32) sum_pairs(8, w, &out, rows, pairs, c, n);
    for (; n < w->n_padded; n += 8) sum_pairs(2, w, &out, rows, pairs, c, n);
}

/* Every column sums its terms in the order of k, as the scalar kernel does. */
NEON_TEMPLATE void sum_values(const int NV, const ft_encoded *w, const uint32_t *rows,
                              const uint32_t *values, float *c, size_t n) {
    const ft_encoder *e = w->encoder;
    const size_t stride = w->n_padded;
    float32x4_t acc[8];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = vld1q_f32(w->add + n + 4 * v);
    for (size_t j = 0; j < e->used; j++) {
        const uint32_t first = e->feature[j].row;
        const float *entry = w->table_f32 + first * stride + n;
        for (uint32_t row = first; row < rows[j]; row++, entry += stride) {
            UNROLL for (int v = 0; v < NV; v++) acc[v] = vaddq_f32(acc[v], vld1q_f32(entry + 4 * v));
        }
        float value;
        memcpy(&value, &values[j], sizeof value);
        if (value == 0.0f) continue;
        const float32x4_t x = vdupq_n_f32(value);
        entry = w->table_f32 + rows[j] * stride + n;
        UNROLL for (int v = 0; v < NV; v++)
            acc[v] = vaddq_f32(acc[v], vmulq_f32(x, vld1q_f32(entry + 4 * v)));
    }
    UNROLL for (int v = 0; v < NV; v++)
        vst1q_f32(c + n + 4 * v, w->relu ? positive4(acc[v]) : acc[v]);
}

static NEON_FN void encode_f32(const ft_encoded *w, ft_store store, const float *x,
                               uint32_t *codes, void *c) {
    (void)store; /* always FT_STORE_F32 */
    uint32_t *rows = codes, *values = codes + FT_CODES(w->encoder->used);
    find_codes(1, w, x, rows, values);
    size_t n = 0;
    for (; n + 32 <= w->n_padded; n += 32) sum_values(8, w, rows, values, c, n);
    for (; n < w->n_padded; n += 8) sum_values(2, w, rows, values, c, n);
}

#endif
