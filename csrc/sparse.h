/* What is left of weights without their zeros: blocks, or lists.  See ft_packed. */
#ifndef FT_SPARSE_H
#define FT_SPARSE_H

#include "pack.h"

/* The width of strips in which the blocks that are not all 0 cost less than all of them, by the
 * kernel's figures; 0 where none does.  *blocks receives how many there are. */
uint32_t ft_choose_strip(const ft_isa *isa, const ft_pack_spec *spec, size_t *blocks);

/* Fills data, first and at of `out`, whose n, k, n_padded and strip are set; 0 or -1 (memory). */
int ft_fill_blocks(const ft_pack_spec *spec, size_t blocks, ft_packed *out);

/* Whether lists of the weights that are not 0 cost less for many rows than all of them. */
int ft_choose_lists(const ft_isa *isa, const ft_pack_spec *spec);

/* Fills the lists of `out`, which holds every weight; 0 or -1 (memory). */
int ft_fill_lists(const ft_isa *isa, const ft_pack_spec *spec, ft_packed *out);

#endif
