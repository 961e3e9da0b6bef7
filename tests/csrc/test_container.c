/* The reader of .farthing files: the one form, everything else refused with its reason. */
#include "check.h"

#include "build_file.h"
#include "container.h"

static const ft_tensor *find_tensor(const ft_container *container, const char *name) {
    for (uint32_t i = 0; i < container->count; i++)
        if (strcmp(container->tensors[i].name, name) == 0)
            return &container->tensors[i];
    return NULL;
}

static char reason[512];

/* Parses a copy that ends at a page that may not be touched. */
static ft_status parse(const uint8_t *data, size_t size, ft_container *out) {
    guarded area = guarded_map(size + 1);
    reason[0] = '\0';
    const ft_status status = ft_container_parse(size ? memcpy(guarded_end(&area, size), data, size)
                                                     : guarded_end(&area, 0),
                                                size, out, reason, sizeof reason);
    guarded_unmap(&area);
    return status;
}

static void expect(file_bytes file, ft_status status, const char *words, const char *what) {
    ft_container c;
    const ft_status got = parse(file.data, file.size, &c);
    CHECK(got == status, "%s: status %d (%s)", what, got, reason);
    CHECK(got == FT_OK ? reason[0] == '\0' : strstr(reason, words) != NULL, "%s: reason '%s'", what,
          reason);
    CHECK(got == FT_OK || (!c.tensors && !c.count), "%s: something is owned", what);
    if (got == FT_OK)
        ft_container_free(&c);
}

/* A file whose header is `before`, the metadata and `after`, with 12 bytes of data. */
static void expect_header(const char *before, const char *after, ft_status status,
                          const char *words) {
    static char header[4096];
    snprintf(header, sizeof header, "%s%s", before, after);
    const file_bytes file = file_join(header, "abcdefghijkl", 12);
    expect(file, status, words, after);
    free(file.data);
}

static void expect_tensors(const char *tensors, ft_status status, const char *words) {
    expect_header(FILE_METADATA, tensors, status, words);
}

static file_bytes small_file(void) {
    file_builder b = {.count = 0};
    const float matrix[] = {1, 2, 3, 4, 5, 6};
    const int32_t counts[] = {-1, 7};
    file_add(&b, "ops", FT_U8, 3, 0, "\1\2\3");
    file_add(&b, "dense0.weight", FT_F32, 2, 3, matrix);
    file_add(&b, "a_0.z", FT_I32, 2, 0, counts);
    file_add(&b, "empty", FT_I8, 0, 0, "");
    file_add(&b, "i8", FT_I8, 2, 2, "\x81\x7f\0\1");
    const file_bytes file = file_write(&b);
    file_builder_free(&b);
    return file;
}

static void test_valid(void) {
    file_bytes file = small_file();
    ft_container c;
    const ft_status status =
        ft_container_parse(file.data, file.size, &c, reason, sizeof reason);
    CHECK(status == FT_OK, "%s", reason);
    if (status != FT_OK)
        return;
    CHECK(c.count == 5, "%u tensors", c.count);
    const ft_tensor *t = find_tensor(&c, "dense0.weight");
    CHECK(t == &c.tensors[1], "found elsewhere");
    CHECK(t->dtype == FT_F32 && t->dims == 2 && t->shape[0] == 2 && t->shape[1] == 3 &&
              t->size == 24,
          "type or shape");
    CHECK(t->data == c.tensors[0].data + 3 && !memcmp(t->data, "\0\0\x80\x3f", 4), "data");
    t = find_tensor(&c, "ops");
    CHECK(t == c.tensors && t->dims == 1 && t->shape[1] == 1 && !memcmp(t->data, "\1\2\3", 3),
          "ops");
    t = find_tensor(&c, "empty");
    CHECK(t && t->size == 0 && t->shape[0] == 0 && t->dtype == FT_I8, "empty");
    t = find_tensor(&c, "i8");
    CHECK(t && t->data + t->size == file.data + file.size, "the last tensor ends the file");
    CHECK(!find_tensor(&c, "op") && !find_tensor(&c, "ops0"), "no such name");
    ft_container_free(&c);
    CHECK(!c.tensors && !c.count, "freed");
    free(file.data);
}

static void test_checksum(void) {
    /* FNV-1a vectors of Fowler, Noll and Vo: the digits lie past the end. */
    CHECK(ft_checksum((const uint8_t *)"", 0, 99) == UINT64_C(0xcbf29ce484222325), "empty");
    CHECK(ft_checksum((const uint8_t *)"a", 1, 99) == UINT64_C(0xaf63dc4c8601ec8c), "a");
    CHECK(ft_checksum((const uint8_t *)"foobar", 6, 99) == UINT64_C(0x85944171f73967e8), "foobar");
    uint8_t text[40] = "before................after";
    const uint64_t hash = ft_checksum(text, 27, 6);
    memset(text + 6, '0', 16);
    CHECK(ft_checksum(text, 27, 99) == hash, "the digits count as zeros");
}

static void test_damage(void) {
    const file_bytes file = small_file();
    ft_container c;
    for (size_t cut = 0; cut < file.size; cut++) {
        const ft_status status = parse(file.data, cut, &c);
        CHECK(status == FT_ERR_FORMAT, "%zu of %zu bytes: status %d", cut, file.size, status);
        CHECK(strstr(reason, cut < 8 ? "only" : "truncated") != NULL, "%zu bytes: %s", cut, reason);
        if (status == FT_OK)
            ft_container_free(&c);
    }
    for (size_t bit = 0; bit < file.size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const ft_status status = parse(file.data, file.size, &c);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(status == FT_ERR_FORMAT || status == FT_ERR_VERSION, "bit %zu: status %d", bit,
              status);
        CHECK(reason[0] != '\0', "bit %zu: no reason", bit);
        if (status == FT_OK)
            ft_container_free(&c);
    }
    /* A flipped bit of the data can only be seen by the checksum, which says so. */
    file.data[file.size - 1] ^= 1;
    expect(file, FT_ERR_FORMAT, "checksum mismatch: the file is damaged", "data");
    file.data[file.size - 1] ^= 1;
    expect(file, FT_OK, "", "undamaged");
    free(file.data);
}

static void test_checksum_is_text(void) {
    file_bytes file = small_file();
    size_t letters = 0;
    for (size_t i = FILE_DIGITS; i < FILE_DIGITS + 16; i++) {
        if (file.data[i] >= 'a') {
            file.data[i] = (uint8_t)(file.data[i] - 'a' + 'A');
            letters++;
        }
    }
    CHECK(letters > 0, "a checksum without letters tests nothing");
    expect(file, FT_ERR_FORMAT, "checksum mismatch", "upper-case digits");
    free(file.data);
}

static void test_frame(void) {
    file_bytes file = small_file();
    uint8_t *longer = malloc(file.size + 1);
    memcpy(longer, file.data, file.size);
    longer[file.size] = 0;
    file_seal(longer, file.size + 1);
    expect((file_bytes){longer, file.size + 1}, FT_ERR_FORMAT, "1 bytes follow the last tensor",
           "a byte at the end");
    free(longer);

    file.data[2] = 0x10; /* 1 MiB and more */
    file.data[0] |= 1;
    file_seal(file.data, file.size);
    expect(file, FT_ERR_FORMAT, "allowed is 1 MiB", "a header above the limit");
    memset(file.data, 0xff, 8);
    expect(file, FT_ERR_FORMAT, "header of 18446744073709551615 bytes", "a length of 2^64 - 1");
    free(file.data);

    expect((file_bytes){(uint8_t *)"PK\3\4 some other kind of file", 29}, FT_ERR_FORMAT,
           "not a .farthing file", "a zip file");
    expect((file_bytes){(uint8_t *)"\x10\0\0\0\0\0\0\0{\"a\":{}}        data", 28}, FT_ERR_FORMAT,
           "does not name the format", "another safetensors file");
    expect((file_bytes){(uint8_t *)"\0\0\0\0\0\0\0\0", 8}, FT_ERR_FORMAT, "not a .farthing file",
           "no header");
}

static void test_other_tools(void) {
    const char *tensors = ",\"a\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0,12]}}";
    const char *form = "another tool has saved it again";
    expect_header(FILE_METADATA, tensors, FT_OK, "");
    expect_header("{ \"__metadata__\":{\"checksum\":\"0000000000000000\",\"format\":\"farthing\","
                  "\"version\":\"0\"}",
                  tensors, FT_ERR_FORMAT, form);
    expect_header("{\"__metadata__\":{\"format\":\"farthing\",\"checksum\":\"0000000000000000\","
                  "\"version\":\"0\"}",
                  tensors, FT_ERR_FORMAT, form);
    expect_header("{\"__metadata__\":{\"checksum\":\"00000000\",\"format\":\"farthing\","
                  "\"version\":\"0\"}",
                  tensors, FT_ERR_FORMAT, form);
    expect_header("{\"__metadata__\":{\"checksum\":\"0000000000000000\",\"format\":\"farthing\","
                  "\"version\":\"0\",\"author\":\"me\"}",
                  tensors, FT_ERR_FORMAT, form);
    expect_tensors(",\"a\":{\"shape\":[12],\"dtype\":\"U8\",\"data_offsets\":[0,12]}}",
                   FT_ERR_FORMAT, form);
    expect_tensors(", \"a\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0,12]}}",
                   FT_ERR_FORMAT, form);
    expect_tensors(",\"a\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0, 12]}}",
                   FT_ERR_FORMAT, form);
    file_bytes short_header = file_join(FILE_PREFIX "        ", "abcdefgh", 8);
    memcpy(short_header.data + FILE_DIGITS, "farthing", 8);
    expect(short_header, FT_ERR_FORMAT, "expected 16 digits", "a header that ends early");
    free(short_header.data);
    /* Reordered tensors keep the form, but their bytes no longer give the checksum. */
    file_bytes file = small_file();
    uint8_t *name = file.data + 8 + strlen(FILE_METADATA) + 2;
    CHECK(!memcmp(name, "ops", 3), "the first name");
    memcpy(name, "sop", 3);
    expect(file, FT_ERR_FORMAT, "another tool has changed it", "a renamed tensor");
    free(file.data);
}

static void test_versions(void) {
    const char *tensors = ",\"a\":{\"dtype\":\"U8\",\"shape\":[12],\"data_offsets\":[0,12]}}";
#define WITH_VERSION(v)                                                                       \
    "{\"__metadata__\":{\"checksum\":\"0000000000000000\",\"format\":\"farthing\",\"version\":\"" v
    expect_header(WITH_VERSION("1\"}"), tensors, FT_ERR_VERSION, "version 1 of the format");
    expect_header(WITH_VERSION("2.10\",\"new\":\"key\"}"), tensors, FT_ERR_VERSION, "version 2.10");
    expect_header(WITH_VERSION("00\"}"), tensors, FT_ERR_VERSION, "version 00");
    expect_header(WITH_VERSION("\"}"), tensors, FT_ERR_FORMAT, "expected a version");
    expect_header(WITH_VERSION("\\u0031\"}"), tensors, FT_ERR_FORMAT, "expected a version");
    expect_header(WITH_VERSION("12345678901234567\"}"), tensors, FT_ERR_FORMAT, "a version");
}

static void test_tensor_list(void) {
#define TENSOR(name, dtype, shape, offsets)                                                   \
    ",\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"
#define NAME64 "abcdefghijklmnopqrstuvwxyz0123456789_.abcdefghijklmnopqrstuvwxyz"
    expect_tensors(TENSOR(NAME64, "U8", "12", "0,12") "}", FT_OK, "");
    expect_tensors(TENSOR("_", "F32", "3,1", "0,12") "}", FT_OK, "");
    expect_tensors(TENSOR("a", "I32", "0,5", "0,0") TENSOR("b", "I8", "3,4", "0,12") "}", FT_OK,
                   "");

    expect_tensors(TENSOR("", "U8", "12", "0,12") "}", FT_ERR_FORMAT, "a name of 1 to 64");
    expect_tensors(TENSOR(NAME64 "x", "U8", "12", "0,12") "}", FT_ERR_FORMAT, "a name of 1 to 64");
    expect_tensors(TENSOR("A", "U8", "12", "0,12") "}", FT_ERR_FORMAT, "a name of 1 to 64");
    expect_tensors(TENSOR("a/b", "U8", "12", "0,12") "}", FT_ERR_FORMAT, "a name of 1 to 64");
    expect_tensors(TENSOR("a\\n", "U8", "12", "0,12") "}", FT_ERR_FORMAT, "a name of 1 to 64");
    expect_tensors(TENSOR("a", "F64", "12", "0,12") "}", FT_ERR_FORMAT, "U8, I8, I32 or F32");
    expect_tensors(TENSOR("a", "U", "12", "0,12") "}", FT_ERR_FORMAT, "U8, I8, I32 or F32");
    expect_tensors(TENSOR("a", "U88", "12", "0,12") "}", FT_ERR_FORMAT, "U8, I8, I32 or F32");
    expect_tensors(TENSOR("a", "U8", "", "0,12") "}", FT_ERR_FORMAT, "a size");
    expect_tensors(TENSOR("a", "U8", "3,2,2", "0,12") "}", FT_ERR_FORMAT, "one or two dimensions");
    expect_tensors(TENSOR("a", "U8", "012", "0,12") "}", FT_ERR_FORMAT, "a size");
    expect_tensors(TENSOR("a", "U8", "-12", "0,12") "}", FT_ERR_FORMAT, "a size");
    expect_tensors(TENSOR("a", "U8", "12.0", "0,12") "}", FT_ERR_FORMAT, "one or two dimensions");
    expect_tensors(TENSOR("a", "U8", "12", "00,12") "}", FT_ERR_FORMAT, "two offsets");
    expect_tensors(TENSOR("a", "U8", "12", "0") "}", FT_ERR_FORMAT, "two offsets");
    expect_tensors(TENSOR("a", "U8", "12", "0,12"), FT_ERR_FORMAT, ", or }");
    expect_tensors(TENSOR("a", "U8", "12", "0,12") "},", FT_ERR_FORMAT, "fewer than 8 spaces");
    expect_tensors(TENSOR("a", "U8", "12", "0,12") "}        ", FT_ERR_FORMAT,
                   "fewer than 8 spaces");

    expect_tensors(TENSOR("a", "U8", "11", "1,12") "}", FT_ERR_FORMAT,
                   "tensor 'a': data begins at 1");
    expect_tensors(TENSOR("a", "U8", "4", "0,4") TENSOR("b", "U8", "7", "5,12") "}", FT_ERR_FORMAT,
                   "tensor 'b': data begins at 5, but the data before it ends at 4");
    expect_tensors(TENSOR("a", "U8", "4", "0,4") TENSOR("b", "U8", "9", "3,12") "}", FT_ERR_FORMAT,
                   "tensor 'b': data begins at 3");
    expect_tensors(TENSOR("a", "U8", "12", "0,11") "}", FT_ERR_FORMAT,
                   "tensor 'a': offsets 0 to 11 do not hold 12 x 1 values of type U8");
    expect_tensors(TENSOR("a", "F32", "12", "0,12") "}", FT_ERR_FORMAT, "do not hold");
    expect_tensors(TENSOR("a", "U8", "4", "0,4") TENSOR("b", "U8", "0", "4,3") "}", FT_ERR_FORMAT,
                   "tensor 'b': offsets 4 to 3");
    expect_tensors(TENSOR("a", "U8", "4", "0,4")
                       TENSOR("b", "U8", "18446744073709551615", "4,3")
                       TENSOR("c", "U8", "9", "3,12") "}",
                   FT_ERR_FORMAT, "tensor 'b': offsets 4 to 3");
    expect_tensors(TENSOR("a", "U8", "13", "0,13") "}", FT_ERR_FORMAT,
                   "truncated: the tensors need 13 bytes, the file has 12");
    expect_tensors(TENSOR("a", "U8", "11", "0,11") "}", FT_ERR_FORMAT, "1 bytes follow");
    expect_tensors("}", FT_ERR_FORMAT, "12 bytes follow");
    expect_tensors(TENSOR("a", "U8", "6", "0,6") TENSOR("b", "U8", "0", "6,6")
                       TENSOR("a", "U8", "6", "6,12") "}",
                   FT_ERR_FORMAT, "tensor 'a': its name is used twice");

    /* Sizes that wrap around 2^64 to what the file holds, and numbers past 2^64. */
    expect_tensors(TENSOR("a", "F32", "4611686018427387907", "0,12") "}", FT_ERR_FORMAT,
                   "do not hold");
    expect_tensors(TENSOR("a", "U8", "4294967296,4294967296", "0,0") TENSOR("b", "U8", "12", "0,12")
                   "}",
                   FT_ERR_FORMAT, "do not hold");
    expect_tensors(TENSOR("a", "U8", "18446744073709551628", "0,12") "}", FT_ERR_FORMAT, "a size");
    expect_tensors(TENSOR("a", "U8", "18446744073709551616", "0,12") "}", FT_ERR_FORMAT, "a size");
    expect_tensors(TENSOR("a", "U8", "18446744073709551615", "0,18446744073709551615") "}",
                   FT_ERR_FORMAT, "truncated: the tensors need 18446744073709551615 bytes");
}

/* As many tensors as fit a header, with distinct names: parsed; with two alike: refused. */
static void test_many_tensors(void) {
    enum { COUNT = 18000 };
    char *header = malloc((size_t)1 << 20);
    for (int twice = 0; twice < 2; twice++) {
        size_t at = (size_t)sprintf(header, "%s", FILE_METADATA);
        for (int i = 0; i < COUNT; i++)
            at += (size_t)sprintf(header + at,
                                  ",\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                                  twice && i == COUNT - 1 ? 0 : i);
        strcpy(header + at, "}");
        const file_bytes file = file_join(header, "", 0);
        expect(file, twice ? FT_ERR_FORMAT : FT_OK, "tensor '0': its name is used twice", "many");
        free(file.data);
    }
    free(header);
}

int main(void) {
    test_valid();
    test_checksum();
    test_damage();
    test_checksum_is_text();
    test_frame();
    test_other_tools();
    test_versions();
    test_tensor_list();
    test_many_tensors();
    return check_report();
}
