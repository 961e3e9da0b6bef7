/* From the last layer's value to the score. */
#ifndef FT_LINK_H
#define FT_LINK_H

#include <stddef.h>

/* 1 / (1 + exp(-z)) in double, range reduction and one fixed polynomial, rounded once to
 * float32: <= 1 ulp, non-decreasing, the same bits everywhere. */
float ft_sigmoid(float z);

/* exp(z), likewise: infinite above float32's range, subnormal and then 0 below it. */
float ft_exp(float z);

/* Probabilities of `classes` logits: maximum subtracted, summed in order, in double. */
void ft_softmax(const float *z, size_t classes, float *p);

#endif
