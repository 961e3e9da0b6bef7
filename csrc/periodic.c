#include "periodic.h"

#define TURNS 0x1p51 /* beyond it the whole turns in t leave nothing that could be trusted */

/* Nearest integer, ties to even, for |t| < TURNS: see ft_round_even. */
static double round_turns(double t) {
    const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
    return (t + shift) - shift;
}

/* Whole turns, then quarters are taken off, both exactly; what is left, an angle of at most
 * pi / 4, goes into Taylor's polynomials, whose remainders are below 3e-14. */
void ft_sin_cos(double t, float *sine, float *cosine) {
    if (!(t > -TURNS && t < TURNS)) t = 0;
    const double part = t - round_turns(t), quarters = round_turns(4 * part);
    const double a = (part - quarters * 0.25) * 6.28318530717958647693, b = a * a;
    const double s =
        a + a * b * (-1.0 / 6 + b * (1.0 / 120 + b * (-1.0 / 5040 + b * (1.0 / 362880 + b *
        (-1.0 / 39916800 + b * (1.0 / 6227020800.0))))));
    const double c =
        1 + b * (-1.0 / 2 + b * (1.0 / 24 + b * (-1.0 / 720 + b * (1.0 / 40320 + b *
        (-1.0 / 3628800 + b * (1.0 / 479001600 + b * (-1.0 / 87178291200.0)))))));
    switch ((int)quarters & 3) {
    case 0: *sine = (float)s, *cosine = (float)c; break;
    case 1: *sine = (float)c, *cosine = (float)-s; break;
    case 2: *sine = (float)-s, *cosine = (float)-c; break;
    default: *sine = (float)-c, *cosine = (float)s;
    }
}

static uint8_t level(float y, float half) { return (uint8_t)ft_round_even((y + 1.0f) * half); }

void ft_periodic(const ft_scaler *s, size_t m, const float *frequencies, const float *x, void *y) {
    const float half = 0.5f * (float)s->out_amax;
    for (size_t j = 0, at = 0; j < s->n; j++, at += m) {
        const float centred = (x[j] == x[j] ? x[j] : s->fill[j]) - s->shift[j];
        const float scaled = centred * s->scale[j];
        for (size_t i = 0; i < m; i++, at++) {
            float sine, cosine;
            ft_sin_cos((double)*frequencies++ * scaled, &sine, &cosine);
            if (s->out_amax) {
                ((uint8_t *)y)[at] = level(sine, half);
                ((uint8_t *)y)[at + m] = level(cosine, half);
            } else {
                ((float *)y)[at] = sine;
                ((float *)y)[at + m] = cosine;
            }
        }
    }
}
