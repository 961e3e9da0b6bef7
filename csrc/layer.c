/* From the tensors of one operation to its packed form. */
#include "bytes.h"
#include "error.h"
#include "load.h"
#include "pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

#define MAX_BINS 258
#define MAX_GROUP_SCALE 63
/* What no output may reach: where it is rounded to an integer, well inside int32 on every CPU;
 * where it stays float32, half of what float32 holds, so that no rounding on the way passes it. */
#define INTEGER_LIMIT 0x1p30
#define FLOAT_LIMIT 0x1p127

/* A column's multiplier and offset, padded with 0 to whole panels of any ISA. */
typedef struct affine {
    float *mult, *add;
} affine;

static ft_status no_memory(void) {
    return ft_fail(FT_ERR_MEMORY, "out of memory");
}

static uint32_t whole_panels(uint32_t n) {
    return (n + FT_PANEL - 1) / FT_PANEL * FT_PANEL;
}

/* The F32 tensor [count], padded with 0 to `padded` values. */
static ft_status load_floats(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                             size_t padded, float **out) {
    const ft_tensor *t = ft_load_tensor(loader, op->name, part, FT_F32, 1, count, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *out = ft_alloc(padded, sizeof **out);
    if (!*out)
        return no_memory();
    for (size_t i = 0; i < count; i++)
        (*out)[i] = ft_read_f32(t->data + 4 * i);
    return FT_OK;
}

static ft_status check_finite(const ft_op *op, const char *part, const float *values,
                              size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return ft_fail(FT_ERR_FORMAT, "tensor '%s.%s': value %zu is not finite", op->name, part,
                           i);
    return FT_OK;
}

static ft_status load_finite(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                             size_t padded, float **out) {
    const ft_status status = load_floats(loader, op, part, count, padded, out);
    return status == FT_OK ? check_finite(op, part, *out, count) : status;
}

static ft_status load_input(ft_loader *loader, ft_op *op) {
    const uint32_t n = op->inputs;
    ft_status status = load_finite(loader, op, "shift", n, n, &op->shift);
    if (status == FT_OK)
        status = load_finite(loader, op, "scale", n, n, &op->scale);
    if (status == FT_OK)
        status = load_finite(loader, op, "fill", n, n, &op->fill);
    return status;
}

/* The limits that keep one column's sum and its requantized value exact. */
static ft_status check_column(const ft_op *op, uint32_t n, const int8_t *w, const uint8_t *scales,
                              float mult, float add) {
    int64_t positive = 0, negative = 0;
    for (uint32_t k = 0; k < op->width; k++) {
        const int64_t scale = scales ? scales[k / op->group_size] : 1;
        if (scale < 1 || scale > MAX_GROUP_SCALE)
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, output %" PRIu32 ": group scale %" PRIu32
                           " is %d, allowed are 1 to 63",
                           op->name, n, k / op->group_size, (int)scale);
        if (w[k] > 0)
            positive += w[k] * scale;
        else
            negative -= w[k] * scale;
    }
    const int64_t larger = positive > negative ? positive : negative;
    if (larger * op->amax_in > INT32_MAX)
        return ft_fail(FT_ERR_FORMAT, "layer %s, output %" PRIu32 ": its sum can pass int32",
                       op->name, n);
    if (!isfinite(mult) || !(mult > 0.0f) || !isfinite(add))
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s, output %" PRIu32 ": mult must be finite and above 0, add finite; "
                       "they are %g and %g",
                       op->name, n, (double)mult, (double)add);
    const double sum = (double)((positive + negative) * op->amax_in);
    if (!(sum * (double)mult + fabs((double)add) < (op->amax_out ? INTEGER_LIMIT : FLOAT_LIMIT)))
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s, output %" PRIu32 ": its value can pass 2^%d (mult %g, add %g)",
                       op->name, n, op->amax_out ? 30 : 127, (double)mult, (double)add);
    return FT_OK;
}

static ft_status load_affine(ft_loader *loader, const ft_op *op, const ft_weights *w,
                             const uint8_t *scales, affine *out) {
    const size_t padded = whole_panels(w->n);
    ft_status status = load_floats(loader, op, "mult", w->n, padded, &out->mult);
    if (status == FT_OK)
        status = load_floats(loader, op, "add", w->n, padded, &out->add);
    const size_t groups = scales ? (w->k + op->group_size - 1) / op->group_size : 0;
    for (uint32_t n = 0; n < w->n && status == FT_OK; n++)
        status = check_column(op, n, w->i8 + (size_t)n * w->k, scales ? scales + n * groups : NULL,
                              out->mult[n], out->add[n]);
    return status;
}

static ft_status load_integer(ft_loader *loader, ft_model *model, ft_op *op, const ft_weights *w,
                              affine *a) {
    const uint8_t *scales = NULL;
    if (op->group_size) {
        const uint64_t groups = (w->k + op->group_size - 1) / op->group_size;
        const ft_tensor *t =
            ft_load_tensor(loader, op->name, "group_scales", FT_U8, 2, w->n, groups);
        if (!t)
            return FT_ERR_FORMAT;
        scales = t->data;
    }
    const ft_status status = load_affine(loader, op, w, scales, a);
    if (status != FT_OK)
        return status;
    const ft_pack_spec spec = {w->i8, scales, w->n, w->k, op->bits, op->group_size, op->amax_in};
    uint32_t column;
    const ft_pack_fault fault = ft_pack(model->isa, &spec, &op->dense, &column);
    if (fault == FT_PACK_MEMORY)
        return no_memory();
    if (fault != FT_PACK_OK)
        return ft_fail(FT_ERR_FORMAT, "layer %s, output %" PRIu32 ": refused by the packing (%d)",
                       op->name, column, (int)fault);
    op->dense.out_amax = op->amax_out;
    op->dense.relu = op->activation == FT_RELU;
    op->dense.mult = a->mult;
    op->dense.add = a->add;
    *a = (affine){0};
    return FT_OK;
}

static ft_status load_float(ft_loader *loader, ft_model *model, ft_op *op, const ft_weights *w,
                            affine *a) {
    const ft_status status = load_finite(loader, op, "bias", w->n, w->n, &a->add);
    if (status != FT_OK)
        return status;
    if (ft_pack_f32(model->isa, w->f32, a->add, w->n, w->k, &op->dense_f32))
        return no_memory();
    op->dense_f32.relu = op->activation == FT_RELU;
    return FT_OK;
}

static ft_status check_size(const ft_op *op) {
    if ((uint64_t)op->outputs * op->width > FT_MAX_WEIGHTS)
        return ft_fail(FT_ERR_FORMAT, "layer %s: %" PRIu32 " x %" PRIu32 " weights, at most 2^31",
                       op->name, op->outputs, op->width);
    return FT_OK;
}

static ft_status load_dense(ft_loader *loader, ft_model *model, ft_op *op) {
    ft_weights w = {.n = op->outputs, .k = op->width};
    affine a = {0};
    ft_status status = check_size(op);
    if (status == FT_OK)
        status = ft_load_weights(loader, op, &w);
    if (status == FT_OK)
        status = (op->bits == 32 ? load_float : load_integer)(loader, model, op, &w, &a);
    ft_free_weights(&w);
    ft_free(a.mult);
    ft_free(a.add);
    return status;
}

static ft_status load_bins(ft_loader *loader, const ft_op *op, int32_t **bins, size_t *edges) {
    const ft_tensor *t = ft_load_tensor(loader, op->name, "bins", FT_I32, 1, op->inputs, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *bins = ft_alloc(op->inputs, sizeof **bins);
    if (!*bins)
        return no_memory();
    for (uint32_t i = 0; i < op->inputs; i++) {
        const uint32_t count = ft_read_u32(t->data + 4 * (size_t)i);
        if (count > MAX_BINS)
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, feature %" PRIu32 ": %" PRId32 " bins, allowed are 0 to 258",
                           op->name, i, (int32_t)count);
        (*bins)[i] = (int32_t)count;
        *edges += count ? count + 1 : 0;
    }
    return FT_OK;
}

/* The encoding without its layer.  Frees nothing on failure. */
static ft_status load_encoder(ft_loader *loader, ft_op *op, int32_t **bins, float **edges,
                              ft_encoder_spec *spec) {
    ft_status status = load_bins(loader, op, bins, &spec->edge_count);
    if (status == FT_OK)
        status = load_finite(loader, op, "edges", spec->edge_count, spec->edge_count, edges);
    if (status == FT_OK)
        status = load_floats(loader, op, "fill", op->inputs, op->inputs, &op->fill);
    if (status != FT_OK)
        return status;
    for (uint32_t i = 0; i < op->inputs; i++)
        if (isinf(op->fill[i]))
            return ft_fail(FT_ERR_FORMAT, "tensor '%s.fill': value %" PRIu32 " is infinite",
                           op->name, i);
    spec->features = op->inputs;
    spec->bins = *bins;
    spec->edges = *edges;
    spec->fill = op->fill;
    spec->amax = op->bits == 32 ? 1 : op->amax_in;
    const char *why = "";
    uint32_t feature = 0;
    op->width = ft_encoder_width(spec, &why, &feature);
    if (op->width == 0)
        return ft_fail(FT_ERR_FORMAT, "layer %s, feature %" PRIu32 ": %s", op->name, feature, why);
    return check_size(op);
}

static ft_status load_encoded(ft_loader *loader, ft_op *op, const ft_encoder_spec *spec,
                              const ft_weights *w) {
    affine a = {0};
    ft_status status;
    if (op->bits == 32)
        status = load_finite(loader, op, "bias", w->n, whole_panels(w->n), &a.add);
    else
        status = load_affine(loader, op, w, NULL, &a);
    if (status == FT_OK &&
        (ft_encoder_build(spec, &op->encoder) ||
         ft_encoded_build(spec, &op->encoder, w->i8, w->f32, w->n, &op->encoded)))
        status = no_memory();
    if (status != FT_OK) {
        ft_free(a.mult);
        ft_free(a.add);
        return status;
    }
    /* As in ft_pack_f32: a sum that starts at 0.0 never becomes -0.0, so leaving out a term
     * of 0 and adding it give the same bits. */
    for (uint32_t n = 0; n < w->n && op->bits == 32; n++)
        a.add[n] += 0.0f;
    op->encoded.out_amax = op->amax_out;
    op->encoded.relu = op->activation == FT_RELU;
    op->encoded.mult = a.mult;
    op->encoded.add = a.add;
    return FT_OK;
}

static ft_status load_encode_dense(ft_loader *loader, ft_op *op) {
    int32_t *bins = NULL;
    float *edges = NULL;
    ft_encoder_spec spec = {0};
    ft_weights w = {0};
    ft_status status = load_encoder(loader, op, &bins, &edges, &spec);
    if (status == FT_OK) {
        w.n = op->outputs;
        w.k = op->width;
        status = ft_load_weights(loader, op, &w);
    }
    if (status == FT_OK)
        status = load_encoded(loader, op, &spec, &w);
    ft_free_weights(&w);
    ft_free(edges);
    ft_free(bins);
    return status;
}

ft_status ft_load_op(ft_loader *loader, ft_model *model, ft_op *op) {
    if (op->kind == FT_OP_LINK)
        return FT_OK;
    if (op->tensor != loader->next)
        return ft_fail(FT_ERR_FORMAT,
                       "operation '%s': its first tensor is given as %" PRIu32 ", but is %" PRIu32,
                       op->name, op->tensor, loader->next);
    op->width = op->inputs;
    switch (op->kind) {
    case FT_OP_DENSE:
        return load_dense(loader, model, op);
    case FT_OP_ENCODE_DENSE:
        return load_encode_dense(loader, op);
    default:
        return load_input(loader, op);
    }
}

void ft_free_op(ft_op *op) {
    ft_free(op->shift);
    ft_free(op->scale);
    ft_free(op->fill);
    ft_pack_free(&op->dense);
    ft_pack_f32_free(&op->dense_f32);
    ft_encoded_free(&op->encoded);
    ft_encoder_free(&op->encoder);
}
