/* The categories of a model: read, checked, and looked up. */
#include "bytes.h"
#include "error.h"
#include "load.h"
#include "pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* -1, 0 or 1 as texts are sorted: by bytes, a text before those that it begins. */
static int compare(const char *a, size_t a_length, const char *b, size_t b_length) {
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    if (order)
        return order < 0 ? -1 : 1;
    return a_length < b_length ? -1 : a_length > b_length;
}

static int compare_at(const ft_categories *c, uint32_t i, const char *text, size_t length) {
    return compare(c->text + c->offsets[i], c->offsets[i + 1] - c->offsets[i], text, length);
}

static ft_status load_texts(ft_loader *loader, const char *owner, ft_categories *c) {
    const ft_status status =
        ft_load_texts(loader, owner, "category", c->count, &c->text, &c->offsets);
    for (uint32_t i = 1; i < c->count && status == FT_OK; i++)
        if (compare_at(c, i - 1, c->text + c->offsets[i], c->offsets[i + 1] - c->offsets[i]) >= 0)
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.text': category %" PRIu32
                           " does not follow the one before it in the order of their bytes",
                           owner, i);
    return status;
}

static ft_status load_values(ft_loader *loader, const char *owner, ft_categories *c) {
    const ft_tensor *t = ft_load_tensor(loader, owner, "values", FT_F32, 1, c->count, 1);
    if (!t)
        return FT_ERR_FORMAT;
    c->values = ft_alloc(c->count, sizeof *c->values);
    if (!c->values)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->count; i++) {
        c->values[i] = ft_read_f32(t->data + 4 * (size_t)i);
        if (!isfinite(c->values[i]) || (i && !(c->values[i] > c->values[i - 1])))
            return ft_fail(FT_ERR_FORMAT,
                           "tensor '%s.values': value %" PRIu32
                           " is not finite, or not above the one before it",
                           owner, i);
    }
    return FT_OK;
}

/* Whether x itself is the number of the category. */
static int are_codes(const ft_categories *c) {
    uint32_t i = 0;
    while (i < c->count && c->values[i] == (float)i)
        i++;
    return i == c->count;
}

ft_status ft_load_categories(ft_loader *loader, ft_model *model) {
    const ft_encoder *e = &model->ops[0].encoder;
    if (!e->categorical)
        return FT_OK;
    model->categories = ft_alloc(model->features, sizeof *model->categories);
    if (!model->categories)
        return ft_fail(FT_ERR_MEMORY, "out of memory");
    for (uint32_t j = 0; j < e->used; j++) {
        ft_categorical *rows = &e->categorical[j];
        ft_categories *c = &model->categories[e->feature[j].column];
        char owner[16];
        if (!rows->rows)
            continue;
        snprintf(owner, sizeof owner, "cat.%" PRIu32, e->feature[j].column);
        c->count = rows->count;
        const int are_numbers = ft_next_is(loader, owner, "values");
        const ft_status status = (are_numbers ? load_values : load_texts)(loader, owner, c);
        if (status != FT_OK)
            return status;
        if (are_numbers && !are_codes(c))
            rows->values = c->values;
        model->nbytes += c->count * sizeof(float);
        if (!are_numbers)
            model->nbytes += c->offsets[c->count];
    }
    return FT_OK;
}

void ft_free_categories(ft_model *model) {
    for (uint32_t i = 0; model->categories && i < model->features; i++) {
        ft_free(model->categories[i].text);
        ft_free(model->categories[i].offsets);
        ft_free(model->categories[i].values);
    }
    ft_free(model->categories);
}

float ft_category_of(const ft_categories *c, const char *text, size_t length) {
    uint32_t low = 0, high = c->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (compare_at(c, middle, text, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->count && compare_at(c, low, text, length) == 0 ? (float)low : -1.0f;
}

ft_status ft_category(const ft_model *model, size_t feature, const char *text, float *code) {
    if (!model || !text || !code)
        return ft_fail(FT_ERR_ARGUMENT, "%s is NULL", !model ? "model" : !text ? "text" : "code");
    if (feature >= model->features)
        return ft_fail(FT_ERR_ARGUMENT, "feature is %zu, but the model has %" PRIu32, feature,
                       model->features);
    const ft_categories *c = model->categories ? &model->categories[feature] : NULL;
    if (!c || !c->text)
        return ft_fail(FT_ERR_ARGUMENT, "feature %zu takes numbers, it has no texts", feature);
    *code = ft_category_of(c, text, strlen(text));
    return FT_OK;
}
