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
} ft_encoder_spec;

/* Width of the encoding (columns of weights), or 0 with a reason in why (edges not strictly
 * increasing or not finite, amax / width not finite, too many bins, counts that do not add
 * up).  `feature` receives the offending feature. */
uint32_t ft_encoder_width(const ft_encoder_spec *spec, const char **why, uint32_t *feature);

/* 0 or -1 (memory).  The spec must have passed ft_encoder_width. */
int ft_encoder_build(const ft_encoder_spec *spec, ft_encoder *out);
void ft_encoder_free(ft_encoder *encoder);

/* The table of weights [n][width]; int8 values in -127..127 for integer layers, float for
 * float ones (the other pointer NULL).  mult and add stay NULL; ft_encoded_free frees them
 * too, the caller takes them from ft_alloc.  0 or -1 (memory). */
int ft_encoded_build(const ft_encoder_spec *spec, const ft_encoder *encoder, const int8_t *weights,
                     const float *weights_f32, uint32_t n, ft_encoded *out);
void ft_encoded_free(ft_encoded *encoded);

#endif
