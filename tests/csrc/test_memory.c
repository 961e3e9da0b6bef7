/* Short of memory: every allocation of opening and scoring fails once, nothing leaks, the
 * status says so.  Needs an allocator that a program may replace, as glibc's is. */
#include "check.h"

#include "network.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(IS_SANITIZED)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static long countdown = -1; /* allocations until one fails; negative: never */
static long held;

static void *counted(void *p) {
    held += p != NULL;
    return p;
}

static int fails(void) { return countdown >= 0 && countdown-- == 0; }

void *malloc(size_t size) { return fails() ? NULL : counted(__libc_malloc(size)); }

void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

void free(void *p) {
    held -= p != NULL;
    __libc_free(p);
}

/* How many allocations it takes to open and score; each of them made to fail in turn. */
static void check_model(const network_shape *shape) {
    network net = network_new(shape, 1);
    const file_bytes file = network_file(&net);
    float *x = calloc(2 * shape->features, sizeof *x);
    float *scores = calloc(2 * network_outputs(&net), sizeof *scores);
    ft_model *model = NULL;
    CHECK(ft_open_memory(file.data, file.size, &model) == FT_OK, "%s", ft_last_error());
    ft_close(model);
    long failures = 0;
    for (int done = 0; !done; failures++) {
        const long before = held;
        countdown = failures;
        ft_status status = ft_open_memory(file.data, file.size, &model);
        CHECK(status == FT_OK || !model, "%s: a model of what failed", shape->what);
        if (status == FT_OK)
            status = ft_predict(model, x, 2, scores);
        done = countdown >= 0;
        countdown = -1;
        ft_close(model);
        CHECK(status == (done ? FT_OK : FT_ERR_MEMORY), "%s, allocation %ld: status %d (%s)",
              shape->what, failures, status, ft_last_error());
        CHECK(held == before, "%s, allocation %ld: %ld leak", shape->what, failures, held - before);
    }
    CHECK(failures > 10, "%s: only %ld allocations", shape->what, failures);
    free(x);
    free(scores);
    free(file.data);
    network_free(&net);
}

/* The first batch allocates a workspace, no call after it does. */
static void check_warm_calls(const network_shape *shape) {
    network net = network_new(shape, 1);
    const file_bytes file = network_file(&net);
    float *x = calloc(50 * shape->features, sizeof *x);
    float *scores = calloc(50 * network_outputs(&net), sizeof *scores);
    ft_model *model = NULL;
    ft_open_memory(file.data, file.size, &model);
    ft_predict(model, x, 50, scores);
    countdown = 0;
    CHECK(ft_predict(model, x, 1, scores) == FT_OK && ft_predict(model, x, 50, scores) == FT_OK,
          "%s: %s", shape->what, ft_last_error());
    CHECK(countdown == 0, "%s: a warm call allocates", shape->what);
    countdown = -1;
    ft_close(model);
    free(x);
    free(scores);
    free(file.data);
    network_free(&net);
}

int main(void) {
    static const network_shape shapes[] = {
        {"float", FT_OP_STANDARDIZE, 3, 0, 2, {4, 2}, {32, 32}, {0}, {0, 1}, FT_SOFTMAX, 1, 0, 0, 0, 0, 0},
        {"encoded", FT_OP_ENCODE_DENSE, 3, 0, 1, {2}, {32}, {0}, {1}, FT_LINEAR, 0, 0, 0, 0, 0, 0},
        {"int4", FT_OP_ENCODE_DENSE, 3, 127, 3, {35, 5, 1}, {4, 4, 8}, {0, 32, 0}, {0, 1, 1},
         FT_SIGMOID, 1, 0, 0, 0, 0, 0},
        {"workspace", FT_OP_QUANTIZE, 3, 127, 2, {20000, 2}, {8, 8}, {0}, {0}, FT_LINEAR, 1, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_model(&shapes[i]);
        check_warm_calls(&shapes[i]);
    }
    return check_report();
}

#else

int main(void) {
    printf("skipped: the allocator cannot be replaced here\n");
    CHECK(1, "skipped");
    return check_report();
}

#endif
