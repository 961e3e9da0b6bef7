/* Packing and products: every ISA against an independent int64 calculation, to the bit. */
#include "isas.h"
#include "product.h"

#include "gemm.h"

enum { MAX_M = 5, MAX_N = 70, MAX_K = 140 };

static long depth_cases[2][5]; /* [u8][depth] of AVX2's int8 products */
static long nibble_cases[2][3]; /* [u8][group / 32] */
static long strip_cases[3][3]; /* [strip / 16][group / 32] */
static long nibble_strip_cases[3]; /* [group / 32] */
static long list_cases[3]; /* [depth] */
static long column_cases[2]; /* [known to be exact in int16] */

static void count_path(const ft_packed *w) {
    const int u8 = w->amax > 127;
    if (w->scratch_bytes) list_cases[u8 ? w->list_depth_u8 : w->list_depth_u7]++;
    else if (w->strip) {
        strip_cases[w->strip / 16][w->group / 32]++;
        if (w->nibbles) nibble_strip_cases[w->group / 32]++;
    }
    else if (w->nr == 1) column_cases[w->bits == 4 || (u8 ? w->depth_u8 : w->depth_u7)]++;
    else if (w->nibbles) nibble_cases[u8][w->group / 32]++;
    else depth_cases[u8][u8 ? w->depth_u8 : w->depth_u7]++;
}

/* The rows, and the poison after the last one too. */
static int output_is_right(const layer *l, const ft_packed *w, ft_store store, const void *c,
                           size_t ldc) {
    const uint32_t poison = store == FT_STORE_U8 ? POISON : POISON * 0x01010101u;
    for (size_t j = w->n_padded; j < ldc; j++)
        if (element(c, store, (l->m - 1) * ldc + j) != poison) return 0;
    return rows_are_right(l, w, store, c, ldc);
}

static void check_layer(const ft_isa *isa, const layer *l, const guarded *area, uint64_t *seed) {
    ft_packed w;
    uint32_t column;
    const ft_pack_fault fault = ft_pack(isa, &l->spec, &w, &column);
    CHECK(fault == FT_PACK_OK, "%s n=%u k=%u: fault %d", isa->name, l->spec.n, l->spec.k, fault);
    if (fault) return;
    if (isa->gemm.nibbles) count_path(&w);
    w.mult = ft_alloc(w.n_padded, sizeof(float));
    w.add = ft_alloc(w.n_padded, sizeof(float));
    memcpy(w.mult, l->mult, w.n * sizeof(float));
    memcpy(w.add, l->add, w.n * sizeof(float));
    w.out_amax = random_below(seed, 2) ? 127 : 255;
    w.relu = random_below(seed, 2);

    const size_t lda = w.k_padded + random_below(seed, 3), ldc = w.n_padded + 3;
    uint8_t *a = guarded_end(area, (l->m - 1) * lda + w.k_padded);
    for (size_t i = 0; i < l->m; i++) {
        memcpy(a + i * lda, l->values + i * w.k, w.k);
        for (size_t k = w.k; k < w.k_padded; k++) a[i * lda + k] = (uint8_t)random_bits(seed);
    }
    void *c = malloc(l->m * ldc * 4), *scratch = ft_alloc(w.scratch_bytes, 1);
    for (ft_store store = FT_STORE_I32; store <= FT_STORE_F32; store++) {
        memset(c, POISON, l->m * ldc * 4);
        w.run(&w, store, l->m, a, lda, c, ldc, scratch);
        CHECK(output_is_right(l, &w, store, c, ldc),
              "%s bits=%u group=%u amax=%u weight_max=%d m=%zu n=%u k=%u store=%d", isa->name,
              w.bits, w.group, w.amax, (int)l->weight_max, l->m, w.n, w.k, (int)store);
    }
    free(c);
    ft_free(scratch);
    ft_pack_free(&w);
}

/* Every ISA, and the padded product of plain buffers. */
static void check_everywhere(const layer *l, const guarded *area, uint64_t *seed) {
    for (uint32_t i = 0; i < ft_isa_count(); i++) check_layer(isa_force(i), l, area, seed);
}

static layer layer_new(uint64_t *seed, size_t m, uint32_t n, uint32_t k, uint32_t bits,
                       int32_t weight_max, uint32_t group, uint32_t amax, int extreme) {
    return layer_pruned(seed, m, n, k, bits, weight_max, group, amax, extreme, 0);
}

static void check_shape(size_t m, uint32_t n, uint32_t k, size_t configuration, int extreme,
                        const guarded *area) {
    if (isa_skips()) return;
    const uint32_t *c = configurations[configuration];
    uint64_t seed = (((m * 1000 + n) * 100000 + k) * 100 + configuration) * 2 + (uint64_t)extreme;
    layer l = layer_new(&seed, m, n, k, c[0], (int32_t)c[1], c[2], c[3], extreme);
    check_everywhere(&l, area, &seed);
    layer_free(&l);
}

/* Every n with every k, the rows taking turns. */
static void test_tails(const guarded *area) {
    for (uint32_t n = 1; n <= MAX_N; n++) {
        for (uint32_t k = 1; k <= MAX_K; k++) {
            const size_t turn = n * 3 + k;
            for (size_t i = turn % 3; i < CONFIGURATIONS; i += 3)
                check_shape(1 + (turn / 3 + i) % MAX_M, n, k, i, 0, area);
        }
    }
}

/* Every m with every path, on shapes around the panel and group sizes. */
static void test_rows(const guarded *area) {
    static const uint32_t ns[] = {1, 8, 9, 31, 32, 33, 40, 64}, ks[] = {7, 8, 32, 33, 64, 72, 129};
    for (size_t m = 1; m <= MAX_M; m++)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
            for (size_t j = 0; j < sizeof ks / sizeof *ks; j++)
                for (size_t c = 0; c < CONFIGURATIONS; c++)
                    for (int extreme = 0; extreme < 2; extreme++)
                        check_shape(m, ns[i], ks[j], c, extreme, area);
}

/* Slices of k, blocks of rows, and rows too long for the nibble path's table. */
static void test_blocks(const guarded *area) {
    static const uint32_t ks[] = {249, 256, 257, 505, 512, 513, 520, 1024, 1031};
    static const size_t ms[] = {1, 2, 3, 64, 65, 130};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (size_t j = 0; j < sizeof ms / sizeof *ms; j++)
            for (size_t c = (i + j) % 2; c < CONFIGURATIONS; c += 2)
                check_shape(ms[j], 37, ks[i], c, (int)(i % 2), area);
    for (uint32_t k = 16376; k <= 16400; k += 8)
        for (size_t c = 0; c < CONFIGURATIONS; c++) check_shape(1, 9, k, c, 0, area);
}

/* Weights pruned one by one, met by many rows: whole tiles of 32, what is left of one, fewer. */
static void test_lists(const guarded *area) {
    static const uint32_t ns[] = {2, 8, 9, 37, 64}, ks[] = {40, 129, 257, 1030};
    static const size_t ms[] = {1, 23, 24, 25, 32, 33, 56, 64, 97};
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            for (size_t c = 0; c < CONFIGURATIONS; c++) {
                const uint32_t *conf = configurations[c];
                const size_t turn = i + 3 * j + 5 * c, m = ms[turn % (sizeof ms / sizeof *ms)];
                if (isa_skips()) continue;
                uint64_t seed = turn;
                layer l = layer_pruned(&seed, m, ns[i], ks[j], conf[0], (int32_t)conf[1], conf[2],
                                       conf[3], (int)(turn % 7 == 0), 1);
                check_everywhere(&l, area, &seed);
                layer_free(&l);
            }
        }
    }
}

/* One case of block-sparse weights. */
static void check_strips(size_t m, uint32_t n, uint32_t k, size_t c, size_t turn, uint32_t strip,
                         const guarded *area) {
    const uint32_t *conf = configurations[c];
    if (isa_skips()) return;
    uint64_t seed = turn * 100 + strip;
    layer l = layer_pruned(&seed, m, n, k, conf[0], (int32_t)conf[1], conf[2], conf[3],
                           (int)(turn % 7 == 0), strip);
    check_everywhere(&l, area, &seed);
    layer_free(&l);
}

/* Block-sparse weights: every width of strip with tails of n and k, every m up to two tiles, and
 * rows too long for the table of the nibble path. */
static void test_strips(const guarded *area) {
    static const uint32_t ns[] = {2, 7, 8, 15, 16, 31, 32, 33, 64, 70};
    static const uint32_t ks[] = {3, 4, 8, 9, 31, 32, 61, 64, 130, 257};
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            for (size_t c = 0; c < CONFIGURATIONS; c++) {
                const size_t turn = i + 3 * j + 5 * c, m = 1 + turn % 18;
                for (uint32_t strip = 8; strip <= 32; strip *= 2)
                    check_strips(m, ns[i], ks[j], c, turn, strip, area);
            }
        }
    }
    for (uint32_t k = 1016; k <= 1032; k += 8)
        for (size_t c = 0; c < CONFIGURATIONS; c++) check_strips(1, 37, k, c, c, 32, area);
}

static void test_every_path_was_taken(void) {
    if (case_every > 1) return;
    if (ft_isa_count() == 1) {
        printf("skipped: only %s runs here, no vector path to count\n", ft_isa_name(0));
        return;
    }
    for (uint32_t depth = 0; depth <= 4; depth++) {
        if (depth == 3) continue;
        if (depth) CHECK(depth_cases[0][depth] > 0, "u7 depth %u", depth);
        CHECK(depth_cases[1][depth] > 0, "u8 depth %u", depth);
    }
    CHECK(depth_cases[0][0] == 0, "u7 products of int8 weights cannot saturate");
    for (size_t u8 = 0; u8 < 2; u8++)
        for (size_t group = 0; group < 3; group++)
            CHECK(nibble_cases[u8][group] > 0, "int4 u8=%zu group=%zu", u8, 32 * group);
    for (size_t strip = 0; strip < 3; strip++)
        for (size_t group = 0; group < 3; group++)
            CHECK(strip_cases[strip][group] > 0, "strips of %d, group %zu", 8 << strip, 32 * group);
    for (size_t group = 0; group < 3 && ft_isa_current()->blocks.nibbles; group++)
        CHECK(nibble_strip_cases[group] > 0, "strips of nibbles, group %zu", 32 * group);
    for (uint32_t depth = 0; depth <= 2 && ft_isa_current()->lists.run; depth++)
        CHECK(list_cases[depth] > 0, "lists, depth %u", depth);
    CHECK(column_cases[0] > 0 && column_cases[1] > 0, "one output: %ld and %ld", column_cases[0],
          column_cases[1]);
}

static void test_matmul(void) {
    uint64_t seed = 5;
    for (uint32_t n = 1; n <= 40; n += 3) {
        for (uint32_t k = 1; k <= 40; k += 3) {
            for (size_t i = 0; i < CONFIGURATIONS; i++) {
                if (isa_skips()) continue;
                const uint32_t *conf = configurations[i];
                const size_t m = (n + k) % 70; /* 0 included, and more than one block */
                layer l = layer_new(&seed, m + 1, n, k, conf[0], (int32_t)conf[1], conf[2], conf[3],
                                    0);
                l.spec.amax = 255;
                for (uint32_t isa = 0; isa < ft_isa_count(); isa++) {
                    isa_force(isa);
                    ft_packed w;
                    uint32_t column;
                    CHECK(!ft_pack(ft_isa_current(), &l.spec, &w, &column), "n=%u k=%u", n, k);
                    int32_t *c = malloc((m + 1) * n * sizeof *c);
                    memset(c, POISON, (m + 1) * n * sizeof *c);
                    CHECK(!ft_matmul(&w, m, l.values, c), "n=%u k=%u", n, k);
                    int right = 1;
                    for (size_t at = 0; at < m * n; at++) right &= c[at] == l.sums[at];
                    for (size_t at = m * n; at < (m + 1) * n; at++)
                        right &= (uint32_t)c[at] == POISON * 0x01010101u;
                    CHECK(right, "%s m=%zu n=%u k=%u bits=%u", ft_isa_name(isa), m, n, k, conf[0]);
                    free(c);
                    ft_pack_free(&w);
                }
                layer_free(&l);
            }
        }
    }
    ft_isa_force(NULL);
}

/* One value above 127 anywhere must be noticed: next to 127, and with weights of 127, the
 * product for u7 would saturate. */
static void test_matmul_notices_one_large_value(void) {
    enum { K = 43 };
    int8_t weights[K];
    uint8_t a[2 * K];
    memset(weights, 127, sizeof weights);
    const ft_pack_spec spec = {weights, NULL, 1, K, 8, 0, 255, 0};
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        isa_force(i);
        ft_packed w;
        uint32_t column;
        CHECK(!ft_pack(ft_isa_current(), &spec, &w, &column), "%s", ft_isa_name(i));
        for (size_t at = 0; at < 2 * K; at++) {
            memset(a, 127, sizeof a);
            a[at] = 255;
            int32_t c[2];
            CHECK(!ft_matmul(&w, 2, a, c), "%s", ft_isa_name(i));
            const int32_t plain = 127 * 127 * K, large = plain + 128 * 127;
            CHECK(c[0] == (at < K ? large : plain) && c[1] == (at < K ? plain : large),
                  "%s at %zu: %d %d", ft_isa_name(i), at, (int)c[0], (int)c[1]);
        }
        ft_pack_free(&w);
    }
    ft_isa_force(NULL);
}

/* The largest legal sum of a column, and one more; and the largest runs exactly. */
static void check_bound(uint32_t amax, int sign, uint32_t bits, uint32_t group,
                        const guarded *area) {
    if (isa_skips()) return;
    const int64_t bound = INT32_MAX / amax;
    const int64_t most = bits == 4 ? 7 : 127, scale = group ? 63 : 1;
    const uint32_t k = (uint32_t)(bound / (most * scale)) + 300;
    uint64_t seed = 1;
    layer l = layer_new(&seed, 2, 3, k, bits, (int32_t)most, group, amax, 1);
    memset(l.weights, 0, 3 * (size_t)k);
    int8_t *weights = l.weights + k; /* column 1 */
    const size_t groups = group ? (k + group - 1) / group : 0;
    const size_t full = groups > 3 ? groups - 3 : 0; /* the last groups make up the rest */
    for (size_t g = full; g < groups; g++) l.scales[groups + g] = 1;
    int64_t left = bound;
    for (uint32_t i = 0; i < k && left; i++) {
        const int64_t unit = group && i / group < full ? scale : 1;
        const int64_t w = left / unit < most ? left / unit : most;
        weights[i] = (int8_t)(sign * w);
        left -= w * unit;
    }
    CHECK(left == 0, "the weights reach the bound: %ld left", (long)left);
    for (size_t i = 0; i < 6; i++) l.sums[i] = i % 3 == 1 ? sign * bound * amax : 0;
    check_everywhere(&l, area, &seed);

    uint32_t last = k;
    while (weights[--last] != 0) continue; /* a free place: its scale is 1 without groups */
    weights[last] = (int8_t)sign;
    ft_packed w;
    uint32_t column = 9;
    CHECK(ft_pack(&ft_isa_scalar, &l.spec, &w, &column) == FT_PACK_OVERFLOW && column == 1,
          "amax=%u sign=%d bits=%u group=%u column=%u", amax, sign, bits, group, column);
    layer_free(&l);
}

static void test_int32_bound(const guarded *area) {
    for (uint32_t amax = 127; amax <= 255; amax += 128) {
        for (int sign = -1; sign <= 1; sign += 2) {
            check_bound(amax, sign, 8, 0, area);
            check_bound(amax, sign, 4, 32, area);
            check_bound(amax, sign, 4, 64, area);
        }
    }
}

static ft_pack_fault fault_of(ft_pack_spec spec, uint32_t expected_column) {
    ft_packed w;
    uint32_t column = 99;
    const ft_pack_fault fault = ft_pack(ft_isa_current(), &spec, &w, &column);
    CHECK(column == expected_column, "column %u, not %u", column, expected_column);
    if (!fault) ft_pack_free(&w);
    else CHECK(!w.data && !w.scales, "a refused pack owns nothing");
    return fault;
}

static void test_refusals(void) {
    int8_t weights[3 * 40] = {0};
    uint8_t scales[3 * 2] = {1, 1, 1, 1, 1, 1};
    const ft_pack_spec good8 = {weights, NULL, 3, 40, 8, 0, 127, 0};
    const ft_pack_spec good4 = {weights, scales, 3, 40, 4, 32, 255, 0};
    CHECK(fault_of(good8, 0) == FT_PACK_OK, "8 bits");
    CHECK(fault_of(good4, 0) == FT_PACK_OK, "4 bits");
    weights[2 * 40 + 39] = -128;
    CHECK(fault_of(good8, 2) == FT_PACK_WEIGHT, "-128");
    weights[2 * 40 + 39] = -127;
    CHECK(fault_of(good8, 0) == FT_PACK_OK, "-127");
    for (int w = -8; w <= 8; w += 16) {
        weights[2 * 40 + 39] = (int8_t)w;
        CHECK(fault_of(good4, 2) == FT_PACK_WEIGHT, "%d in 4 bits", w);
    }
    weights[2 * 40 + 39] = -7;
    CHECK(fault_of(good4, 0) == FT_PACK_OK, "-7 in 4 bits");
    scales[3] = 0;
    CHECK(fault_of(good4, 1) == FT_PACK_SCALE, "scale 0");
    scales[3] = 64;
    CHECK(fault_of(good4, 1) == FT_PACK_SCALE, "scale 64");
    scales[3] = 63;
    CHECK(fault_of(good4, 0) == FT_PACK_OK, "scale 63");

    static const struct { uint32_t n, k, bits, group, amax; } bad[] = {
        {0, 40, 8, 0, 127},       {3, 0, 8, 0, 127},   {(1u << 20) + 1, 40, 8, 0, 127},
        {3, 1u << 21, 8, 0, 127}, {3, 40, 7, 0, 127},  {3, 40, 8, 0, 100},
        {3, 40, 4, 16, 127},      {3, 40, 8, 32, 127}, {3, 40, 4, 48, 127}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const ft_pack_spec spec = {weights,     NULL,         bad[i].n,   bad[i].k,
                                   bad[i].bits, bad[i].group, bad[i].amax, 0};
        CHECK(fault_of(spec, 0) == FT_PACK_SHAPE, "shape %zu", i);
    }
    CHECK(ft_alloc(SIZE_MAX / 2, 4) == NULL, "a size that overflows");
    CHECK(ft_alloc(SIZE_MAX - 8, 1) == NULL, "a size that overflows when rounded up");
}

/* Straight from the definition, for one depth. */
static int certified(const int8_t *weights, uint32_t n, uint32_t k, uint32_t amax, uint32_t depth) {
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t begin = 0; begin < k; begin += 4 * depth) {
            int64_t sums[2][2] = {{0}};
            for (uint32_t i = begin; i < k && i < begin + 4 * depth; i++) {
                const int32_t w = weights[(size_t)j * k + i];
                sums[i % 4 / 2][w < 0] += w < 0 ? -w : w;
            }
            for (int lane = 0; lane < 2; lane++)
                if (sums[lane][0] * amax > 32767 || sums[lane][1] * amax > 32768) return 0;
        }
    }
    return 1;
}

static void test_certified_depth(void) {
    uint64_t seed = 3;
    long seen[5] = {0};
    for (int round = 0; round < 20000; round++) {
        if (isa_skips()) continue;
        int8_t weights[3 * 50];
        const uint32_t k = 1 + random_below(&seed, 50), n = 1 + random_below(&seed, 3);
        const uint32_t amax = random_below(&seed, 2) ? 127 : 255;
        const int32_t limit = 8 + (int32_t)random_below(&seed, 120);
        for (uint32_t i = 0; i < n * k; i++) weights[i] = random_weight(&seed, limit);
        uint32_t want = 4;
        while (want && !certified(weights, n, k, amax, want)) want /= 2;
        seen[want]++;
        CHECK(ft_certified_depth(weights, n, k, amax) == want, "n=%u k=%u amax=%u", n, k, amax);
    }
    for (int depth = 0; depth <= 4; depth++)
        if (depth != 3 && case_every == 1) CHECK(seen[depth] > 0, "depth %d never occurred", depth);
    for (int sign = -1; sign <= 1; sign += 2) { /* 258 and 259, 128 and 129 in a lane */
        int8_t weights[16] = {0};
        weights[0] = weights[4] = (int8_t)(127 * sign);
        weights[8] = (int8_t)(4 * sign);
        CHECK(ft_certified_depth(weights, 1, 16, 127) == 4, "258 passes, sign %d", sign);
        weights[12] = (int8_t)sign;
        CHECK(ft_certified_depth(weights, 1, 16, 127) == 2, "259 does not, sign %d", sign);
        weights[4] = weights[8] = weights[12] = 0;
        weights[1] = (int8_t)sign;
        CHECK(ft_certified_depth(weights, 1, 16, 255) == 4, "128 passes, sign %d", sign);
        weights[1] = (int8_t)(2 * sign);
        CHECK(ft_certified_depth(weights, 1, 16, 255) == 0, "129 does not, sign %d", sign);
    }
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    guarded area = guarded_map(2 << 20);
    test_certified_depth();
    test_refusals();
    test_tails(&area);
    test_rows(&area);
    test_blocks(&area);
    test_int32_bound(&area);
    test_strips(&area);
    test_lists(&area);
    test_every_path_was_taken();
    test_matmul();
    test_matmul_notices_one_large_value();
    guarded_unmap(&area);
    return isa_report();
}
