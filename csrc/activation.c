#include "activation.h"

#include "exp.h"
#include "link.h"
#include "model.h"

/* Below this 1 - exp(-2x) loses more of x than float32 would: the series of tanh, whose next term
 * is x^6 / 18 of the result. */
#define SMALL 0x1p-10

float ft_tanh(float x) {
    const double z = x, size = x < 0 ? -z : z;
    if (size < SMALL) {
        const double square = z * z;
        return (float)(z + z * square * (square * (2.0 / 15) - 1.0 / 3));
    }
    const double e = ft_exp_negative(-2 * size);
    const double t = (1 - e) / (1 + e);
    return (float)(x < 0 ? -t : t);
}

/* x * sigmoid(t); 0 where that is far under float32's smallest number. */
static float gate(double x, double t) {
    if (t < FT_EXP_LOWEST) return 0.0f;
    const double e = ft_exp_negative(t > 0 ? -t : t);
    return (float)(t > 0 ? x / (1 + e) : x * e / (1 + e));
}

float ft_gelu(float x) {
    const double z = x;
    return gate(z, 1.59576912160573071176 * (z + 0.044715 * z * z * z));
}

float ft_silu(float x) { return gate(x, x); }

void ft_activate(uint32_t activation, size_t n, float *y) {
    float (*const run)(float) = activation == FT_TANH   ? ft_tanh
                                : activation == FT_GELU ? ft_gelu
                                : activation == FT_SILU ? ft_silu
                                                        : ft_sigmoid;
    for (size_t i = 0; i < n; i++) y[i] = run(y[i]);
}

void ft_look_up(const uint8_t *table, size_t n, uint8_t *y) {
    for (size_t i = 0; i < n; i++) y[i] = table[y[i]];
}

/* Values that compilers take at once where they may. */
#define BLOCK 16

void ft_bound_f32(const float *restrict bound, size_t n, float *restrict y) {
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        for (size_t j = i; j < i + BLOCK; j++) y[j] = y[j] < bound[j] ? y[j] : bound[j];
    for (; i < n; i++) y[i] = y[i] < bound[i] ? y[i] : bound[i];
}

void ft_bound_u8(const uint8_t *restrict bound, size_t n, uint8_t *restrict y) {
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        for (size_t j = i; j < i + BLOCK; j++) y[j] = y[j] < bound[j] ? y[j] : bound[j];
    for (; i < n; i++) y[i] = y[i] < bound[i] ? y[i] : bound[i];
}

void ft_add_u8(const float *r, uint32_t amax, size_t n, const uint8_t *x, uint8_t *y) {
    const float top = (float)amax;
    for (size_t i = 0; i < n; i++) {
        const float own = (float)y[i] * r[0], added = (float)x[i] * r[1];
        const float sum = own + added;
        const float shifted = sum + r[2];
        const float low = shifted > 0.0f ? shifted : 0.0f;
        y[i] = (uint8_t)ft_round_even(low < top ? low : top);
    }
}

void ft_add_f32(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}
