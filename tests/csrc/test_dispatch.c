/* Which ISA runs, and that a wrong one would be noticed. */
#include "isas.h"

#include "cpu.h"
#include "selftest.h"

static void test_names(void) {
    const uint32_t count = ft_isa_count();
    CHECK(count >= 1, "%u", count);
    CHECK(!strcmp(ft_isa_name(count - 1), "scalar"), "scalar is last, not %s",
          ft_isa_name(count - 1));
    CHECK(!strcmp(ft_isa_removed(), ""), "removed by the self-test: %s", ft_isa_removed());
    CHECK((count > 1) == (ft_cpu_features() != 0), "%u ISAs with features %llx", count,
          (unsigned long long)ft_cpu_features());
}

static void test_every_entry_is_filled(void) {
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        const ft_isa *isa = isa_force(i);
        CHECK(!strcmp(isa->name, ft_isa_name(i)), "%s, not %s", isa->name, ft_isa_name(i));
        CHECK(isa->gemm.run && isa->gemm_f32.run, "%s", isa->name);
        CHECK(isa->find_infinity && isa->scale && isa->encode && isa->encode_f32, "%s", isa->name);
        CHECK(isa->gemm.nr <= FT_PANEL && isa->gemm.nr && isa->gemm.kr && isa->gemm.mr, "%s",
              isa->name);
    }
    CHECK(ft_isa_force("no such isa") == -1, "an unknown name is refused");
    CHECK(!strcmp(ft_isa_current()->name, "scalar"), "a refusal changes nothing");
    CHECK(ft_isa_force(NULL) == 0, "NULL");
    CHECK(!strcmp(ft_isa_current()->name, ft_isa_name(0)), "NULL restores the best");
}

static const ft_isa *right;

/* Off by one in the first output of everything but one row. */
static void wrong_gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                       void *c, size_t ldc, void *scratch) {
    right->gemm.run(w, store, m, a, lda, c, ldc, scratch);
    if (m > 1) ((uint8_t *)c)[0] ^= 1;
}

/* Off by one where a layer has a single output. */
static void wrong_column(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                         size_t lda, void *c, size_t ldc, void *scratch) {
    right->gemm.run(w, store, m, a, lda, c, ldc, scratch);
    if (w->n == 1) ((uint8_t *)c)[0] ^= 1;
}

/* Sees no infinity in the last place. */
static size_t wrong_find_infinity(const float *x, size_t count) {
    return count == right->find_infinity(x, count - 1) + 1 ? count : right->find_infinity(x, count);
}

static void wrong_scale(const ft_scaler *s, ft_store store, const float *x, void *y) {
    right->scale(s, store, x, y);
    if (store == FT_STORE_U8) ((uint8_t *)y)[s->n - 1] ^= 1;
}

static void wrong_gemm_f32(const ft_packed_f32 *w, size_t m, const float *a, size_t lda, float *c,
                           size_t ldc) {
    right->gemm_f32.run(w, m, a, lda, c, ldc);
    c[1] += 1.0f;
}

static void wrong_encode(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                         void *c) {
    right->encode(w, store, x, codes, c);
    ((uint8_t *)c)[0] ^= 1;
}

static void wrong_encode_f32(const ft_encoded *w, ft_store store, const float *x, uint32_t *codes,
                             void *c) {
    right->encode_f32(w, store, x, codes, c);
    ((uint8_t *)c)[0] ^= 1;
}

static void test_selftest(void) {
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        right = isa_force(i);
        CHECK(ft_selftest(right) == 1, "%s", right->name);
        ft_isa broken[] = {*right, *right, *right, *right, *right, *right, *right};
        broken[0].gemm.run = wrong_gemm;
        broken[1].gemm_f32.run = wrong_gemm_f32;
        broken[2].encode = wrong_encode;
        broken[3].encode_f32 = wrong_encode_f32;
        broken[4].gemm.run = wrong_column;
        broken[5].find_infinity = wrong_find_infinity;
        broken[6].scale = wrong_scale;
        for (size_t entry = 0; entry < sizeof broken / sizeof *broken; entry++)
            CHECK(ft_selftest(&broken[entry]) == 0, "%s: entry %zu", right->name, entry);
    }
    ft_isa_force(NULL);
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    test_names();
    test_every_entry_is_filled();
    test_selftest();
    return isa_report();
}
