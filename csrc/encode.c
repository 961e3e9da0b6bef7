#include "encode.h"

#include "bytes.h"
#include "pack.h"

#include <math.h>
#include <string.h>

#define MAX_BINS 258 /* 257 prefix weights of 127 stay within int16 */
#define BLOCK 16     /* inner edges compared at a time */

static uint32_t has_missing_column(const ft_encoder_spec *spec, uint32_t feature) {
    return isnan(spec->fill[feature]) ? 1 : 0;
}

static uint32_t refuse(const char **why, uint32_t *feature, uint32_t at, const char *reason) {
    *why = reason;
    *feature = at;
    return 0;
}

static const char *check_edges(const float *edges, int32_t bins, uint32_t amax) {
    for (int32_t t = 0; t <= bins; t++)
        if (!isfinite(edges[t])) return "an edge is not finite";
    for (int32_t t = 0; t < bins; t++) {
        const float width = edges[t + 1] - edges[t];
        if (!(width > 0.0f)) return "edges are not strictly increasing";
        if (!isfinite(width) || !isfinite((float)amax / width))
            return "two neighbouring edges are too close or too far apart for float32";
    }
    return NULL;
}

uint32_t ft_encoder_width(const ft_encoder_spec *spec, const char **why, uint32_t *feature) {
    uint64_t width = 0, edges = 0;
    for (uint32_t j = 0; j < spec->features; j++) {
        const int32_t bins = spec->bins[j];
        if (bins < 0 || bins > MAX_BINS) return refuse(why, feature, j, "bins must be 0 to 258");
        width += (uint32_t)bins + has_missing_column(spec, j);
        if (!bins) continue;
        if (edges + (uint32_t)bins + 1 > spec->edge_count)
            return refuse(why, feature, j, "fewer edges than the bins need");
        const char *fault = check_edges(spec->edges + edges, bins, spec->amax);
        if (fault) return refuse(why, feature, j, fault);
        edges += (uint32_t)bins + 1;
    }
    const uint32_t last = spec->features ? spec->features - 1 : 0;
    if (edges != spec->edge_count)
        return refuse(why, feature, last, "more edges than the bins need");
    if (!width) return refuse(why, feature, last, "no feature has a bin");
    if (width > INT32_MAX) return refuse(why, feature, last, "too many columns");
    return (uint32_t)width;
}

/* Blocks of inner edges: one even where there are none, so that no kernel needs to ask. */
static uint32_t inner_blocks(uint32_t bins) {
    return bins > 1 ? (bins - 1 + BLOCK - 1) / BLOCK : 1;
}

/* How many of each array's entries the spec needs. */
static void count(const ft_encoder_spec *spec, ft_encoder *out, size_t *inner) {
    *inner = 0;
    for (uint32_t j = 0; j < spec->features; j++) {
        const uint32_t bins = (uint32_t)spec->bins[j];
        const uint32_t missing = has_missing_column(spec, j);
        if (!bins && !missing) continue;
        out->used++;
        out->rows += (bins ? bins : 1) + missing;
        *inner += inner_blocks(bins) * BLOCK;
    }
}

static int allocate(ft_encoder *out, size_t inner) {
    out->feature = ft_alloc(out->used, sizeof *out->feature);
    out->bin = ft_alloc(out->rows, sizeof *out->bin);
    out->inner = ft_alloc(inner, sizeof *out->inner);
    return out->feature && out->bin && out->inner ? 0 : -1;
}

static void fill_features(const ft_encoder_spec *spec, ft_encoder *out) {
    const float *edges = spec->edges;
    ft_encoder_feature *f = out->feature;
    uint32_t row = 0, inner = 0;
    for (uint32_t column = 0; column < spec->features; column++) {
        const uint32_t bins = (uint32_t)spec->bins[column];
        const uint32_t missing = has_missing_column(spec, column);
        if (!bins && !missing) continue;
        f->column = column;
        f->bins = bins;
        f->missing_row = row; /* of a learnt missing input; else replaced below */
        f->missing_pair = spec->amax;
        f->missing_value = 1.0f;
        row += missing;
        f->row = row;
        f->inner_start = inner;
        f->inner_blocks = inner_blocks(bins);
        for (uint32_t i = 0; i < f->inner_blocks * BLOCK; i++)
            out->inner[inner++] = i + 1 < bins ? edges[i + 1] : NAN;
        for (uint32_t t = 0; t < bins; t++)
            out->bin[row + t] =
                (ft_bin){edges[t], (float)spec->amax / (edges[t + 1] - edges[t])};
        row += bins ? bins : 1;
        edges += bins ? bins + 1 : 0;
        f++;
    }
}

/* A filled feature's code for NaN is, by definition, the code of its fill: the scalar
 * kernel, run for no outputs, computes it.  Features with a learnt missing input have
 * fill NaN and keep the code they have. */
static int fill_missing(const ft_encoder_spec *spec, ft_encoder *out) {
    uint32_t *codes = ft_alloc(FT_CODES_BYTES(out->used), 1);
    if (!codes) return -1;
    const ft_encoded no_outputs = {.encoder = out, .amax = spec->amax};
    const int is_float = spec->amax == 1;
    if (is_float) ft_isa_scalar.encode_f32(&no_outputs, FT_STORE_F32, spec->fill, codes, NULL);
    else ft_isa_scalar.encode(&no_outputs, FT_STORE_I32, spec->fill, codes, NULL);
    for (uint32_t j = 0; j < out->used; j++) {
        ft_encoder_feature *f = &out->feature[j];
        f->missing_row = codes[j];
        if (is_float) f->missing_value = ft_float_of(codes[out->used + j]);
        else f->missing_pair = codes[out->used + j];
    }
    ft_free(codes);
    return 0;
}

int ft_encoder_build(const ft_encoder_spec *spec, ft_encoder *out) {
    memset(out, 0, sizeof *out);
    out->features = spec->features;
    size_t inner;
    count(spec, out, &inner);
    if (allocate(out, inner)) {
        ft_encoder_free(out);
        return -1;
    }
    fill_features(spec, out);
    if (fill_missing(spec, out)) {
        ft_encoder_free(out);
        return -1;
    }
    return 0;
}

void ft_encoder_free(ft_encoder *encoder) {
    ft_free(encoder->feature);
    ft_free(encoder->bin);
    ft_free(encoder->inner);
    memset(encoder, 0, sizeof *encoder);
}

/* A learnt missing input has the table row before those of its feature's bins: it adds no
 * bin, and a row count taken from the first bin is not positive. */
static int has_missing_row(const ft_encoder_feature *f) {
    return f->missing_row < f->row;
}

/* One output's weights into its column of the table of pairs. */
static void fill_pairs(const ft_encoder *e, const int8_t *weights, size_t n, ft_encoded *out) {
    for (uint32_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        int32_t before = 0;
        for (uint32_t t = 0; t < f->bins; t++, weights++) {
            int16_t *entry = out->table + ((f->row + (size_t)t) * out->n_padded + n) * 2;
            entry[0] = (int16_t)before;
            entry[1] = *weights;
            before += *weights;
        }
        if (has_missing_row(f)) /* counts amax times, as a bin before x does */
            out->table[((f->row - (size_t)1) * out->n_padded + n) * 2] = *weights++;
    }
}

static void fill_f32(const ft_encoder *e, const float *weights, size_t n, ft_encoded *out) {
    for (uint32_t j = 0; j < e->used; j++) {
        const ft_encoder_feature *f = &e->feature[j];
        for (uint32_t t = 0; t < f->bins; t++)
            out->table_f32[(f->row + (size_t)t) * out->n_padded + n] = *weights++;
        if (has_missing_row(f))
            out->table_f32[(f->row - (size_t)1) * out->n_padded + n] = *weights++;
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
    for (uint32_t j = 0; j < encoder->used; j++)
        width += encoder->feature[j].bins + (uint32_t)has_missing_row(&encoder->feature[j]);
    for (size_t i = 0; i < n; i++) {
        if (weights) fill_pairs(encoder, weights + i * width, i, out);
        else fill_f32(encoder, weights_f32 + i * width, i, out);
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
