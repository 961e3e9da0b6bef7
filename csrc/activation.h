/* What changes the output of a layer where it lies, value by value. */
#ifndef FT_ACTIVATION_H
#define FT_ACTIVATION_H

#include <stddef.h>
#include <stdint.h>

/* The activation (FT_TANH to FT_LOGISTIC of model.h) of n values: computed in double with the
 * exponential function of exp.h, rounded once to float32. */
void ft_activate(uint32_t activation, size_t n, float *y);

/* tanh(x) */
float ft_tanh(float x);
/* x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is the tanh form of GELU (Hendrycks and
 * Gimpel 2016) */
float ft_gelu(float x);
/* x * sigmoid(x) */
float ft_silu(float x);

/* y = table[y] */
void ft_look_up(const uint8_t *table, size_t n, uint8_t *y);

/* y = the smaller of y and its own bound */
void ft_bound_f32(const float *restrict bound, size_t n, float *restrict y);
void ft_bound_u8(const uint8_t *restrict bound, size_t n, uint8_t *restrict y);

/* y = sat(rne((y * r[0] + x * r[1]) + r[2])) in 0..amax, each operation in float32 */
void ft_add_u8(const float *r, uint32_t amax, size_t n, const uint8_t *x, uint8_t *y);

/* y = y + x */
void ft_add_f32(size_t n, const float *x, float *y);

#endif
