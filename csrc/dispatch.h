/* Which ISA runs: the best this CPU has, or one forced by name. */
#ifndef FT_DISPATCH_H
#define FT_DISPATCH_H

#include "kernels.h"

/* ISAs this CPU can run, best first, `scalar` last.  Returns their number. */
uint32_t ft_isa_count(void);
const char *ft_isa_name(uint32_t index);

/* Forces an ISA for everything packed or opened from now on; NULL: the best.
 * 0 on success, -1 where no such ISA can run here. */
int ft_isa_force(const char *name);

/* The table in force, every entry filled.  Never NULL. */
const ft_isa *ft_isa_current(void);

/* ISAs removed by their known-answer test, comma separated; "" where all passed. */
const char *ft_isa_removed(void);

#endif
