/* Standardizing and quantizing raw features: every ISA against a direct calculation. */
#include "isas.h"

#include "pack.h"

#include <math.h>

enum { MAX_N = 140, POISON = 0xa5 };

static float random_value(uint64_t *seed) {
    static const float special[] = {NAN, -0.0f, 0.0f, 1e-45f, 3.4e38f, -3.4e38f, 1.0f};
    if (random_below(seed, 4) == 0) return special[random_below(seed, 7)];
    return ((float)random_below(seed, 20001) - 10000.0f) * 1e-3f;
}

static float *random_array(uint64_t *seed, size_t n, int finite) {
    float *values = ft_alloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = random_value(seed);
        while (finite && isnan(values[i])) values[i] = random_value(seed);
    }
    return values;
}

/* From docs/file-format.md. */
static float expected(const ft_scaler *s, float x, size_t i) {
    const volatile float centred = (isnan(x) ? s->fill[i] : x) - s->shift[i];
    const volatile float v = centred * s->scale[i];
    return !(v > -0x1p32f) ? -0x1p32f : v < 0x1p32f ? v : 0x1p32f;
}

static int is_right(const ft_scaler *s, ft_store store, float x, const void *y, size_t i) {
    const float want = expected(s, x, i);
    if (store == FT_STORE_U8) {
        const float amax = (float)s->out_amax, v = want > 0 ? want : 0;
        return ((const uint8_t *)y)[i] == (uint8_t)rintf(v < amax ? v : amax);
    }
    const float *got = (const float *)y + i;
    return memcmp(got, &want, sizeof want) == 0;
}

static void check_scale(const ft_isa *isa, size_t n, const guarded *area, uint64_t *seed) {
    float *shift = random_array(seed, n, 1), *scale = random_array(seed, n, 1);
    float *fill = random_array(seed, n, 1), *values = random_array(seed, n, 0);
    float *x = guarded_end(area, n * sizeof *x);
    memcpy(x, values, n * sizeof *x);
    const ft_scaler s = {(uint32_t)n, random_below(seed, 2) ? 127 : 255, shift, scale, fill};
    const size_t written = (n + 7) / 8 * 8;
    for (ft_store store = FT_STORE_U8; store <= FT_STORE_F32; store++) {
        const size_t size = store == FT_STORE_U8 ? 1 : sizeof(float);
        uint8_t y[(MAX_N + 16) * sizeof(float)];
        memset(y, POISON, sizeof y);
        isa->scale(&s, store, x, y);
        int right = 1;
        for (size_t i = 0; i < n; i++) right &= is_right(&s, store, x[i], y, i);
        for (size_t i = written * size; i < sizeof y; i++) right &= y[i] == POISON;
        CHECK(right, "%s n=%zu store=%d", isa->name, n, (int)store);
    }
    ft_free(shift);
    ft_free(scale);
    ft_free(fill);
    ft_free(values);
}

/* Ties go to even; what passes the ends is clamped, before it is rounded. */
static void check_rounding(const ft_isa *isa) {
    enum { COUNT = 8 };
    static const float x[COUNT] = {0.5f, 1.5f, 2.5f, -0.5f, 126.5f, 127.5f, 3e38f, -3e38f};
    static const uint8_t want[COUNT] = {0, 2, 2, 0, 126, 127, 127, 0};
    static const float zero[COUNT], one[COUNT] = {1, 1, 1, 1, 1, 1, 1, 1};
    const ft_scaler s = {COUNT, 127, zero, one, zero};
    uint8_t y[COUNT];
    isa->scale(&s, FT_STORE_U8, x, y);
    CHECK(!memcmp(y, want, sizeof want), "%s", isa->name);
}

/* One infinity anywhere, a later one too; none; and values next to one. */
static void check_find_infinity(const ft_isa *isa, size_t n, const guarded *area) {
    static const uint32_t others[] = {0x7f7fffff, 0xff7fffff, 0x7f800001, 0xffc00000, 0x7fc00000};
    float *x = guarded_end(area, n * sizeof *x);
    for (size_t i = 0; i < n; i++) memcpy(&x[i], &others[i % 5], sizeof *x);
    CHECK(isa->find_infinity(x, n) == n, "%s n=%zu: none", isa->name, n);
    for (size_t at = n; at-- > 0;) {
        x[at] = at % 2 ? INFINITY : -INFINITY;
        const size_t found = isa->find_infinity(x, n);
        CHECK(found == at, "%s n=%zu: %zu, not %zu", isa->name, n, found, at);
        if (at + 3 < n) x[at + 3] = 0; /* at most three at a time */
    }
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    guarded area = guarded_map(1 << 16);
    uint64_t seed = 21;
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        const ft_isa *isa = isa_force(i);
        check_rounding(isa);
        for (size_t n = 1; n <= MAX_N; n++) {
            if (isa_skips()) continue;
            isa_force(i);
            for (int round = 0; round < 10; round++) check_scale(isa, n, &area, &seed);
            check_find_infinity(isa, n, &area);
        }
        CHECK(isa->find_infinity(NULL, 0) == 0, "%s: no values", isa->name);
    }
    guarded_unmap(&area);
    return isa_report();
}
