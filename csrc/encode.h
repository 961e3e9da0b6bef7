/* The fused piecewise-linear first layer: its tables from canonical weights. */
#ifndef FT_ENCODE_H
#define FT_ENCODE_H

#include "kernels.h"

/* A feature with bins[j] bins has bins[j] + 1 edges, or none where bins[j] is 0 (a constant
 * or empty column).  fill[j] is what NaN stands for, or NaN where the feature has a learnt
 * missing input: then one more column of weights follows those of its bins. */
typedef struct ft_encoder_spec {
    uint32_t features;
    const int32_t *bins; /* [features] */
    const float *edges;  /* sum of (bins ? bins + 1 : 0) */
    size_t edge_count;
    const float *fill;   /* [features] */
    uint32_t amax;       /* 127, 255, or 1 for a float layer */
    /* Of a categorical feature, which has no bins: its categories + 1 for any other value; fill
     * is 0 where NaN counts as such.  0 for a numeric feature; NULL: all are numeric. */
    const int32_t *categories;
    /* The columns of a categorical feature's embedding: 0 where each of its table rows (the
     * categories, other, missing) has a column of its own.  NULL: all 0. */
    const int32_t *dims;
    const uint8_t *embedding;     /* dims[j] values for each row of each embedded feature */
    const float *embedding_f32;   /* the same of a float layer; the other one NULL */
} ft_encoder_spec;

#define FT_MAX_BINS 258 /* 257 prefix weights of 127 stay within int16 */
#define FT_MAX_CATEGORY_ROWS (1u << 20) /* of a feature */
#define FT_MAX_EMBEDDING_DIM 256u

/* Values that `embedding` must have: sum of rows * dims. */
uint64_t ft_embedding_size(const ft_encoder_spec *spec);

/* Width of the encoding (columns of weights), or 0 with a reason in why (edges not strictly
 * increasing or not finite, amax / width not finite, too many bins or categories, counts that do
 * not add up).  `feature` receives the offending feature. */
uint32_t ft_encoder_width(const ft_encoder_spec *spec, const char **why, uint32_t *feature);

/* 0 or -1 (memory).  The spec must have passed ft_encoder_width.  The categories' values are 0, 1,
 * ... until the caller sets others, which ft_encoder_free does not free. */
int ft_encoder_build(const ft_encoder_spec *spec, ft_encoder *out);
void ft_encoder_free(ft_encoder *encoder);

/* How far up and down the terms of one output can take an integer sum, `weights` being its row.
 * Every numeric column counts; of a categorical feature the largest and the smallest row. */
typedef struct ft_reach {
    int64_t up, down; /* both >= 0 */
} ft_reach;

/* -1 where a category's contribution is too large for the table: amax * S + r, S an int16. */
int ft_encoder_reach(const ft_encoder_spec *spec, const ft_encoder *encoder, const int8_t *weights,
                     ft_reach *reach);

/* The table of weights [n][width]; int8 values in -127..127 for integer layers, float for
 * float ones (the other pointer NULL).  mult and add stay NULL; ft_encoded_free frees them
 * too, the caller takes them from ft_alloc.  0 or -1 (memory). */
int ft_encoded_build(const ft_encoder_spec *spec, const ft_encoder *encoder, const int8_t *weights,
                     const float *weights_f32, uint32_t n, ft_encoded *out);
void ft_encoded_free(ft_encoded *encoded);

#endif
