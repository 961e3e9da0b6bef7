/* The integer product of block-sparse weights with VNNI: as avx2_blocks.h. */
#ifndef FT_X86_VNNI_BLOCKS_H
#define FT_X86_VNNI_BLOCKS_H

#include "vnni_tile.h"

VNNI_TEMPLATE VEC add_block(const int IS_SCALED, VEC acc, VEC x, VEC w, const uint8_t *scale) {
    return IS_SCALED ? add_chain(acc, v_dpbusd(v_zero(), x, w), v_load_scales(scale))
                     : v_dpbusd(acc, x, w);
}

/* MR rows; a single one forms two sums a column, of even and of odd blocks, to hide the latency. */
VNNI_TEMPLATE void strip_rows(const int IS_SCALED, const int MR, const int NV, const ft_packed *w,
                              const x86_output *out, size_t s, const uint8_t *a, size_t lda, char *c,
                              size_t row_bytes) {
    const uint32_t *at = w->at + w->first[s], *end = w->at + w->first[s + 1];
    const int8_t *b = (const int8_t *)w->data + (size_t)w->first[s] * 4 * LANES * NV;
    const x86_scales scales = x86_panel_scales(w, s * LANES * NV, LANES * NV, 0, FT_CHAIN);
    const int SETS = MR == 1 ? 2 : 1;
    VEC acc[VNNI_MR * VNNI_NV];
    UNROLL for (int r = 0; r < SETS * MR; r++) {
        UNROLL for (int v = 0; v < NV; v++) acc[r * NV + v] = v_zero();
    }
    for (; at + SETS <= end; at += SETS, b += SETS * 4 * LANES * NV) {
        UNROLL for (int r = 0; r < SETS * MR; r++) {
            const uint32_t k = MR == 1 ? at[r] : *at;
            const uint8_t *scale = scales.first + (k >> scales.shift) * scales.stride;
            const int8_t *block = MR == 1 ? b + r * 4 * LANES * NV : b;
            const VEC x = v_broadcast(a + (MR == 1 ? 0 : (size_t)r * lda) + k);
            UNROLL for (int v = 0; v < NV; v++) {
                acc[r * NV + v] = add_block(IS_SCALED, acc[r * NV + v], x,
                                            v_load(block + 4 * LANES * v), scale + LANES * v);
                KEEP_IN_REGISTER(acc[r * NV + v]);
            }
        }
    }
    if (MR == 1) {
        UNROLL for (int v = 0; v < NV; v++) {
            const uint8_t *scale = scales.first + LANES * v;
            acc[v] = v_add(acc[v], acc[NV + v]);
            if (at < end)
                acc[v] = add_block(IS_SCALED, acc[v], v_broadcast(a + *at),
                                   v_load(b + 4 * LANES * v),
                                   scale + (*at >> scales.shift) * scales.stride);
        }
    }
    UNROLL for (int r = 0; r < MR; r++)
        v_store_sums(NV, out, acc + r * NV, c + (size_t)r * row_bytes, s * LANES * NV);
}

/* All strips for m rows. */
VNNI_TEMPLATE void strips(const int IS_SCALED, const int NV, const ft_packed *w,
                          const x86_output *out, size_t m, const uint8_t *a, size_t lda, char *c,
                          size_t row_bytes) {
    enum { MR = VNNI_MR };
    const size_t count = w->n_padded / (LANES * NV);
    for (size_t s = 0; s < count; s++) {
        size_t row = 0;
        for (; row + MR <= m; row += MR)
            strip_rows(IS_SCALED, MR, NV, w, out, s, a + row * lda, lda, c + row * row_bytes,
                       row_bytes);
        for (; row < m; row++)
            strip_rows(IS_SCALED, 1, NV, w, out, s, a + row * lda, lda, c + row * row_bytes,
                       row_bytes);
    }
}

#define STRIPS(width)                                                                          \
    static VNNI_FN void strips_##width(const ft_packed *w, const x86_output *out, size_t m,    \
                                       const uint8_t *a, size_t lda, char *c,                  \
                                       size_t row_bytes) {                                     \
        if (w->group) strips(1, width / LANES, w, out, m, a, lda, c, row_bytes);               \
        else strips(0, width / LANES, w, out, m, a, lda, c, row_bytes);                        \
    }
#if LANES == 8
STRIPS(8)
#else
#define strips_8 NULL
#endif
STRIPS(16)
STRIPS(32)

static x86_strips_fn *const strips_fns[WIDTHS] = {strips_8, strips_16, strips_32};

static VNNI_FN void gemm_blocks(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                                size_t lda, void *c, size_t ldc, void *scratch) {
    (void)scratch;
    x86_gemm_strips(w, strips_fns[width_index(w->strip)], store, m, a, lda, c, ldc);
}

#endif
