/* Sigmoid and exp against long double on a sweep of floats (every one of them with the argument
 * "full"), softmax against its definition. */
#include "check.h"
#include "floats.h"

#include "link.h"

#include <math.h>

/* Where a long double is wider than a double, its own error does not count. */
static double error_in_ulp(float z, float got) {
    const long double exact = 1.0L / (1.0L + expl(-(long double)z));
    const float nearest = (float)exact;
    const long double ulp = (long double)nextafterf(nearest, INFINITY) - nearest;
    return (double)(fabsl((long double)got - exact) / ulp);
}

static void test_sigmoid_sweep(uint32_t stride) {
    const uint64_t count = 2 * ((uint64_t)LARGEST + 1);
    double worst = 0;
    float worst_at = 0, before = 0;
    uint64_t decreasing = 0;
    for (uint64_t rank = 0; rank < count; rank += stride) {
        const float z = nth_float((uint32_t)rank), p = ft_sigmoid(z);
        decreasing += !(p >= before);
        before = p;
        if (fabsf(z) > 200.0f) { /* where the nearest float is 0 or 1 */
            if (p != (z > 0 ? 1.0f : 0.0f)) worst = INFINITY, worst_at = z;
            continue;
        }
        const double error = error_in_ulp(z, p);
        if (error > worst) worst = error, worst_at = z;
    }
    printf("sigmoid: at most %.4f ulp (at %.9g), stride %u\n", worst, (double)worst_at, stride);
    CHECK(worst <= 1.0, "%g ulp at %.9g", worst, (double)worst_at);
    CHECK(decreasing == 0, "%llu steps decrease", (unsigned long long)decreasing);
}

/* Neighbouring floats across every change of the power of two in the range reduction, where
 * a step down would show first. */
static void test_sigmoid_seams(void) {
    for (int n = 0; n < 151; n++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            const float z = (float)(sign * (n + 0.5) * 0.69314718055994530942);
            const int falls = falls_around(ft_sigmoid, z);
            CHECK(falls == 0, "%d falls near %g", falls, (double)z);
        }
    }
}

static void test_sigmoid_values(void) {
    CHECK(ft_sigmoid(0.0f) == 0.5f && ft_sigmoid(-0.0f) == 0.5f, "zero");
    CHECK(ft_sigmoid(INFINITY) == 1.0f, "infinity");
    CHECK(ft_sigmoid(-INFINITY) == 0.0f, "-infinity");
    CHECK(isnan(ft_sigmoid(NAN)), "NaN");
    CHECK(ft_sigmoid(-103.9f) > 0.0f, "the smallest subnormals are reached");
    CHECK(ft_sigmoid(-104.0f) == 0.0f, "half the smallest subnormal rounds to 0");
}

/* Below float32's normal numbers the spacing is that of the smallest. */
static void test_exp_sweep(uint32_t stride) {
    const uint64_t count = 2 * ((uint64_t)LARGEST + 1);
    double worst = 0;
    float worst_at = 0, before = 0;
    uint64_t decreasing = 0;
    for (uint64_t rank = 0; rank < count; rank += stride) {
        const float z = nth_float((uint32_t)rank), y = ft_exp(z);
        decreasing += !(y >= before);
        before = y;
        const long double exact = expl((long double)z);
        const float nearest = (float)exact;
        double error;
        if (isinf(nearest) || nearest == 0.0f) error = y == nearest ? 0 : INFINITY;
        else error = (double)(fabsl((long double)y - exact) /
                              ((long double)nextafterf(nearest, INFINITY) - nearest));
        if (nearest == 3.402823466e+38f && y == nearest) error = 0; /* nothing above it */
        if (error > worst) worst = error, worst_at = z;
    }
    printf("exp: at most %.4f ulp (at %.9g), stride %u\n", worst, (double)worst_at, stride);
    CHECK(worst <= 1.0, "%g ulp at %.9g", worst, (double)worst_at);
    CHECK(decreasing == 0, "%llu steps decrease", (unsigned long long)decreasing);
}

static void test_exp_seams(void) {
    for (int n = -152; n < 130; n++) {
        const float z = (float)((n + 0.5) * 0.69314718055994530942);
        const int falls = falls_around(ft_exp, z);
        CHECK(falls == 0, "%d falls near %g", falls, (double)z);
    }
}

static void test_exp_values(void) {
    CHECK(ft_exp(0.0f) == 1.0f && ft_exp(-0.0f) == 1.0f, "zero");
    CHECK(ft_exp(1.0f) == 2.7182818f, "%.9g", (double)ft_exp(1.0f));
    CHECK(isinf(ft_exp(88.72284f)) && ft_exp(88.72284f) > 0, "just above the largest float");
    CHECK(ft_exp(88.72283f) < INFINITY, "just below it");
    CHECK(isinf(ft_exp(INFINITY)) && isinf(ft_exp(3e38f)), "infinity");
    CHECK(ft_exp(-INFINITY) == 0.0f && ft_exp(-3e38f) == 0.0f, "-infinity");
    CHECK(ft_exp(-103.9f) == 0x1p-149f && ft_exp(-104.0f) == 0.0f, "the smallest subnormal");
    CHECK(isnan(ft_exp(NAN)), "NaN");
}

static void check_softmax(const float *z, size_t classes) {
    float p[64];
    ft_softmax(z, classes, p);
    long double maximum = z[0], sum = 0;
    for (size_t i = 0; i < classes; i++) maximum = z[i] > maximum ? z[i] : maximum;
    for (size_t i = 0; i < classes; i++) sum += expl(z[i] - maximum);
    for (size_t i = 0; i < classes; i++) {
        const double want = (double)(expl(z[i] - maximum) / sum);
        CHECK(fabs(p[i] - want) <= want * 0x1p-23 + 1e-45, "class %zu of %zu: %g, not %g", i,
              classes, (double)p[i], want);
    }
}

static void test_softmax(void) {
    uint64_t seed = 1;
    float z[64];
    for (size_t classes = 1; classes <= 64; classes++) {
        for (int round = 0; round < 50; round++) {
            const float spread = round % 3 == 0 ? 1.0f : round % 3 == 1 ? 20.0f : 300.0f;
            for (size_t i = 0; i < classes; i++)
                z[i] = spread * ((float)(random_bits(&seed) >> 40) * 0x1p-23f - 1.0f);
            check_softmax(z, classes);
        }
    }
    const float huge[] = {3e38f, -3e38f, 3e38f}, bad[] = {0.0f, NAN, 1.0f};
    float p[3];
    ft_softmax(huge, 3, p);
    CHECK(p[0] == 0.5f && p[1] == 0.0f && p[2] == 0.5f, "%g %g %g", (double)p[0], (double)p[1],
          (double)p[2]);
    ft_softmax(bad, 3, p);
    CHECK(isnan(p[0]) && isnan(p[1]) && isnan(p[2]), "NaN reaches every class");
    ft_softmax(z, 1, p);
    CHECK(p[0] == 1.0f, "one class: %g", (double)p[0]);
}

int main(int argc, char **argv) {
    const int full = argc > 1 && !strcmp(argv[1], "full");
    test_sigmoid_values();
    test_sigmoid_seams();
    test_sigmoid_sweep(full ? 1 : 1021); /* a prime: no bit pattern is skipped every time */
    test_exp_values();
    test_exp_seams();
    test_exp_sweep(full ? 1 : 1021);
    test_softmax();
    return check_report();
}
