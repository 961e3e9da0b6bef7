#include "encode.h"

#include "bytes.h"
#include "pack.h"

#include <math.h>
#include <string.h>

static uint32_t has_missing_column(const ft_encoder_spec *spec, uint32_t feature) {
    return isnan(spec->fill[feature]) ? 1 : 0;
}

/* Rows of a categorical feature in the table, missing not counted; 0 for a numeric one. */
static uint32_t categories_of(const ft_encoder_spec *spec, uint32_t feature) {
    return spec->categories ? (uint32_t)spec->categories[feature] : 0;
}

static uint32_t dim_of(const ft_encoder_spec *spec, uint32_t feature) {
    return spec->dims ? (uint32_t)spec->dims[feature] : 0;
}

uint64_t ft_embedding_size(const ft_encoder_spec *spec) {
    uint64_t size = 0;
    for (uint32_t j = 0; j < spec->features; j++)
        size += (uint64_t)dim_of(spec, j) * (categories_of(spec, j) + has_missing_column(spec, j));
    return size;
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

static const char *check_categories(const ft_encoder_spec *spec, uint32_t j) {
    const uint32_t categories = categories_of(spec, j), dim = dim_of(spec, j);
    if (categories > FT_MAX_CATEGORY_ROWS - has_missing_column(spec, j))
        return "its categories, with other and missing, must be 0 to 1048576";
    if (dim > FT_MAX_EMBEDDING_DIM) return "its embedding must have 0 to 256 dimensions";
    if (!categories) return dim ? "only a categorical feature has an embedding" : NULL;
    if (spec->bins[j]) return "a categorical feature has no bins";
    if (!has_missing_column(spec, j) && spec->fill[j] != 0.0f)
        return "the fill of a categorical feature must be 0 or NaN";
    return NULL;
}

uint32_t ft_encoder_width(const ft_encoder_spec *spec, const char **why, uint32_t *feature) {
    uint64_t width = 0, edges = 0, rows = 0;
    for (uint32_t j = 0; j < spec->features; j++) {
        const int32_t bins = spec->bins[j];
        if (bins < 0 || bins > FT_MAX_BINS) return refuse(why, feature, j, "bins must be 0 to 258");
        const char *fault = check_categories(spec, j);
        if (fault) return refuse(why, feature, j, fault);
        const uint32_t own = (uint32_t)bins + categories_of(spec, j) + has_missing_column(spec, j);
        width += dim_of(spec, j) ? dim_of(spec, j) : own;
        rows += own + 1; /* a row too many at most */
        if (!bins) continue;
        if (edges + (uint32_t)bins + 1 > spec->edge_count)
            return refuse(why, feature, j, "fewer edges than the bins need");
        fault = check_edges(spec->edges + edges, bins, spec->amax);
        if (fault) return refuse(why, feature, j, fault);
        edges += (uint32_t)bins + 1;
    }
    const uint32_t last = spec->features ? spec->features - 1 : 0;
    if (edges != spec->edge_count)
        return refuse(why, feature, last, "more edges than the bins need");
    if (!width) return refuse(why, feature, last, "no feature has a bin");
    if (width > INT32_MAX || rows > INT32_MAX)
        return refuse(why, feature, last, "too many columns or categories");
    return (uint32_t)width;
}

static uint32_t inner_edges(uint32_t bins) { return bins > 1 ? bins - 1 : 0; }

static uint32_t steps_of(uint32_t bins) {
    return (inner_edges(bins) + FT_STEPS - 1) / FT_STEPS * FT_STEPS;
}

static size_t eights(uint32_t used) { return ((size_t)used + 7) / 8; }

/* How many of each array's entries the spec needs. */
static void count(const ft_encoder_spec *spec, ft_encoder *out, size_t *inner, int *categorical) {
    uint32_t steps = 0; /* of the last eight */
    *inner = 0;
    *categorical = 0;
    for (uint32_t j = 0; j < spec->features; j++) {
        const uint32_t bins = (uint32_t)spec->bins[j];
        const uint32_t missing = has_missing_column(spec, j), categories = categories_of(spec, j);
        if (!bins && !missing && !categories) continue;
        if (out->used % 8 == 0) {
            *inner += 8 * (size_t)steps;
            steps = 0;
        }
        if (steps_of(bins) > steps) steps = steps_of(bins);
        out->used++;
        out->rows += (categories ? categories : bins ? bins : 1) + missing;
        *categorical |= categories != 0;
    }
    *inner += 8 * (size_t)steps;
}

static int allocate(ft_encoder *out, size_t inner, int categorical) {
    if (categorical) {
        out->categorical = ft_alloc(out->used, sizeof *out->categorical);
        if (!out->categorical) return -1;
    }
    out->feature = ft_alloc(out->used, sizeof *out->feature);
    out->bin = ft_alloc(out->rows, sizeof *out->bin);
    out->eight = ft_alloc(eights(out->used), sizeof *out->eight);
    out->inner = ft_alloc(inner, sizeof *out->inner);
    out->bytes = out->used * (sizeof *out->feature + (categorical ? sizeof *out->categorical : 0)) +
                 out->rows * sizeof *out->bin + eights(out->used) * sizeof *out->eight +
                 inner * sizeof *out->inner;
    return out->feature && out->bin && out->eight && out->inner ? 0 : -1;
}

static void fill_features(const ft_encoder_spec *spec, ft_encoder *out) {
    const float *edges = spec->edges;
    ft_encoder_feature *f = out->feature;
    uint32_t row = 0;
    for (uint32_t column = 0; column < spec->features; column++) {
        const uint32_t bins = (uint32_t)spec->bins[column];
        const uint32_t missing = has_missing_column(spec, column);
        const uint32_t categories = categories_of(spec, column);
        if (!bins && !missing && !categories) continue;
        f->column = column;
        f->bins = bins;
        f->missing_row = row; /* of a learnt missing input; else replaced below */
        f->missing_pair = spec->amax;
        f->missing_value = 1.0f;
        if (categories) {
            const ft_categorical c = {categories + missing, row, categories - 1,
                                      dim_of(spec, column), NULL};
            out->categorical[f - out->feature] = c;
            row += c.rows - 1; /* the last: other or missing, what NaN stands for */
            f->missing_row = row;
            f->missing_pair = spec->amax | 1u << 16;
            out->bin[row].scale = NAN;
        } else {
            row += missing;
        }
        f->row = row;
        for (uint32_t t = 0; t < bins; t++)
            out->bin[row + t] =
                (ft_bin){edges[t], (float)spec->amax / (edges[t + 1] - edges[t])};
        row += bins ? bins : 1;
        edges += bins ? bins + 1 : 0;
        f++;
    }
}

/* Features eight by eight, from what fill_features left. */
static void fill_eights(ft_encoder *out) {
    uint32_t inner = 0;
    for (size_t i = 0; i < eights(out->used); i++) {
        const ft_encoder_feature *first = &out->feature[8 * i];
        const size_t count = out->used - 8 * i < 8 ? out->used - 8 * i : 8;
        ft_encoder_eight *eight = &out->eight[i];
        eight->inner = inner;
        for (size_t j = 0; j < 8; j++) {
            const ft_encoder_feature *f = j < count ? first + j : first;
            eight->column[j] = f->column;
            eight->row[j] = f->row;
            if (steps_of(f->bins) > eight->steps) eight->steps = steps_of(f->bins);
        }
        eight->adjoin = count == 8 && first[7].column == first[0].column + 7;
        for (uint32_t t = 0; t < eight->steps; t++)
            for (size_t j = 0; j < 8; j++)
                out->inner[inner++] = j < count && t < inner_edges(first[j].bins)
                                          ? out->bin[first[j].row + t + 1].low
                                          : NAN;
    }
}

/* A filled feature's code for NaN is, by definition, the code of its fill: the scalar
 * kernel, run for no outputs, computes it.  Features with a learnt missing input have
 * fill NaN and keep the code they have, as categorical ones do. */
static int fill_missing(const ft_encoder_spec *spec, ft_encoder *out) {
    uint32_t *codes = ft_alloc(FT_CODES_BYTES(out->used), 1);
    if (!codes) return -1;
    const ft_encoded no_outputs = {.encoder = out, .amax = spec->amax};
    const int is_float = spec->amax == 1;
    if (is_float) ft_isa_scalar.encode_f32(&no_outputs, FT_STORE_F32, spec->fill, codes, NULL);
    else ft_isa_scalar.encode(&no_outputs, FT_STORE_I32, spec->fill, codes, NULL);
    for (uint32_t j = 0; j < out->used; j++) {
        ft_encoder_feature *f = &out->feature[j];
        if (out->categorical && out->categorical[j].rows) continue;
        const uint32_t value = codes[FT_CODES(out->used) + j];
        f->missing_row = codes[j];
        if (is_float) f->missing_value = ft_float_of(value);
        else f->missing_pair = value;
    }
    ft_free(codes);
    return 0;
}

int ft_encoder_build(const ft_encoder_spec *spec, ft_encoder *out) {
    memset(out, 0, sizeof *out);
    out->features = spec->features;
    size_t inner;
    int categorical;
    count(spec, out, &inner, &categorical);
    if (allocate(out, inner, categorical)) {
        ft_encoder_free(out);
        return -1;
    }
    fill_features(spec, out);
    fill_eights(out);
    if (fill_missing(spec, out)) {
        ft_encoder_free(out);
        return -1;
    }
    return 0;
}

void ft_encoder_free(ft_encoder *encoder) {
    ft_free(encoder->feature);
    ft_free(encoder->bin);
    ft_free(encoder->eight);
    ft_free(encoder->inner);
    ft_free(encoder->categorical);
    memset(encoder, 0, sizeof *encoder);
}
