#include "error.h"
#include "pack.h"
#include "run.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Calls at the same time that find a workspace waiting; more than that allocate. */
#define SLOTS 32

/* A slot holds a workspace nobody uses, or NULL.  Whoever swaps a pointer out owns it, so
 * there is no list to walk and no order of reuse to get wrong. */
typedef struct workspaces {
    _Atomic(void *) slots[SLOTS];
} workspaces;

ft_status ft_workspaces_create(ft_model *model) {
    workspaces *list = calloc(1, sizeof *list);
    if (!list)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < SLOTS; i++)
        atomic_init(&list->slots[i], NULL);
    model->workspaces = list;
    return FT_OK;
}

void ft_workspaces_free(ft_model *model) {
    workspaces *list = model->workspaces;
    for (uint32_t i = 0; list && i < SLOTS; i++)
        ft_free(atomic_load(&list->slots[i]));
    free(list);
    model->workspaces = NULL;
}

void *ft_workspace_take(const ft_model *model) {
    workspaces *list = model->workspaces;
    for (uint32_t i = 0; i < SLOTS; i++) {
        /* Looking first leaves the cache line shared where the slot is empty. */
        if (!atomic_load_explicit(&list->slots[i], memory_order_relaxed))
            continue;
        void *p = atomic_exchange_explicit(&list->slots[i], NULL, memory_order_acquire);
        if (p)
            return p;
    }
    return ft_alloc(model->scratch_bytes, 1);
}

void ft_workspace_give(const ft_model *model, void *workspace) {
    workspaces *list = model->workspaces;
    for (uint32_t i = 0; i < SLOTS; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong_explicit(&list->slots[i], &empty, workspace,
                                                    memory_order_release, memory_order_relaxed))
            return;
    }
    ft_free(workspace);
}
