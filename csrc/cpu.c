#include "cpu.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0: which register states the operating system saves and restores. */
static uint64_t enabled_states(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Skylake-SP, Cascade Lake and Cooper Lake are one model of family 6. */
static uint64_t slows_for_512(uint32_t signature) {
    const uint32_t model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    const uint32_t family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
    return family == 6 && model == 0x55 ? FT_CPU_SLOWS_FOR_512 : 0;
}

static int has(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

/* By cpuid and not __builtin_cpu_supports, which some compilers answer at compile time. */
static uint64_t measure(void) {
    const uint64_t ymm = 0x6, zmm = 0xe6; /* states that include xmm */
    const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
    uint32_t eax, ebx, ecx, edx, signature;
    if (!__get_cpuid(1, &signature, &ebx, &ecx, &edx)) return 0;
    if (!has(ecx, bit_OSXSAVE | bit_AVX | bit_POPCNT)) return 0;
    const uint64_t enabled = enabled_states();
    if ((enabled & ymm) != ymm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
    if (!has(ebx, bit_AVX2)) return 0;
    uint64_t features = FT_CPU_AVX2;
    if ((enabled & zmm) == zmm && has(ebx, avx512) && has(ecx, bit_AVX512VNNI))
        features |= FT_CPU_AVX512_VNNI | slows_for_512(signature);
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && has(eax, bit_AVXVNNI))
        features |= FT_CPU_AVX_VNNI;
    return features;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

static uint64_t measure(void) {
    const unsigned long has = getauxval(AT_HWCAP);
    return (has & HWCAP_ASIMD ? FT_CPU_NEON : 0) | (has & HWCAP_ASIMDDP ? FT_CPU_NEON_DOTPROD : 0);
}
#elif defined(__aarch64__)
/* Part of the architecture; the extension where the compiler takes it for granted. */
static uint64_t measure(void) {
#if defined(__ARM_FEATURE_DOTPROD)
    return FT_CPU_NEON | FT_CPU_NEON_DOTPROD;
#else
    return FT_CPU_NEON;
#endif
}
#else
static uint64_t measure(void) { return 0; }
#endif

uint64_t ft_cpu_features(void) {
    static const uint64_t measured = UINT64_C(1) << 63;
    static _Atomic uint64_t cached;
    uint64_t features = atomic_load_explicit(&cached, memory_order_relaxed);
    if (!features) {
        features = measure() | measured;
        atomic_store_explicit(&cached, features, memory_order_relaxed);
    }
    return features & ~measured;
}
