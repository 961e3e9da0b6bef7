#include "gemm.h"

#include "pack.h"

#include <string.h>

#define ROWS 64 /* copied at a time where a buffer must be padded */

/* Whether a value exceeds 127. */
static int needs_eight_bits(const uint8_t *a, size_t count) {
    uint64_t seen = 0, word = 0;
    size_t i = 0;
    for (; i + sizeof word <= count; i += sizeof word) {
        memcpy(&word, a + i, sizeof word);
        seen |= word;
    }
    word = 0;
    memcpy(&word, a + i, count - i);
    return ((seen | word) & UINT64_C(0x8080808080808080)) != 0;
}

int ft_matmul(const ft_packed *w, size_t m, const uint8_t *a, int32_t *c) {
    if (!m) return 0;
    ft_packed view = *w; /* run for the values a has */
    view.amax = needs_eight_bits(a, m * w->k) ? 255 : 127;
    const int pad_a = w->k != w->k_padded, pad_c = w->n != w->n_padded;
    const int listed = w->scratch_bytes && m >= FT_LISTED_ROWS;
    const size_t block = !pad_a && !pad_c ? m : m < ROWS ? m : ROWS;
    uint8_t *a_block = pad_a ? ft_alloc(block, w->k_padded) : NULL;
    int32_t *c_block = pad_c ? ft_alloc(block * w->n_padded, sizeof *c_block) : NULL;
    void *scratch = listed ? ft_alloc(w->scratch_bytes, 1) : NULL;
    const int failed = (pad_a && !a_block) || (pad_c && !c_block) || (listed && !scratch);
    for (size_t row = 0; row < m && !failed; row += block) {
        const size_t rows = m - row < block ? m - row : block;
        const uint8_t *a_rows = a + row * w->k;
        int32_t *c_rows = c + row * w->n;
        for (size_t i = 0; pad_a && i < rows; i++)
            memcpy(a_block + i * w->k_padded, a_rows + i * w->k, w->k);
        view.run(&view, FT_STORE_I32, rows, pad_a ? a_block : a_rows, w->k_padded,
                 pad_c ? c_block : c_rows, w->n_padded, scratch);
        for (size_t i = 0; pad_c && i < rows; i++)
            memcpy(c_rows + i * w->n, c_block + i * w->n_padded, w->n * sizeof *c);
    }
    ft_free(a_block);
    ft_free(c_block);
    ft_free(scratch);
    return failed ? -1 : 0;
}
