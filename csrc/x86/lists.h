/* The integer product of listed weights, with AVX2. */
#ifndef FT_X86_LISTS_H
#define FT_X86_LISTS_H

#include "../kernels.h"

/* Rows run at a time, their values side by side: those of one k are 32 bytes. */
enum { LIST_ROWS = 32 };

void x86_gemm_lists(const ft_packed *w, ft_store store, size_t m, const uint8_t *a, size_t lda,
                    void *c, size_t ldc, void *scratch);

#endif
