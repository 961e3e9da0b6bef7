/* The fused piecewise-linear first layer: codes of all features first, then their table rows
 * summed for up to 64 columns at a time. */
#ifndef FT_X86_AVX2_ENCODE_H
#define FT_X86_AVX2_ENCODE_H

#include "avx2_store.h"

AVX2_TEMPLATE __m256 load_eight(const ft_encoder_eight *eight, const float *x) {
    const uint32_t *at = eight->column;
    if (eight->adjoin) return _mm256_loadu_ps(x + at[0]);
    return _mm256_setr_ps(x[at[0]], x[at[1]], x[at[2]], x[at[3]], x[at[4]], x[at[5]], x[at[6]],
                          x[at[7]]);
}

/* The low and the scale of two bins. */
AVX2_TEMPLATE __m128 two_bins(const ft_bin *bins, const uint32_t *rows) {
    const __m128 first = _mm_loadl_pi(_mm_setzero_ps(), (const __m64 *)(bins + rows[0]));
    return _mm_loadh_pi(first, (const __m64 *)(bins + rows[1]));
}

/* The table rows of eight features; returns their values in the bin, not yet clamped: NaN where x
 * is, where it is infinite and the feature has no bins, and where that is categorical. */
AVX2_TEMPLATE __m256 find_rows(const ft_encoder *e, const ft_encoder_eight *eight, const float *x,
                               uint32_t *rows) {
    const __m256 raw = load_eight(eight, x);
    const float *inner = e->inner + eight->inner;
    __m256i row = load256(eight->row);
    for (uint32_t t = eight->steps; t; t -= FT_STEPS, inner += 8 * FT_STEPS) {
        UNROLL for (int i = 0; i < FT_STEPS; i++) {
            const __m256 reached = _mm256_cmp_ps(raw, _mm256_loadu_ps(inner + 8 * i), _CMP_GE_OQ);
            row = _mm256_sub_epi32(row, _mm256_castps_si256(reached)); /* true is -1 */
        }
    }
    store256(rows, row);
    const __m256 even = _mm256_set_m128(two_bins(e->bin, rows + 4), two_bins(e->bin, rows));
    const __m256 odd = _mm256_set_m128(two_bins(e->bin, rows + 6), two_bins(e->bin, rows + 2));
    const __m256 low = _mm256_shuffle_ps(even, odd, _MM_SHUFFLE(2, 0, 2, 0));
    const __m256 scale = _mm256_shuffle_ps(even, odd, _MM_SHUFFLE(3, 1, 3, 1));
    return _mm256_mul_ps(_mm256_sub_ps(raw, low), scale);
}

/* Which of the features j to j + 7 may be missing or categorical, a bit each. */
AVX2_TEMPLATE uint32_t suspects(const ft_encoder *e, __m256 values, size_t j) {
    const __m256 nan = _mm256_cmp_ps(values, values, _CMP_UNORD_Q);
    const uint32_t mask = (uint32_t)_mm256_movemask_ps(nan);
    return e->used - j < 8 ? mask & ((1u << (e->used - j)) - 1) : mask;
}

/* The codes of every feature: table rows, then pairs or values. */
AVX2_TEMPLATE void find_codes(const int IS_FLOAT, const ft_encoded *w, const float *x,
                              uint32_t *rows, uint32_t *values) {
    const ft_encoder *e = w->encoder;
    const __m256 amax = _mm256_set1_ps((float)w->amax);
    for (size_t j = 0; j < e->used; j += 8) {
        const __m256 v = find_rows(e, &e->eight[j / 8], x, rows + j);
        const __m256i high = _mm256_slli_epi32(round8(v, amax), 16);
        store256(values + j, IS_FLOAT ? _mm256_castps_si256(clamp8(v, amax))
                                      : _mm256_or_si256(high, _mm256_set1_epi32((int)w->amax)));
        for (uint32_t mask = suspects(e, v, j); mask; mask &= mask - 1) {
            const size_t at = j + (size_t)__builtin_ctz(mask);
            const ft_encoder_feature *f = &e->feature[at];
            const float raw = x[f->column];
            if (raw == raw && !(e->categorical && e->categorical[at].rows)) continue;
            rows[at] = raw == raw ? ft_category_row(&e->categorical[at], raw) : f->missing_row;
            if (IS_FLOAT) memcpy(&values[at], &f->missing_value, sizeof *values);
            else values[at] = f->missing_pair;
        }
    }
}

AVX2_TEMPLATE void sum_pairs(const int NV, const ft_encoded *w, const x86_output *out,
                             const uint32_t *rows, const uint32_t *pairs, void *c, size_t n) {
    const size_t used = w->encoder->used;
    const int16_t *table = w->table + 2 * n;
    __m256i acc[8];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = _mm256_setzero_si256();
    for (size_t j = 0; j < used; j++) {
        const __m256i pair = _mm256_set1_epi32((int32_t)pairs[j]);
        const int16_t *entry = table + (size_t)rows[j] * w->n_padded * 2;
        UNROLL for (int v = 0; v < NV; v++)
            acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(pair, load256(entry + 16 * v)));
    }
    if (NV == 8) {
        store_sums(4, out, acc, c, n);
        store_sums(4, out, acc + 4, c, n + 32);
    } else {
        store_sums(NV, out, acc, c, n);
    }
}

static AVX2_FN void encode(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                           void *c) {
    uint32_t *rows = codes, *pairs = codes + FT_CODES(w->encoder->used);
    const x86_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    find_codes(0, w, x, rows, pairs);
    size_t n = 0;
    for (; n + 64 <= w->n_padded; n += 64) sum_pairs(8, w, &out, rows, pairs, c, n);
    for (; n + 32 <= w->n_padded; n += 32) sum_pairs(4, w, &out, rows, pairs, c, n);
    for (; n + 16 <= w->n_padded; n += 16) sum_pairs(2, w, &out, rows, pairs, c, n);
    if (n < w->n_padded) sum_pairs(1, w, &out, rows, pairs, c, n);
}

/* Every column sums its terms in the order of k, as the scalar kernel does. */
AVX2_TEMPLATE void sum_values(const int NV, const ft_encoded *w, const uint32_t *rows,
                              const uint32_t *values, float *c, size_t n) {
    const ft_encoder *e = w->encoder;
    const size_t stride = w->n_padded;
    __m256 acc[8];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = _mm256_loadu_ps(w->add + n + 8 * v);
    for (size_t j = 0; j < e->used; j++) {
        const uint32_t first = e->feature[j].row;
        const float *entry = w->table_f32 + first * stride + n;
        for (uint32_t row = first; row < rows[j]; row++, entry += stride) {
            UNROLL for (int v = 0; v < NV; v++)
                acc[v] = _mm256_add_ps(acc[v], _mm256_loadu_ps(entry + 8 * v));
        }
        float value;
        memcpy(&value, &values[j], sizeof value);
        if (value == 0.0f) continue;
        const __m256 x = _mm256_set1_ps(value);
        entry = w->table_f32 + rows[j] * stride + n;
        UNROLL for (int v = 0; v < NV; v++)
            acc[v] = _mm256_add_ps(acc[v], _mm256_mul_ps(x, _mm256_loadu_ps(entry + 8 * v)));
    }
    UNROLL for (int v = 0; v < NV; v++) {
        const __m256 y = w->relu ? _mm256_max_ps(acc[v], _mm256_setzero_ps()) : acc[v];
        _mm256_storeu_ps(c + n + 8 * v, y);
    }
}

static AVX2_FN void encode_f32(const ft_encoded *w, ft_store store, const float *x,
                               uint32_t *codes, void *c) {
    (void)store; /* always FT_STORE_F32 */
    uint32_t *rows = codes, *values = codes + FT_CODES(w->encoder->used);
    find_codes(1, w, x, rows, values);
    size_t n = 0;
    for (; n + 64 <= w->n_padded; n += 64) sum_values(8, w, rows, values, c, n);
    for (; n + 16 <= w->n_padded; n += 16) sum_values(2, w, rows, values, c, n);
    if (n < w->n_padded) sum_values(1, w, rows, values, c, n);
}

#endif
