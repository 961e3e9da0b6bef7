/* The integer product: panels around the tiles. */
#ifndef FT_X86_AVX2_GEMM_H
#define FT_X86_AVX2_GEMM_H

#include "avx2_column.h"
#include "avx2_row.h"

AVX2_TEMPLATE void tile(const int PATH, const int MR, const int NV, const x86_slice *s,
                        size_t row) {
    int32_t *partial = s->partial + row * NR;
    __m256i acc[AVX2_MR][AVX2_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++)
            acc[r][v] = s->first ? _mm256_setzero_si256() : load256(partial + r * NR + 8 * v);
    }
    tile_bytes(PATH, MR, NV, s->k, s->a + row * s->lda, s->lda, s->b, &s->scales, acc);
    UNROLL for (int r = 0; r < MR; r++) {
        if (s->last) {
            store_sums(NV, &s->out, acc[r], s->c + (row + (size_t)r) * s->row_bytes, s->column);
        } else {
            UNROLL for (int v = 0; v < NV; v++) store256(partial + r * NR + 8 * v, acc[r][v]);
        }
    }
}

AVX2_TEMPLATE void panel(const int PATH, const int NV, const x86_slice *s) {
    size_t row = 0;
    for (; row + AVX2_MR <= s->rows; row += AVX2_MR) tile(PATH, AVX2_MR, NV, s, row);
    if (row < s->rows) tile(PATH, 1, NV, s, row);
}

#define PANEL(path, nv) \
    static AVX2_FN void panel_##path##_##nv(const x86_slice *s) { panel(PATH_##path, nv, s); }
#define PANELS(path) PANEL(path, 1) PANEL(path, 2) PANEL(path, 4)
#define PANEL_ENTRY(path) [PATH_##path] = {panel_##path##_1, panel_##path##_2, panel_##path##_4}

PANELS(WIDE)
PANELS(DEPTH1)
PANELS(DEPTH2)
PANELS(DEPTH4)
PANELS(CHAIN)

static x86_panel_fn *const panels[PATHS][WIDTHS] = {PANEL_ENTRY(WIDE), PANEL_ENTRY(DEPTH1),
                                                    PANEL_ENTRY(DEPTH2), PANEL_ENTRY(DEPTH4),
                                                    PANEL_ENTRY(CHAIN)};

static AVX2_FN void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                         void *c, size_t ldc, void *scratch) {
    (void)scratch;
    const x86_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    const size_t row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4);
    if (w->nr == 1) {
        gemm_column(w, &out, m, a, lda, c, row_bytes);
    } else if (m == 1) {
        gemm_row(w, &out, a, c);
    } else {
        const int keeps_nibbles = 0;
        x86_gemm(w, panels[choose_path(w)], keeps_nibbles, longest_chain(w), &out, m, a, lda, c,
                 row_bytes);
    }
}

#endif
