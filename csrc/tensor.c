/* Claiming the tensors of a file, one after the other, by name and shape. */
#include "error.h"
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const DTYPE_NAMES[] = {
    [FT_U8] = "U8", [FT_I8] = "I8", [FT_I32] = "I32", [FT_F32] = "F32"};

typedef struct shape_text {
    char text[64];
} shape_text;

static shape_text describe(ft_dtype dtype, uint32_t dims, uint64_t n, uint64_t k) {
    shape_text s;
    if (n == FT_ANY)
        snprintf(s.text, sizeof s.text, "%s [any]", DTYPE_NAMES[dtype]);
    else if (dims == 1)
        snprintf(s.text, sizeof s.text, "%s [%" PRIu64 "]", DTYPE_NAMES[dtype], n);
    else
        snprintf(s.text, sizeof s.text, "%s [%" PRIu64 ", %" PRIu64 "]", DTYPE_NAMES[dtype], n, k);
    return s;
}

int ft_next_is(const ft_loader *loader, const char *owner, const char *part) {
    char name[FT_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s.%s", owner, part);
    return loader->next < loader->file->count &&
           !strcmp(loader->file->tensors[loader->next].name, name);
}

const ft_tensor *ft_load_tensor(ft_loader *loader, const char *owner, const char *part,
                                ft_dtype dtype, uint32_t dims, uint64_t n, uint64_t k) {
    char name[FT_NAME_MAX + 1];
    snprintf(name, sizeof name, "%s%s%s", owner, *owner ? "." : "", part);
    if (loader->next >= loader->file->count) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s' is missing", name);
        return NULL;
    }
    const ft_tensor *t = &loader->file->tensors[loader->next];
    if (strcmp(t->name, name) != 0) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s' is missing: tensor %" PRIu32 " is '%s'", name,
                loader->next, t->name);
        return NULL;
    }
    if (t->dtype != dtype || t->dims != dims || (n != FT_ANY && t->shape[0] != n) ||
        (dims == 2 && t->shape[1] != k)) {
        ft_fail(FT_ERR_FORMAT, "tensor '%s': is %s, expected %s", name,
                describe(t->dtype, t->dims, t->shape[0], t->shape[1]).text,
                describe(dtype, dims, n, k).text);
        return NULL;
    }
    loader->next++;
    return t;
}
