/* Block-sparse packing: see ft_packed. */
#ifndef FT_SPARSE_H
#define FT_SPARSE_H

#include "pack.h"

/* The width of strips in which the blocks that are not all 0 cost less than all of them, by the
 * kernel's figures; 0 where none does.  *blocks receives how many there are. */
uint32_t ft_choose_strip(const ft_isa *isa, const ft_pack_spec *spec, size_t *blocks);

/* Fills data, first and at of `out`, whose n, k, n_padded and strip are set; 0 or -1 (memory). */
int ft_fill_blocks(const ft_pack_spec *spec, size_t blocks, ft_packed *out);

#endif
