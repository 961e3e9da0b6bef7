/* The fused piecewise-linear first layer: codes of all features first, then their table rows
 * summed for up to 64 columns at a time. */
#ifndef FT_X86_AVX2_ENCODE_H
#define FT_X86_AVX2_ENCODE_H

#include "avx2_store.h"

/* How many of 16 edges x (all eight equal) reaches: none where it is NaN, and it reaches no
 * edge that is NaN, which pads them.  Each reached edge is two bytes of the mask. */
AVX2_TEMPLATE uint32_t reached(__m256 x, const float *edges) {
    const __m256 low = _mm256_cmp_ps(x, _mm256_loadu_ps(edges), _CMP_GE_OQ);
    const __m256 high = _mm256_cmp_ps(x, _mm256_loadu_ps(edges + 8), _CMP_GE_OQ);
    const __m256i both = _mm256_packs_epi32(_mm256_castps_si256(low), _mm256_castps_si256(high));
    return (uint32_t)_mm_popcnt_u32((uint32_t)_mm256_movemask_epi8(both)) / 2;
}

/* The table row of every feature and its value in the bin, not yet clamped, to `values`: NaN
 * where x is, where it is infinite and the feature has no bins, and where that is categorical.  Locals: a store to the
 * results might change *e for all the compiler knows. */
AVX2_TEMPLATE void find_rows(const ft_encoder *e, const float *x, uint32_t *rows,
                             uint32_t *values) {
    const ft_encoder_feature *f = e->feature;
    const float *edges = e->inner;
    const ft_bin *bins = e->bin;
    const size_t used = e->used;
    for (size_t j = 0; j < used; j++, f++) {
        const float *inner = edges + f->inner_start;
        const __m256 all = _mm256_broadcast_ss(x + f->column);
        uint32_t row = f->row + reached(all, inner);
        for (uint32_t block = 1; block < f->inner_blocks; block++)
            row += reached(all, inner + 16 * block);
        const float value = (_mm256_cvtss_f32(all) - bins[row].low) * bins[row].scale;
        rows[j] = row;
        memcpy(&values[j], &value, sizeof value);
    }
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
    find_rows(e, x, rows, values);
    for (size_t j = 0; j < e->used; j += 8) {
        const __m256 v = _mm256_loadu_ps((const float *)(values + j));
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
    uint32_t *rows = codes, *pairs = codes + w->encoder->used;
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
    uint32_t *rows = codes, *values = codes + w->encoder->used;
    find_codes(1, w, x, rows, values);
    size_t n = 0;
    for (; n + 64 <= w->n_padded; n += 64) sum_values(8, w, rows, values, c, n);
    for (; n + 16 <= w->n_padded; n += 16) sum_values(2, w, rows, values, c, n);
    if (n < w->n_padded) sum_values(1, w, rows, values, c, n);
}

#endif
