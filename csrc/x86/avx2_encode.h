/* The fused piecewise-linear first layer: codes of all features first, then their table rows
 * summed for up to 64 columns at a time. */
#ifndef FT_X86_AVX2_ENCODE_H
#define FT_X86_AVX2_ENCODE_H

#include "avx2_store.h"

/* The bin of x: how many inner edges it reaches.  The padding of inner edges is NaN, which
 * no x reaches; a NaN x reaches none. */
AVX2_TEMPLATE uint32_t find_bin(const ft_encoder *e, size_t j, float x) {
    const __m256 xs = _mm256_set1_ps(x);
    const float *inner = e->inner + e->inner_start[j];
    uint32_t bin = 0;
    for (uint32_t block = 0; block < e->inner_blocks[j]; block++, inner += 8) {
        const __m256 reached = _mm256_cmp_ps(xs, _mm256_loadu_ps(inner), _CMP_GE_OQ);
        bin += (uint32_t)_mm_popcnt_u32((uint32_t)_mm256_movemask_ps(reached));
    }
    return bin;
}

/* (x - low) * scale clamped to [0, amax]; maxss and minss take their second operand where
 * the first is NaN or equal, as the contract's v > 0 ? v : 0 and v < amax ? v : amax do. */
AVX2_TEMPLATE __m128 bin_value(const ft_encoder *e, uint32_t row, float x, float amax) {
    const __m128 offset = _mm_sub_ss(_mm_set_ss(x), _mm_set_ss(e->low[row]));
    const __m128 v = _mm_mul_ss(offset, _mm_set_ss(e->scale[row]));
    return _mm_min_ss(_mm_max_ss(v, _mm_setzero_ps()), _mm_set_ss(amax));
}

AVX2_TEMPLATE void find_pairs(const ft_encoded *w, const float *x, uint32_t *rows,
                              uint32_t *pairs) {
    const ft_encoder *e = w->encoder;
    const float amax = (float)w->amax;
    for (size_t j = 0; j < e->used; j++) {
        const float value = x[e->column[j]];
        const uint32_t row = e->row[j] + find_bin(e, j, value);
        const uint32_t f = (uint32_t)_mm_cvtss_si32(bin_value(e, row, value, amax));
        const int missing = value != value;
        rows[j] = missing ? e->missing_row[j] : row;
        pairs[j] = missing ? e->missing_pair[j] : w->amax | f << 16;
    }
}

AVX2_TEMPLATE void sum_pairs(const int NV, const ft_encoded *w, const avx2_output *out,
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
    const avx2_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    find_pairs(w, x, rows, pairs);
    size_t n = 0;
    for (; n + 64 <= w->n_padded; n += 64) sum_pairs(8, w, &out, rows, pairs, c, n);
    for (; n + 32 <= w->n_padded; n += 32) sum_pairs(4, w, &out, rows, pairs, c, n);
    for (; n + 16 <= w->n_padded; n += 16) sum_pairs(2, w, &out, rows, pairs, c, n);
    if (n < w->n_padded) sum_pairs(1, w, &out, rows, pairs, c, n);
}

AVX2_TEMPLATE void find_values(const ft_encoded *w, const float *x, uint32_t *rows,
                               uint32_t *values) {
    const ft_encoder *e = w->encoder;
    for (size_t j = 0; j < e->used; j++) {
        const float value = x[e->column[j]];
        const uint32_t row = e->row[j] + find_bin(e, j, value);
        const int missing = value != value;
        const float v =
            missing ? e->missing_value[j] : _mm_cvtss_f32(bin_value(e, row, value, 1.0f));
        rows[j] = missing ? e->missing_row[j] : row;
        memcpy(&values[j], &v, sizeof v);
    }
}

/* Every column sums its terms in the order of k, as the scalar kernel does. */
AVX2_TEMPLATE void sum_values(const int NV, const ft_encoded *w, const uint32_t *rows,
                              const uint32_t *values, float *c, size_t n) {
    const ft_encoder *e = w->encoder;
    const size_t stride = w->n_padded;
    __m256 acc[8];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = _mm256_loadu_ps(w->add + n + 8 * v);
    for (size_t j = 0; j < e->used; j++) {
        const float *entry = w->table_f32 + e->row[j] * stride + n;
        for (uint32_t row = e->row[j]; row < rows[j]; row++, entry += stride) {
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
    find_values(w, x, rows, values);
    size_t n = 0;
    for (; n + 64 <= w->n_padded; n += 64) sum_values(8, w, rows, values, c, n);
    for (; n + 16 <= w->n_padded; n += 16) sum_values(2, w, rows, values, c, n);
    if (n < w->n_padded) sum_values(1, w, rows, values, c, n);
}

#endif
