/* Writes .farthing files for the tests, byte by byte as docs/file-format.md says, and wrong
 * ones where a test asks for them. */
#ifndef FT_TESTS_BUILD_FILE_H
#define FT_TESTS_BUILD_FILE_H

#include "container.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_PREFIX "{\"__metadata__\":{\"checksum\":\""
#define FILE_METADATA FILE_PREFIX "0000000000000000\",\"format\":\"farthing\",\"version\":\"0\"}"

enum { FILE_DIGITS = 8 + sizeof FILE_PREFIX - 1, MAX_TENSORS = 64 };

typedef struct file_tensor {
    char name[2 * FT_NAME_MAX]; /* room for one that is too long */
    ft_dtype dtype;
    uint32_t dims;
    uint64_t shape[2];
    uint8_t *data;
    size_t size;
} file_tensor;

typedef struct file_builder {
    file_tensor tensors[MAX_TENSORS];
    uint32_t count;
} file_builder;

typedef struct file_bytes {
    uint8_t *data;
    size_t size;
} file_bytes;

/* n or n x k values (k 0: one dimension) copied from `data`. */
static inline void file_add(file_builder *b, const char *name, ft_dtype dtype, uint64_t n,
                            uint64_t k, const void *data) {
    file_tensor *t = &b->tensors[b->count++];
    *t = (file_tensor){.dtype = dtype, .dims = k ? 2 : 1, .shape = {n, k}};
    snprintf(t->name, sizeof t->name, "%s", name);
    t->size = (size_t)(n * (k ? k : 1)) * (dtype == FT_I32 || dtype == FT_F32 ? 4 : 1);
    t->data = malloc(t->size + 1);
    if (t->size)
        memcpy(t->data, data, t->size);
}

static inline file_tensor *file_find(file_builder *b, const char *name) {
    for (uint32_t i = 0; i < b->count; i++)
        if (strcmp(b->tensors[i].name, name) == 0)
            return &b->tensors[i];
    return NULL;
}

static inline void file_builder_free(file_builder *b) {
    for (uint32_t i = 0; i < b->count; i++)
        free(b->tensors[i].data);
    b->count = 0;
}

/* Makes the checksum of a file right again, where it has one in the expected place. */
static inline void file_seal(uint8_t *data, size_t size) {
    char digits[17];
    if (size < FILE_DIGITS + 16 || memcmp(data + 8, FILE_PREFIX, sizeof FILE_PREFIX - 1))
        return;
    snprintf(digits, sizeof digits, "%016" PRIx64, ft_checksum(data, size, FILE_DIGITS));
    memcpy(data + FILE_DIGITS, digits, 16);
}

/* Length, header (padded to a multiple of 8) and data, sealed. */
static inline file_bytes file_join(const char *header, const void *data, size_t size) {
    const size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    file_bytes file = {malloc(8 + padded + size), 8 + padded + size};
    for (int i = 0; i < 8; i++)
        file.data[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    memset(file.data + 8, ' ', padded);
    memcpy(file.data + 8, header, length);
    if (size)
        memcpy(file.data + 8 + padded, data, size);
    file_seal(file.data, file.size);
    return file;
}

static inline file_bytes file_write(const file_builder *b) {
    static const char *const types[] = {"U8", "I8", "I32", "F32"};
    size_t room = 256, size = 0, at;
    for (uint32_t i = 0; i < b->count; i++) {
        room += 256;
        size += b->tensors[i].size;
    }
    char *header = malloc(room);
    uint8_t *data = malloc(size + 1);
    at = (size_t)sprintf(header, "%s", FILE_METADATA);
    size = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const file_tensor *t = &b->tensors[i];
        at += (size_t)sprintf(header + at, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64, t->name,
                              types[t->dtype], t->shape[0]);
        if (t->dims == 2)
            at += (size_t)sprintf(header + at, ",%" PRIu64, t->shape[1]);
        at += (size_t)sprintf(header + at, "],\"data_offsets\":[%zu,%zu]}", size, size + t->size);
        if (t->size)
            memcpy(data + size, t->data, t->size);
        size += t->size;
    }
    strcpy(header + at, "}");
    const file_bytes file = file_join(header, data, size);
    free(header);
    free(data);
    return file;
}

/* An operation record. */
typedef struct file_record {
    uint32_t kind, bits, inputs, outputs, tensor, group_size, activation, storage, amax_in;
    uint32_t amax_out, reserved;
} file_record;

static inline void file_put(uint8_t *at, uint32_t value, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void file_record_write(const file_record *r, uint8_t out[32]) {
    file_put(out, r->kind, 2);
    file_put(out + 2, r->bits, 2);
    file_put(out + 4, r->inputs, 4);
    file_put(out + 8, r->outputs, 4);
    file_put(out + 12, r->tensor, 4);
    file_put(out + 16, r->group_size, 4);
    file_put(out + 20, r->activation, 2);
    file_put(out + 22, r->storage, 2);
    file_put(out + 24, r->amax_in, 2);
    file_put(out + 26, r->amax_out, 2);
    file_put(out + 28, r->reserved, 4);
}

#endif
