/* The meaning of every operation: each other ISA gives the same bits.
 *
 * Integer sums are formed in uint32, where passing 2^32 is defined.  A loaded model's sums
 * fit int32, so the value is the mathematical one. */
#include "kernels.h"

#include <math.h>
#include <string.h>

static float clamp(float v, float low, float high) {
    v = v > low ? v : low;
    return v < high ? v : high;
}

/* Clamping before rounding equals rounding before clamping: the limits are integers. */
static uint32_t quantize(float v, uint32_t amax) {
    return (uint32_t)ft_round_even(clamp(v, 0.0f, (float)amax));
}

static void store_sum(ft_store store, int32_t sum, const float *mult, const float *add, size_t n,
                      uint32_t out_amax, uint32_t relu, void *c) {
    if (store == FT_STORE_I32) {
        ((int32_t *)c)[n] = sum;
        return;
    }
    const float product = (float)sum * mult[n];
    const float v = product + add[n];
    if (store == FT_STORE_U8) ((uint8_t *)c)[n] = (uint8_t)quantize(v, out_amax);
    else ((float *)c)[n] = relu && !(v > 0.0f) ? 0.0f : v;
}

static size_t store_size(ft_store store) { return store == FT_STORE_U8 ? 1 : 4; }

static int32_t dot(const ft_packed *w, size_t n, const uint8_t *a) {
    const int8_t *weights = (const int8_t *)w->data + n * w->k_padded;
    const size_t group = w->group ? w->group : w->k;
    const size_t groups = (w->k + group - 1) / group;
    uint32_t total = 0;
    for (size_t g = 0; g < groups; g++) {
        const size_t begin = g * group;
        const size_t end = begin + group < w->k ? begin + group : w->k;
        uint32_t sum = 0;
        for (size_t k = begin; k < end; k++) sum += (uint32_t)(a[k] * weights[k]);
        const int32_t scale = w->group ? w->scales[n * groups + g] : 1;
        total += sum * (uint32_t)scale;
    }
    return (int32_t)total;
}

static void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                 void *c, size_t ldc, void *scratch) {
    (void)scratch;
    for (size_t i = 0; i < m; i++) {
        char *row = (char *)c + i * ldc * store_size(store);
        for (size_t n = 0; n < w->n; n++)
            store_sum(store, dot(w, n, a + i * lda), w->mult, w->add, n, w->out_amax, w->relu, row);
    }
}

static void gemm_f32(const ft_packed_f32 *w, size_t m, const float *a, size_t lda, float *c,
                     size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        for (size_t n = 0; n < w->n; n++) {
            const float *weights = w->data + n * w->k;
            float sum = w->bias[n];
            for (size_t k = 0; k < w->k; k++) {
                const float x = a[i * lda + k];
                if (x == 0.0f) continue;
                const float product = x * weights[k];
                sum += product;
            }
            c[i * ldc + n] = w->relu && !(sum > 0.0f) ? 0.0f : sum;
        }
    }
}

static size_t find_infinity(const float *x, size_t count) {
    size_t at = 0;
    while (at < count && !isinf(x[at])) at++;
    return at;
}

static void scale(const ft_scaler *s, ft_store store, const float *x, void *y) {
    for (size_t i = 0; i < s->n; i++) {
        const float centred = (x[i] == x[i] ? x[i] : s->fill[i]) - s->shift[i];
        const float v = centred * s->scale[i];
        if (store == FT_STORE_U8) ((uint8_t *)y)[i] = (uint8_t)quantize(v, s->out_amax);
        else ((float *)y)[i] = clamp(v, -FT_STANDARD_LIMIT, FT_STANDARD_LIMIT);
    }
}

/* The table row of x and its value before rounding. */
static float locate(const ft_encoder *e, size_t j, float x, float amax, uint32_t *row) {
    const ft_encoder_eight *eight = &e->eight[j / 8];
    const float *inner = e->inner + eight->inner + j % 8;
    *row = e->feature[j].row;
    for (uint32_t t = 0; t < eight->steps; t++) *row += inner[8 * t] <= x;
    const ft_bin *bin = &e->bin[*row];
    return clamp((x - bin->low) * bin->scale, 0.0f, amax);
}

/* The categories of used feature j; NULL where it is numeric. */
static const ft_categorical *categorical(const ft_encoder *e, size_t j) {
    return e->categorical && e->categorical[j].rows ? &e->categorical[j] : NULL;
}

static void encode(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes, void *c) {
    const ft_encoder *e = w->encoder;
    uint32_t *rows = codes, *pairs = codes + FT_CODES(e->used);
    for (size_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        const float v = x[f->column];
        if (v != v || categorical(e, j)) {
            rows[j] = v != v ? f->missing_row : ft_category_row(categorical(e, j), v);
            pairs[j] = f->missing_pair;
        } else {
            const float value = locate(e, j, v, (float)w->amax, &rows[j]);
            pairs[j] = w->amax | (uint32_t)ft_round_even(value) << 16;
        }
    }
    for (size_t n = 0; n < w->n_padded; n++) {
        uint32_t sum = 0;
        for (size_t j = 0; j < e->used; j++) {
            const int16_t *entry = w->table + ((size_t)rows[j] * w->n_padded + n) * 2;
            sum += (uint32_t)((int32_t)(pairs[j] & 0xffff) * entry[0]);
            sum += (uint32_t)((int32_t)(pairs[j] >> 16) * entry[1]);
        }
        store_sum(store, (int32_t)sum, w->mult, w->add, n, w->out_amax, w->relu, c);
    }
}

static void encode_f32(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                       void *c) {
    (void)store;
    const ft_encoder *e = w->encoder;
    uint32_t *rows = codes, *values = codes + FT_CODES(e->used);
    for (size_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        const float v = x[f->column];
        float value = f->missing_value;
        if (v != v) rows[j] = f->missing_row;
        else if (categorical(e, j)) rows[j] = ft_category_row(categorical(e, j), v);
        else value = locate(e, j, v, 1.0f, &rows[j]);
        memcpy(&values[j], &value, sizeof value);
    }
    for (size_t n = 0; n < w->n_padded; n++) {
        float sum = w->add[n];
        for (size_t j = 0; j < e->used; j++) {
            for (size_t row = e->feature[j].row; row < rows[j]; row++)
                sum += w->table_f32[row * w->n_padded + n];
            float value;
            memcpy(&value, &values[j], sizeof value);
            if (value == 0.0f) continue;
            const float product = value * w->table_f32[(size_t)rows[j] * w->n_padded + n];
            sum += product;
        }
        ((float *)c)[n] = w->relu && !(sum > 0.0f) ? 0.0f : sum;
    }
}

static void range(const float *x, size_t count, float *low, float *high) {
    for (size_t i = 0; i < count; i++) {
        *low = x[i] < *low ? x[i] : *low;
        *high = x[i] > *high ? x[i] : *high;
    }
}

static void quantize_row(const float *x, size_t count, float scale, int32_t limit, int8_t *q) {
    for (size_t i = 0; i < count; i++) q[i] = ft_quantized(x[i], scale, limit);
}

static void dequantize_row(const int8_t *q, size_t count, float scale, float *x) {
    for (size_t i = 0; i < count; i++) x[i] = (float)q[i] * scale;
}

const ft_isa ft_isa_scalar = {
    .name = "scalar",
    .needs = 0,
    .gemm = {.run = gemm, .mr = 1, .nr = 1, .kr = 1, .pad = 1},
    .gemm_f32 = {.run = gemm_f32, .nr = 1},
    .find_infinity = find_infinity,
    .scale = scale,
    .encode = encode,
    .encode_f32 = encode_f32,
    .range = range,
    .quantize = quantize_row,
    .dequantize = dequantize_row,
    .join_nibbles = ft_join_nibbles_scalar,
    .split_nibbles = ft_split_nibbles_scalar,
};
