/* Sines and cosines against long double; what of the operation is refused. */
#include "refusal.h"

#include "periodic.h"

#include <float.h>

static double error_in_ulp(float got, long double exact) {
    const float nearest = (float)exact;
    if (got == nearest) return 0;
    const float above = nextafterf(nearest, INFINITY);
    return (double)(fabsl((long double)got - exact) / ((long double)above - nearest));
}

/* Quarters of a turn are taken off first: 2 pi t itself would be rounded. */
static void check_at(double t, double *worst, double *at) {
    const double quarters = rint(4 * t);
    const long double a = 6.28318530717958647692528676655900577L * (t - quarters / 4);
    const long double exact[] = {sinl(a), cosl(a), -sinl(a), -cosl(a)};
    const int n = (int)fmod(quarters, 4) & 3;
    float s, c;
    ft_sin_cos(t, &s, &c);
    const double of_sine = error_in_ulp(s, exact[n]), of_cosine = error_in_ulp(c, exact[(n + 1) % 4]);
    const double error = of_sine > of_cosine ? of_sine : of_cosine;
    if (!(error <= *worst)) *worst = error, *at = t;
    CHECK(s >= -1 && s <= 1 && c >= -1 && c <= 1, "%g: %g %g", t, (double)s, (double)c);
}

/* Over the turns around 0, near every eighth of a turn, at every size of t. */
static void test_values(void) {
    uint64_t seed = 1;
    double worst = 0, at = 0;
    for (int i = 0; i < 200000; i++) {
        const double u = (double)(random_bits(&seed) >> 11) * 0x1p-53;
        check_at(4 * u - 2, &worst, &at);
        check_at(ldexp(u, (int)random_below(&seed, 50)), &worst, &at);
        check_at(-ldexp(u, -(int)random_below(&seed, 140)), &worst, &at);
    }
    for (int eighth = -16; eighth <= 16; eighth++)
        for (int i = -3; i <= 3; i++)
            check_at(eighth / 8.0 + i * 0x1p-40, &worst, &at);
    printf("sin and cos: at most %.4f ulp (at %.17g)\n", worst, at);
    CHECK(worst <= 0.51, "%g ulp at %.17g", worst, at);

    float s, c;
    const double far[] = {0x1p51, -0x1p51, 1e300, INFINITY, -INFINITY, NAN, 0, 7, -1e15};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        ft_sin_cos(far[i], &s, &c);
        CHECK(s == 0 && c == 1, "%g: %g %g", far[i], (double)s, (double)c);
    }
    const double quarter[] = {0.25, 0.5, -0.25, 123456.75};
    const float sines[] = {1, 0, -1, -1}, cosines[] = {0, -1, 0, 0};
    for (size_t i = 0; i < 4; i++) {
        ft_sin_cos(quarter[i], &s, &c);
        CHECK(s == sines[i] && c == cosines[i], "%g: %g %g", quarter[i], (double)s, (double)c);
    }
}

static const network_shape shape = {"periodic", FT_OP_PERIODIC, 4, 127, 2, {5, 1}, {8, 8}, {0}, {0},
                                    FT_LINEAR, 0, 0, 0, 0, 0, 0};

static void expect_at(size_t offset, uint32_t value, uint32_t bytes, const char *words) {
    begin(&shape);
    file_put(builder.tensors[0].data + offset, value, bytes);
    expect(words);
}

static void test_refusals(void) {
    begin(&shape);
    expect_valid("periodic");
    expect_at(8, 20, 4, "operation 0 (input): outputs is 20, must be a multiple of twice the inputs");
    expect_at(8, 32, 4, "operation 1 (dense0): inputs is 24, but outputs of the operation before");
    expect_at(26, 128, 2, "operation 0 (input): amax_out is 128, must be 127 or 255");
    expect_at(24, 127, 2, "operation 0 (input): amax_in is 127, must be 0");
    expect_at(28, 1, 4, "operation 0 (input): source is 1, must be 0");
    expect_at(32, 9, 2, "kind is 9, must be 3 (dense), 6, 7, 8 or 10");
    const float bad[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2; i++) {
        begin(&shape);
        set_float("input.frequencies", 11, bad[i]);
        expect("tensor 'input.frequencies': value 11 is not finite");
    }
    begin(&shape);
    file_find(&builder, "input.frequencies")->shape[0] = 3;
    file_find(&builder, "input.frequencies")->shape[1] = 4;
    expect("tensor 'input.frequencies': is F32 [3, 4], expected F32 [4, 3]");
    begin(&shape);
    ft_model *model = NULL;
    const float x[] = {1, FLT_MAX, -INFINITY, NAN};
    float score;
    CHECK(open_builder(&model) == FT_OK, "%s", ft_last_error());
    CHECK(ft_predict(model, x, 1, &score) == FT_ERR_ARGUMENT, "an infinity");
    CHECK(strstr(ft_last_error(), "feature 2 is infinite"), "%s", ft_last_error());
    ft_close(model);
}

int main(void) {
    test_values();
    test_refusals();
    file_builder_free(&builder);
    return check_report();
}
