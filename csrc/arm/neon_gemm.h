/* The integer product: panels around the tiles of neon_tile.h. */
#ifndef FT_ARM_NEON_GEMM_H
#define FT_ARM_NEON_GEMM_H

#include "neon_tile.h"

/* One call, the same for all panels. */
typedef struct neon_call {
    const ft_packed *w;
    neon_output out;
    size_t m;
    const uint8_t *a;
    size_t lda;
    char *c;
    size_t row_bytes;
} neon_call;

/* The panel of 4 * NV columns that starts at column n, for MR rows from `row` on. */
NEON_TEMPLATE void tile(const int IS_NIBBLES, const int IS_U8, const int MR, const int NV,
                        const neon_call *call, size_t n, size_t row) {
    const ft_packed *w = call->w;
    const size_t k = w->k_padded, width = 4 * (size_t)NV, group = w->group ? w->group : k;
    const size_t groups = (w->k + group - 1) / group, divisor = IS_NIBBLES ? 2 : 1;
    const uint8_t *b = (const uint8_t *)w->data + n * k / divisor;
    const uint8_t *a = call->a + row * call->lda;
    neon_sums acc;
    clear_sums(MR, NV, &acc);
    for (size_t begin = 0; begin < k; begin += group) {
        neon_sums sums;
        clear_sums(MR, NV, &sums);
        add_run(IS_NIBBLES, IS_U8, MR, NV, k - begin < group ? k - begin : group, a + begin,
                call->lda, b + begin * width / divisor, &sums);
        if (w->group) {
            const uint8_t *scale = w->scales + n * groups + begin / group * width;
            finish_sums(IS_U8, 1, MR, NV, &sums, scale, &acc);
        } else {
            finish_sums(IS_U8, 0, MR, NV, &sums, NULL, &acc);
        }
    }
    UNROLL for (int r = 0; r < MR; r++)
        store_sums(NV, &call->out, acc.rows[r], call->c + (row + (size_t)r) * call->row_bytes, n);
}

NEON_TEMPLATE void panel(const int IS_NIBBLES, const int IS_U8, const int NV,
                         const neon_call *call, size_t n) {
    size_t row = 0;
    for (; row + NEON_MR <= call->m; row += NEON_MR)
        tile(IS_NIBBLES, IS_U8, NEON_MR, NV, call, n, row);
    for (; row < call->m; row++) tile(IS_NIBBLES, IS_U8, 1, NV, call, n, row);
}

#define PANELS(name, IS_NIBBLES, IS_U8)                                              \
    static NEON_FN void name(const neon_call *call) {                                \
        size_t n = 0;                                                                \
        for (; n + NR <= call->w->n_padded; n += NR)                                 \
            panel(IS_NIBBLES, IS_U8, NEON_NV, call, n);                              \
        if (n < call->w->n_padded) panel(IS_NIBBLES, IS_U8, NEON_NV / 2, call, n);   \
    }
PANELS(bytes_u7, 0, 0)
PANELS(bytes_u8, 0, 1)
PANELS(nibbles_u7, 1, 0)
PANELS(nibbles_u8, 1, 1)

typedef void neon_call_fn(const neon_call *call);
static neon_call_fn *const panels[2][2] = {{bytes_u7, bytes_u8}, {nibbles_u7, nibbles_u8}};

/* The sum of a layer's only output: its weights are a row of int8. */
static NEON_FN void gemm_column(const neon_call *call) {
    const ft_packed *w = call->w;
    const uint8_t shift = w->amax > 127 ? 0x80 : 0;
    for (size_t row = 0; row < call->m; row++) {
        const uint8_t *a = call->a + row * call->lda;
        int32x4_t acc = vdupq_n_s32(0), weights = vdupq_n_s32(0);
        for (size_t k = 0; k < w->k_padded; k += 16) {
            const int8x16_t b = vld1q_s8((const int8_t *)w->data + k);
            const uint8x16_t x = veorq_u8(vld1q_u8(a + k), vdupq_n_u8(shift));
            acc = dot16(acc, b, vreinterpretq_s8_u8(x));
            weights = dot16(weights, b, vdupq_n_s8(1));
        }
        if (shift) acc = vaddq_s32(acc, vshlq_n_s32(weights, 7));
        store_sum(&call->out, vaddvq_s32(acc), call->c + row * call->row_bytes);
    }
}

static NEON_FN neon_call call_of(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                                 size_t lda, void *c, size_t ldc) {
    return (neon_call){w, {store, w->mult, w->add, w->out_amax, w->relu}, m, a, lda, c,
                       ldc * (store == FT_STORE_U8 ? 1 : 4)};
}

static NEON_FN void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                         void *c, size_t ldc, void *scratch) {
    (void)scratch;
    const neon_call call = call_of(w, store, m, a, lda, c, ldc);
    if (w->nr == 1) gemm_column(&call);
    else panels[w->nibbles][w->amax > 127](&call);
}

#endif
