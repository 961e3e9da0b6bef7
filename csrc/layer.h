/* What the loaders of layers share. */
#ifndef FT_LAYER_H
#define FT_LAYER_H

#include "load.h"

/* A layer's multipliers and offsets, padded with 0 to whole panels of any ISA. */
typedef struct ft_affine {
    float *mult, *add;
} ft_affine;

ft_status ft_no_memory(void);
uint32_t ft_whole_panels(uint32_t n);

/* The F32 tensor [count], padded with 0 to `padded` values. */
ft_status ft_load_floats(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                         size_t padded, float **out);
ft_status ft_load_finite(ft_loader *loader, const ft_op *op, const char *part, uint64_t count,
                         size_t padded, float **out);

/* `mult` and `add` of op->outputs, not yet checked. */
ft_status ft_load_affine(ft_loader *loader, const ft_op *op, ft_affine *out);

/* The limits that keep the sum of output n and its value exact, or finite. */
ft_status ft_check_reach(const ft_op *op, uint32_t n, ft_reach reach, float mult, float add);

/* Not too many weights. */
ft_status ft_check_size(const ft_op *op);

ft_status ft_load_encode_dense(ft_loader *loader, ft_op *op);

#endif
