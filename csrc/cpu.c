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

/* By cpuid and not __builtin_cpu_supports, which some compilers answer at compile time. */
static uint64_t measure(void) {
    const uint64_t xmm_ymm = 0x6;
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
    const uint32_t wanted = bit_OSXSAVE | bit_AVX | bit_POPCNT;
    if ((ecx & wanted) != wanted || (enabled_states() & xmm_ymm) != xmm_ymm) return 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
    return ebx & bit_AVX2 ? FT_CPU_AVX2 : 0;
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
