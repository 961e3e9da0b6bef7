/* The public calls on a model; opening and running are done in files of their own. */
#include "model.h"

#include "dispatch.h"
#include "env.h"
#include "error.h"
#include "file.h"
#include "load.h"
#include "pack.h"
#include "run.h"

#include <inttypes.h>
#include <stdlib.h>

static size_t bytes_of(const ft_op *op) {
    size_t floats = 0;
    if (ft_is_input(op))
        floats = 3 * (size_t)op->inputs + (op->frequencies ? op->outputs / 2 : 0);
    else if (op->kind == FT_OP_ENCODE_DENSE)
        floats = op->inputs + 2 * (size_t)op->encoded.n_padded;
    else if (op->kind == FT_OP_TABLE)
        floats = 64;
    else if (op->kind == FT_OP_BOUND)
        return op->outputs * (op->bound ? sizeof(float) : 1);
    else if (op->kind == FT_OP_DENSE)
        floats = op->bits == 32 ? op->dense_f32.n_padded : 2 * (size_t)op->dense.n_padded;
    return floats * sizeof(float) + op->dense.bytes + op->dense_f32.bytes + op->encoded.bytes +
           op->encoder.bytes;
}

static ft_status load(const ft_container *file, ft_model *model) {
    ft_loader loader = {file, 0};
    model->isa = ft_isa_current();
    ft_status status = ft_load_ops(&loader, model);
    for (uint32_t i = 0; i < model->ops_count && status == FT_OK; i++) {
        status = ft_load_op(&loader, model, &model->ops[i]);
        model->nbytes += bytes_of(&model->ops[i]);
    }
    if (status == FT_OK)
        status = ft_load_text(&loader, model);
    return status == FT_OK ? ft_plan(model) : status;
}

static FT_NOINLINE ft_status open_bytes(const uint8_t *data, size_t size, ft_model **out) {
    char reason[FT_REASON_MAX];
    ft_container file;
    ft_status status = ft_container_parse(data, size, &file, reason, sizeof reason);
    if (status != FT_OK)
        return ft_fail(status, "%s", reason);
    ft_model *model = calloc(1, sizeof *model);
    status = model ? load(&file, model) : ft_fail(FT_ERR_MEMORY, "out of memory");
    ft_container_free(&file);
    if (status == FT_OK)
        *out = model;
    else
        ft_close(model);
    return status;
}

ft_status ft_open_memory(const void *data, size_t size, ft_model **out) {
    if (!out)
        return ft_fail(FT_ERR_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!data)
        return ft_fail(FT_ERR_ARGUMENT, "data is NULL");
    /* Packing computes the widths of bins: it needs the default environment as running does. */
    const ft_env env = ft_env_enter();
    const ft_status status = open_bytes(data, size, out);
    ft_env_leave(env);
    return status;
}

ft_status ft_open(const char *path, ft_model **out) {
    if (!out)
        return ft_fail(FT_ERR_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!path)
        return ft_fail(FT_ERR_ARGUMENT, "path is NULL");
    uint8_t *data;
    size_t size;
    ft_status status = ft_read_file(path, &data, &size);
    if (status != FT_OK)
        return status;
    status = ft_open_memory(data, size, out);
    free(data);
    return status;
}

void ft_close(ft_model *model) {
    if (!model)
        return;
    for (uint32_t i = 0; i < model->ops_count && model->ops; i++)
        ft_free_op(&model->ops[i]);
    ft_workspaces_free(model);
    ft_free_categories(model);
    ft_free(model->names);
    ft_free(model->name_offsets);
    ft_free(model->info);
    free(model->ops);
    free(model);
}

size_t ft_features(const ft_model *model) {
    return model ? model->features : 0;
}

size_t ft_outputs(const ft_model *model) {
    return model ? model->outputs : 0;
}

/* Names the refused value; a long name is cut between characters. */
static ft_status refuse_value(const ft_model *model, size_t at) {
    const size_t row = at / model->features;
    const uint32_t feature = (uint32_t)(at % model->features);
    if (!model->names)
        return ft_fail(FT_ERR_ARGUMENT,
                       "x: row %zu, feature %" PRIu32
                       " is infinite; this model takes finite values and NaN (missing)",
                       row, feature);
    const char *name = model->names + model->name_offsets[feature];
    uint32_t length = model->name_offsets[feature + 1] - model->name_offsets[feature];
    if (length > 200)
        for (length = 200; ((unsigned char)name[length] & 0xc0) == 0x80;)
            length--;
    return ft_fail(FT_ERR_ARGUMENT,
                   "x: row %zu, feature %" PRIu32
                   " ('%.*s') is infinite; this model takes finite values and NaN (missing)",
                   row, feature, (int)length, name);
}

ft_status ft_predict(const ft_model *model, const float *x, size_t rows, float *scores) {
    if (!model)
        return ft_fail(FT_ERR_ARGUMENT, "model is NULL");
    if (rows == 0)
        return FT_OK;
    if (!x || !scores)
        return ft_fail(FT_ERR_ARGUMENT, "%s is NULL", x ? "scores" : "x");
    const size_t refused = ft_refused_value(model, x, rows);
    if (refused < rows * model->features)
        return refuse_value(model, refused);

    void *workspace = NULL;
    if (rows > 1 || model->row_bytes > FT_STACK_BYTES) {
        workspace = ft_workspace_take(model);
        if (!workspace)
            return ft_fail(FT_ERR_MEMORY, "out of memory");
    }
    const ft_env env = ft_env_enter();
    ft_run(model, x, rows, scores, workspace);
    ft_env_leave(env);
    if (workspace)
        ft_workspace_give(model, workspace);
    return FT_OK;
}
