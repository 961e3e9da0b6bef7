#include "run.h"

#include "activation.h"
#include "env.h"
#include "link.h"
#include "periodic.h"

#include <string.h>

size_t ft_refused_value(const ft_model *model, const float *x, size_t rows) {
    const size_t count = rows * model->features;
    return model->ops[0].kind == FT_OP_ENCODE_DENSE ? count : model->isa->find_infinity(x, count);
}

static ft_store store_of(const ft_op *op) {
    return op->amax_out ? FT_STORE_U8 : FT_STORE_F32;
}

/* One tile changed where it lies; `added` is the output that FT_OP_ADD adds. */
static void run_in_place(const ft_op *op, size_t rows, char *row, const ft_op *source,
                         const char *added) {
    const uint32_t n = op->outputs;
    for (size_t i = 0; i < rows; i++, row += op->stride, added += source->stride) {
        if (op->kind == FT_OP_TABLE)
            ft_look_up(op->table, n, (uint8_t *)row);
        else if (op->kind == FT_OP_ACTIVATE)
            ft_activate(op->activation, n, (float *)row);
        else if (op->amax_out)
            ft_add_u8(op->residual, op->amax_out, n, (const uint8_t *)added, (uint8_t *)row);
        else
            ft_add_f32(n, (const float *)added, (float *)row);
    }
}

/* One tile: from `in` (rows `in_stride` bytes apart) through one operation to its area. */
static void run_op(const ft_model *model, const ft_op *op, size_t rows, const char *in,
                   size_t in_stride, void *scratch, char *const *areas) {
    const ft_isa *isa = model->isa;
    char *out = areas[op->area];
    switch (op->kind) {
    case FT_OP_STANDARDIZE:
    case FT_OP_QUANTIZE: {
        const ft_scaler scaler = {op->inputs, op->amax_out, op->shift, op->scale, op->fill};
        for (size_t i = 0; i < rows; i++)
            isa->scale(&scaler, store_of(op), (const float *)(in + i * in_stride),
                       out + i * op->stride);
        break;
    }
    case FT_OP_PERIODIC: {
        const ft_scaler scaler = {op->inputs, op->amax_out, op->shift, op->scale, op->fill};
        for (size_t i = 0; i < rows; i++)
            ft_periodic(&scaler, op->outputs / op->inputs / 2, op->frequencies,
                        (const float *)(in + i * in_stride), out + i * op->stride);
        break;
    }
    case FT_OP_ENCODE_DENSE: {
        ft_encode_fn *encode = op->bits == 32 ? isa->encode_f32 : isa->encode;
        for (size_t i = 0; i < rows; i++)
            encode(&op->encoded, store_of(op), (const float *)(in + i * in_stride), scratch,
                   out + i * op->stride);
        break;
    }
    case FT_OP_TABLE:
    case FT_OP_ACTIVATE:
    case FT_OP_ADD: {
        const ft_op *source = &model->ops[op->source];
        run_in_place(op, rows, out, source, areas[source->area]);
        break;
    }
    default:
        if (op->bits == 32)
            isa->gemm_f32.run(&op->dense_f32, rows, (const float *)in, in_stride / sizeof(float),
                              (float *)out, op->stride / sizeof(float));
        else
            op->dense.run(&op->dense, store_of(op), rows, (const uint8_t *)in, in_stride, out,
                          op->stride / (op->amax_out ? 1 : sizeof(float)), scratch);
    }
}

/* The sign and payload of a NaN depend on the CPU that made it: one is as good as another. */
static float canonical(float z) {
    return z == z ? z : __builtin_nanf("");
}

static void run_link(const ft_op *op, size_t rows, const char *in, size_t in_stride,
                     float *scores) {
    const uint32_t n = op->outputs;
    for (size_t i = 0; i < rows; i++, scores += n) {
        const float *z = (const float *)(in + i * in_stride);
        if (op->activation == FT_SOFTMAX)
            ft_softmax(z, n, scores);
        else if (op->activation == FT_SIGMOID)
            for (uint32_t j = 0; j < n; j++)
                scores[j] = ft_sigmoid(z[j]);
        else if (op->activation == FT_EXP)
            for (uint32_t j = 0; j < n; j++)
                scores[j] = ft_exp(z[j]);
        else
            memcpy(scores, z, n * sizeof *scores);
        for (uint32_t j = 0; j < n; j++)
            scores[j] = canonical(scores[j]);
    }
}

static void run_tiles(const ft_model *model, size_t tile, const float *x, size_t rows,
                      float *scores, char *scratch) {
    char *areas[FT_AREAS];
    char *next = scratch + (tile == 1 ? model->codes_bytes : model->shared_bytes);
    for (uint32_t i = 0; i < FT_AREAS; i++) {
        areas[i] = next;
        next += tile * model->area_bytes[i];
    }
    const uint32_t last = model->ops_count - 1;
    for (size_t row = 0, count; row < rows; row += count) {
        count = rows - row < tile ? rows - row : tile;
        const char *in = (const char *)(x + row * model->features);
        size_t stride = model->features * sizeof *x;
        for (uint32_t i = 0; i < last; i++) {
            const ft_op *op = &model->ops[i];
            run_op(model, op, count, in, stride, scratch, areas);
            in = areas[op->area];
            stride = op->stride;
        }
        run_link(&model->ops[last], count, in, stride, scores + row * model->outputs);
    }
}

static void run_on_stack(const ft_model *model, const float *x, float *scores) {
    _Alignas(64) char scratch[FT_STACK_BYTES];
    run_tiles(model, 1, x, 1, scores, scratch);
}

FT_NOINLINE void ft_run(const ft_model *model, const float *x, size_t rows, float *scores,
                        void *scratch) {
    if (scratch)
        run_tiles(model, model->tile, x, rows, scores, scratch);
    else
        run_on_stack(model, x, scores);
}
