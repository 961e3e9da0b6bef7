/* Products whose every buffer lies between two pages that nobody may touch, once against the
 * one and once against the other: a kernel that reads or writes a byte too many crashes. */
#include "isas.h"
#include "product.h"

enum { MAX_M = 17, MAX_N = 65 }; /* two tiles of the largest kernel and one more */

/* A buffer each. */
typedef struct places {
    guarded a, c, data, scales, first, at, list, list_k, list_w, scratch, mult, add;
    int at_end;
} places;

/* `size` bytes against one of the two pages. */
static void *place(const places *p, const guarded *area, size_t size) {
    return p->at_end ? guarded_end(area, size) : area->map;
}

static void *placed_copy(const places *p, const guarded *area, const void *from, size_t size) {
    return memcpy(place(p, area, size), from, size);
}

/* A copy of w in guarded memory. */
static ft_packed guarded_weights(const ft_packed *w, const layer *l, const places *p) {
    ft_packed copy = *w;
    const size_t blocks = w->strip ? w->first[w->n_padded / w->strip] : 0;
    const size_t weights = w->strip ? blocks * w->strip * 4 : (size_t)w->n_padded * w->k_padded;
    const size_t bytes = weights / (1 + w->nibbles);
    /* The contract promises data on a line of 64 bytes; what rounds the size up is 0 there. */
    const size_t lines = (bytes + 63) / 64 * 64;
    copy.data = place(p, &p->data, lines);
    memset(copy.data, 0, lines);
    memcpy(copy.data, w->data, bytes);
    const size_t groups = w->group ? (w->k + w->group - 1) / w->group : 0;
    if (groups)
        copy.scales = placed_copy(p, &p->scales, w->scales, w->n_padded * groups);
    if (w->strip) {
        copy.first = placed_copy(p, &p->first, w->first,
                                 (w->n_padded / w->strip + 1) * sizeof *w->first);
        copy.at = placed_copy(p, &p->at, w->at, blocks * sizeof *w->at);
    }
    if (w->list) {
        const size_t entries = w->list[w->n_padded];
        copy.list = placed_copy(p, &p->list, w->list, (w->n_padded + 1) * sizeof *w->list);
        copy.list_k = placed_copy(p, &p->list_k, w->list_k, entries * sizeof *w->list_k);
        copy.list_w = placed_copy(p, &p->list_w, w->list_w, entries);
    }
    copy.mult = place(p, &p->mult, w->n_padded * sizeof(float));
    copy.add = place(p, &p->add, w->n_padded * sizeof(float));
    for (size_t n = 0; n < w->n_padded; n++) {
        copy.mult[n] = n < w->n ? l->mult[n] : 0;
        copy.add[n] = n < w->n ? l->add[n] : 0;
    }
    return copy;
}

static void check_layer(const ft_isa *isa, const layer *l, places *p, uint64_t *seed) {
    ft_packed w;
    uint32_t column;
    const ft_pack_fault fault = ft_pack(isa, &l->spec, &w, &column);
    CHECK(fault == FT_PACK_OK, "%s: fault %d", isa->name, fault);
    if (fault) return;
    const size_t lda = w.k_padded + random_below(seed, 2), ldc = w.n_padded + random_below(seed, 2);
    for (p->at_end = 0; p->at_end <= 1; p->at_end++) {
        ft_packed copy = guarded_weights(&w, l, p);
        copy.out_amax = random_below(seed, 2) ? 127 : 255;
        copy.relu = random_below(seed, 2);
        uint8_t *a = place(p, &p->a, (l->m - 1) * lda + w.k_padded);
        for (size_t i = 0; i < l->m; i++) {
            memset(a + i * lda, POISON, w.k_padded);
            memcpy(a + i * lda, l->values + i * w.k, w.k);
        }
        for (ft_store store = FT_STORE_I32; store <= FT_STORE_F32; store++) {
            const size_t size = store == FT_STORE_U8 ? 1 : 4;
            const size_t elements = (l->m - 1) * ldc + w.n_padded;
            void *c = place(p, &p->c, elements * size);
            memset(c, POISON, elements * size);
            void *scratch = place(p, &p->scratch, (w.scratch_bytes + 63) / 64 * 64);
            copy.run(&copy, store, l->m, a, lda, c, ldc, scratch);
            CHECK(rows_are_right(l, &copy, store, c, ldc),
                  "%s bits=%u group=%u amax=%u strip=%u m=%zu n=%u k=%u store=%d end=%d", isa->name,
                  w.bits, w.group, w.amax, w.strip, l->m, w.n, w.k, (int)store, p->at_end);
        }
    }
    ft_pack_free(&w);
}

static void check_shape(size_t m, uint32_t n, uint32_t k, size_t configuration, uint32_t strip,
                        places *p) {
    if (isa_skips()) return;
    const uint32_t *c = configurations[configuration];
    uint64_t seed = ((m * 100 + n) * 1000 + k) * 100 + configuration;
    layer l = layer_pruned(&seed, m, n, k, c[0], (int32_t)c[1], c[2], c[3], 0, strip);
    for (uint32_t i = 0; i < ft_isa_count(); i++) check_layer(isa_force(i), &l, p, &seed);
    layer_free(&l);
}

/* Every m with every n and tails of k, the configurations and the strips taking turns. */
static void test_tails(places *p) {
    static const uint32_t ks[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                  14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 129};
    size_t turn = 0;
    for (size_t m = 1; m <= MAX_M; m++) {
        for (uint32_t n = 1; n <= MAX_N; n++) {
            for (size_t i = n % 3; i < sizeof ks / sizeof *ks; i += 3) {
                turn++;
                check_shape(m, n, ks[i], turn % CONFIGURATIONS, 0, p);
                if (turn % 2) /* 8, 16, 32 */
                    check_shape(m, n, ks[i], turn / 2 % CONFIGURATIONS, 8u << turn % 3, p);
            }
        }
    }
}

/* Weights that are listed one by one meet whole tiles of 32 rows and what is left of one. */
static void test_lists(places *p) {
    static const uint32_t ks[] = {9, 40, 63, 64, 129};
    for (size_t m = FT_LISTED_ROWS; m <= 65; m++)
        for (uint32_t n = 2 + m % 5; n <= MAX_N; n += 5)
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
                check_shape(m, n, ks[i], (m + n + i) % CONFIGURATIONS, 1, p);
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    const size_t room = 1 << 17;
    places p = {guarded_map(room), guarded_map(room), guarded_map(room), guarded_map(room),
                guarded_map(room), guarded_map(room), guarded_map(room), guarded_map(room),
                guarded_map(room), guarded_map(room), guarded_map(room), guarded_map(room), 0};
    test_tails(&p);
    test_lists(&p);
    return isa_report();
}
