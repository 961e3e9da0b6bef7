/* The table of a first layer from its canonical weights, and how far its sums can reach. */
#include "encode.h"

#include "pack.h"

#include <string.h>

/* A learnt missing input has the table row before those of its feature's bins: it adds no
 * bin, and a row count taken from the first bin is not positive. */
static int has_missing_row(const ft_encoder_feature *f) {
    return f->missing_row < f->row;
}

static const ft_categorical *categorical(const ft_encoder *e, uint32_t j) {
    return e->categorical && e->categorical[j].rows ? &e->categorical[j] : NULL;
}

static uint32_t columns_of(const ft_categorical *c) {
    return c->dim ? c->dim : c->rows;
}

/* Where one output's walk through the used features stands. */
typedef struct cursor {
    const int8_t *weights;
    const uint8_t *embedding;
    const float *weights_f32, *embedding_f32;
} cursor;

static void pass(cursor *at, const ft_categorical *c) {
    if (at->weights) at->weights += columns_of(c);
    else at->weights_f32 += columns_of(c);
    const size_t size = (size_t)c->dim * c->rows;
    if (size && at->embedding) at->embedding += size;
    else if (size) at->embedding_f32 += size;
}

/* What one row of a categorical feature adds to an integer sum. */
static int32_t contribution(const cursor *at, const ft_categorical *c, uint32_t row,
                            uint32_t amax) {
    if (!c->dim) return (int32_t)amax * at->weights[row];
    const uint8_t *e = at->embedding + (size_t)row * c->dim;
    int32_t sum = 0; /* at most 256 * 255 * 127 */
    for (uint32_t d = 0; d < c->dim; d++) sum += e[d] * at->weights[d];
    return sum;
}

static float contribution_f32(const cursor *at, const ft_categorical *c, uint32_t row) {
    if (!c->dim) return at->weights_f32[row];
    const float *e = at->embedding_f32 + (size_t)row * c->dim;
    float sum = e[0] * at->weights_f32[0];
    for (uint32_t d = 1; d < c->dim; d++) {
        const float product = e[d] * at->weights_f32[d];
        sum += product;
    }
    return sum;
}

/* The largest multiple of amax that is not above x, in amax. */
static int32_t multiples(int32_t x, int32_t amax) {
    return (x - (x < 0 ? amax - 1 : 0)) / amax;
}

int ft_encoder_reach(const ft_encoder_spec *spec, const ft_encoder *encoder, const int8_t *weights,
                     ft_reach *reach) {
    cursor at = {.weights = weights, .embedding = spec->embedding};
    *reach = (ft_reach){0, 0};
    for (uint32_t j = 0; j < encoder->used; j++) {
        const ft_encoder_feature *f = &encoder->feature[j];
        const ft_categorical *c = categorical(encoder, j);
        if (!c) {
            const uint32_t columns = f->bins + (uint32_t)has_missing_row(f);
            for (uint32_t t = 0; t < columns; t++) {
                const int32_t w = (int32_t)spec->amax * *at.weights++;
                reach->up += w > 0 ? w : 0;
                reach->down -= w < 0 ? w : 0;
            }
            continue;
        }
        int32_t largest = 0, smallest = 0;
        for (uint32_t row = 0; row < c->rows; row++) {
            const int32_t x = contribution(&at, c, row, spec->amax);
            largest = x > largest ? x : largest;
            smallest = x < smallest ? x : smallest;
        }
        const int32_t amax = (int32_t)spec->amax;
        if (multiples(largest, amax) > INT16_MAX || multiples(smallest, amax) < INT16_MIN)
            return -1;
        reach->up += largest;
        reach->down -= smallest;
        pass(&at, c);
    }
    return 0;
}

/* One output's weights into its column of the table of pairs. */
static void fill_pairs(const ft_encoder *e, cursor at, size_t n, ft_encoded *out) {
    const int32_t amax = (int32_t)out->amax;
    for (uint32_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        const ft_categorical *c = categorical(e, j);
        for (uint32_t row = 0; c && row < c->rows; row++) {
            const int32_t x = contribution(&at, c, row, out->amax);
            int16_t *entry = out->table + ((c->first + (size_t)row) * out->n_padded + n) * 2;
            entry[0] = (int16_t)multiples(x, amax);
            entry[1] = (int16_t)(x - multiples(x, amax) * amax);
        }
        if (c) {
            pass(&at, c);
            continue;
        }
        int32_t before = 0;
        for (uint32_t t = 0; t < f->bins; t++, at.weights++) {
            int16_t *entry = out->table + ((f->row + (size_t)t) * out->n_padded + n) * 2;
            entry[0] = (int16_t)before;
            entry[1] = *at.weights;
            before += *at.weights;
        }
        if (has_missing_row(f)) /* counts amax times, as a bin before x does */
            out->table[((f->row - (size_t)1) * out->n_padded + n) * 2] = *at.weights++;
    }
}

static void fill_f32(const ft_encoder *e, cursor at, size_t n, ft_encoded *out) {
    for (uint32_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        const ft_categorical *c = categorical(e, j);
        for (uint32_t row = 0; c && row < c->rows; row++)
            out->table_f32[(c->first + (size_t)row) * out->n_padded + n] =
                contribution_f32(&at, c, row);
        if (c) {
            pass(&at, c);
            continue;
        }
        for (uint32_t t = 0; t < f->bins; t++)
            out->table_f32[(f->row + (size_t)t) * out->n_padded + n] = *at.weights_f32++;
        if (has_missing_row(f))
            out->table_f32[(f->row - (size_t)1) * out->n_padded + n] = *at.weights_f32++;
    }
}

int ft_encoded_build(const ft_encoder_spec *spec, const ft_encoder *encoder, const int8_t *weights,
                     const float *weights_f32, uint32_t n, ft_encoded *out) {
    memset(out, 0, sizeof *out);
    out->encoder = encoder;
    out->n = n;
    out->n_padded = (n + 7) / 8 * 8;
    out->amax = spec->amax;
    const size_t row_bytes = (size_t)out->n_padded * 4; /* a pair of int16, or a float */
    void *table = ft_alloc(encoder->rows, row_bytes);
    if (!table) return -1;
    if (weights) out->table = table;
    else out->table_f32 = table;
    out->bytes = encoder->rows * row_bytes;

    size_t width = 0;
    for (uint32_t j = 0; j < encoder->used; j++) {
        const ft_encoder_feature *f = &encoder->feature[j];
        const ft_categorical *c = categorical(encoder, j);
        width += c ? columns_of(c) : f->bins + (uint32_t)has_missing_row(f);
    }
    for (size_t i = 0; i < n; i++) {
        const cursor at = {weights ? weights + i * width : NULL, spec->embedding,
                           weights ? NULL : weights_f32 + i * width, spec->embedding_f32};
        if (weights) fill_pairs(encoder, at, i, out);
        else fill_f32(encoder, at, i, out);
    }
    return 0;
}

void ft_encoded_free(ft_encoded *encoded) {
    ft_free(encoded->table);
    ft_free(encoded->table_f32);
    ft_free(encoded->mult);
    ft_free(encoded->add);
    memset(encoded, 0, sizeof *encoded);
}
