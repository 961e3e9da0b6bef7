/* The exponential function in double, the same bits everywhere. */
#ifndef FT_EXP_H
#define FT_EXP_H

#include <stdint.h>
#include <string.h>

/* Beyond these exp(x) is far out of float32's range, and 2^n still a normal double. */
#define FT_EXP_LOWEST (-150.0)
#define FT_EXP_HIGHEST 150.0

/* exp(x) for FT_EXP_LOWEST <= x <= FT_EXP_HIGHEST.  x = n ln2 + r with |r| <= ln2 / 2 (ln2 in two
 * parts, the first short enough that n times it is exact: Cody and Waite 1980), then Taylor's
 * polynomial of degree 11, whose remainder is below r^12 / 12! < 7e-15. */
static inline double ft_exp_within(double x) {
    const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    /* Above 2^52 a double's spacing is 1: the sum rounds to the nearest integer n, which its low
     * bits then hold. */
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    const double shifted = x * 1.44269504088896338700 + shift;
    const double n = shifted - shift;
    const double r = (x - n * ln2_high) - n * ln2_low;

    /* Estrin's scheme: pairs, then fours, for a short chain of operations. */
    const double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double p01 = 1.0 + r;
    const double p23 = 1.0 / 2 + r * (1.0 / 6);
    const double p45 = 1.0 / 24 + r * (1.0 / 120);
    const double p67 = 1.0 / 720 + r * (1.0 / 5040);
    const double p89 = 1.0 / 40320 + r * (1.0 / 362880);
    const double pab = 1.0 / 3628800 + r * (1.0 / 39916800);
    const double low = (p01 + r2 * p23) + r4 * (p45 + r2 * p67);
    const double polynomial = low + r8 * (p89 + r2 * pab);

    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; /* 2^n, n in -217..217 */
    double power;
    memcpy(&power, &bits, sizeof power);
    return polynomial * power;
}

/* exp(x) for x <= 0. */
static inline double ft_exp_negative(double x) {
    if (x != x) return x;
    return ft_exp_within(x > FT_EXP_LOWEST ? x : FT_EXP_LOWEST);
}

#endif
