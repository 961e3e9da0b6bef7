/* The list of operations: read, and checked for being a model. */
#include "bytes.h"
#include "error.h"
#include "load.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_BYTES 32

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

static bool is_layer(const ft_op *op) {
    return op->kind == FT_OP_DENSE || op->kind == FT_OP_ENCODE_DENSE;
}

/* A layer is kind 3 or 4 and what changes its output in place: kind 6, 7 or 10, then kind 8.
 * The last one has nothing of that. */
static ft_status check_middle(entry e) {
    const uint32_t kind = e.op->kind;
    if (kind != FT_OP_DENSE && !ft_is_in_place(e.op))
        return refuse(e, "kind", kind, "3 (dense), 6, 7, 8 or 10 in the middle");
    if (kind == FT_OP_DENSE)
        return FT_OK;
    if (e.index + 2 == e.count)
        return refuse(e, "kind", kind, "3 or 4 before the link");
    if (kind != FT_OP_ADD && !is_layer(e.before))
        return refuse(e, "kind", kind, "3 or 8 here: 6, 7 and 10 follow 3 or 4");
    return e.before->kind >= FT_OP_DENSE && e.before->kind != FT_OP_ADD
               ? FT_OK
               : refuse(e, "kind", kind, "3 here: 8 follows 3, 4, 6, 7 or 10");
}

/* kind 4, or kind 1, 2 or 9 and kind 3; any number of layers; kind 5. */
static ft_status check_order(entry e) {
    const uint32_t kind = e.op->kind;
    if (e.index == e.count - 1)
        return kind == FT_OP_LINK ? FT_OK : refuse(e, "kind", kind, "5 (link) at the end");
    if (e.index > 0)
        return check_middle(e);
    if (kind == FT_OP_ENCODE_DENSE)
        return FT_OK;
    if (!ft_is_input(e.op))
        return refuse(e, "kind", kind,
                      "1 (standardize), 2 (quantize), 4 (encode_dense) or 9 (periodic) first");
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
    const bool is_periodic = op->kind == FT_OP_PERIODIC;
    if (is_periodic && op->outputs % (2 * op->inputs))
        return refuse(e, "outputs", op->outputs, "a multiple of twice the inputs");
    if (!is_periodic && op->outputs != op->inputs)
        return refuse(e, "outputs", op->outputs, "as many as inputs");
    const bool is_integer = op->kind == FT_OP_QUANTIZE || (is_periodic && op->amax_out);
    if (is_integer && !is_amax(op->amax_out))
        return refuse(e, "amax_out", op->amax_out, "127 or 255");
    const field unused[] = {{"bits", op->bits},
                            {"group_size", op->group_size},
                            {"activation", op->activation},
                            {"storage", op->storage},
                            {"amax_in", op->amax_in},
                            {"amax_out", is_integer ? 0 : op->amax_out}};
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
    if (op[1].kind == FT_OP_TABLE)
        return op->activation == FT_LINEAR
                   ? FT_OK
                   : refuse(e, "activation", op->activation, "0 (none) before a table");
    if (op->activation != FT_RELU)
        return refuse(e, "activation", op->activation, "1 (ReLU) before the last integer layer");
    return FT_OK;
}

static ft_status check_layer(entry e) {
    const ft_op *op = e.op;
    if (op->bits != 32 && op->bits != 8 && op->bits != 4)
        return refuse(e, "bits", op->bits, "32, 8 or 4");
    if (op->storage > 1)
        return refuse(e, "storage", op->storage, "0 (plain) or 1 (coded)");
    if (op->activation > FT_RELU)
        return refuse(e, "activation", op->activation, "0 (none) or 1 (ReLU)");
    const ft_status status = op->bits == 32 ? check_float_layer(e) : check_integer_layer(e);
    if (status != FT_OK || op->kind == FT_OP_ENCODE_DENSE)
        return status;
    return op->amax_in == e.before->amax_out
               ? FT_OK
               : refuse_chain(e, "amax_in", op->amax_in, "amax_out", e.before->amax_out);
}

/* Kinds 6 to 8 and 10: what they change in place must fit them. */
static ft_status check_in_place(entry e) {
    const ft_op *op = e.op;
    const bool is_float = op->kind == FT_OP_ACTIVATE ||
                          (op->kind != FT_OP_TABLE && e.before->amax_out == 0);
    if (op->outputs != op->inputs)
        return refuse(e, "outputs", op->outputs, "as many as inputs");
    if (op->amax_in != e.before->amax_out)
        return refuse_chain(e, "amax_in", op->amax_in, "amax_out", e.before->amax_out);
    if (op->kind == FT_OP_TABLE && op->amax_in == 0)
        return refuse(e, "amax_in", 0, "127 or 255: a table follows an integer layer");
    if (op->kind == FT_OP_ACTIVATE && op->amax_in != 0)
        return refuse(e, "amax_in", op->amax_in, "0: activations follow a float layer");
    if (!is_float && !is_amax(op->amax_out))
        return refuse(e, "amax_out", op->amax_out, "127 or 255");
    if (op->kind == FT_OP_ACTIVATE) {
        if (op->activation < FT_TANH || op->activation > FT_LOGISTIC)
            return refuse(e, "activation", op->activation,
                          "5 (tanh), 6 (GELU), 7 (SiLU) or 8 (sigmoid)");
        if (e.before->activation != FT_LINEAR)
            return refuse(e, "kind", op->kind, "3, 8 or 10 after a layer with ReLU");
    }
    if (op->kind == FT_OP_BOUND && e.before->activation != FT_RELU)
        return refuse(e, "kind", op->kind, "3, 6, 7 or 8 after a layer without ReLU");
    const field unused[] = {{"bits", op->bits},
                            {"group_size", op->group_size},
                            {"storage", op->storage},
                            {"activation", op->kind == FT_OP_ACTIVATE ? 0 : op->activation},
                            {"amax_out", is_float ? op->amax_out : 0},
                            {"tensor", is_float && op->kind != FT_OP_BOUND ? op->tensor : 0}};
    return check_unused(e, unused, sizeof unused / sizeof *unused);
}

/* The output that kind 8 adds: the whole of an earlier layer's, or the input's. */
static ft_status check_source(entry e) {
    const ft_op *op = e.op;
    if (op->kind != FT_OP_ADD)
        return op->source ? refuse(e, "source", op->source, "0") : FT_OK;
    const char *const allowed = "the last operation of an earlier layer";
    if (op->source >= e.index - 1)
        return refuse(e, "source", op->source, allowed);
    const ft_op *source = op - (e.index - op->source);
    if (ft_is_in_place(source + 1))
        return refuse(e, "source", op->source, allowed);
    if (source->outputs != op->inputs || !source->amax_out != !op->amax_in)
        return refuse(e, "source", op->source, "one of the same width and type");
    return FT_OK;
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
    const ft_status source = check_source(e);
    if (source != FT_OK)
        return source;
    return ft_is_input(op)            ? check_input(e)
           : ft_is_in_place(op)       ? check_in_place(e)
           : op->kind == FT_OP_LINK   ? check_link(e)
                                      : check_layer(e);
}

static void decode(const uint8_t *record, ft_op *op) {
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
    op->source = ft_read_u32(record + 28);
}

/* The n-th layer is dense<n>, and so is what changes its output. */
static void name_ops(ft_model *model) {
    uint32_t layers = 0;
    for (uint32_t i = 0; i < model->ops_count; i++) {
        ft_op *op = &model->ops[i];
        if (is_layer(op))
            layers++;
        if (ft_is_input(op))
            snprintf(op->name, sizeof op->name, "input");
        else if (op->kind != FT_OP_LINK && layers)
            snprintf(op->name, sizeof op->name, "dense%" PRIu32, layers - 1);
    }
}

ft_status ft_load_ops(ft_loader *loader, ft_model *model) {
    const ft_tensor *list = ft_load_tensor(loader, "", "ops", FT_U8, 1, FT_ANY, 1);
    if (!list)
        return FT_ERR_FORMAT;
    if (list->size % RECORD_BYTES != 0 || list->size < 2 * RECORD_BYTES)
        return ft_fail(FT_ERR_FORMAT, "tensor 'ops': %zu bytes are not two or more records of 32",
                       list->size);
    /* Every layer has tensors of its own, and up to two operations behind it that may have none:
     * this bounds the allocation. */
    if (list->size / RECORD_BYTES / 3 > loader->file->count)
        return ft_fail(FT_ERR_FORMAT, "tensor 'ops': %zu operations, but only %" PRIu32 " tensors",
                       list->size / RECORD_BYTES, loader->file->count);
    model->ops_count = (uint32_t)(list->size / RECORD_BYTES);
    model->ops = calloc(model->ops_count, sizeof *model->ops);
    if (!model->ops)
        return ft_fail(FT_ERR_MEMORY, "out of memory");

    for (uint32_t i = 0; i < model->ops_count; i++)
        decode(list->data + (size_t)i * RECORD_BYTES, &model->ops[i]);
    name_ops(model);
    for (uint32_t i = 0; i < model->ops_count; i++) {
        const ft_op *op = &model->ops[i];
        const entry e = {op, i ? op - 1 : NULL, i, model->ops_count};
        const ft_status status = check_op(e);
        if (status != FT_OK)
            return status;
    }
    model->features = model->ops[0].inputs;
    model->outputs = model->ops[model->ops_count - 1].outputs;
    return FT_OK;
}
