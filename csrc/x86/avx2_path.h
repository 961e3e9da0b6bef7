/* Which way an integer product goes, and the group scales of a panel. */
#ifndef FT_X86_AVX2_PATH_H
#define FT_X86_AVX2_PATH_H

#include "avx2_tile.h"

/* Panels of 32, 16 and 8 columns: 4, 2 and 1 vectors. */
enum { NR = 8 * AVX2_NV, WIDTHS = 3 };

/* Where a table of functions has the panels of that width. */
AVX2_TEMPLATE size_t width_index(size_t width) { return width / 16; }

typedef enum avx2_path {
    PATH_WIDE,   /* int8, exact for any weights */
    PATH_DEPTH1, /* int8, certified */
    PATH_DEPTH2,
    PATH_DEPTH4,
    PATH_CHAIN,  /* int4: rows of a block meet signed bytes, a single row nibbles */
    PATH_OFFSET, /* int4 and u7, a single row: see tile_nibbles */
    PATHS
} avx2_path;

AVX2_TEMPLATE avx2_path choose_path(const ft_packed *w) {
    if (w->nibbles) return PATH_CHAIN;
    switch (w->amax <= 127 ? w->depth_u7 : w->depth_u8) {
    case 4: return PATH_DEPTH4;
    case 2: return PATH_DEPTH2;
    case 1: return PATH_DEPTH1;
    default: return PATH_WIDE;
    }
}

/* A tile on weights in bytes, of MR rows. */
AVX2_TEMPLATE void tile_bytes(const int PATH, const int MR, const int NV, size_t k,
                              const uint8_t *a, size_t lda, const int8_t *b,
                              const avx2_scales *scales, __m256i acc[AVX2_MR][AVX2_NV]) {
    switch (PATH) {
    case PATH_WIDE: tile_wide(MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH1: tile_depth(1, MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH2: tile_depth(2, MR, NV, k, a, lda, b, acc); break;
    case PATH_DEPTH4: tile_depth(4, MR, NV, k, a, lda, b, acc); break;
    default: tile_chain(MR, NV, k, a, lda, b, scales, acc);
    }
}

/* Two of each, as pack.c lays group scales out, for the widest panel. */
#define EIGHT_ONES 1, 1, 1, 1, 1, 1, 1, 1
static _Alignas(64) const int16_t no_scales[2 * NR] = {EIGHT_ONES, EIGHT_ONES, EIGHT_ONES,
                                                       EIGHT_ONES, EIGHT_ONES, EIGHT_ONES,
                                                       EIGHT_ONES, EIGHT_ONES};

AVX2_TEMPLATE size_t chain_length(const ft_packed *w) {
    const size_t longest = w->amax <= 127 ? 64 : 32; /* bounds: tile_chain */
    return w->group && w->group < longest ? w->group : longest;
}

/* Scales of the panel that starts at column n, from k on. */
AVX2_TEMPLATE avx2_scales panel_scales(const ft_packed *w, size_t n, size_t width, size_t k) {
    const size_t chain = chain_length(w);
    if (!w->group) return (avx2_scales){no_scales, 0, 0, chain};
    const unsigned shift = w->group == 32 ? 5 : 6;
    const size_t groups = (w->k + w->group - 1) >> shift;
    const int16_t *first = w->scales + 2 * (n * groups + (k >> shift) * width);
    return (avx2_scales){first, 2 * width, shift, chain};
}

#endif
