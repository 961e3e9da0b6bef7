#include "selftest.h"

#include "encode.h"
#include "pack.h"

#include <math.h>
#include <string.h>

/* A full panel and a tail; two groups of 32 and a short one; pairs of rows and a single, or as
 * many as meet lists of weights. */
enum { PAIRED = 3, M = FT_LISTED_ROWS + 1, N = 40, K = 72, N_PADDED = 64 };

/* Zeros among the weights: none, most blocks, or most weights. */
typedef enum zeros { NO_ZEROS, ZERO_BLOCKS, ZERO_WEIGHTS } zeros;

typedef struct random_state {
    uint32_t value;
} random_state;

/* A linear congruential generator (Numerical Recipes); its high bits are the good ones. */
static uint32_t draw(random_state *state, uint32_t bound) {
    state->value = state->value * 1664525u + 1013904223u;
    return (state->value >> 16) % bound;
}

static int8_t draw_weight(random_state *state, int32_t limit) {
    return (int8_t)((int32_t)draw(state, (uint32_t)(2 * limit + 1)) - limit);
}

/* Weights packed for an ISA with multipliers of their own, and the scratch they ask for. */
typedef struct product {
    ft_packed w;
    void *scratch;
} product;

/* 0 where memory is short. */
static int product_new(const ft_isa *isa, const ft_pack_spec *spec, product *p) {
    uint32_t column;
    p->scratch = NULL;
    if (ft_pack(isa, spec, &p->w, &column)) return 0;
    p->w.out_amax = spec->amax;
    p->w.mult = ft_alloc(p->w.n_padded, sizeof(float));
    p->w.add = ft_alloc(p->w.n_padded, sizeof(float));
    p->scratch = ft_alloc(p->w.scratch_bytes, 1);
    if (!p->w.mult || !p->w.add || !p->scratch) return 0;
    for (size_t n = 0; n < spec->n; n++) {
        p->w.mult[n] = 0.001f * (float)(1 + n % 7);
        p->w.add[n] = (float)n;
    }
    return 1;
}

static void product_free(product *p) {
    ft_free(p->scratch);
    ft_pack_free(&p->w);
}

/* One product for m rows into c, zeroed before, padding columns being 0. */
static void product_run(const product *p, ft_store store, size_t m, const uint8_t *a, int32_t *c) {
    memset(c, 0, (size_t)M * N_PADDED * sizeof *c);
    p->w.run(&p->w, store, m, a, K, c, N_PADDED, p->scratch);
}

/* For n outputs: N, or 1. */
static int gemm_agrees(const ft_isa *isa, uint32_t n, uint32_t bits, int32_t limit, uint32_t group,
                       uint32_t amax, zeros zeros) {
    random_state state = {bits * 131 + (uint32_t)limit * 17 + group * 3 + amax};
    int8_t weights[N * K];
    uint8_t scales[N * ((K + 31) / 32)], a[M * K + FT_PAD_COLUMN];
    int32_t expected[M * N_PADDED], got[M * N_PADDED];
    for (size_t i = 0; i < sizeof weights; i++) weights[i] = draw_weight(&state, limit);
    for (size_t i = 0; zeros == ZERO_BLOCKS && i < sizeof weights; i++)
        if (i % K / 4 % 5 != i / K / 32) weights[i] = 0; /* a fifth stays */
    for (size_t i = 0; zeros == ZERO_WEIGHTS && i < sizeof weights; i++)
        if (draw(&state, 8)) weights[i] = 0;
    for (size_t i = 0; i < sizeof scales; i++) scales[i] = (uint8_t)(1 + draw(&state, 63));
    for (size_t i = 0; i < sizeof a; i++) a[i] = (uint8_t)(amax - draw(&state, amax / 2));
    const ft_pack_spec spec = {weights, group ? scales : NULL, n, K, bits, group, amax,
                               zeros != NO_ZEROS};
    product right, tried;
    const int ready = product_new(&ft_isa_scalar, &spec, &right);
    int agrees = product_new(isa, &spec, &tried) && ready;
    const size_t most = zeros == ZERO_WEIGHTS ? M : PAIRED;
    for (size_t m = 1; agrees && m <= most; m += most - 1) {
        for (ft_store store = FT_STORE_I32; agrees && store <= FT_STORE_F32; store++) {
            product_run(&right, store, m, a, expected);
            product_run(&tried, store, m, a, got);
            agrees = !memcmp(expected, got, sizeof got);
        }
    }
    product_free(&right);
    product_free(&tried);
    return agrees;
}

static int gemm_f32_agrees(const ft_isa *isa) {
    random_state state = {7};
    float weights[N * K], bias[N] = {0}, a[M * K];
    float answers[2][M * N] = {{0}};
    for (size_t i = 0; i < N * K; i++) weights[i] = (float)draw(&state, 20001) * 1e-4f - 1.0f;
    for (size_t i = 0; i < M * K; i++) a[i] = (float)draw(&state, 5) * 0.3f;
    const ft_isa *const isas[2] = {&ft_isa_scalar, isa};
    for (int i = 0; i < 2; i++) {
        ft_packed_f32 w;
        if (ft_pack_f32(isas[i], weights, bias, N, K, &w)) return 0;
        isas[i]->gemm_f32.run(&w, M, a, K, answers[i], N);
        ft_pack_f32_free(&w);
    }
    return !memcmp(answers[0], answers[1], sizeof answers[0]);
}

static int scale_agrees(const ft_isa *isa) {
    enum { COUNT = 2 * N + 5, PADDED = 88 }; /* vectors of 32, of 8, and a part of one */
    random_state state = {11};
    float shift[PADDED] = {0}, scale[PADDED] = {0}, fill[PADDED] = {0}, x[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        shift[i] = (float)draw(&state, 1001) * 0.01f;
        scale[i] = (float)draw(&state, 1001) * 0.05f;
        fill[i] = (float)i;
        x[i] = i % 7 == 3 ? NAN : (float)draw(&state, 2001) * 0.01f - 5.0f;
    }
    x[1] = 3e38f;
    x[40] = -3e38f;
    const ft_scaler s = {COUNT, 127, shift, scale, fill};
    for (ft_store store = FT_STORE_U8; store <= FT_STORE_F32; store++) {
        float answers[2][PADDED];
        ft_isa_scalar.scale(&s, store, x, answers[0]);
        isa->scale(&s, store, x, answers[1]);
        if (memcmp(answers[0], answers[1], COUNT * (store == FT_STORE_U8 ? 1 : sizeof(float))))
            return 0;
    }
    for (size_t at = 0; at <= COUNT; at++) {
        float y[COUNT + 1];
        memcpy(y, x, sizeof x);
        y[at] = at % 2 ? INFINITY : -INFINITY;
        if (isa->find_infinity(y, COUNT) != at) return 0;
    }
    return 1;
}

static int encode_agrees(const ft_isa *isa, uint32_t amax) {
    /* 20 bins and missing, none, 3 categories and other, 20 bins */
    enum { FEATURES = 4, BINS = 20, EDGES = 2 * (BINS + 1), WIDTH = 2 * BINS + 1 + 4 };
    const int32_t bins[FEATURES] = {BINS, 0, 0, BINS}, categories[FEATURES] = {0, 0, 4, 0};
    const float fill[FEATURES] = {NAN, 0.0f, 0.0f, 9.5f};
    const float inputs[][FEATURES] = {
        {NAN, 1, NAN, NAN}, {3.3f, 2, 2, INFINITY}, {-INFINITY, NAN, 0.5f, 7}};
    random_state state = {amax};
    float edges[EDGES], weights_f32[N * WIDTH];
    int8_t weights[N * WIDTH];
    for (size_t i = 0; i < EDGES; i++) edges[i] = (float)(i % (BINS + 1)) * 1.7f;
    for (size_t i = 0; i < N * WIDTH; i++) {
        weights[i] = draw_weight(&state, 127);
        weights_f32[i] = (float)weights[i] * 0.01f;
    }
    const ft_encoder_spec spec = {.features = FEATURES, .bins = bins, .edges = edges,
                                  .edge_count = EDGES, .fill = fill, .amax = amax,
                                  .categories = categories};
    ft_encoder encoder;
    ft_encoded w = {0};
    if (ft_encoder_build(&spec, &encoder)) return 0;
    const int is_float = amax == 1;
    int agrees = !ft_encoded_build(&spec, &encoder, is_float ? NULL : weights,
                                   is_float ? weights_f32 : NULL, N, &w) &&
                 (w.add = ft_alloc(w.n_padded, sizeof(float))) != NULL;
    for (size_t i = 0; agrees && i < sizeof inputs / sizeof inputs[0]; i++) {
        uint32_t codes[FT_CODES_BYTES(FEATURES) / 4];
        int32_t answers[2][N] = {{0}};
        const ft_isa *const isas[2] = {&ft_isa_scalar, isa};
        for (int which = 0; which < 2; which++) {
            ft_encode_fn *run = is_float ? isas[which]->encode_f32 : isas[which]->encode;
            run(&w, is_float ? FT_STORE_F32 : FT_STORE_I32, inputs[i], codes, answers[which]);
        }
        agrees = !memcmp(answers[0], answers[1], sizeof answers[0]);
    }
    ft_encoded_free(&w);
    ft_encoder_free(&encoder);
    return agrees;
}

static int conversions_agree(const ft_isa *isa) {
    enum { COUNT = 2 * 64 + 37 };
    random_state state = {13};
    float x[COUNT], ends[2][2], values[2][COUNT];
    int8_t q[2][COUNT], split[2][COUNT];
    uint8_t nibbles[2][(COUNT + 1) / 2];
    for (size_t i = 0; i < COUNT; i++) x[i] = (float)draw(&state, 2001) * 0.01f - 10.0f;
    x[2] = NAN;
    x[60] = 3e38f;
    const ft_isa *const isas[2] = {&ft_isa_scalar, isa};
    for (int i = 0; i < 2; i++) {
        ends[i][0] = INFINITY;
        ends[i][1] = -INFINITY;
        isas[i]->range(x, COUNT, &ends[i][0], &ends[i][1]);
        isas[i]->quantize(x, COUNT, 1.3f, 7, q[i]);
        isas[i]->dequantize(q[i], COUNT, 0.7f, values[i]);
        isas[i]->join_nibbles(q[i], COUNT, nibbles[i]);
        isas[i]->split_nibbles(nibbles[i], COUNT, split[i]);
    }
    return !memcmp(ends[0], ends[1], sizeof ends[0]) && !memcmp(q[0], q[1], sizeof q[0]) &&
           !memcmp(values[0], values[1], sizeof values[0]) &&
           !memcmp(nibbles[0], nibbles[1], sizeof nibbles[0]) &&
           !memcmp(split[0], split[1], sizeof split[0]) && !memcmp(split[0], q[0], sizeof q[0]);
}

int ft_selftest(const ft_isa *isa) {
    for (uint32_t amax = 127; amax <= 255; amax += 128) {
        for (uint32_t n = 1; n <= N; n += N - 1) {
            for (int32_t limit = 127; limit >= 15; limit /= 2)
                if (!gemm_agrees(isa, n, 8, limit, 0, amax, NO_ZEROS)) return 0;
            for (uint32_t group = 0; group <= 64; group += 32)
                if (!gemm_agrees(isa, n, 4, 7, group, amax, NO_ZEROS) ||
                    !gemm_agrees(isa, n, 4, 7, group, amax, ZERO_BLOCKS))
                    return 0;
            for (int32_t limit = 127; limit >= 15; limit /= 2)
                if (!gemm_agrees(isa, n, 8, limit, 0, amax, ZERO_BLOCKS) ||
                    !gemm_agrees(isa, n, 8, limit, 0, amax, ZERO_WEIGHTS))
                    return 0;
        }
    }
    return gemm_f32_agrees(isa) && scale_agrees(isa) && encode_agrees(isa, 127) &&
           encode_agrees(isa, 255) && encode_agrees(isa, 1) && conversions_agree(isa);
}
