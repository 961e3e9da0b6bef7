/* AVX-VNNI: Alder Lake (2021), Sierra Forest, Zen 5 and later. */
#if defined(__x86_64__) || defined(_M_X64)

#include "avx2_store.h"

#include "../cpu.h"

#define VNNI_FN __attribute__((target("avx2,popcnt,avxvnni")))
#define VNNI_INLINE static inline __attribute__((always_inline)) VNNI_FN
#define VEC __m256i
#define LANES 8
enum { KEEPS_NIBBLES = 0 }; /* for two rows, unpacking would take as long as the products */
enum { VNNI_MR = 2, VNNI_NV = 4 }; /* the largest tile: 8 accumulators of the 16 registers */

VNNI_INLINE VEC v_zero(void) { return _mm256_setzero_si256(); }
VNNI_INLINE VEC v_set1(int32_t x) { return _mm256_set1_epi32(x); }
VNNI_INLINE VEC v_load(const void *p) { return load256(p); }
VNNI_INLINE VEC v_broadcast(const void *p) { return broadcast32(p); }
VNNI_INLINE void v_store(void *p, VEC v) { store256(p, v); }
VNNI_INLINE VEC v_and(VEC a, VEC b) { return _mm256_and_si256(a, b); }
VNNI_INLINE VEC v_add(VEC a, VEC b) { return _mm256_add_epi32(a, b); }
VNNI_INLINE VEC v_sub8(VEC a, VEC b) { return _mm256_sub_epi8(a, b); }
VNNI_INLINE VEC v_shift_right_4(VEC v) { return _mm256_srli_epi16(v, 4); }
VNNI_INLINE VEC v_shift_right32_4(VEC v) { return _mm256_srai_epi32(v, 4); }
VNNI_INLINE VEC v_load_scales(const uint8_t *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
VNNI_INLINE VEC v_madd(VEC a, VEC b) { return _mm256_madd_epi16(a, b); }
VNNI_INLINE VEC v_dpbusd(VEC acc, VEC u, VEC s) { return _mm256_dpbusd_avx_epi32(acc, u, s); }
VNNI_INLINE __m256i dpbusd256(__m256i acc, __m256i u, __m256i s) { return v_dpbusd(acc, u, s); }
VNNI_INLINE void v_store_sums(const int NV, const x86_output *out, const VEC *sums, void *c,
                              size_t n) {
    store_sums(NV, out, sums, c, n);
}

#include "vnni_blocks.h"
#include "vnni_gemm.h"

const ft_isa ft_isa_avx_vnni = {
    .name = "avx_vnni",
    .needs = FT_CPU_AVX2 | FT_CPU_AVX_VNNI,
    .gemm = {.run = gemm, .mr = VNNI_MR, .nr = NR, .kr = 4, .pad = 8, .nibbles = 1, .column = 1},
    .blocks = {.run = gemm_blocks, .narrowest = 8, .cost = {0.3f, 0.6f, 1.1f}},
};

#else
typedef int ft_no_avx_vnni_here; /* ISO C forbids an empty translation unit */
#endif
