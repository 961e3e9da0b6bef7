/* AVX-512 with VNNI: Cascade Lake (2019), Ice Lake, Zen 4 and later. */
#if defined(__x86_64__) || defined(_M_X64)

#include "avx2_store.h"

#include "../cpu.h"

#define VNNI_FN __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2,popcnt")))
#define VNNI_INLINE static inline __attribute__((always_inline)) VNNI_FN
#define VEC __m512i
#define LANES 16
/* Zen 4 multiplies on two of its four vector units: unpacking nibbles on the others is free. */
enum { KEEPS_NIBBLES = 1 };
enum { VNNI_MR = 8, VNNI_NV = 2 }; /* the largest tile: 16 accumulators of the 32 registers */

VNNI_INLINE VEC v_zero(void) { return _mm512_setzero_si512(); }
VNNI_INLINE VEC v_set1(int32_t x) { return _mm512_set1_epi32(x); }
VNNI_INLINE VEC v_load(const void *p) { return _mm512_loadu_si512(p); }
VNNI_INLINE void v_store(void *p, VEC v) { _mm512_storeu_si512(p, v); }
VNNI_INLINE VEC v_and(VEC a, VEC b) { return _mm512_and_si512(a, b); }
VNNI_INLINE VEC v_add(VEC a, VEC b) { return _mm512_add_epi32(a, b); }
VNNI_INLINE VEC v_sub8(VEC a, VEC b) { return _mm512_sub_epi8(a, b); }
VNNI_INLINE VEC v_shift_right_4(VEC v) { return _mm512_srli_epi16(v, 4); }
VNNI_INLINE VEC v_shift_right32_4(VEC v) { return _mm512_srai_epi32(v, 4); }
VNNI_INLINE VEC v_load_scales(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
VNNI_INLINE VEC v_madd(VEC a, VEC b) { return _mm512_madd_epi16(a, b); }
VNNI_INLINE VEC v_dpbusd(VEC acc, VEC u, VEC s) { return _mm512_dpbusd_epi32(acc, u, s); }
VNNI_INLINE __m256i dpbusd256(__m256i acc, __m256i u, __m256i s) {
    return _mm256_dpbusd_epi32(acc, u, s);
}

VNNI_INLINE VEC v_broadcast(const void *p) {
    int32_t value;
    memcpy(&value, p, sizeof value);
    return v_set1(value);
}

#include "avx512_store.h"
#include "lists.h"
#include "vnni_blocks.h"
#include "vnni_gemm.h"

const ft_isa ft_isa_avx512_vnni = {
    .name = "avx512_vnni",
    .needs = FT_CPU_AVX2 | FT_CPU_AVX512_VNNI,
    .last_on = FT_CPU_SLOWS_FOR_512,
    .gemm = {.run = gemm, .mr = VNNI_MR, .nr = NR, .kr = 4, .pad = 16, .nibbles = 1, .column = 1},
    .blocks = {.run = gemm_blocks, .narrowest = 16, .nibbles = 1, .cost = {0.6f, 1.1f}},
    .lists = {.run = x86_gemm_lists, .rows = LIST_ROWS, .cost = 4.2f},
};

#else
typedef int ft_no_avx512_vnni_here; /* ISO C forbids an empty translation unit */
#endif
