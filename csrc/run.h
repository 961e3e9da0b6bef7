/* Rows through the operations of a model. */
#ifndef FT_RUN_H
#define FT_RUN_H

#include "model.h"

/* A single row's scratch lies on the stack where it fits there: with the frames of the runner
 * and the kernels, which need little for one row, at most 16 KiB.  A batch has a workspace; its
 * kernels take up to 16 KiB of stack. */
#define FT_STACK_BYTES 14336

/* The first value of x that the model refuses (an infinity, where it standardizes or quantizes
 * its input), or rows * features where there is none. */
size_t ft_refused_value(const ft_model *model, const float *x, size_t rows);

/* Runs in the default floating-point environment.  `scratch`: 64-byte aligned, of
 * model->scratch_bytes; NULL: a single row of at most FT_STACK_BYTES, on the stack. */
void ft_run(const ft_model *model, const float *x, size_t rows, float *scores, void *scratch);

/* Scratch of a batch, or of a row that passes the stack: taken without a lock, kept for later
 * calls. */
ft_status ft_workspaces_create(ft_model *model);
void ft_workspaces_free(ft_model *model);
void *ft_workspace_take(const ft_model *model); /* NULL: out of memory */
void ft_workspace_give(const ft_model *model, void *workspace);

#endif
