#include "bytes.h"
#include "error.h"
#include "load.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_BYTES 32

static const char *const DTYPE_NAMES[] = {
    [FT_U8] = "U8", [FT_I8] = "I8", [FT_I32] = "I32", [FT_F32] = "F32"};

typedef struct shape_text {
    char text[64];
} shape_text;

static shape_text describe(ft_dtype dtype, uint32_t dims, uint64_t n, uint64_t k) {
    shape_text s;
    if (n == FT_ANY)
        snprintf(s.text, sizeof s.text, "%s [any]", DTYPE_NAMES[dtype]);
    else if (dims == 1)
        snprintf(s.text, sizeof s.text, "%s [%" PRIu64 "]", DTYPE_NAMES[dtype], n);
    else
        snprintf(s.text, sizeof s.text, "%s [%" PRIu64 ", %" PRIu64 "]", DTYPE_NAMES[dtype], n, k);
    return s;
}

int ft_next_is(const ft_loader *loader, const char *owner, const char *part) {
    char name[FT_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s.%s", owner, part);
    return loader->next < loader->file->count &&
           !strcmp(loader->file->tensors[loader->next].name, name);
}

const ft_tensor *ft_load_tensor(ft_loader *loader, const char *owner, const char *part,
                                ft_dtype dtype, uint32_t dims, uint64_t n, uint64_t k) {
    char name[FT_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s%s%s", owner, *owner ? "." : "", part);
    if (loader->next >= loader->file->count) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s' is missing", name);
        return NULL;
    }
    const ft_tensor *t = &loader->file->tensors[loader->next];
    if (strcmp(t->name, name) != 0) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s' is missing: tensor %" PRIu32 " is '%s'", name,
                loader->next, t->name);
        return NULL;
    }
    if (t->dtype != dtype || t->dims != dims || (n != FT_ANY && t->shape[0] != n) ||
        (dims == 2 && t->shape[1] != k)) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s': is %s, expected %s", name,
                describe(t->dtype, t->dims, t->shape[0], t->shape[1]).text,
                describe(dtype, dims, n, k).text);
        return NULL;
    }
    loader->next++;
    return t;
}

/* An operation with its place in the list. */
typedef struct entry {
    const ft_op *op, *before; /* before is NULL for the first */
    uint32_t index, count;
} entry;

static bool is_amax(uint32_t value) {
    return value == 127 || value == 255;
}

static ft_status refuse(entry e, const char *field, uint32_t value, const char *allowed) {
    return ft_fail(FT_ERR_FORMAT, "operation %" PRIu32 "%s%s%s: %s is %" PRIu32 ", must be %s",
                   e.index, *e.op->name ? " (" : "", e.op->name, *e.op->name ? ")" : "", field,
                   value, allowed);
}

static ft_status refuse_chain(entry e, const char *field, uint32_t value, const char *before,
                              uint32_t expected) {
    return ft_fail(FT_ERR_FORMAT,
                   "operation %" PRIu32 "%s%s%s: %s is %" PRIu32
                   ", but %s of the operation before it is %" PRIu32,
                   e.index, *e.op->name ? " (" : "", e.op->name, *e.op->name ? ")" : "", field,
                   value, before, expected);
}

/* kind 4, or kind 1 or 2 and kind 3; any number of kind 3; kind 5. */
static ft_status check_order(entry e) {
    const uint32_t kind = e.op->kind;
    if (e.index == e.count - 1)
        return kind == FT_OP_LINK ? FT_OK : refuse(e, "kind", kind, "5 (link) at the end");
    if (e.index > 0)
        return kind == FT_OP_DENSE ? FT_OK : refuse(e, "kind", kind, "3 (dense) in the middle");
    if (kind == FT_OP_ENCODE_DENSE)
        return FT_OK;
    if (kind != FT_OP_STANDARDIZE && kind != FT_OP_QUANTIZE)
        return refuse(e, "kind", kind, "1 (standardize), 2 (quantize) or 4 (encode_dense) first");
    return e.count > 2 ? FT_OK : refuse(e, "kind", kind, "followed by at least one dense layer");
}

typedef struct field {
    const char *name;
    uint32_t value;
} field;

static ft_status check_unused(entry e, const field *fields, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (fields[i].value != 0)
            return refuse(e, fields[i].name, fields[i].value, "0");
    return FT_OK;
}

static ft_status check_input(entry e) {
    const ft_op *op = e.op;
    if (op->outputs != op->inputs)
        return refuse(e, "outputs", op->outputs, "as many as inputs");
    if (op->kind == FT_OP_QUANTIZE && !is_amax(op->amax_out))
        return refuse(e, "amax_out", op->amax_out, "127 or 255");
    const field unused[] = {{"bits", op->bits},
                            {"group_size", op->group_size},
                            {"activation", op->activation},
                            {"storage", op->storage},
                            {"amax_in", op->amax_in},
                            {"amax_out", op->kind == FT_OP_QUANTIZE ? 0 : op->amax_out}};
    return check_unused(e, unused, sizeof unused / sizeof *unused);
}

static ft_status check_float_layer(entry e) {
    const field unused[] = {{"group_size", e.op->group_size},
                            {"amax_in", e.op->amax_in},
                            {"amax_out", e.op->amax_out}};
    return check_unused(e, unused, sizeof unused / sizeof *unused);
}

static ft_status check_integer_layer(entry e) {
    const ft_op *op = e.op;
    const bool grouped = op->kind == FT_OP_DENSE && op->bits == 4;
    if (op->group_size != 0 && (!grouped || (op->group_size != 32 && op->group_size != 64)))
        return refuse(e, "group_size", op->group_size, grouped ? "0, 32 or 64" : "0");
    if (!is_amax(op->amax_in))
        return refuse(e, "amax_in", op->amax_in, "127 or 255 for integer weights");
    if (e.index + 2 == e.count) {
        if (op->amax_out != 0)
            return refuse(e, "amax_out", op->amax_out, "0 in the last layer");
        if (op->activation != FT_LINEAR)
            return refuse(e, "activation", op->activation, "0 in the last integer layer");
        return FT_OK;
    }
    if (!is_amax(op->amax_out))
        return refuse(e, "amax_out", op->amax_out, "127 or 255 before the last integer layer");
    if (op->activation != FT_RELU)
        return refuse(e, "activation", op->activation, "1 (ReLU) before the last integer layer");
    return FT_OK;
}

static ft_status check_layer(entry e) {
    const ft_op *op = e.op;
    if (op->bits != 32 && op->bits != 8 && op->bits != 4)
        return refuse(e, "bits", op->bits, "32, 8 or 4");
    if (op->storage > 1)
        return refuse(e, "storage", op->storage, "0 (plain) or 1 (Rice-coded)");
    if (op->activation > FT_RELU)
        return refuse(e, "activation", op->activation, "0 (none) or 1 (ReLU)");
    const ft_status status = op->bits == 32 ? check_float_layer(e) : check_integer_layer(e);
    if (status != FT_OK || op->kind == FT_OP_ENCODE_DENSE)
        return status;
    return op->amax_in == e.before->amax_out
               ? FT_OK
               : refuse_chain(e, "amax_in", op->amax_in, "amax_out", e.before->amax_out);
}

static ft_status check_link(entry e) {
    const ft_op *op = e.op;
    if (op->outputs != op->inputs)
        return refuse(e, "outputs", op->outputs, "as many as inputs");
    if (op->activation == FT_RELU || op->activation > FT_EXP)
        return refuse(e, "activation", op->activation,
                      "0 (none), 2 (sigmoid), 3 (softmax) or 4 (exp)");
    const field unused[] = {{"bits", op->bits},       {"tensor", op->tensor},
                            {"storage", op->storage}, {"group_size", op->group_size},
                            {"amax_in", op->amax_in}, {"amax_out", op->amax_out}};
    return check_unused(e, unused, sizeof unused / sizeof *unused);
}

static ft_status check_op(entry e) {
    const ft_op *op = e.op;
    const ft_status status = check_order(e);
    if (status != FT_OK)
        return status;
    if (op->inputs < 1 || op->inputs > FT_MAX_WIDTH)
        return refuse(e, "inputs", op->inputs, "1 to 1048576");
    if (op->outputs < 1 || op->outputs > FT_MAX_WIDTH)
        return refuse(e, "outputs", op->outputs, "1 to 1048576");
    if (e.before && op->inputs != e.before->outputs)
        return refuse_chain(e, "inputs", op->inputs, "outputs", e.before->outputs);
    switch (op->kind) {
    case FT_OP_STANDARDIZE:
    case FT_OP_QUANTIZE:
        return check_input(e);
    case FT_OP_LINK:
        return check_link(e);
    default:
        return check_layer(e);
    }
}

/* The fields of a record; returns the reserved one. */
static uint32_t decode(const uint8_t *record, ft_op *op) {
    op->kind = ft_read_u16(record);
    op->bits = ft_read_u16(record + 2);
    op->inputs = ft_read_u32(record + 4);
    op->outputs = ft_read_u32(record + 8);
    op->tensor = ft_read_u32(record + 12);
    op->group_size = ft_read_u32(record + 16);
    op->activation = ft_read_u16(record + 20);
    op->storage = ft_read_u16(record + 22);
    op->amax_in = ft_read_u16(record + 24);
    op->amax_out = ft_read_u16(record + 26);
    return ft_read_u32(record + 28);
}

ft_status ft_load_ops(ft_loader *loader, ft_model *model) {
    const ft_tensor *list = ft_load_tensor(loader, "", "ops", FT_U8, 1, FT_ANY, 1);
    if (!list)
        return FT_ERR_FORMAT;
    if (list->size % RECORD_BYTES != 0 || list->size < 2 * RECORD_BYTES)
        return ft_fail(FT_ERR_FORMAT, "tensor 'ops': %zu bytes are not two or more records of 32",
                       list->size);
    /* Every operation but the link has tensors of its own: this bounds the allocation. */
    if (list->size / RECORD_BYTES > loader->file->count)
        return ft_fail(FT_ERR_FORMAT, "tensor 'ops': %zu operations, but only %" PRIu32 " tensors",
                       list->size / RECORD_BYTES, loader->file->count);
    model->ops_count = (uint32_t)(list->size / RECORD_BYTES);
    model->ops = calloc(model->ops_count, sizeof *model->ops);
    if (!model->ops)
        return ft_fail(FT_ERR_MEMORY, "out of memory");

    uint32_t layers = 0;
    for (uint32_t i = 0; i < model->ops_count; i++) {
        ft_op *op = &model->ops[i];
        const uint32_t reserved = decode(list->data + (size_t)i * RECORD_BYTES, op);
        if (op->kind == FT_OP_DENSE || op->kind == FT_OP_ENCODE_DENSE)
            snprintf(op->name, sizeof op->name, "dense%" PRIu32, layers++);
        else if (op->kind == FT_OP_STANDARDIZE || op->kind == FT_OP_QUANTIZE)
            snprintf(op->name, sizeof op->name, "input");
        const entry e = {op, i ? op - 1 : NULL, i, model->ops_count};
        const ft_status status =
            reserved ? refuse(e, "the reserved field", reserved, "0") : check_op(e);
        if (status != FT_OK)
            return status;
    }
    model->features = model->ops[0].inputs;
    model->outputs = model->ops[model->ops_count - 1].outputs;
    return FT_OK;
}
