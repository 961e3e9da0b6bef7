/* Rows through the operations of a model. */
#ifndef FT_RUN_H
#define FT_RUN_H

#include "model.h"

/* Scratch on the stack: with the frames of the runner at most 16 KiB.  A kernel may take
 * 16 KiB more while it runs. */
#define FT_STACK_BYTES 14336

/* The first value of x that the model refuses (an infinity, where it standardizes or quantizes
 * its input), or rows * features where there is none. */
size_t ft_refused_value(const ft_model *model, const float *x, size_t rows);

/* Runs in the default floating-point environment.  `scratch`: 64-byte aligned, of
 * model->scratch_bytes; NULL: the stack is used, which the plan must allow. */
void ft_run(const ft_model *model, const float *x, size_t rows, float *scores, void *scratch);

/* Scratch for models whose row passes the stack: taken without a lock, kept for later calls. */
ft_status ft_workspaces_create(ft_model *model);
void ft_workspaces_free(ft_model *model);
void *ft_workspace_take(const ft_model *model); /* NULL: out of memory */
void ft_workspace_give(const ft_model *model, void *workspace);

#endif
