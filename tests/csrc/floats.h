/* Sweeps over floats in increasing order. */
#ifndef FT_TEST_FLOATS_H
#define FT_TEST_FLOATS_H

#include "check.h" /* first: it asks the C library for more than the standard */

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Finite floats in increasing order: rank 0 is the most negative. */
enum { LARGEST = 0x7f7fffff };

static inline float nth_float(uint32_t rank) {
    if (rank <= LARGEST) return from_bits(0x80000000u | (LARGEST - rank));
    return from_bits(rank - LARGEST - 1);
}

/* How often f steps down among the 400 floats around z. */
static inline int falls_around(float (*f)(float), float z) {
    for (int i = 0; i < 200; i++) z = nextafterf(z, -INFINITY);
    float before = f(z);
    int falls = 0;
    for (int i = 0; i < 400; i++) {
        z = nextafterf(z, INFINITY);
        const float y = f(z);
        falls += y < before;
        before = y;
    }
    return falls;
}

#endif
