/* Pruning: which units go, by score, without a sort of everything. */
#ifndef FT_PRUNE_H
#define FT_PRUNE_H

#include <stddef.h>
#include <stdint.h>

/* keep[i] = 0 for the `drop` units of smallest score, 1 for the others.  Ties go by index:
 * of equal scores the lower index is dropped first.  Scores are not NaN.
 * 0, or -1 (memory). */
int ft_prune_select(const float *scores, size_t count, size_t drop, uint8_t *keep);

/* Scores of the blocks (bn outputs x bk inputs) of n x k weights: L1 (sum of |w|) or L2
 * (square root of the sum of w*w), in double, rounded to float.  The last blocks may be
 * short.  scores: [ceil(n / bn)][ceil(k / bk)]. */
void ft_prune_scores(const float *weights, size_t n, size_t k, size_t bn, size_t bk, int l2,
                     float *scores);

/* keep[i] = 1 for the `stay` largest magnitudes among every `of` neighbours along k, 0 for the
 * others; k is a multiple of `of`, which is at most 255.  Of equal magnitudes the lower index goes
 * first. */
void ft_prune_neighbours(const float *weights, size_t n, size_t k, size_t stay, size_t of,
                         uint8_t *keep);

#endif
