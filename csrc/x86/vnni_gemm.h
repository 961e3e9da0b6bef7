/* The integer product with VNNI: panels around the tiles of vnni_tile.h. */
#ifndef FT_X86_VNNI_GEMM_H
#define FT_X86_VNNI_GEMM_H

#include "vnni_tile.h"

/* Weights in bytes; nibbles; int4 in groups, in either form. */
enum { PATH_BYTES, PATH_NIBBLES, PATH_CHAIN, PATHS };

VNNI_TEMPLATE void tile(const int PATH, const int MR, const int NV, const x86_slice *s,
                        size_t row) {
    int32_t *partial = s->partial + row * NR;
    const uint8_t *a = s->a + row * s->lda;
    VEC acc[VNNI_MR][VNNI_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++)
            acc[r][v] = s->first ? v_zero() : v_load(partial + r * NR + LANES * v);
    }
    if (PATH == PATH_CHAIN) tile_chain(MR, NV, s->k, a, s->lda, s->b, &s->scales, acc);
    else if (PATH == PATH_NIBBLES) tile_nibbles(MR, NV, NV, s->k, a, s->lda, s->b, acc);
    else tile_bytes(MR, NV, NV, s->k, a, s->lda, s->b, acc);
    UNROLL for (int r = 0; r < MR; r++) {
        if (s->last) {
            v_store_sums(NV, &s->out, acc[r], s->c + (row + (size_t)r) * s->row_bytes, s->column);
        } else {
            UNROLL for (int v = 0; v < NV; v++) v_store(partial + r * NR + LANES * v, acc[r][v]);
        }
    }
}

VNNI_TEMPLATE void panel(const int PATH, const int NV, const x86_slice *s) {
    size_t row = 0;
    for (; row + VNNI_MR <= s->rows; row += VNNI_MR) tile(PATH, VNNI_MR, NV, s, row);
    if (VNNI_MR > 4)
        for (; row + 4 <= s->rows; row += 4) tile(PATH, 4, NV, s, row);
    for (; row < s->rows; row++) tile(PATH, 1, NV, s, row);
}

/* Longest row of grouped nibbles whose chain starts are kept for all panels: 1 KiB of stack. */
enum { NIBBLE_ROW_K = 8192 };

/* A product of one row; it meets every weight once. */
typedef struct vnni_row {
    const ft_packed *w;
    x86_output out;
    const uint8_t *a;
    void *c;
    int is_offset;
    size_t chain; /* k values of a nibble chain; without groups of a slice */
    int32_t starts[NIBBLE_ROW_K / FT_CHAIN]; /* of the chains, where is_offset */
} vnni_row;

VNNI_TEMPLATE void start_row(const ft_packed *w, vnni_row *r) {
    const size_t k = w->k_padded;
    r->chain = w->group ? longest_chain(w) : NIBBLE_SLICE;
    r->is_offset = w->amax <= 127 && (!w->group || k <= NIBBLE_ROW_K);
    if (!r->is_offset) return;
    int32_t *start = r->starts;
    for (size_t begin = 0; begin < k; begin += r->chain)
        *start++ = nibble_start(r->a + begin, k - begin < r->chain ? k - begin : r->chain);
}

VNNI_TEMPLATE void nibble_panel(const int OFFSET, const int IS_SCALED, const int NV,
                                const vnni_row *r, size_t n, VEC acc[VNNI_NV]) {
    const size_t k = r->w->k_padded;
    const x86_scales scales = x86_panel_scales(r->w, n, LANES * NV, 0, r->chain);
    const uint8_t *b = (const uint8_t *)r->w->data + n * k / 2;
    const int32_t *start = r->starts;
    for (size_t begin = 0; begin < k; begin += r->chain) {
        const size_t count = k - begin < r->chain ? k - begin : r->chain;
        const uint8_t *scale = scales.first + (begin >> scales.shift) * scales.stride;
        VEC sum[VNNI_NV];
        row_nibbles(OFFSET, NV, count, r->a + begin, b + begin * LANES * NV / 2,
                    OFFSET ? *start++ : 0, sum);
        UNROLL for (int v = 0; v < NV; v++)
            acc[v] = IS_SCALED ? add_chain(acc[v], sum[v], v_load_scales(scale + LANES * v))
                               : v_add(acc[v], sum[v]);
    }
}

VNNI_TEMPLATE void row_panel(const int NV, const vnni_row *r, size_t n, VEC acc[VNNI_NV]) {
    const ft_packed *w = r->w;
    if (!w->nibbles)
        row_plain(NV, w->k_padded, r->a, (const int8_t *)w->data + n * w->k_padded, acc);
    else if (w->group && r->is_offset) nibble_panel(1, 1, NV, r, n, acc);
    else if (w->group) nibble_panel(0, 1, NV, r, n, acc);
    else if (r->is_offset) nibble_panel(1, 0, NV, r, n, acc);
    else nibble_panel(0, 0, NV, r, n, acc);
}

/* Columns n to end in panels of LANES * NV. */
VNNI_TEMPLATE void row_panels(const int NV, const vnni_row *r, size_t n, size_t end) {
    for (; n < end; n += LANES * NV) {
        VEC acc[VNNI_NV];
        UNROLL for (int v = 0; v < NV; v++) acc[v] = v_zero();
        row_panel(NV, r, n, acc);
        v_store_sums(NV, &r->out, acc, r->c, n);
    }
}

/* The sum of a layer's only output: its weights are a row of int8. */
static VNNI_FN void gemm_column(const ft_packed *w, const x86_output *out, size_t m,
                                const uint8_t *a, size_t lda, char *c, size_t row_bytes) {
    const int8_t *b = w->data;
    for (size_t row = 0; row < m; row++, a += lda, c += row_bytes) {
        __m256i acc = _mm256_setzero_si256();
        for (size_t k = 0; k < w->k_padded; k += 32)
            acc = dpbusd256(acc, load256(a + k), load256(b + k));
        store_sum(out, sum8(acc), c);
    }
}

#define PANEL(width)                                                                  \
    static VNNI_FN void bytes_##width(const x86_slice *s) {                           \
        panel(PATH_BYTES, width / LANES, s);                                          \
    }                                                                                 \
    static VNNI_FN void nibbles_##width(const x86_slice *s) {                         \
        if (KEEPS_NIBBLES) panel(PATH_NIBBLES, width / LANES, s);                     \
    }                                                                                 \
    static VNNI_FN void chain_##width(const x86_slice *s) {                           \
        panel(PATH_CHAIN, width / LANES, s);                                          \
    }                                                                                 \
    static VNNI_FN void row_##width(const vnni_row *r, size_t n, size_t end) {        \
        row_panels(width / LANES, r, n, end);                                         \
    }
#if LANES == 8
PANEL(8)
#else /* columns are padded to 16 */
#define bytes_8 NULL
#define nibbles_8 NULL
#define chain_8 NULL
#define row_8 NULL
#endif
PANEL(16)
PANEL(32)

static x86_panel_fn *const panels[PATHS][WIDTHS] = {{bytes_8, bytes_16, bytes_32},
                                                    {nibbles_8, nibbles_16, nibbles_32},
                                                    {chain_8, chain_16, chain_32}};

typedef void vnni_row_fn(const vnni_row *r, size_t n, size_t end);
static vnni_row_fn *const row_fns[WIDTHS] = {row_8, row_16, row_32};

static VNNI_FN void gemm_row(const ft_packed *w, const x86_output *out, const uint8_t *a,
                             void *c) {
    vnni_row r;
    r.w = w;
    r.out = *out;
    r.a = a;
    r.c = c;
    if (w->nibbles) start_row(w, &r);
    for (size_t n = 0, width, end; n < w->n_padded; n = end) {
        width = ft_panel_width(NR, w->n_padded - n);
        end = w->n_padded - ((w->n_padded - n) & (width - 1));
        row_fns[width_index(width)](&r, n, end);
    }
}

static int path_of(const ft_packed *w) {
    if (w->group) return PATH_CHAIN;
    return w->nibbles && KEEPS_NIBBLES ? PATH_NIBBLES : PATH_BYTES;
}

static VNNI_FN void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                         void *c, size_t ldc, void *scratch) {
    (void)scratch;
    const x86_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    const size_t row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4);
    if (w->nr == 1) gemm_column(w, &out, m, a, lda, c, row_bytes);
    else if (m == 1) gemm_row(w, &out, a, c);
    else
        x86_gemm(w, panels[path_of(w)], KEEPS_NIBBLES, longest_chain(w), &out, m, a, lda, c,
                 row_bytes);
}

#endif
