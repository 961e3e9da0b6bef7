/* What tests that run over every ISA share: a case is counted for each, and one without any
 * fails. */
#ifndef FT_TESTS_ISAS_H
#define FT_TESTS_ISAS_H

#include "check.h"

#include "dispatch.h"

enum { MAX_ISAS = 8 };

static long isa_cases[MAX_ISAS];

/* An emulated machine takes only every so many of the cases: the program's argument. */
static unsigned long case_every = 1, case_turn;

static inline void isa_start(int argc, char **argv) {
    if (argc > 1) case_every = strtoul(argv[1], NULL, 10);
    if (!case_every || ft_isa_count() > MAX_ISAS) {
        printf("usage: %s [every]\n", argv[0]);
        exit(2);
    }
}

/* Whether the case at hand is left out. */
static inline int isa_skips(void) { return case_turn++ % case_every != 0; }

/* Forces ISA i for one more case. */
static inline const ft_isa *isa_force(uint32_t i) {
    const int refused = ft_isa_force(ft_isa_name(i));
    CHECK(!refused, "%s", ft_isa_name(i));
    isa_cases[i] += !refused;
    return ft_isa_current();
}

/* The cases of each ISA, best first, then the checks: the program's exit code. */
static inline int isa_report(void) {
    ft_isa_force(NULL);
    for (uint32_t i = 0; i < ft_isa_count(); i++) {
        CHECK(isa_cases[i] > 0, "%s was not tested", ft_isa_name(i));
        printf("%s: %ld cases\n", ft_isa_name(i), isa_cases[i]);
    }
    return check_report();
}

#endif
