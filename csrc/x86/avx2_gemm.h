/* The integer product: paths, panels and blocks around the tiles of avx2_tile.h. */
#ifndef FT_X86_AVX2_GEMM_H
#define FT_X86_AVX2_GEMM_H

#include "avx2_store.h"
#include "avx2_tile.h"

/* Blocks of at most MC rows and KC (KC4 on unpacked int4) values of k, so that the slice of
 * a panel that all rows of a block meet stays in L1: 16 KiB of int8, 8 KiB of unpacked int4.
 * With the sums of a block (8 KiB) a call takes at most 16 KiB of stack. */
enum { NR = 8 * AVX2_NV, MC = 64, KC = 512, KC4 = 256 };

/* Longest row whose chain starts are kept for all panels: 2 KiB of stack. */
enum { NIBBLE_ROW_K = 16384 };

typedef enum avx2_path {
    PATH_WIDE,   /* int8, exact for any weights */
    PATH_DEPTH1, /* int8, certified */
    PATH_DEPTH2,
    PATH_DEPTH4,
    PATH_CHAIN, /* int4 unpacked to signed bytes */
    PATHS
} avx2_path;

/* One panel's slice of k for a block of rows. */
typedef struct avx2_slice {
    avx2_output out;
    size_t rows, k;
    const uint8_t *a;
    size_t lda;
    const void *b;
    avx2_scales scales;
    const int32_t *starts; /* one int4 row only: see tile_nibbles */
    int32_t *partial;      /* [rows][NR]: sums over the slices so far */
    int first, last;
    void *c; /* of the block's first row */
    size_t row_bytes, column;
} avx2_slice;

AVX2_TEMPLATE void tile(const int PATH, const int MR, const int NV, const avx2_slice *s,
                        size_t row) {
    const uint8_t *a = s->a + row * s->lda;
    int32_t *partial = s->partial + row * NR;
    __m256i acc[AVX2_MR][AVX2_NV];
    UNROLL for (int r = 0; r < MR; r++) {
        UNROLL for (int v = 0; v < NV; v++)
            acc[r][v] = s->first ? _mm256_setzero_si256() : load256(partial + r * NR + 8 * v);
    }
    if (PATH == PATH_WIDE) tile_wide(MR, NV, s->k, a, s->lda, s->b, acc);
    if (PATH == PATH_DEPTH1) tile_depth(1, MR, NV, s->k, a, s->lda, s->b, acc);
    if (PATH == PATH_DEPTH2) tile_depth(2, MR, NV, s->k, a, s->lda, s->b, acc);
    if (PATH == PATH_DEPTH4) tile_depth(4, MR, NV, s->k, a, s->lda, s->b, acc);
    if (PATH == PATH_CHAIN) tile_chain(MR, NV, s->k, a, s->lda, s->b, &s->scales, acc);
    UNROLL for (int r = 0; r < MR; r++) {
        if (s->last) {
            char *c = (char *)s->c + (row + (size_t)r) * s->row_bytes;
            store_sums(NV, &s->out, acc[r], c, s->column);
        } else {
            UNROLL for (int v = 0; v < NV; v++) store256(partial + r * NR + 8 * v, acc[r][v]);
        }
    }
}

AVX2_TEMPLATE void panel(const int PATH, const int NV, const avx2_slice *s) {
    size_t row = 0;
    for (; row + 2 <= s->rows; row += 2) tile(PATH, 2, NV, s, row);
    if (row < s->rows) tile(PATH, 1, NV, s, row);
}

AVX2_TEMPLATE void nibble_row(const int OFFSET, const int NV, const avx2_slice *s) {
    __m256i acc[AVX2_NV];
    UNROLL for (int v = 0; v < NV; v++) acc[v] = _mm256_setzero_si256();
    tile_nibbles(OFFSET, NV, s->k, s->a, s->b, s->starts, &s->scales, acc);
    store_sums(NV, &s->out, acc, s->c, s->column);
}

typedef void avx2_panel_fn(const avx2_slice *s);

#define PANEL(path, nv) \
    static AVX2_FN void panel_##path##_##nv(const avx2_slice *s) { panel(PATH_##path, nv, s); }
#define PANELS(path) PANEL(path, 1) PANEL(path, 2) PANEL(path, 3) PANEL(path, 4)
#define PANEL_ROW(path) \
    [PATH_##path] = {panel_##path##_1, panel_##path##_2, panel_##path##_3, panel_##path##_4}

PANELS(WIDE)
PANELS(DEPTH1)
PANELS(DEPTH2)
PANELS(DEPTH4)
PANELS(CHAIN)

static avx2_panel_fn *const panels[PATHS][AVX2_NV] = {
    PANEL_ROW(WIDE), PANEL_ROW(DEPTH1), PANEL_ROW(DEPTH2), PANEL_ROW(DEPTH4), PANEL_ROW(CHAIN)};

#define NIBBLE_ROW(offset, nv)                                            \
    static AVX2_FN void nibble_row_##offset##_##nv(const avx2_slice *s) { \
        nibble_row(offset, nv, s);                                        \
    }
#define NIBBLE_ROWS(offset) \
    NIBBLE_ROW(offset, 1) NIBBLE_ROW(offset, 2) NIBBLE_ROW(offset, 3) NIBBLE_ROW(offset, 4)

NIBBLE_ROWS(0)
NIBBLE_ROWS(1)

static avx2_panel_fn *const nibble_rows[2][AVX2_NV] = {
    {nibble_row_0_1, nibble_row_0_2, nibble_row_0_3, nibble_row_0_4},
    {nibble_row_1_1, nibble_row_1_2, nibble_row_1_3, nibble_row_1_4}};

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

/* For each chain, -8 times the sum of the activations that the even and the odd int16 lanes
 * meet, as tile_nibbles reads them: signed, so that what lies past k cancels too. */
static AVX2_FN void chain_starts(const uint8_t *a, size_t k, size_t chain, int32_t *starts) {
    const __m128i eights = _mm_set1_epi8(8);
    for (size_t begin = 0; begin < k; begin += chain) {
        const size_t end = k - begin < chain ? k : begin + chain;
        __m128i sum = _mm_setzero_si128();
        for (size_t at = begin; at < end; at += 8)
            sum = _mm_sub_epi16(
                sum, _mm_maddubs_epi16(eights, _mm_loadl_epi64((const __m128i *)(a + at))));
        sum = _mm_add_epi16(sum, _mm_srli_epi64(sum, 32));
        *starts++ = _mm_cvtsi128_si32(sum);
    }
}

/* Two of each, as pack.c lays group scales out, for the widest panel. */
#define EIGHT_ONES 1, 1, 1, 1, 1, 1, 1, 1
static _Alignas(64) const int16_t no_scales[2 * NR] = {EIGHT_ONES, EIGHT_ONES, EIGHT_ONES,
                                                       EIGHT_ONES, EIGHT_ONES, EIGHT_ONES,
                                                       EIGHT_ONES, EIGHT_ONES};

static size_t chain_length(const ft_packed *w) {
    const size_t longest = w->amax <= 127 ? 64 : 32; /* bounds: tile_chain */
    return w->group && w->group < longest ? w->group : longest;
}

/* Scales of the panel that starts at column n, from k on. */
static avx2_scales panel_scales(const ft_packed *w, size_t n, size_t width, size_t k) {
    const size_t chain = chain_length(w);
    if (!w->group) return (avx2_scales){no_scales, 0, 0, chain};
    const size_t groups = (w->k + w->group - 1) / w->group;
    const int16_t *first = w->scales + 2 * (n * groups + k / w->group * width);
    return (avx2_scales){first, 2 * width, w->group == 32 ? 5 : 6, chain};
}

static avx2_path choose_path(const ft_packed *w) {
    if (w->nibbles) return PATH_CHAIN;
    switch (w->amax <= 127 ? w->depth_u7 : w->depth_u8) {
    case 4: return PATH_DEPTH4;
    case 2: return PATH_DEPTH2;
    case 1: return PATH_DEPTH1;
    default: return PATH_WIDE;
    }
}

static void gemm_nibble_row(const ft_packed *w, avx2_slice *s) {
    int32_t starts[NIBBLE_ROW_K / FT_CHAIN];
    const int offset = w->amax <= 127 && w->k_padded <= NIBBLE_ROW_K;
    if (offset) chain_starts(s->a, w->k_padded, chain_length(w), starts);
    s->starts = starts;
    s->k = w->k_padded;
    for (size_t n = 0; n < w->n_padded; n += NR) {
        const size_t width = w->n_padded - n < NR ? w->tail_nr : NR;
        s->b = (const uint8_t *)w->data + n * w->k_padded / 2;
        s->column = n;
        s->scales = panel_scales(w, n, width, 0);
        nibble_rows[offset][width / 8 - 1](s);
    }
}

/* One panel for the rows of s, slice by slice of k. */
static void gemm_panel(const ft_packed *w, avx2_path path, const uint8_t *a, size_t n,
                       avx2_slice *s) {
    _Alignas(64) int8_t unpacked[KC4 * NR]; /* unaligned loads would cross cache lines */
    const size_t width = w->n_padded - n < NR ? w->tail_nr : NR;
    /* One row has nothing to reuse a slice for. */
    const size_t kc = path == PATH_CHAIN ? KC4 : s->rows == 1 ? w->k_padded : KC;
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
        panels[path][width / 8 - 1](s);
    }
}

static void gemm(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                 void *c, size_t ldc) {
    avx2_slice s = {.out = {store, w->mult, w->add, w->out_amax, w->relu},
                    .lda = lda,
                    .row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4)};
    const avx2_path path = choose_path(w);
    if (m == 1 && path == PATH_CHAIN) {
        s.a = a;
        s.c = c;
        gemm_nibble_row(w, &s);
        return;
    }
    _Alignas(64) int32_t partial[MC * NR];
    s.partial = partial;
    for (size_t row = 0; row < m; row += MC) {
        s.rows = m - row < MC ? m - row : MC;
        s.c = (char *)c + row * s.row_bytes;
        for (size_t n = 0; n < w->n_padded; n += NR) gemm_panel(w, path, a + row * lda, n, &s);
    }
}

#endif
