/* The canonical weights of one layer from its `weight` tensor, plain or coded. */
#include "bytes.h"
#include "coding.h"
#include "error.h"
#include "load.h"
#include "pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

/* A coded row of zeros takes a few bits whatever its length, so a small file could ask
 * for any amount of memory.  Layers up to the base are let pass; beyond it a byte stands
 * for at most this many weights (in a layer pruned to one in a thousand, for about 500). */
#define CODED_BASE_WEIGHTS ((uint64_t)1 << 24)
#define CODED_WEIGHTS_PER_BYTE 1024

/* The value of the low `bits` bits of a pattern. */
static void set_weight(ft_weights *w, uint32_t bits, size_t at, uint32_t pattern) {
    if (bits == 32)
        w->f32[at] = ft_float_of(pattern);
    else if (bits == 4)
        w->i8[at] = (int8_t)((int32_t)(pattern & 15) - (pattern & 8 ? 16 : 0));
    else
        w->i8[at] = (int8_t)((int32_t)(pattern & 255) - (pattern & 128 ? 256 : 0));
}

/* The tensor that holds the weights; its size bounds what is then allocated. */
static const ft_tensor *claim(ft_loader *loader, const ft_op *op, const ft_weights *w) {
    if (op->storage == 0 && op->bits == 4)
        return ft_load_tensor(loader, op->name, "weight", FT_U8, 2, w->n, ((uint64_t)w->k + 1) / 2);
    if (op->storage == 0)
        return ft_load_tensor(loader, op->name, "weight", op->bits == 32 ? FT_F32 : FT_I8, 2, w->n,
                              w->k);
    const ft_tensor *t = ft_load_tensor(loader, op->name, "weight", FT_U8, 1, FT_ANY, 1);
    const uint64_t count = (uint64_t)w->n * w->k;
    if (t && count > CODED_BASE_WEIGHTS && count / CODED_WEIGHTS_PER_BYTE > t->size) {
        ft_fail(FT_ERR_FORMAT, "layer %s: %zu bytes for %" PRIu64 " weights, at most %d a byte",
                op->name, t->size, count, CODED_WEIGHTS_PER_BYTE);
        return NULL;
    }
    return t;
}

static ft_status decode_coded(const ft_op *op, const ft_tensor *t, ft_weights *w) {
    const size_t count = (size_t)w->n * w->k;
    uint32_t *patterns = ft_alloc(count, sizeof *patterns);
    if (!patterns)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    const int fault = ft_coding_decode(t->data, t->size, w->n, w->k, op->bits, patterns);
    for (size_t i = 0; !fault && i < count; i++)
        set_weight(w, op->bits, i, patterns[i]);
    ft_free(patterns);
    if (fault == -2)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    if (fault)
        return ft_fail(FT_ERR_FORMAT,
                       "layer %s: the coded weights are not exactly %" PRIu32 " x %" PRIu32
                       " values of %" PRIu32 " bits",
                       op->name, w->n, w->k, op->bits);
    return FT_OK;
}

static ft_status decode_nibbles(const ft_op *op, const ft_tensor *t, ft_weights *w) {
    const size_t row_bytes = ((size_t)w->k + 1) / 2;
    for (size_t i = 0; i < w->n; i++) {
        const uint8_t *row = t->data + i * row_bytes;
        for (size_t j = 0; j < w->k; j++)
            set_weight(w, 4, i * w->k + j, row[j / 2] >> (j % 2 * 4));
        if (w->k % 2 && row[row_bytes - 1] >> 4 != 0)
            return ft_fail(FT_ERR_FORMAT, "layer %s, output %zu: the padding nibble is not 0",
                           op->name, i);
    }
    return FT_OK;
}

static ft_status decode_plain(const ft_op *op, const ft_tensor *t, ft_weights *w) {
    const size_t count = (size_t)w->n * w->k;
    for (size_t i = 0; i < count; i++)
        set_weight(w, op->bits, i, op->bits == 32 ? ft_read_u32(t->data + 4 * i) : t->data[i]);
    return FT_OK;
}

/* Counts the weights that are not 0 and refuses those that no kernel is proven for. */
static ft_status check_weights(ft_op *op, const ft_weights *w) {
    const int32_t lowest = op->bits == 4 ? -7 : -127;
    for (size_t i = 0; i < w->n; i++) {
        for (size_t j = 0; j < w->k; j++) {
            const size_t at = i * w->k + j;
            const bool is_float = op->bits == 32;
            if (is_float && !isfinite(w->f32[at]))
                return ft_fail(FT_ERR_FORMAT, "layer %s, output %zu: weight %zu is not finite",
                               op->name, i, j);
            if (!is_float && w->i8[at] < lowest)
                return ft_fail(FT_ERR_FORMAT,
                               "layer %s, output %zu: weight %zu is %d, the least allowed is %d",
                               op->name, i, j, w->i8[at], (int)lowest);
            op->nonzeros += is_float ? w->f32[at] != 0.0f : w->i8[at] != 0;
        }
    }
    return FT_OK;
}

ft_status ft_load_weights(ft_loader *loader, ft_op *op, ft_weights *w) {
    const ft_tensor *t = claim(loader, op, w);
    if (!t)
        return FT_ERR_FORMAT;
    const size_t count = (size_t)w->n * w->k;
    if (op->bits == 32)
        w->f32 = ft_alloc(count, sizeof *w->f32);
    else
        w->i8 = ft_alloc(count, sizeof *w->i8);
    if (!w->f32 && !w->i8)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    ft_status status;
    if (op->storage == 1)
        status = decode_coded(op, t, w);
    else if (op->bits == 4)
        status = decode_nibbles(op, t, w);
    else
        status = decode_plain(op, t, w);
    return status == FT_OK ? check_weights(op, w) : status;
}

void ft_free_weights(ft_weights *w) {
    ft_free(w->i8);
    ft_free(w->f32);
    *w = (ft_weights){0};
}
