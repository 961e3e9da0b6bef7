/* What the AVX2 templates share.  Templates are always-inline functions whose leading
 * `const int` parameters are literals at every instantiation. */
#ifndef FT_X86_AVX2_COMMON_H
#define FT_X86_AVX2_COMMON_H

#include "../kernels.h"

#include <immintrin.h>
#include <string.h>

/* Never "fma": a fused multiply-add rounds once where the contract rounds twice. */
#define AVX2_FN __attribute__((target("avx2,popcnt")))
#define AVX2_TEMPLATE static inline __attribute__((always_inline)) AVX2_FN

/* Loops over template parameters must disappear, or arrays of vectors stay in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Pins the value to a register at this point: without it gcc reorders independent sums
 * until it runs out of registers and spills accumulators in the inner loop. */
#define KEEP_IN_REGISTER(v) __asm__("" : "+x"(v))

AVX2_TEMPLATE __m256i load256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

AVX2_TEMPLATE void store256(void *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }

/* Four bytes to every 32-bit element. */
AVX2_TEMPLATE __m256i broadcast32(const void *p) {
    int32_t value;
    memcpy(&value, p, sizeof value);
    return _mm256_set1_epi32(value);
}

/* Eight group scales, each twice: the second operand of the widening multiply-add. */
AVX2_TEMPLATE __m256i load_scales(const uint8_t *p) {
    int64_t eight;
    memcpy(&eight, p, sizeof eight);
    const __m256i twice = _mm256_setr_epi32(0x80008000, 0x80018001, 0x80028002, 0x80038003,
                                            0x80048004, 0x80058005, 0x80068006, 0x80078007);
    return _mm256_shuffle_epi8(_mm256_set1_epi64x(eight), twice);
}

#endif
