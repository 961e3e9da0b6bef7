#include "run.h"

#include "env.h"
#include "link.h"

#include <string.h>

/* Loops over values go in blocks of this many, which compilers turn into vector code at -O2
 * where they leave a loop of unknown length alone. */
#define BLOCK 16

static uint32_t pattern_of(float x) {
    uint32_t pattern;
    memcpy(&pattern, &x, sizeof pattern);
    return pattern;
}

static uint32_t is_infinite(float x) {
    return (pattern_of(x) & 0x7fffffff) == 0x7f800000;
}

size_t ft_refused_value(const ft_model *model, const float *x, size_t rows) {
    const size_t count = rows * model->features;
    if (model->ops[0].kind == FT_OP_ENCODE_DENSE)
        return count;
    uint32_t any[BLOCK] = {0};
    size_t at = 0;
    for (; at + BLOCK <= count; at += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            any[i] |= is_infinite(x[at + i]);
    uint32_t found = 0;
    for (size_t i = 0; i < BLOCK; i++)
        found |= any[i];
    if (found)
        at = 0; /* search from the start, else only what is left */
    while (at < count && !is_infinite(x[at]))
        at++;
    return at;
}

static float standardized(float x, float fill, float shift, float scale) {
    const float centred = (x == x ? x : fill) - shift;
    return centred * scale;
}

static void standardize(const ft_op *op, const float *restrict x, float *restrict y) {
    const float *fill = op->fill, *shift = op->shift, *scale = op->scale;
    size_t at = 0;
    for (; at + BLOCK <= op->inputs; at += BLOCK)
        for (size_t i = at; i < at + BLOCK; i++)
            y[i] = standardized(x[i], fill[i], shift[i], scale[i]);
    for (; at < op->inputs; at++)
        y[at] = standardized(x[at], fill[at], shift[at], scale[at]);
}

/* Adding 2^23 leaves a value of 0..255, rounded to nearest even, in the low byte. */
static uint8_t quantized(float v, float amax) {
    v = v > 0.0f ? v : 0.0f;
    v = v < amax ? v : amax;
    return (uint8_t)pattern_of(v + 8388608.0f);
}

static void quantize(const ft_op *op, const float *restrict x, uint8_t *restrict y) {
    const float *fill = op->fill, *shift = op->shift, *scale = op->scale;
    const float amax = (float)op->amax_out;
    size_t at = 0;
    for (; at + BLOCK <= op->inputs; at += BLOCK)
        for (size_t i = at; i < at + BLOCK; i++)
            y[i] = quantized(standardized(x[i], fill[i], shift[i], scale[i]), amax);
    for (; at < op->inputs; at++)
        y[at] = quantized(standardized(x[at], fill[at], shift[at], scale[at]), amax);
}

static ft_store store_of(const ft_op *op) {
    return op->amax_out ? FT_STORE_U8 : FT_STORE_F32;
}

/* One tile: from `in` (rows `in_stride` bytes apart) through one operation to `out`. */
static void run_op(const ft_model *model, const ft_op *op, size_t rows, const char *in,
                   size_t in_stride, uint32_t *codes, char *out) {
    const ft_isa *isa = model->isa;
    switch (op->kind) {
    case FT_OP_STANDARDIZE:
        for (size_t i = 0; i < rows; i++)
            standardize(op, (const float *)(in + i * in_stride), (float *)(out + i * op->stride));
        break;
    case FT_OP_QUANTIZE:
        for (size_t i = 0; i < rows; i++)
            quantize(op, (const float *)(in + i * in_stride), (uint8_t *)(out + i * op->stride));
        break;
    case FT_OP_ENCODE_DENSE: {
        ft_encode_fn *encode = op->bits == 32 ? isa->encode_f32 : isa->encode;
        for (size_t i = 0; i < rows; i++)
            encode(&op->encoded, store_of(op), (const float *)(in + i * in_stride), codes,
                   out + i * op->stride);
        break;
    }
    default:
        if (op->bits == 32)
            isa->gemm_f32.run(&op->dense_f32, rows, (const float *)in, in_stride / sizeof(float),
                              (float *)out, op->stride / sizeof(float));
        else
            isa->gemm.run(&op->dense, store_of(op), rows, (const uint8_t *)in, in_stride, out,
                          op->stride / (op->amax_out ? 1 : sizeof(float)));
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
        else
            memcpy(scores, z, n * sizeof *scores);
        for (uint32_t j = 0; j < n; j++)
            scores[j] = canonical(scores[j]);
    }
}

static void run_tiles(const ft_model *model, const float *x, size_t rows, float *scores,
                      char *scratch) {
    uint32_t *codes = (uint32_t *)scratch;
    char *areas[2] = {scratch + model->codes_bytes,
                      scratch + model->codes_bytes + model->area_bytes[0]};
    const uint32_t last = model->ops_count - 1;
    for (size_t row = 0, count; row < rows; row += count) {
        count = rows - row < model->tile ? rows - row : model->tile;
        const char *in = (const char *)(x + row * model->features);
        size_t stride = model->features * sizeof *x;
        for (uint32_t i = 0; i < last; i++) {
            run_op(model, &model->ops[i], count, in, stride, codes, areas[i % 2]);
            in = areas[i % 2];
            stride = model->ops[i].stride;
        }
        run_link(&model->ops[last], count, in, stride, scores + row * model->outputs);
    }
}

static void run_on_stack(const ft_model *model, const float *x, size_t rows, float *scores) {
    _Alignas(64) char scratch[FT_STACK_BYTES];
    run_tiles(model, x, rows, scores, scratch);
}

FT_NOINLINE void ft_run(const ft_model *model, const float *x, size_t rows, float *scores,
                        void *scratch) {
    if (scratch)
        run_tiles(model, x, rows, scores, scratch);
    else
        run_on_stack(model, x, rows, scores);
}
