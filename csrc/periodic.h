/* Sines and cosines of raw features: the input of a first layer that learns by frequency. */
#ifndef FT_PERIODIC_H
#define FT_PERIODIC_H

#include "kernels.h"

/* sin(2 pi t) and cos(2 pi t), each rounded once to float32, the same bits everywhere; 0 and 1
 * where |t| is 2^51 or more, infinite or NaN. */
void ft_sin_cos(double t, float *sine, float *cosine);

/* For each feature the sines of 2 pi f x' for its m frequencies f, [s->n][m], then their cosines;
 * x' as ft_scale_fn says.  s->out_amax 0: float32; else rne((y + 1) * (out_amax / 2)). */
void ft_periodic(const ft_scaler *s, size_t m, const float *frequencies, const float *x, void *y);

#endif
