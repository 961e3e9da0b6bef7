/* Files of valid tensors with one thing changed, and the reason they must be refused for. */
#ifndef FT_TESTS_REFUSAL_H
#define FT_TESTS_REFUSAL_H

#include "network.h"

static const network_shape encoded = {"encoded int4 groups", FT_OP_ENCODE_DENSE, 9, 127, 3,
                                      {33, 17, 2}, {8, 4, 8}, {0, 32, 0}, {0}, FT_SOFTMAX,
                                      1, 0, 0, 0, 0, 0};
static const network_shape sparse = {"sparse", FT_OP_QUANTIZE, 11, 255, 2, {9, 1}, {4, 8}, {0},
                                     {1, 1}, FT_SIGMOID, 0, 0, 0, 0, 0, 0};
static const network_shape plain = {"float", FT_OP_STANDARDIZE, 5, 0, 2, {7, 1}, {32, 32}, {0},
                                    {0, 1}, FT_LINEAR, 1, 0, 0, 0, 0, 0};

static const network_shape categorical = {"categorical", FT_OP_ENCODE_DENSE, 16, 127, 2, {9, 1},
                                          {8, 8}, {0}, {0}, FT_EXP, 0, 0, 0, 2, 0, 0};

static file_builder builder; /* of the file at hand */

static inline void begin(const network_shape *shape) {
    file_builder_free(&builder);
    network net = network_new(shape, 1);
    network_tensors(&net, &builder);
    network_free(&net);
}

static inline ft_status open_builder(ft_model **model) {
    const file_bytes file = file_write(&builder);
    const ft_status status = ft_open_memory(file.data, file.size, model);
    free(file.data);
    return status;
}

/* What the builder holds is refused as no valid file, with these words. */
static inline void expect(const char *words) {
    ft_model *model = NULL;
    const ft_status status = open_builder(&model);
    CHECK(status == FT_ERR_FORMAT && !model, "'%s': status %d", words, status);
    CHECK(status == FT_OK || strstr(ft_last_error(), words), "'%s': %s", words, ft_last_error());
    ft_close(model);
}

static inline void expect_valid(const char *what) {
    ft_model *model = NULL;
    CHECK(open_builder(&model) == FT_OK, "%s: %s", what, ft_last_error());
    ft_close(model);
}

static inline void set_float(const char *tensor, size_t index, float value) {
    memcpy(file_find(&builder, tensor)->data + 4 * index, &value, 4);
}

static inline void set_u32(const char *tensor, size_t index, uint32_t value) {
    file_put(file_find(&builder, tensor)->data + 4 * index, value, 4);
}

static inline void set_byte(const char *tensor, size_t index, uint32_t value) {
    file_find(&builder, tensor)->data[index] = (uint8_t)value;
}

static inline void set_all(const char *tensor, uint32_t value) {
    file_tensor *t = file_find(&builder, tensor);
    memset(t->data, (int)value, t->size);
}

#endif
