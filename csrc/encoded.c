/* The first layer that is fused with the encoding of raw features, from its tensors. */
#include "bytes.h"
#include "error.h"
#include "layer.h"
#include "pack.h"

#include <inttypes.h>
#include <math.h>

/* What the table of embedded features may grow to, in rows times outputs: a small file could ask
 * for any amount of memory. */
#define MAX_EMBEDDED_CELLS ((uint64_t)1 << 26)

/* The arrays that a spec of the encoding points to. */
typedef struct parts {
    int32_t *bins, *categories, *dims;
    float *edges, *embedding;
} parts;

/* The I32 tensor [features] of counts, which ft_encoder_width checks. */
static ft_status load_counts(ft_loader *loader, const ft_op *op, const char *part, int32_t **out) {
    const ft_tensor *t = ft_load_tensor(loader, op->name, part, FT_I32, 1, op->inputs, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *out = ft_alloc(op->inputs, sizeof **out);
    if (!*out)
        return ft_no_memory();
    for (uint32_t i = 0; i < op->inputs; i++)
        (*out)[i] = (int32_t)ft_read_u32(t->data + 4 * (size_t)i);
    return FT_OK;
}

/* The same where the tensor is there at all: then not all of them are 0. */
static ft_status load_optional(ft_loader *loader, const ft_op *op, const char *part,
                               int32_t **out) {
    if (!ft_next_is(loader, op->name, part))
        return FT_OK;
    const ft_status status = load_counts(loader, op, part, out);
    for (uint32_t i = 0; i < op->inputs && status == FT_OK; i++)
        if ((*out)[i])
            return FT_OK;
    return status == FT_OK ? ft_fail(FT_ERR_FORMAT, "tensor '%s.%s': all its values are 0",
                                     op->name, part)
                           : status;
}

static ft_status load_edges(ft_loader *loader, const ft_op *op, parts *p, size_t *count) {
    ft_status status = load_counts(loader, op, "bins", &p->bins);
    for (uint32_t i = 0; i < op->inputs && status == FT_OK; i++) {
        if (p->bins[i] < 0 || p->bins[i] > FT_MAX_BINS)
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, feature %" PRIu32 ": %" PRId32 " bins, allowed are 0 to 258",
                           op->name, i, p->bins[i]);
        *count += p->bins[i] ? (size_t)p->bins[i] + 1 : 0;
    }
    if (status == FT_OK)
        status = ft_load_finite(loader, op, "edges", *count, *count, &p->edges);
    return status;
}

static ft_status load_fill(ft_loader *loader, ft_op *op) {
    const ft_status status =
        ft_load_floats(loader, op, "fill", op->inputs, op->inputs, &op->fill);
    for (uint32_t i = 0; i < op->inputs && status == FT_OK; i++)
        if (isinf(op->fill[i]))
            return ft_fail(FT_ERR_FORMAT, "tensor '%s.fill': value %" PRIu32 " is infinite",
                           op->name, i);
    return status;
}

/* The values of the embedding, which dims call for: in the file or, of a float layer, in p. */
static ft_status load_embedding(ft_loader *loader, const ft_op *op, parts *p,
                                ft_encoder_spec *spec) {
    uint64_t rows = 0;
    for (uint32_t i = 0; i < op->inputs; i++)
        rows += p->dims[i] ? (uint64_t)p->categories[i] + 1 : 0; /* with missing, or one more */
    if (rows * op->outputs > MAX_EMBEDDED_CELLS)
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s: %" PRIu64 " embedded categories for %" PRIu32
                       " outputs, at most 2^26 pairs",
                       op->name, rows, op->outputs);
    const uint64_t size = ft_embedding_size(spec);
    if (op->bits == 32) {
        const ft_status status =
            ft_load_finite(loader, op, "embedding", size, size, &p->embedding);
        spec->embedding_f32 = p->embedding;
        return status;
    }
    const ft_tensor *t = ft_load_tensor(loader, op->name, "embedding", FT_U8, 1, size, 1);
    if (!t)
        return FT_ERR_FORMAT;
    for (size_t i = 0; i < t->size; i++)
        if (t->data[i] > op->amax_in)
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.embedding': value %zu is %d, at most %" PRIu32
                           " is allowed",
                           op->name, i, t->data[i], op->amax_in);
    spec->embedding = t->data;
    return FT_OK;
}

/* The encoding without its layer; `p` holds what it points to, whatever the result. */
static ft_status load_encoder(ft_loader *loader, ft_op *op, parts *p, ft_encoder_spec *spec) {
    ft_status status = load_edges(loader, op, p, &spec->edge_count);
    if (status == FT_OK)
        status = load_fill(loader, op);
    if (status == FT_OK)
        status = load_optional(loader, op, "categories", &p->categories);
    if (status == FT_OK && p->categories)
        status = load_optional(loader, op, "embedding_dims", &p->dims);
    if (status != FT_OK)
        return status;
    *spec = (ft_encoder_spec){.features = op->inputs,
                              .bins = p->bins,
                              .edges = p->edges,
                              .edge_count = spec->edge_count,
                              .fill = op->fill,
                              .amax = op->bits == 32 ? 1 : op->amax_in,
                              .categories = p->categories,
                              .dims = p->dims};
    const char *why = "";
    uint32_t feature = 0;
    op->width = ft_encoder_width(spec, &why, &feature);
    if (op->width == 0)
        return ft_fail(FT_ERR_FORMAT, "layer %s, feature %" PRIu32 ": %s", op->name, feature, why);
    status = ft_check_size(op);
    if (status == FT_OK && p->dims)
        status = load_embedding(loader, op, p, spec);
    return status == FT_OK && ft_encoder_build(spec, &op->encoder) ? ft_no_memory() : status;
}

static ft_status check_columns(const ft_op *op, const ft_encoder_spec *spec, const ft_weights *w,
                               const ft_affine *a) {
    ft_status status = FT_OK;
    for (uint32_t n = 0; n < w->n && status == FT_OK; n++) {
        ft_reach reach;
        if (ft_encoder_reach(spec, &op->encoder, w->i8 + (size_t)n * w->k, &reach))
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, output %" PRIu32
                           ": what a category adds can pass amax times int16",
                           op->name, n);
        status = ft_check_reach(op, n, reach, a->mult[n], a->add[n]);
    }
    return status;
}

/* A product of finite values that passes float32 would make every score NaN or infinite. */
static ft_status check_table(const ft_op *op) {
    const size_t cells = (size_t)op->encoder.rows * op->encoded.n_padded;
    for (size_t i = 0; i < cells; i++)
        if (!isfinite(op->encoded.table_f32[i]))
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, output %zu: what a category adds is not finite", op->name,
                           i % op->encoded.n_padded);
    return FT_OK;
}

static ft_status load_encoded(ft_loader *loader, ft_op *op, const ft_encoder_spec *spec,
                              const ft_weights *w, ft_affine *a) {
    ft_status status;
    if (op->bits == 32) {
        status = ft_load_finite(loader, op, "bias", w->n, ft_whole_panels(w->n), &a->add);
    } else {
        status = ft_load_affine(loader, op, a);
        if (status == FT_OK)
            status = check_columns(op, spec, w, a);
    }
    if (status == FT_OK &&
        ft_encoded_build(spec, &op->encoder, w->i8, w->f32, w->n, &op->encoded))
        status = ft_no_memory();
    if (status == FT_OK && spec->embedding_f32)
        status = check_table(op);
    if (status != FT_OK)
        return status;
    /* As in ft_pack_f32: a sum that starts at 0.0 never becomes -0.0, so leaving out a term
     * of 0 and adding it give the same bits. */
    for (uint32_t n = 0; n < w->n && op->bits == 32; n++)
        a->add[n] += 0.0f;
    op->encoded.out_amax = op->amax_out;
    op->encoded.relu = op->activation == FT_RELU;
    op->encoded.mult = a->mult;
    op->encoded.add = a->add;
    *a = (ft_affine){0};
    return FT_OK;
}

ft_status ft_load_encode_dense(ft_loader *loader, ft_op *op) {
    parts p = {0};
    ft_encoder_spec spec = {0};
    ft_weights w = {0};
    ft_affine a = {0};
    ft_status status = load_encoder(loader, op, &p, &spec);
    if (status == FT_OK) {
        w.n = op->outputs;
        w.k = op->width;
        status = ft_load_weights(loader, op, &w);
    }
    if (status == FT_OK)
        status = load_encoded(loader, op, &spec, &w, &a);
    ft_free_weights(&w);
    ft_free(a.mult);
    ft_free(a.add);
    ft_free(p.bins);
    ft_free(p.categories);
    ft_free(p.dims);
    ft_free(p.edges);
    ft_free(p.embedding);
    return status;
}
