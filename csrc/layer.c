/* From the tensors of one operation to its packed form; encoded.c has the fused first layer. */
#include "layer.h"

#include "bytes.h"
#include "error.h"
#include "pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MAX_GROUP_SCALE 63
/* What no output may reach: where it is rounded to an integer, well inside int32 on every CPU;
 * where it stays float32, half of what float32 holds, so that no rounding on the way passes it. */
#define INTEGER_LIMIT 0x1p30
#define FLOAT_LIMIT 0x1p127

ft_status ft_no_memory(void) {
    return ft_fail(FT_ERR_MEMORY, "out of memory");
}

uint32_t ft_whole_panels(uint32_t n) {
    return (n + FT_PANEL - 1) / FT_PANEL * FT_PANEL;
}

ft_status ft_load_floats(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                         size_t padded, float **out) {
    const ft_tensor *t = ft_load_tensor(loader, op->name, part, FT_F32, 1, count, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *out = ft_alloc(padded, sizeof **out);
    if (!*out)
        return ft_no_memory();
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

ft_status ft_load_finite(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                         size_t padded, float **out) {
    const ft_status status = ft_load_floats(loader, op, part, count, padded, out);
    return status == FT_OK ? check_finite(op, part, *out, count) : status;
}

static ft_status load_frequencies(ft_loader *loader, ft_op *op) {
    const size_t count = op->outputs / 2;
    const ft_tensor *t = ft_load_tensor(loader, op->name, "frequencies", FT_F32, 2, op->inputs,
                                        count / op->inputs);
    if (!t)
        return FT_ERR_FORMAT;
    op->frequencies = ft_alloc(count, sizeof *op->frequencies);
    if (!op->frequencies)
        return ft_no_memory();
    for (size_t i = 0; i < count; i++)
        op->frequencies[i] = ft_read_f32(t->data + 4 * i);
    return check_finite(op, "frequencies", op->frequencies, count);
}

/* The number of values that the next tensor is to have: one of each input, or the one of all. */
static uint64_t count_of(const ft_loader *loader, const ft_op *op, const char *part) {
    if (!ft_next_is(loader, op->name, part))
        return op->inputs;
    const ft_tensor *t = &loader->file->tensors[loader->next];
    return t->dims == 1 && t->shape[0] == 1 ? 1 : op->inputs;
}

static ft_status load_each(ft_loader *loader, const ft_op *op, const char *part, float **out) {
    const uint64_t count = count_of(loader, op, part);
    const ft_status status = ft_load_finite(loader, op, part, count, op->inputs, out);
    for (size_t i = count; status == FT_OK && i < op->inputs; i++)
        (*out)[i] = (*out)[0];
    return status;
}

/* Of integers the codes that a missing input takes. */
static ft_status load_fill_codes(ft_loader *loader, ft_op *op) {
    const uint64_t count = count_of(loader, op, "fill");
    const ft_tensor *t = ft_load_tensor(loader, op->name, "fill", FT_U8, 1, count, 1);
    if (!t)
        return FT_ERR_FORMAT;
    op->fill = ft_alloc(op->inputs, sizeof *op->fill);
    if (!op->fill)
        return ft_no_memory();
    for (size_t i = 0; i < op->inputs; i++) {
        const float code = t->data[count == 1 ? 0 : i];
        op->fill[i] = op->shift[i] + code / op->scale[i];
    }
    return check_finite(op, "fill", op->fill, op->inputs);
}

static ft_status load_input(ft_loader *loader, ft_op *op) {
    ft_status status = load_each(loader, op, "shift", &op->shift);
    if (status == FT_OK)
        status = load_each(loader, op, "scale", &op->scale);
    const int has_codes = op->kind == FT_OP_QUANTIZE && ft_next_is(loader, op->name, "fill") &&
                          loader->file->tensors[loader->next].dtype == FT_U8;
    if (status == FT_OK)
        status = has_codes ? load_fill_codes(loader, op) : load_each(loader, op, "fill", &op->fill);
    return status == FT_OK && op->kind == FT_OP_PERIODIC ? load_frequencies(loader, op) : status;
}

ft_status ft_check_reach(const ft_op *op, uint32_t n, ft_reach reach, float mult, float add) {
    if (reach.up > INT32_MAX || reach.down > INT32_MAX)
        return ft_fail(FT_ERR_FORMAT, "layer %s, output %" PRIu32 ": its sum can pass int32",
                       op->name, n);
    if (!isfinite(mult) || !(mult > 0.0f) || !isfinite(add))
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s, output %" PRIu32 ": mult must be finite and above 0, add finite; "
                       "they are %g and %g",
                       op->name, n, (double)mult, (double)add);
    const double sum = (double)(reach.up + reach.down);
    if (!(sum * (double)mult + fabs((double)add) < (op->amax_out ? INTEGER_LIMIT : FLOAT_LIMIT)))
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s, output %" PRIu32 ": its value can pass 2^%d (mult %g, add %g)",
                       op->name, n, op->amax_out ? 30 : 127, (double)mult, (double)add);
    return FT_OK;
}

ft_status ft_load_affine(ft_loader *loader, const ft_op *op, ft_affine *out) {
    const size_t padded = ft_whole_panels(op->outputs);
    const ft_status status = ft_load_floats(loader, op, "mult", op->outputs, padded, &out->mult);
    return status == FT_OK ? ft_load_floats(loader, op, "add", op->outputs, padded, &out->add)
                           : status;
}

/* How far one column's sum can reach; its group scales are checked on the way. */
static ft_status measure_column(const ft_op *op, uint32_t n, const int8_t *w,
                                const uint8_t *scales, ft_reach *reach) {
    *reach = (ft_reach){0, 0};
    for (uint32_t k = 0; k < op->width; k++) {
        const int64_t scale = scales ? scales[k / op->group_size] : 1;
        if (scale < 1 || scale > MAX_GROUP_SCALE)
            return ft_fail(FT_ERR_FORMAT,
                           "layer %s, output %" PRIu32 ": group scale %" PRIu32
                           " is %d, allowed are 1 to 63",
                           op->name, n, k / op->group_size, (int)scale);
        if (w[k] > 0)
            reach->up += w[k] * scale * op->amax_in;
        else
            reach->down -= w[k] * scale * op->amax_in;
    }
    return FT_OK;
}

static ft_status check_columns(const ft_op *op, const ft_weights *w, const uint8_t *scales,
                               const ft_affine *a) {
    const size_t groups = scales ? (w->k + op->group_size - 1) / op->group_size : 0;
    ft_status status = FT_OK;
    for (uint32_t n = 0; n < w->n && status == FT_OK; n++) {
        ft_reach reach;
        status = measure_column(op, n, w->i8 + (size_t)n * w->k,
                                scales ? scales + n * groups : NULL, &reach);
        if (status == FT_OK)
            status = ft_check_reach(op, n, reach, a->mult[n], a->add[n]);
    }
    return status;
}

static ft_status load_integer(ft_loader *loader, ft_model *model, ft_op *op, const ft_weights *w,
                              ft_affine *a) {
    const uint8_t *scales = NULL;
    if (op->group_size) {
        const uint64_t groups = (w->k + op->group_size - 1) / op->group_size;
        const ft_tensor *t =
            ft_load_tensor(loader, op->name, "group_scales", FT_U8, 2, w->n, groups);
        if (!t)
            return FT_ERR_FORMAT;
        scales = t->data;
    }
    ft_status status = ft_load_affine(loader, op, a);
    if (status == FT_OK)
        status = check_columns(op, w, scales, a);
    if (status != FT_OK)
        return status;
    const ft_pack_spec spec = {w->i8, scales, w->n, w->k, op->bits, op->group_size,
                               op->amax_in, 1};
    uint32_t column;
    const ft_pack_fault fault = ft_pack(model->isa, &spec, &op->dense, &column);
    if (fault == FT_PACK_MEMORY)
        return ft_no_memory();
    if (fault != FT_PACK_OK)
        return ft_fail(FT_ERR_FORMAT, "layer %s, output %" PRIu32 ": refused by the packing (%d)",
                       op->name, column, (int)fault);
    op->dense.out_amax = op->amax_out;
    op->dense.relu = op->activation == FT_RELU;
    op->dense.mult = a->mult;
    op->dense.add = a->add;
    *a = (ft_affine){0};
    return FT_OK;
}

static ft_status load_float(ft_loader *loader, ft_model *model, ft_op *op, const ft_weights *w,
                            ft_affine *a) {
    const ft_status status = ft_load_finite(loader, op, "bias", w->n, w->n, &a->add);
    if (status != FT_OK)
        return status;
    if (ft_pack_f32(model->isa, w->f32, a->add, w->n, w->k, &op->dense_f32))
        return ft_no_memory();
    op->dense_f32.relu = op->activation == FT_RELU;
    return FT_OK;
}

ft_status ft_check_size(const ft_op *op) {
    if ((uint64_t)op->outputs * op->width > FT_MAX_WEIGHTS)
        return ft_fail(FT_ERR_FORMAT, "layer %s: %" PRIu32 " x %" PRIu32 " weights, at most 2^31",
                       op->name, op->outputs, op->width);
    return FT_OK;
}

static ft_status load_dense(ft_loader *loader, ft_model *model, ft_op *op) {
    ft_weights w = {.n = op->outputs, .k = op->width};
    ft_affine a = {0};
    ft_status status = ft_check_size(op);
    if (status == FT_OK)
        status = ft_load_weights(loader, op, &w);
    if (status == FT_OK)
        status = (op->bits == 32 ? load_float : load_integer)(loader, model, op, &w, &a);
    ft_free_weights(&w);
    ft_free(a.mult);
    ft_free(a.add);
    return status;
}

/* `count` bytes of a tensor, each a value that the operation's output may have. */
static ft_status load_bytes(ft_loader *loader, const ft_op *op, const char *part, uint32_t count,
                            uint8_t **out) {
    const ft_tensor *t = ft_load_tensor(loader, op->name, part, FT_U8, 1, count, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *out = ft_alloc(count, 1);
    if (!*out)
        return ft_no_memory();
    memcpy(*out, t->data, count);
    for (uint32_t i = 0; i < count; i++)
        if ((*out)[i] > op->amax_out)
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.%s': value %" PRIu32 " is %d, at most %" PRIu32
                           " is allowed",
                           op->name, part, i, (*out)[i], op->amax_out);
    return FT_OK;
}

/* Of FT_OP_BOUND: numbers that a value behind ReLU may be, infinity too where it is a float. */
static ft_status load_bound(ft_loader *loader, ft_op *op) {
    const uint32_t n = op->outputs;
    if (op->amax_out)
        return load_bytes(loader, op, "bound", n, &op->bound_u8);
    const ft_status status = ft_load_floats(loader, op, "bound", n, n, &op->bound);
    for (uint32_t i = 0; i < n && status == FT_OK; i++)
        if (!(op->bound[i] >= 0.0f))
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.bound': value %" PRIu32 " is %g, must be 0 or above",
                           op->name, i, (double)op->bound[i]);
    return status;
}

/* Of an integer FT_OP_ADD: no value that it rounds passes the limit of a layer's. */
static ft_status load_residual(ft_loader *loader, const ft_model *model, ft_op *op) {
    float *values = NULL;
    const ft_status status = ft_load_finite(loader, op, "residual", 3, 3, &values);
    if (status == FT_OK)
        memcpy(op->residual, values, sizeof op->residual);
    ft_free(values);
    if (status != FT_OK)
        return status;
    const double own = fabs((double)op->residual[0]) * op->amax_in;
    const double added = fabs((double)op->residual[1]) * model->ops[op->source].amax_out;
    if (!(own + added + fabs((double)op->residual[2]) < INTEGER_LIMIT))
        return ft_fail(FT_ERR_FORMAT, "tensor '%s.residual': a sum can pass 2^30", op->name);
    return FT_OK;
}

ft_status ft_load_op(ft_loader *loader, ft_model *model, ft_op *op) {
    if (op->kind == FT_OP_LINK || op->kind == FT_OP_ACTIVATE ||
        (op->kind == FT_OP_ADD && !op->amax_out))
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
        return ft_load_encode_dense(loader, op);
    case FT_OP_TABLE:
        return load_bytes(loader, op, "table", 256, &op->table);
    case FT_OP_BOUND:
        return load_bound(loader, op);
    case FT_OP_ADD:
        return load_residual(loader, model, op);
    default:
        return load_input(loader, op);
    }
}

void ft_free_op(ft_op *op) {
    ft_free(op->shift);
    ft_free(op->scale);
    ft_free(op->fill);
    ft_free(op->frequencies);
    ft_pack_free(&op->dense);
    ft_pack_f32_free(&op->dense_f32);
    ft_encoded_free(&op->encoded);
    ft_encoder_free(&op->encoder);
    ft_free(op->table);
    ft_free(op->bound);
    ft_free(op->bound_u8);
}
