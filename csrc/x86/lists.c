/* The integer product of listed weights, for 32 rows at a time: SIMD across rows, so that every
 * entry works on whole vectors wherever in its row of weights it lies. */
#if defined(__x86_64__) || defined(_M_X64)

#include "avx2_store.h"
#include "lists.h"

enum { LIST_OUTPUTS = 8 };

AVX2_TEMPLATE void transpose16(__m128i v[16]) {
    for (int round = 0; round < 4; round++) {
        __m128i t[16];
        for (int i = 0; i < 8; i++) {
            t[2 * i] = _mm_unpacklo_epi8(v[i], v[i + 8]);
            t[2 * i + 1] = _mm_unpackhi_epi8(v[i], v[i + 8]);
        }
        for (int i = 0; i < 16; i++) v[i] = t[i];
    }
}

/* Up to LIST_ROWS rows of k_padded bytes to columns [k][LIST_ROWS]; the last row stands for those
 * past it. */
static AVX2_FN void turn_rows(const uint8_t *a, size_t lda, size_t rows, size_t k_padded,
                              uint8_t *columns) {
    for (size_t half = 0; half < LIST_ROWS; half += 16) {
        for (size_t k = 0; k < k_padded; k += 16) {
            __m128i v[16];
            for (size_t r = 0; r < 16; r++) {
                const size_t row = half + r < rows ? half + r : rows - 1;
                const __m128i *at = (const __m128i *)(a + row * lda + k);
                v[r] = k_padded - k >= 16 ? _mm_loadu_si128(at) : _mm_loadl_epi64(at);
            }
            transpose16(v);
            for (size_t i = 0; i < 16; i++)
                _mm_store_si128((__m128i *)(columns + (k + i) * LIST_ROWS + half), v[i]);
        }
    }
}

/* An entry is four times its k: the CPU multiplies an index by 8 at most. */
enum { LIST_STEP = LIST_ROWS / 4 };

/* Two entries times 32 rows in int16: v[0] has rows 0-7 and 16-23, v[1] the others. */
AVX2_TEMPLATE void add_pair(const int IS_FIRST, const uint8_t *columns, const uint16_t *k,
                            const int8_t *w, __m256i v[2]) {
    const __m256i x = load256(columns + (size_t)k[0] * LIST_STEP);
    const __m256i y = load256(columns + (size_t)k[1] * LIST_STEP);
    int16_t pair;
    memcpy(&pair, w, sizeof pair);
    const __m256i weights = _mm256_set1_epi16(pair);
    const __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x, y), weights);
    const __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x, y), weights);
    v[0] = IS_FIRST ? low : _mm256_add_epi16(v[0], low);
    v[1] = IS_FIRST ? high : _mm256_add_epi16(v[1], high);
}

/* acc += p + q in int32; acc[0] has rows 0-3 and 16-19, acc[1] 4-7 and 20-23, and so on. */
AVX2_TEMPLATE void widen(const __m256i p[2], const __m256i q[2], __m256i acc[4]) {
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL for (int i = 0; i < 2; i++) {
        const __m256i low = _mm256_unpacklo_epi16(p[i], q[i]);
        const __m256i high = _mm256_unpackhi_epi16(p[i], q[i]);
        acc[2 * i] = _mm256_add_epi32(acc[2 * i], _mm256_madd_epi16(low, ones));
        acc[2 * i + 1] = _mm256_add_epi32(acc[2 * i + 1], _mm256_madd_epi16(high, ones));
    }
}

/* The sums of one output for 32 rows, in their order.  DEPTH 2: four entries add up in int16, two
 * pairs, DEPTH 1: two, one pair; pack.c certified it. */
AVX2_TEMPLATE void list_sums(const int DEPTH, const ft_packed *w, size_t n, const uint8_t *columns,
                             int32_t *sums) {
    size_t i = w->list[n];
    const size_t end = w->list[n + 1];
    const uint16_t *k = w->list_k;
    const int8_t *weights = w->list_w;
    __m256i acc[4], p[2], q[2];
    UNROLL for (int v = 0; v < 4; v++) acc[v] = _mm256_setzero_si256();
    for (; DEPTH == 2 && i + 8 <= end; i += 8) {
        add_pair(1, columns, k + i, weights + i, p);
        add_pair(0, columns, k + i + 2, weights + i + 2, p);
        add_pair(1, columns, k + i + 4, weights + i + 4, q);
        add_pair(0, columns, k + i + 6, weights + i + 6, q);
        widen(p, q, acc);
    }
    for (; i < end; i += 4) {
        add_pair(1, columns, k + i, weights + i, p);
        add_pair(1, columns, k + i + 2, weights + i + 2, q);
        widen(p, q, acc);
    }
    UNROLL for (int v = 0; v < 4; v += 2) {
        store256(sums + 4 * v, _mm256_permute2x128_si256(acc[v], acc[v + 1], 0x20));
        store256(sums + 4 * v + 16, _mm256_permute2x128_si256(acc[v], acc[v + 1], 0x31));
    }
}

/* sums[output][row] of 8 outputs and 8 rows to v[row]. */
AVX2_TEMPLATE void transpose8(const int32_t *sums, __m256i v[8]) {
    __m256i t[8];
    UNROLL for (int i = 0; i < 8; i++) v[i] = load256(sums + i * LIST_ROWS);
    UNROLL for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    __m256i u[8];
    UNROLL for (int i = 0; i < 2; i++) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
    }
}

AVX2_TEMPLATE void list_tile(const int DEPTH, const ft_packed *w, const x86_output *out,
                             size_t rows, const uint8_t *columns, char *c, size_t row_bytes) {
    _Alignas(64) int32_t sums[LIST_OUTPUTS * LIST_ROWS];
    for (size_t n = 0; n < w->n_padded; n += LIST_OUTPUTS) {
        for (size_t i = 0; i < LIST_OUTPUTS; i++)
            list_sums(DEPTH, w, n + i, columns, sums + i * LIST_ROWS);
        for (size_t row = 0; row < rows; row += 8) {
            __m256i v[8];
            transpose8(sums + row, v);
            for (size_t r = 0; r < 8 && row + r < rows; r++)
                store_sums(1, out, v + r, c + (row + r) * row_bytes, n);
        }
    }
}

AVX2_FN void x86_gemm_lists(const ft_packed *w, ft_store store, size_t m, const uint8_t *a,
                            size_t lda, void *c, size_t ldc, void *scratch) {
    const uint32_t depth = w->amax <= 127 ? w->list_depth_u7 : w->list_depth_u8;
    const x86_output out = {store, w->mult, w->add, w->out_amax, w->relu};
    const size_t row_bytes = ldc * (store == FT_STORE_U8 ? 1 : 4);
    size_t row = 0;
    for (; depth && row + FT_LISTED_ROWS <= m; row += LIST_ROWS) {
        const size_t rows = m - row < LIST_ROWS ? m - row : LIST_ROWS;
        char *to = (char *)c + row * row_bytes;
        turn_rows(a + row * lda, lda, rows, w->k_padded, scratch);
        if (depth == 2) list_tile(2, w, &out, rows, scratch, to, row_bytes);
        else list_tile(1, w, &out, rows, scratch, to, row_bytes);
    }
    if (row < m)
        w->dense(w, store, m - row, a + row * lda, lda, (char *)c + row * row_bytes, ldc, scratch);
}

#else
typedef int ft_no_lists_here; /* ISO C forbids an empty translation unit */
#endif
