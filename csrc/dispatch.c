#include "dispatch.h"

#include "cpu.h"
#include "selftest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* THE table: every ISA compiled in, best first. */
static const ft_isa *const compiled[] = {
#if defined(__x86_64__) || defined(_M_X64)
    &ft_isa_avx512_vnni,
    &ft_isa_avx_vnni,
    &ft_isa_avx2,
#elif defined(FT_HAS_NEON)
    &ft_isa_neon_dotprod,
    &ft_isa_neon,
#endif
    &ft_isa_scalar,
};

enum { COMPILED = sizeof compiled / sizeof compiled[0] };

/* What runs here. */
typedef struct isa_list {
    uint32_t count;
    ft_isa isas[COMPILED]; /* every entry filled, best first */
    char removed[64];
} isa_list;

/* Takes the entries `isa` lacks from `next`. */
static void fill(ft_isa *isa, const ft_isa *next) {
    if (!isa->gemm.run) isa->gemm = next->gemm;
    if (!isa->blocks.run) isa->blocks = next->blocks;
    if (!isa->lists.run) isa->lists = next->lists;
    if (!isa->gemm_f32.run) isa->gemm_f32 = next->gemm_f32;
    if (!isa->find_infinity) isa->find_infinity = next->find_infinity;
    if (!isa->scale) isa->scale = next->scale;
    if (!isa->encode) isa->encode = next->encode;
    if (!isa->encode_f32) isa->encode_f32 = next->encode_f32;
    if (!isa->range) isa->range = next->range;
    if (!isa->quantize) isa->quantize = next->quantize;
    if (!isa->dequantize) isa->dequantize = next->dequantize;
    if (!isa->join_nibbles) isa->join_nibbles = next->join_nibbles;
    if (!isa->split_nibbles) isa->split_nibbles = next->split_nibbles;
}

static void note_removed(isa_list *list, const char *name) {
    const size_t room = sizeof list->removed - strlen(list->removed) - 1;
    if (room < strlen(name) + 1) return;
    if (list->removed[0]) strcat(list->removed, ",");
    strcat(list->removed, name);
}

/* From the last ISA up, so that each is filled from the best one below it. */
static void measure(isa_list *list) {
    ft_isa found[COMPILED];
    uint32_t count = 0;
    for (uint32_t i = COMPILED; i-- > 0;) {
        ft_isa isa = *compiled[i];
        if (isa.needs & ~ft_cpu_features()) continue;
        if (count) fill(&isa, &found[count - 1]);
        if (count && !ft_selftest(&isa)) note_removed(list, isa.name);
        else found[count++] = isa;
    }
    /* Best first; `scalar`, found[0], is the last in any case. */
    for (int demoted = 0; demoted <= 1; demoted++) {
        for (uint32_t i = count; i-- > 1;)
            if (((found[i].last_on & ft_cpu_features()) != 0) == demoted)
                list->isas[list->count++] = found[i];
    }
    list->isas[list->count++] = found[0];
}

/* Measured at first use.  Threads that come together each measure and the first to finish
 * is believed: nobody waits, so a fork at any moment leaves nothing locked. */
static const isa_list *available(void) {
    static _Atomic(isa_list *) shared;
    isa_list *list = atomic_load_explicit(&shared, memory_order_acquire);
    if (list) return list;
    list = calloc(1, sizeof *list);
    if (!list) return NULL;
    measure(list);
    isa_list *first = NULL;
    if (atomic_compare_exchange_strong(&shared, &first, list)) return list;
    free(list);
    return first;
}

static _Atomic(const ft_isa *) forced;

uint32_t ft_isa_count(void) {
    const isa_list *list = available();
    return list ? list->count : 1;
}

const char *ft_isa_name(uint32_t index) {
    const isa_list *list = available();
    return list ? list->isas[index].name : ft_isa_scalar.name;
}

int ft_isa_force(const char *name) {
    if (!name) {
        atomic_store(&forced, NULL);
        return 0;
    }
    const isa_list *list = available();
    for (uint32_t i = 0; list && i < list->count; i++) {
        if (strcmp(list->isas[i].name, name)) continue;
        atomic_store(&forced, &list->isas[i]);
        return 0;
    }
    return -1;
}

const ft_isa *ft_isa_current(void) {
    const ft_isa *isa = atomic_load(&forced);
    if (isa) return isa;
    const isa_list *list = available();
    return list ? &list->isas[0] : &ft_isa_scalar;
}

const char *ft_isa_removed(void) {
    const isa_list *list = available();
    return list ? list->removed : "";
}
