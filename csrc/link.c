#include "link.h"

#include "exp.h"

float ft_exp(float z) {
    if (z != z) return z;
    const double x = z < FT_EXP_HIGHEST ? z : FT_EXP_HIGHEST;
    return (float)ft_exp_within(x > FT_EXP_LOWEST ? x : FT_EXP_LOWEST);
}

float ft_sigmoid(float z) {
    const double e = ft_exp_negative(z > 0.0f ? -(double)z : (double)z);
    return (float)((z > 0.0f ? 1.0 : e) / (1.0 + e));
}

/* The exponentials are computed twice rather than kept: classes may be any number, and
 * keeping them in p would round them. */
void ft_softmax(const float *z, size_t classes, float *p) {
    double maximum = classes ? z[0] : 0.0;
    for (size_t i = 1; i < classes; i++)
        if (z[i] > maximum) maximum = z[i];
    double sum = 0.0;
    for (size_t i = 0; i < classes; i++) sum += ft_exp_negative(z[i] - maximum);
    for (size_t i = 0; i < classes; i++) p[i] = (float)(ft_exp_negative(z[i] - maximum) / sum);
}
