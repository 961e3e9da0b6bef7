/* Activations against long double on a sweep of floats (every one of them with the argument
 * "full"); what of the operations behind a layer is refused. */
#include "floats.h"
#include "refusal.h"

/* ---- values ---------------------------------------------------------------------------- */

static long double exact_gate(long double x, long double t) {
    return t > 0 ? x / (1 + expl(-t)) : x * expl(t) / (1 + expl(t));
}

static long double exact_tanh(float x) { return tanhl((long double)x); }
static long double exact_silu(float x) { return exact_gate(x, x); }
static long double exact_gelu(float x) {
    const long double z = x, c = sqrtl(2 / 3.14159265358979323846264338327950288L);
    return z < -30 ? 0 : z > 30 ? z : exact_gate(z, 2 * c * (z + 0.044715L * z * z * z));
}

static double error_in_ulp(float got, long double exact) {
    const float nearest = (float)exact;
    if (got == nearest) return 0; /* which may be infinite, or the largest */
    const float above = nextafterf(nearest, nearest > 0 ? INFINITY : -INFINITY);
    return (double)(fabsl((long double)got - exact) / fabsl((long double)above - nearest));
}

static void sweep(const char *what, float (*run)(float), long double (*exact)(float), int rises,
                  uint32_t stride) {
    const uint64_t count = 2 * ((uint64_t)LARGEST + 1);
    double worst = 0;
    float worst_at = 0, before = -INFINITY;
    uint64_t falls = 0;
    for (uint64_t rank = 0; rank < count; rank += stride) {
        const float x = nth_float((uint32_t)rank), y = run(x);
        const double error = error_in_ulp(y, exact(x));
        if (!(error <= worst)) worst = error, worst_at = x;
        falls += !(y >= before);
        before = y;
    }
    printf("%s: at most %.4f ulp (at %.9g), stride %u\n", what, worst, (double)worst_at, stride);
    CHECK(worst <= 1.0, "%s: %g ulp at %.9g", what, worst, (double)worst_at);
    CHECK(!rises || falls == 0, "%s: %llu steps decrease", what, (unsigned long long)falls);
}

/* Neighbouring floats around 2^-10, where the series of tanh ends. */
static void test_seam(void) {
    for (float sign = -1; sign <= 1; sign += 2) {
        float x = sign * 0x1p-10f;
        for (int i = 0; i < 200; i++) x = nextafterf(x, -INFINITY);
        for (int i = 0; i < 400; i++, x = nextafterf(x, INFINITY)) {
            CHECK(ft_tanh(x) <= ft_tanh(nextafterf(x, INFINITY)), "at %.9g", (double)x);
            CHECK(error_in_ulp(ft_tanh(x), exact_tanh(x)) <= 0.5001, "at %.9g", (double)x);
        }
    }
}

static void test_values(void) {
    CHECK(ft_tanh(INFINITY) == 1 && ft_tanh(-INFINITY) == -1 && ft_tanh(0) == 0, "tanh");
    CHECK(ft_gelu(INFINITY) == INFINITY && ft_gelu(-INFINITY) == 0 && ft_gelu(0) == 0, "GELU");
    CHECK(ft_silu(INFINITY) == INFINITY && ft_silu(-INFINITY) == 0 && ft_silu(0) == 0, "SiLU");
    CHECK(isnan(ft_tanh(NAN)) && isnan(ft_gelu(NAN)) && isnan(ft_silu(NAN)), "NaN");
    CHECK(ft_gelu(1) == 0.84119199f && ft_silu(1) == 0.73105858f && ft_tanh(1) == 0.76159416f, "1");
    float y[4] = {1, -2, 0, 3};
    ft_activate(FT_LOGISTIC, 3, y);
    CHECK(y[0] == ft_sigmoid(1) && y[1] == ft_sigmoid(-2) && y[2] == 0.5f && y[3] == 3, "sigmoid");
}

/* Halves to even, both limits, amax 127 and 255. */
static void test_add(void) {
    const float factors[] = {0.5f, -0.25f, 1};
    uint8_t y[] = {3, 4, 5, 7, 255, 0, 254, 255}, x[] = {0, 0, 0, 4, 0, 255, 0, 254};
    const uint8_t expected[] = {2, 3, 4, 4, 127, 0, 127, 65}; /* 2.5 3 3.5 3.5 128.5 -62.75 128 65 */
    ft_add_u8(factors, 127, 8, x, y);
    for (int i = 0; i < 8; i++)
        CHECK(y[i] == expected[i], "%d: %d, not %d", i, y[i], expected[i]);
}

static void test_bound(void) {
    float y[] = {0, 1, 2.5f, INFINITY, 3, INFINITY};
    const float bound[] = {1, 1, 2, 2, INFINITY, INFINITY};
    const float expected[] = {0, 1, 2, 2, 3, INFINITY};
    ft_bound_f32(bound, 6, y);
    CHECK(!memcmp(y, expected, sizeof y), "floats");
    for (int b = 0; b < 256; b++) {
        uint8_t values[256], bounds[256];
        for (int i = 0; i < 256; i++) values[i] = (uint8_t)i, bounds[i] = (uint8_t)b;
        ft_bound_u8(bounds, 256, values);
        for (int i = 0; i < 256; i++) CHECK(values[i] == (i < b ? i : b), "%d %d", i, b);
    }
}

/* ---- refusals -------------------------------------------------------------------------- */

static const network_shape table = {"table", FT_OP_QUANTIZE, 5, 127, 3, {6, 6, 1}, {8, 8, 8}, {0},
                                    {0}, FT_LINEAR, 0, 0, 0, 0, FT_TANH, 1};
static const network_shape curved = {"curved", FT_OP_ENCODE_DENSE, 5, 0, 3, {6, 6, 1},
                                     {32, 32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, FT_GELU, 1};

enum field { KIND = 0, BITS = 2, INPUTS = 4, OUTPUTS = 8, TENSOR = 12, GROUP = 16, ACTIVATION = 20,
             STORAGE = 22, AMAX_IN = 24, AMAX_OUT = 26, SOURCE = 28 };

static void put(uint32_t op, enum field field, uint32_t value) {
    const int wide = (field >= INPUTS && field <= GROUP) || field == SOURCE;
    file_put(builder.tensors[0].data + op * 32 + field, value, wide ? 4 : 2);
}

static void expect_field(const network_shape *shape, uint32_t op, enum field field, uint32_t value,
                         const char *words) {
    begin(shape);
    put(op, field, value);
    expect(words);
}

/* table: 0 quantize, 1 dense0, 2 table, 3 dense1, 4 table, 5 add, 6 dense2, 7 link
 * curved: 0 encode_dense, 1 activate, 2 dense1, 3 activate, 4 add, 5 dense2, 6 link */
static void test_refusals(void) {
    begin(&table);
    expect_valid("table");
    begin(&curved);
    expect_valid("curved");
    expect_field(&table, 1, ACTIVATION, 1, "(dense0): activation is 1, must be 0 (none) before");
    expect_field(&table, 2, KIND, 7, "(dense0): activation is 0, must be 1 (ReLU) before the last");
    expect_field(&table, 3, KIND, 9, "kind is 9, must be 3 (dense), 6, 7, 8 or 10");
    expect_field(&table, 2, OUTPUTS, 7, "(dense0): outputs is 7, must be as many as inputs");
    expect_field(&table, 2, AMAX_IN, 255, "amax_in is 255, but amax_out of the operation before");
    expect_field(&table, 2, AMAX_OUT, 0, "(dense0): amax_out is 0, must be 127 or 255");
    expect_field(&table, 2, BITS, 8, "(dense0): bits is 8, must be 0");
    expect_field(&table, 2, ACTIVATION, 5, "(dense0): activation is 5, must be 0");
    expect_field(&table, 2, TENSOR, 3, "'dense0': its first tensor is given as 3, but is 7");
    expect_field(&table, 2, SOURCE, 1, "(dense0): source is 1, must be 0");
    expect_field(&table, 5, KIND, 6, "(dense1): kind is 6, must be 3 or 8 here: 6, 7 and 10");
    expect_field(&table, 5, SOURCE, 0, "(dense1): source is 0, must be one of the same width");
    static const uint32_t sources[] = {1, 3, 4, 5, 6, 7, 8, 1000000, 4294967295u};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        expect_field(&table, 5, SOURCE, sources[i], "must be the last operation of an earlier");
    expect_field(&table, 6, KIND, 8, "(dense1): kind is 8, must be 3 or 4 before the link");
    expect_field(&curved, 1, KIND, 6, "(dense0): amax_in is 0, must be 127 or 255: a table");
    expect_field(&curved, 1, ACTIVATION, 4, "activation is 4, must be 5 (tanh), 6 (GELU), 7");
    expect_field(&curved, 1, ACTIVATION, 9, "activation is 9, must be 5 (tanh), 6 (GELU), 7");
    expect_field(&curved, 0, ACTIVATION, 1, "kind is 7, must be 3, 8 or 10 after a layer with ReLU");
    expect_field(&curved, 1, TENSOR, 3, "(dense0): tensor is 3, must be 0");
    expect_field(&curved, 4, TENSOR, 3, "(dense1): tensor is 3, must be 0");
    expect_field(&curved, 4, AMAX_OUT, 127, "(dense1): amax_out is 127, must be 0");
    expect_field(&curved, 4, KIND, 7, "(dense1): kind is 7, must be 3 or 8 here");
    begin(&curved);
    put(3, KIND, FT_OP_ADD);
    put(3, ACTIVATION, 0);
    put(3, SOURCE, 1);
    expect("operation 4 (dense1): kind is 8, must be 3 here: 8 follows 3, 4, 6, 7 or 10");
    const network_shape relu = {"relu", FT_OP_QUANTIZE, 5, 127, 3, {6, 6, 1}, {8, 8, 8}, {0}, {0},
                                FT_LINEAR, 0, 0, 0, 0, 0, 1};
    expect_field(&relu, 3, KIND, 7, "(dense1): source is 1, must be 0");
    put(3, SOURCE, 0);
    expect("operation 3 (dense1): amax_in is 127, must be 0: activations follow a float layer");

    begin(&table);
    set_byte("dense0.table", 200, 128);
    expect("tensor 'dense0.table': value 200 is 128, at most 127 is allowed");
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        begin(&table);
        set_float("dense1.residual", i, bad[i]);
        expect("tensor 'dense1.residual': value");
    }
    for (size_t i = 0; i < 3; i++) {
        begin(&table);
        set_float("dense1.residual", i, i == 2 ? -0x1p30f : -0x1p24f);
        expect("tensor 'dense1.residual': a sum can pass 2^30");
        set_float("dense1.residual", i, i == 2 ? -0x1p29f : -0x1p22f);
        expect_valid("large but in range");
    }
}

/* whole: 0 quantize, 1 dense0, 2 bound, 3 dense1, 4 bound, 5 add, 6 dense2, 7 link
 * real: 0 encode_dense, 1 bound, 2 dense1, 3 bound, 4 add, 5 dense2, 6 link */
static void test_bound_refusals(void) {
    const network_shape whole = {"whole", FT_OP_QUANTIZE, 5, 127, 3, {6, 6, 1}, {8, 8, 8}, {0}, {0},
                                 FT_LINEAR, 0, 0, 0, 0, BOUNDED, 1};
    const network_shape real = {"real", FT_OP_ENCODE_DENSE, 5, 0, 3, {6, 6, 1}, {32, 32, 32}, {0},
                                {0}, FT_LINEAR, 0, 0, 0, 0, BOUNDED, 1};
    begin(&whole);
    expect_valid("whole");
    begin(&real);
    expect_valid("real");
    expect_field(&whole, 2, OUTPUTS, 7, "(dense0): outputs is 7, must be as many as inputs");
    expect_field(&whole, 2, AMAX_IN, 255, "amax_in is 255, but amax_out of the operation before");
    expect_field(&whole, 2, AMAX_OUT, 0, "(dense0): amax_out is 0, must be 127 or 255");
    expect_field(&whole, 2, BITS, 8, "(dense0): bits is 8, must be 0");
    expect_field(&whole, 2, GROUP, 32, "(dense0): group_size is 32, must be 0");
    expect_field(&whole, 2, STORAGE, 1, "(dense0): storage is 1, must be 0");
    expect_field(&whole, 2, ACTIVATION, 1, "(dense0): activation is 1, must be 0");
    expect_field(&whole, 2, TENSOR, 3, "'dense0': its first tensor is given as 3, but is 7");
    expect_field(&whole, 2, SOURCE, 1, "(dense0): source is 1, must be 0");
    expect_field(&whole, 2, KIND, 7, "amax_in is 127, must be 0: activations follow a float");
    expect_field(&whole, 5, KIND, 10, "(dense1): kind is 10, must be 3 or 8 here");
    expect_field(&whole, 6, KIND, 10, "(dense1): kind is 10, must be 3 or 4 before the link");
    expect_field(&whole, 0, KIND, 10, "operation 0: kind is 10, must be 1");
    expect_field(&real, 1, AMAX_OUT, 127, "(dense0): amax_out is 127, must be 0");
    expect_field(&real, 1, TENSOR, 3, "'dense0': its first tensor is given as 3, but is 6");
    expect_field(&real, 0, ACTIVATION, 0, "kind is 10, must be 3, 6, 7 or 8 after a layer without");

    begin(&whole);
    set_byte("dense0.bound", 5, 128);
    expect("tensor 'dense0.bound': value 5 is 128, at most 127 is allowed");
    set_byte("dense0.bound", 5, 0);
    expect_valid("a unit that is always 0");
    const float bad[] = {NAN, -INFINITY, -0x1p-149f};
    for (size_t i = 0; i < 3; i++) {
        begin(&real);
        set_float("dense1.bound", i, bad[i]);
        expect("tensor 'dense1.bound': value");
    }
    const float good[] = {0, INFINITY, 0x1p127f};
    for (size_t i = 0; i < 3; i++) {
        begin(&real);
        set_float("dense1.bound", i, good[i]);
        expect_valid("a bound");
    }
}

/* Two outputs to keep while a third is read and a fourth is written. */
static void test_too_many_kept(void) {
    const network_shape shape = {"kept", FT_OP_STANDARDIZE, 4, 0, 6, {4, 4, 4, 4, 4, 1},
                                 {32, 32, 32, 32, 32, 32}, {0}, {0}, FT_LINEAR, 0, 0, 0, 0, 0, 1};
    /* 0 input, 1 dense0, 2 dense1, 3 add 1, 4 dense2, 5 add 3, 6 dense3, 7 add 5, ... */
    begin(&shape);
    uint8_t *ops = builder.tensors[0].data;
    expect_valid("each adds its own input");
    file_put(ops + 7 * 32 + SOURCE, 1, 4);
    expect_valid("one is kept");
    file_put(ops + 9 * 32 + SOURCE, 3, 4);
    expect("operation 6 (dense3): two earlier outputs are still to be added, one is allowed");
}

int main(int argc, char **argv) {
    const uint32_t stride = argc > 1 && !strcmp(argv[1], "full") ? 1 : 2039;
    test_values();
    test_seam();
    sweep("tanh", ft_tanh, exact_tanh, 1, stride);
    sweep("GELU", ft_gelu, exact_gelu, 0, stride);
    sweep("SiLU", ft_silu, exact_silu, 0, stride);
    test_add();
    test_bound();
    test_refusals();
    test_bound_refusals();
    test_too_many_kept();
    file_builder_free(&builder);
    return check_report();
}
