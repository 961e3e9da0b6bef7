/* The integer product of one row.  It meets every weight once: panels are read from end to
 * end, nibbles as they are. */
#ifndef FT_X86_AVX2_ROW_H
#define FT_X86_AVX2_ROW_H

#include "avx2_path.h"
#include "avx2_store.h"

/* Longest row whose chain starts are kept for all panels: 1 KiB of stack. */
enum { NIBBLE_ROW_K = 8192 };

typedef struct avx2_row {
    const ft_packed *w;
    const x86_output *out;
    const uint8_t *a;
    void *c;
    int32_t starts[NIBBLE_ROW_K / FT_CHAIN]; /* PATH_OFFSET only */
} avx2_row;

/* Columns n to end in panels of 8 * NV. */
AVX2_TEMPLATE void row_panels(const int PATH, const int NV, const avx2_row *r, size_t n,
                              size_t end) {
    const ft_packed *w = r->w;
    const x86_output out = *r->out;
    const uint8_t *a = r->a;
    void *c = r->c;
    const size_t k = w->k_padded;
    for (; n < end; n += 8 * NV) {
        __m256i acc[AVX2_MR][AVX2_NV];
        UNROLL for (int v = 0; v < NV; v++) acc[0][v] = _mm256_setzero_si256();
        if (PATH == PATH_CHAIN || PATH == PATH_OFFSET) {
            const x86_scales scales = x86_panel_scales(w, n, 8 * NV, 0, longest_chain(w));
            const uint8_t *b = (const uint8_t *)w->data + n * k / 2;
            tile_nibbles(PATH == PATH_OFFSET, NV, k, a, b, r->starts, &scales, acc[0]);
        } else {
            const int8_t *b = (const int8_t *)w->data + n * k;
            tile_bytes(PATH, 1, NV, k, a, 0, b, NULL, acc);
        }
        store_sums(NV, &out, acc[0], c, n);
    }
}

typedef void avx2_row_fn(const avx2_row *r, size_t n, size_t end);

#define ROW(path, nv)                                                                \
    static AVX2_FN void row_##path##_##nv(const avx2_row *r, size_t n, size_t end) { \
        row_panels(PATH_##path, nv, r, n, end);                                      \
    }
#define ROWS(path) ROW(path, 1) ROW(path, 2) ROW(path, 4)
#define ROW_ENTRY(path) [PATH_##path] = {row_##path##_1, row_##path##_2, row_##path##_4}

ROWS(WIDE)
ROWS(DEPTH1)
ROWS(DEPTH2)
ROWS(DEPTH4)
ROWS(CHAIN)
ROWS(OFFSET)

static avx2_row_fn *const row_fns[PATHS][WIDTHS] = {
    ROW_ENTRY(WIDE),   ROW_ENTRY(DEPTH1), ROW_ENTRY(DEPTH2),
    ROW_ENTRY(DEPTH4), ROW_ENTRY(CHAIN),  ROW_ENTRY(OFFSET)};

/* For each chain, -8 times the sum of the activations that the even and the odd int16 lanes
 * meet, as tile_nibbles reads them: signed, so that what lies past k cancels too. */
AVX2_TEMPLATE void chain_starts(const uint8_t *a, size_t k, size_t chain, int32_t *starts) {
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

AVX2_TEMPLATE void gemm_row(const ft_packed *w, const x86_output *out, const uint8_t *a,
                            void *c) {
    avx2_row r;
    r.w = w;
    r.out = out;
    r.a = a;
    r.c = c;
    avx2_path path = choose_path(w);
    if (path == PATH_CHAIN && w->amax <= 127 && w->k_padded <= NIBBLE_ROW_K) {
        const size_t longest = longest_chain(w);
        const size_t chain = w->group && w->group < longest ? w->group : longest;
        path = PATH_OFFSET;
        chain_starts(a, w->k_padded, chain, r.starts);
    }
    for (size_t n = 0, width, end; n < w->n_padded; n = end) {
        width = ft_panel_width(NR, w->n_padded - n);
        end = w->n_padded - ((w->n_padded - n) & (width - 1));
        row_fns[path][width_index(width)](&r, n, end);
    }
}

#endif
