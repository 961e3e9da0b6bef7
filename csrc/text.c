/* Feature names, categories and info: text that C hands on, so it must be what it claims to be. */
#include "bytes.h"
#include "error.h"
#include "load.h"
#include "pack.h"

#include <inttypes.h>
#include <stdbool.h>

/* Bytes of the UTF-8 character at s, or 0 where the next `left` bytes do not begin with one
 * (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
static size_t character(const uint8_t *s, size_t left) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0x80)
        return 1;
    const size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc0 || s[0] > 0xf7 || left < length)
        return 0;
    uint32_t code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < smallest[length] || surrogate || code > 0x10ffff ? 0 : length;
}

static bool is_text(const uint8_t *s, size_t size) {
    for (size_t at = 0, step; at < size; at += step) {
        step = character(s + at, size - at);
        if (step == 0 || s[at] == 0)
            return false;
    }
    return true;
}

static char *copy(const ft_tensor *t) {
    char *text = ft_alloc(t->size, 1);
    if (text && t->size)
        memcpy(text, t->data, t->size);
    return text;
}

ft_status ft_load_texts(ft_loader *loader, const char *owner, const char *what, uint32_t count,
                        char **text, uint32_t **offsets) {
    const ft_tensor *all = ft_load_tensor(loader, owner, "text", FT_U8, 1, FT_ANY, 1);
    if (!all)
        return FT_ERR_FORMAT;
    const ft_tensor *t =
        ft_load_tensor(loader, owner, "offsets", FT_I32, 1, (uint64_t)count + 1, 1);
    if (!t)
        return FT_ERR_FORMAT;
    *text = copy(all);
    *offsets = ft_alloc((size_t)count + 1, sizeof **offsets);
    if (!*text || !*offsets)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    uint32_t previous = 0;
    for (uint32_t i = 0; i <= count; i++) {
        const uint32_t offset = ft_read_u32(t->data + 4 * (size_t)i);
        const uint64_t least = i == count ? all->size : previous;
        const uint64_t most = i == 0 ? 0 : all->size;
        if (offset < least || offset > most)
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.offsets': value %" PRIu32 " is %" PRId32
                           ", must be %" PRIu64 " to %" PRIu64,
                           owner, i, (int32_t)offset, least, most);
        if (!is_text((const uint8_t *)*text + previous, offset - previous))
            return ft_fail(FT_ERR_FORMAT, "the %s %" PRIu32 " is not UTF-8, or has a NUL", what,
                           i - 1);
        (*offsets)[i] = offset;
        previous = offset;
    }
    return FT_OK;
}

ft_status ft_load_text(ft_loader *loader, ft_model *model) {
    const ft_container *file = loader->file;
    ft_status status = FT_OK;
    if (ft_next_is(loader, "names", "text"))
        status = ft_load_texts(loader, "names", "name of feature", model->features, &model->names,
                               &model->name_offsets);
    if (status == FT_OK)
        status = ft_load_categories(loader, model);
    if (status != FT_OK)
        return status;
    const ft_tensor *info = ft_load_tensor(loader, "", "info", FT_U8, 1, FT_ANY, 1);
    if (!info)
        return FT_ERR_FORMAT;
    model->info = copy(info);
    if (!model->info)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    model->info_size = info->size;
    if (!is_text((const uint8_t *)model->info, info->size))
        return ft_fail(FT_ERR_FORMAT, "tensor 'info': not UTF-8, or with a NUL");
    if (loader->next != file->count)
        return ft_fail(FT_ERR_FORMAT, "tensor '%s' belongs to no operation",
                       file->tensors[loader->next].name);
    return FT_OK;
}
