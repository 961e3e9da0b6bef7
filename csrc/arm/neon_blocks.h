/* The integer product of block-sparse weights, in strips of 8, 16 or 32 columns. */
#ifndef FT_ARM_NEON_BLOCKS_H
#define FT_ARM_NEON_BLOCKS_H

#include "neon_gemm.h"

/* 4 * NV columns of strip s, from `offset` within it on, for MR rows from `row` on. */
NEON_TEMPLATE void strip_rows(const int IS_U8, const int IS_SCALED, const int MR, const int NV,
                              const neon_call *call, size_t s, size_t offset, size_t row) {
    const ft_packed *w = call->w;
    const size_t width = w->strip, n = s * width;
    const size_t groups = IS_SCALED ? (w->k + w->group - 1) / w->group : 0;
    const uint8_t *a = call->a + row * call->lda;
    neon_sums acc;
    clear_sums(MR, NV, &acc);
    for (size_t block = w->first[s]; block < w->first[s + 1]; block++) {
        const int8_t *data = (const int8_t *)w->data + 4 * (width * block + offset);
        const size_t k = w->at[block];
        int8x16_t b[NEON_NV];
        UNROLL for (int v = 0; v < NV; v++) b[v] = vld1q_s8(data + 16 * v);
        if (IS_SCALED) {
            const size_t scale = n * groups + k / w->group * width + offset;
            neon_sums sums;
            clear_sums(MR, NV, &sums);
            add_block(IS_U8, MR, NV, a + k, call->lda, b, &sums);
            finish_sums(IS_U8, 1, MR, NV, &sums, w->scales + scale, &acc);
        } else {
            add_block(IS_U8, MR, NV, a + k, call->lda, b, &acc);
        }
    }
    if (!IS_SCALED) {
        const neon_sums sums = acc;
        finish_sums(IS_U8, 0, MR, NV, &sums, NULL, &acc);
    }
    UNROLL for (int r = 0; r < MR; r++)
        store_sums(NV, &call->out, acc.rows[r], call->c + (row + (size_t)r) * call->row_bytes,
                   n + offset);
}

/* All rows and strips, NV vectors of columns at a time. */
NEON_TEMPLATE void all_strips(const int IS_U8, const int IS_SCALED, const int NV,
                              const neon_call *call) {
    const size_t width = call->w->strip, count = call->w->n_padded / width;
    for (size_t s = 0; s < count; s++) {
        for (size_t offset = 0; offset < width; offset += 4 * (size_t)NV) {
            size_t row = 0;
            for (; row + NEON_MR <= call->m; row += NEON_MR)
                strip_rows(IS_U8, IS_SCALED, NEON_MR, NV, call, s, offset, row);
            for (; row < call->m; row++)
                strip_rows(IS_U8, IS_SCALED, 1, NV, call, s, offset, row);
        }
    }
}

#define STRIPS(name, IS_U8, IS_SCALED)                                            \
    static NEON_FN void name(const neon_call *call) {                             \
        if (call->w->strip == 8) all_strips(IS_U8, IS_SCALED, 2, call);           \
        else all_strips(IS_U8, IS_SCALED, 4, call);                               \
    }
STRIPS(strips_u7, 0, 0)
STRIPS(strips_u8, 1, 0)
STRIPS(scaled_strips_u7, 0, 1)
STRIPS(scaled_strips_u8, 1, 1)

static neon_call_fn *const strips[2][2] = {{strips_u7, strips_u8},
                                           {scaled_strips_u7, scaled_strips_u8}};

static NEON_FN void gemm_blocks(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                                size_t lda, void *c, size_t ldc, void *scratch) {
    (void)scratch;
    const neon_call call = call_of(w, store, m, a, lda, c, ldc);
    strips[w->group != 0][w->amax > 127](&call);
}

#endif
