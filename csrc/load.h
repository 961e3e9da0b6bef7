/* The steps of opening a model, in order.  Each trusts nothing of the file and leaves its
 * reason with ft_fail. */
#ifndef FT_LOAD_H
#define FT_LOAD_H

#include "model.h"

#define FT_MAX_WIDTH (1u << 20)               /* features, inputs, outputs */
#define FT_MAX_WEIGHTS ((uint64_t)1 << 31)    /* of one layer */
#define FT_ANY UINT64_MAX                     /* a size that the file may choose */

/* A file whose tensors are claimed one after the other: none is skipped, none is left. */
typedef struct ft_loader {
    const ft_container *file;
    uint32_t next; /* index of the next tensor */
} ft_loader;

/* The next tensor, which must be called "<owner>.<part>" ("<part>" where owner is "") and have
 * this type and shape (k counts where dims is 2).  NULL where it differs, with the reason left. */
const ft_tensor *ft_load_tensor(ft_loader *loader, const char *owner, const char *part,
                                ft_dtype dtype, uint32_t dims, uint64_t n, uint64_t k);

/* Whether the next tensor has that name: some are there only where a model needs them. */
int ft_next_is(const ft_loader *loader, const char *owner, const char *part);

/* Reads and checks the list of operations: fills the fields of their records and their names. */
ft_status ft_load_ops(ft_loader *loader, ft_model *model);

/* The canonical weights of a layer, n rows of k; one of the two arrays is set. */
typedef struct ft_weights {
    uint32_t n, k;
    int8_t *i8;
    float *f32;
} ft_weights;

/* Reads the `weight` tensor of `op` as w->n rows of w->k, checks the range of every value and
 * counts op->nonzeros.  Whatever the result, free with ft_free_weights. */
ft_status ft_load_weights(ft_loader *loader, ft_op *op, ft_weights *w);
void ft_free_weights(ft_weights *w);

/* Reads the tensors of one operation, checks their values and packs them for model->isa. */
ft_status ft_load_op(ft_loader *loader, ft_model *model, ft_op *op);
void ft_free_op(ft_op *op);

/* Reads feature names, categories and info; no tensor may be left. */
ft_status ft_load_text(ft_loader *loader, ft_model *model);

/* Texts, one after the other in the U8 tensor `<owner>.text`, text i the bytes from offset i to
 * i + 1 of `<owner>.offsets` I32 [count + 1]: UTF-8 without a NUL.  `what` names one of them. */
ft_status ft_load_texts(ft_loader *loader, const char *owner, const char *what, uint32_t count,
                        char **text, uint32_t **offsets);

/* Reads the categories of every categorical feature of the first layer. */
ft_status ft_load_categories(ft_loader *loader, ft_model *model);
void ft_free_categories(ft_model *model);

/* Lays out the scratch of a call. */
ft_status ft_plan(ft_model *model);

#endif
