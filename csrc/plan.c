/* Where the values of a call live, and how many rows it runs at once. */
#include "error.h"
#include "load.h"
#include "run.h"

#include <inttypes.h>

#define MAX_TILE 40            /* rows; a layer's weights are read once for that many */
#define WORKSPACE_BYTES 262144 /* what a tile may fill: half an L2 */

/* An odd number of cache lines: rows that lay a multiple of 4 KiB apart would compete for the
 * same lines of the first-level cache. */
static size_t stride_of(size_t bytes) {
    return ((bytes + 63) / 64 | 1) * 64;
}

/* Bytes that an operation writes for a row, padding included. */
static size_t written(const ft_op *op) {
    switch (op->kind) {
    case FT_OP_DENSE:
        if (op->bits == 32)
            return (size_t)op->dense_f32.n_padded * sizeof(float);
        return (size_t)op->dense.n_padded * (op->amax_out ? 1 : sizeof(float));
    case FT_OP_ENCODE_DENSE:
        return (size_t)op->encoded.n_padded * (op->amax_out ? 1 : sizeof(float));
    default:
        return (size_t)op->outputs * (op->amax_out ? 1 : sizeof(float));
    }
}

/* Bytes that an operation reads of a row in scratch. */
static size_t read_by(const ft_op *op) {
    if (op->kind == FT_OP_DENSE && op->bits != 32)
        return op->dense.k_padded;
    return (size_t)op->inputs * sizeof(float);
}

/* The operation that next reads the output of operation i, once it has been changed in place. */
static uint32_t reader(const ft_model *model, uint32_t i) {
    do
        i++;
    while (ft_is_in_place(&model->ops[i]));
    return i;
}

/* The last operation that reads the output of operation i, by way of what changes it. */
static uint32_t last_reader(const ft_model *model, uint32_t i) {
    const uint32_t next = reader(model, i);
    uint32_t last = next;
    for (uint32_t j = next; j < model->ops_count; j++)
        if (model->ops[j].kind == FT_OP_ADD && model->ops[j].source == next - 1)
            last = j;
    return last;
}

/* Every output gets the first area that no later operation reads any more. */
static ft_status place(ft_model *model) {
    uint32_t free_from[FT_AREAS] = {0};
    for (uint32_t i = 0; i + 1 < model->ops_count; i++) {
        ft_op *op = &model->ops[i];
        if (ft_is_in_place(op)) {
            op->stride = op[-1].stride;
            op->area = op[-1].area;
            continue;
        }
        const size_t out = written(op), in = read_by(&model->ops[reader(model, i)]);
        op->stride = (uint32_t)stride_of(out > in ? out : in);
        while (op->area < FT_AREAS && free_from[op->area] > i)
            op->area++;
        if (op->area == FT_AREAS)
            return ft_fail(FT_ERR_FORMAT,
                           "operation %" PRIu32 " (%s): two earlier outputs are still to be added, "
                           "one is allowed",
                           i, op->name);
        free_from[op->area] = last_reader(model, i) + 1;
        size_t *area = &model->area_bytes[op->area];
        if (op->stride > *area)
            *area = op->stride;
        if (op->kind == FT_OP_ENCODE_DENSE)
            model->codes_bytes = FT_CODES_BYTES(op->encoder.used);
    }
    return FT_OK;
}

ft_status ft_plan(ft_model *model) {
    const ft_status status = place(model);
    if (status != FT_OK)
        return status;
    size_t row = 0;
    for (uint32_t i = 0; i < FT_AREAS; i++)
        row += model->area_bytes[i];
    model->row_bytes = model->codes_bytes + row;

    size_t tile = 1, multiple = model->isa->gemm.mr;
    if (model->row_bytes < WORKSPACE_BYTES)
        tile = (WORKSPACE_BYTES - model->codes_bytes) / row;
    if (tile > MAX_TILE)
        tile = MAX_TILE;
    model->shared_bytes = model->codes_bytes;
    for (uint32_t i = 0; i < model->ops_count; i++) {
        const size_t needed = model->ops[i].dense.scratch_bytes;
        if (needed)
            multiple = model->isa->lists.rows;
        if (needed > model->shared_bytes)
            model->shared_bytes = needed;
    }
    if (tile > multiple)
        tile -= tile % multiple;
    model->tile = (uint32_t)tile;
    model->scratch_bytes = model->shared_bytes + tile * row;
    return ft_workspaces_create(model);
}
