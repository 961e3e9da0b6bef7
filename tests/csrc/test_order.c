/* Which ISAs are listed for a CPU, and in which order: THE table with a CPU of the test's own. */
#include "check.h"

/* Nothing is run, so that any CPU can be played. */
#define ft_cpu_features played_features
#define ft_selftest played_selftest
#include "../../csrc/dispatch.c"

static uint64_t features;
static const char *failing = "";

uint64_t played_features(void) { return features; }

int played_selftest(const ft_isa *isa) { return strcmp(isa->name, failing) != 0; }

/* `expected`: names, a space after each. */
static void check_order(const char *cpu, uint64_t bits, const char *expected) {
    char names[128] = "";
    isa_list list = {0};
    features = bits;
    measure(&list);
    for (uint32_t i = 0; i < list.count; i++) strcat(strcat(names, list.isas[i].name), " ");
    CHECK(!strcmp(names, expected), "%s: %snot %s", cpu, names, expected);
    for (uint32_t i = 0; i < list.count; i++) {
        const ft_isa *isa = &list.isas[i];
        CHECK(isa->gemm.run && isa->gemm_f32.run && isa->find_infinity && isa->scale &&
                  isa->encode && isa->encode_f32 && isa->range && isa->quantize &&
                  isa->dequantize && isa->join_nibbles && isa->split_nibbles,
              "%s: %s has gaps", cpu, isa->name);
    }
    CHECK(!strcmp(list.removed, failing), "%s: removed %s", cpu, list.removed);
}

static void test_order(void) {
    check_order("none", 0, "scalar ");
#if defined(__x86_64__) || defined(_M_X64)
    const uint64_t avx2 = FT_CPU_AVX2, avx512 = FT_CPU_AVX512_VNNI, slow = FT_CPU_SLOWS_FOR_512;
    const uint64_t vnni = FT_CPU_AVX_VNNI;
    check_order("Haswell", avx2, "avx2 scalar ");
    check_order("Ice Lake", avx2 | avx512, "avx512_vnni avx2 scalar ");
    check_order("Alder Lake", avx2 | vnni, "avx_vnni avx2 scalar ");
    check_order("Sapphire Rapids", avx2 | avx512 | vnni, "avx512_vnni avx_vnni avx2 scalar ");
    check_order("Cascade Lake", avx2 | avx512 | slow, "avx2 avx512_vnni scalar ");
    check_order("a slow one with both", avx2 | avx512 | vnni | slow,
                "avx_vnni avx2 avx512_vnni scalar ");
    failing = "avx512_vnni";
    check_order("a broken multiplier", avx2 | avx512, "avx2 scalar ");
    failing = "avx2";
    check_order("a broken multiplier", avx2 | avx512 | vnni, "avx512_vnni avx_vnni scalar ");
#elif defined(FT_HAS_NEON)
    check_order("Cortex-A72", FT_CPU_NEON, "neon scalar ");
    check_order("Cortex-A76", FT_CPU_NEON | FT_CPU_NEON_DOTPROD, "neon_dotprod neon scalar ");
    failing = "neon_dotprod";
    check_order("a broken multiplier", FT_CPU_NEON | FT_CPU_NEON_DOTPROD, "neon scalar ");
#endif
}

int main(void) {
    test_order();
    return check_report();
}
