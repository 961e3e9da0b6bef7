/* The fused piecewise-linear first layer: every ISA against the expanded product, computed
 * from docs/file-format.md alone, to the bit. */
#include "isas.h"

#include "encode.h"
#include "pack.h"

#include <float.h>
#include <math.h>

enum { MAX_FEATURES = 40, POISON = 0xa5 };

/* A layer in canonical form with one row of input. */
typedef struct layer {
    ft_encoder_spec spec;
    int32_t bins[MAX_FEATURES];
    float fill[MAX_FEATURES];
    float *edges;
    uint32_t n, width;
    int8_t *weights; /* [n][width] */
    float *weights_f32;
    float *mult, *add; /* [n] */
} layer;

static long cases_of[7]; /* by kind of input: see draw_input */

static float uniform(uint64_t *seed) { return (float)(random_bits(seed) >> 40) * 0x1p-24f; }

static int32_t draw_bins(uint64_t *seed) {
    static const int32_t common[] = {0, 1, 2, 3, 8, 9, 10, 16, 17, 18, 25, 33};
    if (random_below(seed, 40) == 0) return 257 + (int32_t)random_below(seed, 2);
    return common[random_below(seed, sizeof common / sizeof *common)];
}

static void layer_init(layer *l, uint64_t *seed, uint32_t features, uint32_t n, uint32_t amax) {
    memset(l, 0, sizeof *l);
    l->n = n;
    size_t edge_count = 0;
    for (uint32_t j = 0; j < features; j++) {
        l->bins[j] = draw_bins(seed);
        l->fill[j] = random_below(seed, 2) ? NAN : 10.0f * uniform(seed) - 5.0f;
        if (j == 0 && !l->bins[j]) l->fill[j] = NAN; /* a layer without columns is refused */
        edge_count += l->bins[j] ? (size_t)l->bins[j] + 1 : 0;
        l->width += (uint32_t)l->bins[j] + (isnan(l->fill[j]) ? 1 : 0);
    }
    l->edges = malloc(edge_count * sizeof *l->edges);
    float *edge = l->edges;
    for (uint32_t j = 0; j < features; j++) {
        float at = random_below(seed, 3) ? -3.0f : 0.0f;
        for (int32_t t = 0; l->bins[j] && t <= l->bins[j]; t++, at += 0.01f + uniform(seed)) {
            *edge++ = at;
            if (j % 7 == 3 && t == l->bins[j] - 1) at = 1e30f; /* a very wide last bin */
        }
    }
    l->weights = malloc((size_t)n * l->width);
    l->weights_f32 = malloc((size_t)n * l->width * sizeof *l->weights_f32);
    l->mult = malloc(n * sizeof *l->mult);
    l->add = malloc(n * sizeof *l->add);
    const int all_largest = random_below(seed, 8) == 0;
    for (size_t i = 0; i < (size_t)n * l->width; i++) {
        const int32_t w = (int32_t)random_below(seed, 255) - 127;
        l->weights[i] = (int8_t)(all_largest ? (i / l->width % 2 ? -127 : 127) : w);
        l->weights_f32[i] = random_below(seed, 3) ? uniform(seed) - 0.5f : 0.0f;
    }
    for (size_t i = 0; i < n; i++) {
        l->mult[i] = 1e-5f + 1e-4f * uniform(seed);
        l->add[i] = random_below(seed, 5) ? 200.0f * uniform(seed) - 50.0f : -0.0f;
    }
    l->spec = (ft_encoder_spec){
        .features = features, .bins = l->bins, .edges = l->edges, .edge_count = edge_count,
        .fill = l->fill, .amax = amax};
}

static void layer_free(layer *l) {
    free(l->edges);
    free(l->weights);
    free(l->weights_f32);
    free(l->mult);
    free(l->add);
}

static float draw_input(uint64_t *seed, const float *edges, int32_t bins) {
    const uint32_t kind = random_below(seed, 7);
    cases_of[kind]++;
    switch (kind) {
    case 0: return NAN;
    case 1: return random_below(seed, 2) ? INFINITY : -INFINITY;
    case 2: return -0.0f;
    case 3: return bins ? edges[random_below(seed, (uint32_t)bins + 1)] : 1.0f;
    case 4: return random_below(seed, 2) ? FLT_MAX : -FLT_MAX;
    case 5: {
        const float edge = bins ? edges[random_below(seed, (uint32_t)bins + 1)] : 0.0f;
        return nextafterf(edge, random_below(seed, 2) ? INFINITY : -INFINITY);
    }
    default: return 20.0f * uniform(seed) - 5.0f;
    }
}

/* The columns of one feature; returns how many. */
static size_t expand(const float *edges, int32_t bins, float fill, float x, float amax,
                     float *columns) {
    const int learnt = isnan(fill) ? 1 : 0;
    const int missing = isnan(x) && learnt;
    if (isnan(x)) x = fill;
    int32_t bin = 0;
    for (int32_t i = 1; i < bins; i++) bin += edges[i] <= x;
    for (int32_t t = 0; t < bins; t++) {
        const volatile float width = edges[t + 1] - edges[t], scale = amax / width;
        const volatile float offset = x - edges[t], product = offset * scale;
        float v = product > 0 ? product : 0;
        v = v < amax ? v : amax;
        if (amax > 1) v = rintf(v);
        columns[t] = missing ? 0 : t < bin ? amax : t == bin ? v : 0;
    }
    if (learnt) columns[bins] = missing ? amax : 0;
    return (size_t)bins + (size_t)learnt;
}

static void expand_row(const layer *l, const float *x, float *columns) {
    const float *edges = l->edges;
    for (uint32_t j = 0; j < l->spec.features; j++) {
        columns += expand(edges, l->bins[j], l->fill[j], x[j], (float)l->spec.amax, columns);
        edges += l->bins[j] ? l->bins[j] + 1 : 0;
    }
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint32_t expected_float(const layer *l, const float *columns, size_t i, uint32_t relu) {
    volatile float sum = l->add[i];
    for (size_t k = 0; k < l->width; k++) {
        if (columns[k] == 0) continue;
        const volatile float product = columns[k] * l->weights_f32[i * l->width + k];
        sum += product;
    }
    return bits_of(relu && !(sum > 0) ? 0.0f : sum);
}

static uint32_t expected(const layer *l, const float *columns, size_t i, ft_store store,
                         uint32_t relu, uint32_t out_amax) {
    if (l->spec.amax == 1) return expected_float(l, columns, i, relu);
    int64_t sum = 0;
    for (size_t k = 0; k < l->width; k++)
        sum += (int64_t)columns[k] * l->weights[i * l->width + k];
    if (store == FT_STORE_I32) return (uint32_t)sum;
    const volatile float product = (float)sum * l->mult[i], v = product + l->add[i];
    if (store == FT_STORE_F32) return bits_of(relu && !(v > 0) ? 0.0f : v);
    const float rounded = rintf(v);
    return rounded < 0 ? 0 : rounded > (float)out_amax ? out_amax : (uint32_t)rounded;
}

static uint32_t element(const uint8_t *c, ft_store store, size_t at) {
    uint32_t value = 0;
    if (store == FT_STORE_U8) value = c[at];
    else memcpy(&value, c + 4 * at, sizeof value);
    return value;
}

static int output_is_right(const layer *l, const ft_encoded *w, const float *columns,
                           ft_store store, const uint8_t *c) {
    for (size_t i = 0; i < w->n; i++)
        if (element(c, store, i) != expected(l, columns, i, store, w->relu, w->out_amax)) return 0;
    for (size_t i = w->n; i < w->n_padded; i++)
        if (element(c, store, i) != 0) return 0;
    const size_t size = store == FT_STORE_U8 ? 1 : 4;
    for (size_t at = w->n_padded * size; at < (w->n_padded + 8) * size; at++)
        if (c[at] != POISON) return 0;
    return 1;
}

static void check_layer(const layer *l, const guarded *area, uint64_t *seed) {
    const char *why = "";
    uint32_t feature = 0;
    const uint32_t width = ft_encoder_width(&l->spec, &why, &feature);
    CHECK(width == l->width, "width %u, not %u: feature %u %s", width, l->width, feature, why);
    ft_encoder encoder;
    ft_encoded w;
    const int is_float = l->spec.amax == 1;
    CHECK(!ft_encoder_build(&l->spec, &encoder), "memory");
    CHECK(!ft_encoded_build(&l->spec, &encoder, is_float ? NULL : l->weights,
                            is_float ? l->weights_f32 : NULL, l->n, &w),
          "memory");
    w.mult = ft_alloc(w.n_padded, sizeof(float));
    w.add = ft_alloc(w.n_padded, sizeof(float));
    memcpy(w.mult, l->mult, w.n * sizeof(float));
    memcpy(w.add, l->add, w.n * sizeof(float));

    uint32_t *codes = ft_alloc(FT_CODES_BYTES(encoder.used), 1);
    float *columns = malloc(l->width * sizeof *columns);
    uint8_t *c = malloc((w.n_padded + 8) * 4);
    float *x = guarded_end(area, l->spec.features * sizeof *x);
    for (int row = 0; row < 6; row++) {
        const float *edges = l->edges;
        for (uint32_t j = 0; j < l->spec.features; j++) {
            x[j] = draw_input(seed, edges, l->bins[j]);
            edges += l->bins[j] ? l->bins[j] + 1 : 0;
        }
        expand_row(l, x, columns);
        w.relu = random_below(seed, 2);
        w.out_amax = random_below(seed, 2) ? 127 : 255;
        for (uint32_t i = 0; i < ft_isa_count(); i++) {
            const ft_isa *isa = isa_force(i);
            ft_encode_fn *run = is_float ? isa->encode_f32 : isa->encode;
            for (ft_store s = is_float ? FT_STORE_F32 : FT_STORE_I32; s <= FT_STORE_F32; s++) {
                memset(c, POISON, (w.n_padded + 8) * 4);
                run(&w, s, x, codes, c);
                CHECK(output_is_right(l, &w, columns, s, c),
                      "%s amax=%u features=%u n=%u store=%d row=%d", isa->name, l->spec.amax,
                      l->spec.features, l->n, (int)s, row);
            }
        }
    }
    free(c);
    free(columns);
    ft_free(codes);
    ft_encoded_free(&w);
    ft_encoder_free(&encoder);
}

static void test_layers(const guarded *area) {
    static const uint32_t amaxes[] = {127, 255, 1};
    uint64_t seed = 1;
    for (uint32_t n = 1; n <= 70; n++) {
        for (uint32_t round = 0; round < 24; round++) {
            if (isa_skips()) continue;
            const uint32_t features = 1 + random_below(&seed, MAX_FEATURES);
            layer l;
            layer_init(&l, &seed, features, n, amaxes[round % 3]);
            check_layer(&l, area, &seed);
            layer_free(&l);
        }
    }
    for (size_t kind = 0; kind < sizeof cases_of / sizeof *cases_of; kind++)
        CHECK(cases_of[kind] > 0, "input kind %zu never drawn", kind);
}

/* A prefix sum of 257 weights of +-127 is the largest int16 must hold. */
static void test_most_bins(const guarded *area) {
    for (int sign = -1; sign <= 1; sign += 2) {
        uint64_t seed = 9;
        layer l = {.n = 9, .width = 258, .bins = {258}, .fill = {0.0f}};
        l.edges = malloc(259 * sizeof *l.edges);
        for (int t = 0; t < 259; t++) l.edges[t] = (float)t / 16;
        l.weights = malloc(9 * 258);
        l.weights_f32 = calloc(9 * 258, sizeof *l.weights_f32);
        memset(l.weights, 127 * sign, 9 * 258);
        l.mult = calloc(9, sizeof *l.mult);
        l.add = calloc(9, sizeof *l.add);
        l.spec = (ft_encoder_spec){.features = 1, .bins = l.bins, .edges = l.edges,
                                   .edge_count = 259, .fill = l.fill, .amax = 255};
        check_layer(&l, area, &seed);
        layer_free(&l);
    }
}

/* Refused, at which feature. */
static void check_refused(const char *what, uint32_t features, const int32_t *bins,
                          const float *edges, size_t edge_count, uint32_t feature) {
    const float fill[3] = {0.0f, 0.0f, 0.0f};
    const ft_encoder_spec spec = {.features = features, .bins = bins, .edges = edges,
                                  .edge_count = edge_count, .fill = fill, .amax = 127};
    const char *why = NULL;
    uint32_t at = 99;
    CHECK(ft_encoder_width(&spec, &why, &at) == 0, "%s is accepted", what);
    CHECK(why && *why && at == feature, "%s: feature %u, reason %s", what, at, why ? why : "none");
}

static void test_refusals(void) {
    const int32_t two[] = {1, 2}, none[] = {0, 0}, negative[] = {1, -1}, many[] = {1, 259};
    const float good[] = {0, 1, 0, 1, 2};
    const float fill[] = {0, NAN};
    const ft_encoder_spec accepted = {.features = 2, .bins = two, .edges = good, .edge_count = 5,
                                      .fill = fill, .amax = 127};
    const char *why = NULL;
    uint32_t at = 0;
    CHECK(ft_encoder_width(&accepted, &why, &at) == 4, "%s", why ? why : "");
    check_refused("a missing edge", 2, two, good, 4, 1);
    check_refused("one edge too many", 1, two, good, 3, 0);
    check_refused("no bins at all", 2, none, good, 0, 1);
    check_refused("negative bins", 2, negative, good, 2, 1);
    check_refused("259 bins", 2, many, good, 5, 1);
    const float bad[][5] = {
        {0, 1, 0, 0, 2},       {0, 1, 0, 2, 1},         {0, 1, 0, NAN, 2},
        {0, 1, 0, 1, INFINITY}, {0, 1, 0, 1e-40f, 2}, {0, 1, -FLT_MAX, FLT_MAX, INFINITY},
        {0, 1, -FLT_MAX, 3e38f, FLT_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char what[32];
        snprintf(what, sizeof what, "edges %zu", i);
        check_refused(what, 2, two, bad[i], 5, 1);
    }
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    guarded area = guarded_map(4096);
    test_refusals();
    test_most_bins(&area);
    test_layers(&area);
    guarded_unmap(&area);
    return isa_report();
}
