#include "container.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX ((uint64_t)1 << 20)
#define VERSION_MAX 16 /* characters of a version that are worth quoting */

/* The metadata of the one form that is read, around its checksum and version. */
static const char BEFORE_CHECKSUM[] = "{\"__metadata__\":{\"checksum\":\"";
static const char BEFORE_VERSION[] = "\",\"format\":\"farthing\",\"version\":\"";
static const char AFTER_VERSION[] = "\"}";
static const char VERSION[] = "0";

/* The shortest entry a header can hold: bounds the number of tensors. */
#define SHORTEST_ENTRY ",\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}"

enum {
    PREFIX_BYTES = 8, /* the length of the header */
    CHECKSUM_DIGITS = 16
};

static const struct { const char *name; uint32_t size; } DTYPES[] = {
    [FT_U8] = {"U8", 1}, [FT_I8] = {"I8", 1}, [FT_I32] = {"I32", 4}, [FT_F32] = {"F32", 4}};

typedef struct parser {
    const char *text; /* the header */
    size_t at, size;
    char *reason;
    size_t reason_size;
} parser;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static ft_status refuse(parser *p, ft_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->reason, p->reason_size, format, arguments);
    va_end(arguments);
    return status;
}

/* The header is not of the one form; `expected` says what should stand where it stopped. */
static ft_status refuse_form(parser *p, const char *expected) {
    return refuse(p, FT_ERR_FORMAT,
                  "the header is not in the exact form of a .farthing file (byte %zu: expected %s):"
                  " another tool has saved it again, or it is damaged; save it with Farthing",
                  p->at, expected);
}

/* Steps over `literal` if it comes next. */
static bool skip(parser *p, const char *literal) {
    const size_t length = strlen(literal);
    if (p->size - p->at < length || memcmp(p->text + p->at, literal, length) != 0)
        return false;
    p->at += length;
    return true;
}

/* A decimal number without leading zeros that fits 64 bits. */
static bool skip_number(parser *p, uint64_t *value) {
    const size_t first = p->at;
    uint64_t v = 0;
    for (; p->at < p->size && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        const uint64_t digit = (uint64_t)(p->text[p->at] - '0');
        if ((p->at > first && v == 0) || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    return p->at > first;
}

/* Characters up to the next quote; all of them must be in the form of a name or version. */
static bool skip_word(parser *p, char *word, size_t max) {
    size_t length = 0;
    for (; p->at < p->size && p->text[p->at] != '"'; p->at++) {
        const char c = p->text[p->at];
        const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if ((!alphanumeric && c != '_' && c != '.') || length == max)
            return false;
        word[length++] = c;
    }
    word[length] = '\0';
    return length > 0 && p->at < p->size;
}

static bool skip_dtype(parser *p, ft_dtype *dtype) {
    for (uint32_t i = 0; i < sizeof DTYPES / sizeof *DTYPES; i++) {
        const size_t start = p->at;
        if (skip(p, DTYPES[i].name) && skip(p, "\"")) {
            *dtype = (ft_dtype)i;
            return true;
        }
        p->at = start;
    }
    return false;
}

/* Fills all of *t but its data; begin and end are its offsets. */
static ft_status parse_tensor(parser *p, ft_tensor *t, uint64_t *begin, uint64_t *end) {
    if (!skip(p, "\""))
        return refuse_form(p, "the name of a tensor in quotes");
    if (!skip_word(p, t->name, FT_NAME_MAX))
        return refuse_form(p, "a name of 1 to 64 characters a-z 0-9 _ .");
    if (!skip(p, "\":{\"dtype\":\""))
        return refuse_form(p, "\":{\"dtype\":\"");
    if (!skip_dtype(p, &t->dtype))
        return refuse_form(p, "U8, I8, I32 or F32");
    if (!skip(p, ",\"shape\":["))
        return refuse_form(p, ",\"shape\":[");
    t->dims = 1;
    t->shape[1] = 1;
    if (!skip_number(p, &t->shape[0]))
        return refuse_form(p, "a size");
    if (skip(p, ",")) {
        t->dims = 2;
        if (!skip_number(p, &t->shape[1]))
            return refuse_form(p, "a size");
    }
    if (!skip(p, "],\"data_offsets\":["))
        return refuse_form(p, "],\"data_offsets\":[ (a shape has one or two dimensions)");
    if (!skip_number(p, begin) || !skip(p, ",") || !skip_number(p, end) || !skip(p, "]}"))
        return refuse_form(p, "two offsets and ]}");
    return FT_OK;
}

static bool multiply(uint64_t a, uint64_t b, uint64_t *product) {
    *product = a * b;
    return a == 0 || *product / a == b;
}

/* The tensors of the header from p->at; *total receives the bytes of data they need. */
static ft_status parse_tensors(parser *p, ft_container *out, uint64_t *total) {
    uint64_t begin, end, previous = 0;
    while (!skip(p, "}")) {
        if (!skip(p, ","))
            return refuse_form(p, ", or }");
        ft_tensor *t = &out->tensors[out->count];
        const ft_status status = parse_tensor(p, t, &begin, &end);
        if (status != FT_OK)
            return status;
        if (begin != previous)
            return refuse(p, FT_ERR_FORMAT,
                          "tensor '%s': data begins at %" PRIu64 ", but the data before it ends at "
                          "%" PRIu64,
                          t->name, begin, previous);
        uint64_t size;
        if (!multiply(t->shape[0], t->shape[1], &size) ||
            !multiply(size, DTYPES[t->dtype].size, &size) || end < begin || end - begin != size)
            return refuse(p, FT_ERR_FORMAT,
                          "tensor '%s': offsets %" PRIu64 " to %" PRIu64 " do not hold %" PRIu64
                          " x %" PRIu64 " values of type %s",
                          t->name, begin, end, t->shape[0], t->shape[1], DTYPES[t->dtype].name);
        t->size = (size_t)size;
        previous = end;
        out->count++;
    }
    const size_t used = p->at;
    while (skip(p, " "))
        ;
    if (p->at != p->size || p->size - used > 7)
        return refuse_form(p, "fewer than 8 spaces up to the end of the header");
    *total = previous;
    return FT_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const ft_tensor *const *)a)->name, (*(const ft_tensor *const *)b)->name);
}

static ft_status refuse_duplicates(parser *p, const ft_container *c) {
    const ft_tensor **sorted = malloc(((size_t)c->count + 1) * sizeof *sorted);
    if (!sorted)
        return refuse(p, FT_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->count; i++)
        sorted[i] = &c->tensors[i];
    qsort(sorted, c->count, sizeof *sorted, compare_names);
    ft_status status = FT_OK;
    for (uint32_t i = 1; i < c->count && status == FT_OK; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            status = refuse(p, FT_ERR_FORMAT, "tensor '%s': its name is used twice",
                            sorted[i]->name);
    free(sorted);
    return status;
}

/* Steps over the metadata; *digits receives the position of the checksum in the header. */
static ft_status parse_metadata(parser *p, size_t *digits) {
    char version[VERSION_MAX + 1];
    if (!skip(p, BEFORE_CHECKSUM))
        return refuse_form(p, BEFORE_CHECKSUM);
    *digits = p->at;
    if (p->size - p->at < CHECKSUM_DIGITS)
        return refuse_form(p, "16 digits");
    p->at += CHECKSUM_DIGITS;
    if (!skip(p, BEFORE_VERSION))
        return refuse_form(p, BEFORE_VERSION);
    if (!skip_word(p, version, VERSION_MAX))
        return refuse_form(p, "a version");
    if (strcmp(version, VERSION) != 0)
        return refuse(p, FT_ERR_VERSION,
                      "the file has version %s of the format, this library reads version %s",
                      version, VERSION);
    if (!skip(p, AFTER_VERSION))
        return refuse_form(p, AFTER_VERSION);
    return FT_OK;
}

uint64_t ft_checksum(const uint8_t *data, size_t size, size_t digits) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < size; i++) {
        const uint8_t byte = i - digits < CHECKSUM_DIGITS ? '0' : data[i];
        hash = (hash ^ byte) * UINT64_C(1099511628211);
    }
    return hash;
}

static ft_status check_sum(parser *p, const uint8_t *data, size_t size, size_t digits) {
    char expected[CHECKSUM_DIGITS + 1];
    snprintf(expected, sizeof expected, "%016" PRIx64, ft_checksum(data, size, digits));
    if (memcmp(expected, data + digits, CHECKSUM_DIGITS) != 0)
        return refuse(p, FT_ERR_FORMAT,
                      "checksum mismatch: the file is damaged, or another tool has changed it");
    return FT_OK;
}

static ft_status parse_file(parser *p, const uint8_t *file, size_t file_size, ft_container *out) {
    const size_t available = file_size - PREFIX_BYTES - p->size;
    size_t digits = 0;
    uint64_t total = 0;
    ft_status status = parse_metadata(p, &digits);
    if (status == FT_OK)
        status = parse_tensors(p, out, &total);
    if (status != FT_OK)
        return status;
    if (total > available)
        return refuse(p, FT_ERR_FORMAT,
                      "truncated: the tensors need %" PRIu64 " bytes, the file has %zu", total,
                      available);
    if (total < available)
        return refuse(p, FT_ERR_FORMAT, "%zu bytes follow the last tensor",
                      (size_t)(available - total));
    const uint8_t *data = file + PREFIX_BYTES + p->size;
    for (uint32_t i = 0; i < out->count; i++) {
        out->tensors[i].data = data;
        data += out->tensors[i].size;
    }
    status = check_sum(p, file, file_size, PREFIX_BYTES + digits);
    return status == FT_OK ? refuse_duplicates(p, out) : status;
}

static bool contains(const char *text, size_t size, const char *word) {
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(text + i, word, length) == 0)
            return true;
    return false;
}

ft_status ft_container_parse(const uint8_t *data, size_t size, ft_container *out, char *reason,
                             size_t reason_size) {
    parser p = {.reason = reason, .reason_size = reason_size};
    uint64_t length = 0;
    *out = (ft_container){0};
    if (size < PREFIX_BYTES)
        return refuse(&p, FT_ERR_FORMAT, "not a .farthing file: it has only %zu bytes", size);
    for (uint32_t i = PREFIX_BYTES; i-- > 0;)
        length = length << 8 | data[i];
    if (length > HEADER_MAX)
        return refuse(&p, FT_ERR_FORMAT,
                      "not a .farthing file: a header of %" PRIu64 " bytes, allowed is 1 MiB",
                      length);
    if (length > size - PREFIX_BYTES)
        return refuse(&p, FT_ERR_FORMAT,
                      "truncated: a header of %" PRIu64 " bytes, of which the file has %zu", length,
                      size - PREFIX_BYTES);
    p.text = (const char *)data + PREFIX_BYTES;
    p.size = (size_t)length;
    if (!contains(p.text, p.size, "farthing"))
        return refuse(&p, FT_ERR_FORMAT,
                      "not a .farthing file: its header does not name the format");
    if (length % 8 != 0)
        return refuse_form(&p, "a length that is a multiple of 8");

    out->tensors = calloc(p.size / (sizeof SHORTEST_ENTRY - 1) + 1, sizeof *out->tensors);
    if (!out->tensors)
        return refuse(&p, FT_ERR_MEMORY, "out of memory");
    const ft_status status = parse_file(&p, data, size, out);
    if (status != FT_OK)
        ft_container_free(out);
    return status;
}

void ft_container_free(ft_container *container) {
    free(container->tensors);
    *container = (ft_container){0};
}
