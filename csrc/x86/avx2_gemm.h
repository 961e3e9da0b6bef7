/* The integer product: panels and blocks around the tiles. */
#ifndef FT_X86_AVX2_GEMM_H
#define FT_X86_AVX2_GEMM_H

#include "avx2_column.h"
#include "avx2_row.h"

/* Blocks of at most MC rows and KC (KC4 on unpacked int4) values of k, so that the slice of
 * a panel that all rows of a block meet stays in L1: 16 KiB of int8, 8 KiB of unpacked int4.
 * With the sums of a block (5 KiB) a call takes at most 16 KiB of stack. */
enum { MC = 40, KC = 512, KC4 = 256 };

/* One panel's slice of k for a block of rows. */
typedef struct avx2_slice {
    avx2_output out;
    size_t rows, k;
    const uint8_t *a;
    size_t lda;
    const int8_t *b;
    avx2_scales scales;
    int32_t *partial; /* [rows][NR]: sums over the slices so far */
    int first, last;
    char *c; /* of the block's first row */
    size_t row_bytes, column;
} avx2_slice;

AVX2_TEMPLATE void tile(const int PATH, const int MR, const int NV, const avx2_slice *s,
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

typedef void avx2_panel_fn(const avx2_slice *s);

AVX2_TEMPLATE void panel(const int PATH, const int NV, const avx2_slice *s) {
    size_t row = 0;
    for (; row + AVX2_MR <= s->rows; row += AVX2_MR) tile(PATH, AVX2_MR, NV, s, row);
    if (row < s->rows) tile(PATH, 1, NV, s, row);
}

#define PANEL(path, nv) \
    static AVX2_FN void panel_##path##_##nv(const avx2_slice *s) { panel(PATH_##path, nv, s); }
#define PANELS(path) PANEL(path, 1) PANEL(path, 2) PANEL(path, 4)
#define PANEL_ENTRY(path) [PATH_##path] = {panel_##path##_1, panel_##path##_2, panel_##path##_4}

PANELS(WIDE)
PANELS(DEPTH1)
PANELS(DEPTH2)
PANELS(DEPTH4)
PANELS(CHAIN)

static avx2_panel_fn *const panels[PATHS][WIDTHS] = {PANEL_ENTRY(WIDE), PANEL_ENTRY(DEPTH1),
                                                    PANEL_ENTRY(DEPTH2), PANEL_ENTRY(DEPTH4),
                                                    PANEL_ENTRY(CHAIN)};

/* `k` values of a panel `width` columns wide, from nibbles to signed bytes. */
static AVX2_FN void unpack_nibbles(const uint8_t *b, size_t width, size_t k, int8_t *out) {
    const __m256i low = _mm256_set1_epi8(0x0f), eight = _mm256_set1_epi8(8);
    for (size_t k8 = 0; k8 < k; k8 += 8, out += 8 * width) {
        for (size_t column = 0; column < width; column += 8, b += 32) {
            const __m256i w = load256(b);
            const __m256i even = _mm256_and_si256(w, low);
            const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(w, 4), low);
            store256(out + 4 * column, _mm256_sub_epi8(even, eight));
            store256(out + 4 * (width + column), _mm256_sub_epi8(odd, eight));
        }
    }
}

/* One panel for the rows of s, slice by slice of k. */
static AVX2_FN void gemm_panel(const ft_packed *w, avx2_path path, const uint8_t *a, size_t n,
                               size_t width, avx2_slice *s) {
    _Alignas(64) int8_t unpacked[KC4 * NR]; /* unaligned loads would cross cache lines */
    const size_t kc = path == PATH_CHAIN ? KC4 : KC;
    s->column = n;
    for (size_t k = 0; k < w->k_padded; k += kc) {
        s->k = w->k_padded - k < kc ? w->k_padded - k : kc;
        s->first = k == 0;
        s->last = k + s->k == w->k_padded;
        s->a = a + k;
        if (path == PATH_CHAIN) {
            const uint8_t *nibbles = w->data;
            unpack_nibbles(nibbles + (n * w->k_padded + k * width) / 2, width, s->k, unpacked);
            s->scales = panel_scales(w, n, width, k);
            s->b = unpacked;
        } else {
            s->b = (const int8_t *)w->data + n * w->k_padded + k * width;
        }
        panels[path][width_index(width)](s);
    }
}

/* Up to MC rows. */
static AVX2_FN void gemm_block(const ft_packed *w, const avx2_output *out, size_t m,
                               const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    _Alignas(64) int32_t partial[MC * NR];
    avx2_slice s = {.out = *out, .rows = m, .lda = lda, .partial = partial, .c = c,
                    .row_bytes = row_bytes};
    const avx2_path path = choose_path(w);
    for (size_t n = 0, width; n < w->n_padded; n += width) {
        width = ft_panel_width(NR, w->n_padded - n);
        gemm_panel(w, path, a, n, width, &s);
    }
}

static AVX2_FN void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                         void *c, size_t ldc) {
    const avx2_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    const size_t row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4);
    if (w->nr == 1) {
        gemm_column(w, &out, m, a, lda, c, row_bytes);
    } else if (m == 1) {
        gemm_row(w, &out, a, c);
    } else {
        for (size_t row = 0; row < m; row += MC)
            gemm_block(w, &out, m - row < MC ? m - row : MC, a + row * lda, lda,
                       (char *)c + row * row_bytes, row_bytes);
    }
}

#endif
