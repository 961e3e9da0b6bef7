/* Float layers: every ISA against the sum written out, to the bit. */
#include "isas.h"

#include "pack.h"

#include <float.h>

enum { MAX_M = 9, MAX_N = 40, MAX_K = 40, POISON = 0xa5 };

static float draw(uint64_t *seed, int with_zeros) {
    if (with_zeros && random_below(seed, 3) == 0) return random_below(seed, 2) ? 0.0f : -0.0f;
    const float v = (float)(int32_t)(random_bits(seed) >> 40) * 0x1p-23f - 1.0f;
    switch (random_below(seed, 12)) {
    case 0: return v * 1e-38f; /* products are subnormal */
    case 1: return v * 1e19f;  /* products may pass FLT_MAX */
    default: return v;
    }
}

static float expected(const float *a, const float *weights, float bias, size_t k, int relu) {
    volatile float sum = bias + 0.0f; /* -0.0 counts as 0.0 */
    for (size_t i = 0; i < k; i++) {
        if (a[i] == 0) continue;
        const volatile float product = a[i] * weights[i];
        sum += product;
    }
    return relu && !(sum > 0) ? 0.0f : sum;
}

static void check_shape(uint64_t *seed, size_t m, uint32_t n, uint32_t k, const guarded *area) {
    float weights[MAX_N * MAX_K], bias[MAX_N];
    static float c[MAX_M * (MAX_N + 16 + 2)];
    for (size_t i = 0; i < (size_t)n * k; i++) weights[i] = draw(seed, 1);
    for (size_t i = 0; i < n; i++) bias[i] = draw(seed, 1);
    const size_t lda = k + random_below(seed, 2);
    float *a = guarded_end(area, ((m - 1) * lda + k) * sizeof *a);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < k; j++) a[i * lda + j] = draw(seed, 1);

    for (uint32_t which = 0; which < ft_isa_count(); which++) {
        const ft_isa *isa = isa_force(which);
        ft_packed_f32 w;
        CHECK(!ft_pack_f32(isa, weights, bias, n, k, &w), "memory");
        w.relu = random_below(seed, 2);
        const size_t ldc = w.n_padded + 2;
        memset(c, POISON, sizeof c);
        isa->gemm_f32.run(&w, m, a, lda, c, ldc);
        int right = 1;
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < n; j++) {
                const float want = expected(a + i * lda, weights + j * k, bias[j], k, (int)w.relu);
                right &= !memcmp(&want, &c[i * ldc + j], sizeof want);
            }
            for (size_t byte = w.n_padded * 4; byte < ldc * 4; byte++)
                right &= ((unsigned char *)(c + i * ldc))[byte] == POISON;
        }
        CHECK(right, "%s m=%zu n=%u k=%u relu=%u", isa->name, m, n, k, w.relu);
        ft_pack_f32_free(&w);
    }
}

int main(int argc, char **argv) {
    isa_start(argc, argv);
    guarded area = guarded_map(1 << 16);
    uint64_t seed = 2;
    for (size_t m = 1; m <= MAX_M; m++)
        for (uint32_t n = 1; n <= MAX_N; n++)
            for (uint32_t k = 1; k <= MAX_K; k += 1 + random_below(&seed, 3))
                if (!isa_skips()) check_shape(&seed, m, n, k, &area);
    guarded_unmap(&area);
    return isa_report();
}
