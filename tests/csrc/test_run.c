/* Calls of ft_predict and what surrounds them: their scratch, other threads, the host's
 * floating-point environment. */
#include "models.h"

#include "run.h"

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* ---- memory ---------------------------------------------------------------------------- */

static void test_plan(void) {
    int stack = 0, workspace = 0;
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 11);
        ft_model *model = open_network(&net);
        CHECK(model->tile >= 1 && model->tile <= 40, "%s: %u rows", net.shape.what, model->tile);
        CHECK(model->scratch_bytes >= model->row_bytes, "%s", net.shape.what);
        const int fits = model->row_bytes <= FT_STACK_BYTES;
        CHECK(fits == !is_wide(&net), "%s: %zu bytes a row", net.shape.what, model->row_bytes);
        float *x = network_rows(&net, 1, 3), *scores = malloc(network_outputs(&net) * 4);
        ft_predict(model, x, 1, scores);
        _Atomic(void *) *first = model->workspaces;
        CHECK(fits == !*first, "%s: one row takes a workspace only where it must", net.shape.what);
        free(x);
        free(scores);
        for (uint32_t i = 0; i + 1 < model->ops_count; i++)
            CHECK(model->ops[i].stride % 128 == 64, "%s: stride %u", net.shape.what,
                  model->ops[i].stride);
        stack += fits;
        workspace += !fits;
        ft_close(model);
        network_free(&net);
    }
    CHECK(stack && workspace, "both kinds of model");
}

static void test_workspaces(void) {
    network net = network_new(&shapes[SHAPES - 1], 12);
    ft_model *model = open_network(&net);
    float *x = network_rows(&net, 2, 3), scores[4];
    _Atomic(void *) *first = model->workspaces;
    CHECK(!*first, "nothing before the first call");
    ft_predict(model, x, 2, scores);
    void *kept = *first;
    CHECK(kept, "kept after the first call");
    for (int i = 0; i < 10; i++)
        ft_predict(model, x, 2, scores);
    CHECK(*first == kept, "a warm call takes the one that waits");
    enum { MANY = 40 };
    void *taken[MANY];
    for (int i = 0; i < MANY; i++)
        taken[i] = ft_workspace_take(model);
    CHECK(taken[0] == kept && !*first, "taken out");
    for (int i = 1; i < MANY; i++)
        CHECK(taken[i] && taken[i] != kept && (uintptr_t)taken[i] % 64 == 0, "workspace %d", i);
    for (int i = 0; i < MANY; i++)
        ft_workspace_give(model, taken[i]); /* more than there are slots: the rest is freed */
    CHECK(*first == kept, "given back");
    free(x);
    ft_close(model);
    network_free(&net);
}

/* Unoptimized or sanitized code has frames of another size. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED
#endif
#if defined(__OPTIMIZE__) && !defined(IS_SANITIZED)
enum { STACK_IS_MEASURED = 1 };
#else
enum { STACK_IS_MEASURED = 0 };
#endif

enum { STACK = 1 << 18, PAINT = 0x5e };

typedef struct stack_probe {
    const ft_model *model;
    const float *x;
    float *scores;
    char *stack;
    size_t used;
} stack_probe;

/* Paints what lies below its frame and looks how deep calls of ft_predict go, for one row and
 * for a batch. */
static void *probe_stack(void *argument) {
    stack_probe *probe = argument;
    char here;
    char *volatile top = &here; /* volatile: the stack is not an object the compiler knows */
    ft_predict(probe->model, probe->x, 100, probe->scores); /* binds the functions it calls */
    char *below = top - 1024;
    for (char *p = probe->stack; p < below; p++)
        *(volatile char *)p = PAINT;
    ft_predict(probe->model, probe->x, 1, probe->scores);
    ft_predict(probe->model, probe->x, 100, probe->scores);
    char *deepest = probe->stack;
    while (deepest < below && *(volatile char *)deepest == PAINT)
        deepest++;
    probe->used = (size_t)(top - deepest);
    return NULL;
}

static void test_stack(void) {
    if (!STACK_IS_MEASURED) {
        printf("skipped: stack depth\n");
        return;
    }
    for (size_t s = 0; s < SHAPES; s++) {
        network net = network_new(&shapes[s], 13);
        ft_model *model = open_network(&net);
        float *x = network_rows(&net, 100, 3);
        for (uint32_t i = 0; i < 100 * net.shape.features; i++)
            x[i] = isinf(x[i]) ? 1 : x[i];
        stack_probe probe = {model, x, malloc(100 * network_outputs(&net) * 4), NULL, 0};
        probe.stack = aligned_alloc(4096, STACK);
        pthread_attr_t attributes;
        pthread_t thread;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, probe.stack, STACK);
        CHECK(pthread_create(&thread, &attributes, probe_stack, &probe) == 0, "no thread");
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
        CHECK(probe.used > 0 && probe.used <= 16384, "%s: %zu bytes of stack", net.shape.what,
              probe.used);
        free(probe.stack);
        free(probe.scores);
        free(x);
        ft_close(model);
        network_free(&net);
    }
}

/* ---- threads --------------------------------------------------------------------------- */

enum { THREADS = 8 };

typedef struct job {
    const ft_model *model;
    const float *x, *expected;
    size_t features, outputs, start;
    int wrong;
} job;

static void *predict_often(void *argument) {
    job *j = argument;
    float *scores = malloc(100 * j->outputs * sizeof *scores);
    for (size_t round = 0; round < 60; round++) {
        const size_t first = (j->start + round * 7) % 90, rows = 1 + round % 10;
        memset(scores, 0xa5, 100 * j->outputs * sizeof *scores);
        if (ft_predict(j->model, j->x + first * j->features, rows, scores) != FT_OK ||
            memcmp(scores, j->expected + first * j->outputs, rows * j->outputs * 4))
            j->wrong++;
    }
    free(scores);
    return NULL;
}

static void test_threads(void) {
    static const size_t chosen[] = {7, 14};
    for (size_t c = 0; c < 2; c++) {
        network net = network_new(&shapes[chosen[c]], 15);
        ft_model *model = open_network(&net);
        const size_t n = network_outputs(&net);
        float *x = network_rows(&net, 100, 3), *expected = malloc(100 * n * 4);
        ft_predict(model, x, 100, expected);
        pthread_t threads[THREADS];
        job jobs[THREADS];
        for (size_t t = 0; t < THREADS; t++) {
            jobs[t] = (job){model, x, expected, net.shape.features, n, t * 11, 0};
            pthread_create(&threads[t], NULL, predict_often, &jobs[t]);
        }
        for (size_t t = 0; t < THREADS; t++) {
            pthread_join(threads[t], NULL);
            CHECK(jobs[t].wrong == 0, "%s, thread %zu: %d wrong", net.shape.what, t, jobs[t].wrong);
        }
        free(x);
        free(expected);
        ft_close(model);
        network_free(&net);
    }
}

static void *leave_error(void *argument) {
    const int fresh = ft_last_error()[0] == '\0';
    ft_open_memory(NULL, 0, argument);
    return fresh && strstr(ft_last_error(), "data is NULL") ? argument : NULL;
}

static void test_errors_are_of_a_thread(void) {
    ft_model *model;
    pthread_t thread;
    void *good;
    ft_open(NULL, &model);
    pthread_create(&thread, NULL, leave_error, &model);
    pthread_join(thread, &good);
    CHECK(good, "another thread's error");
    CHECK(!strcmp(ft_last_error(), "path is NULL"), "%s", ft_last_error());
}

/* ---- floating-point environment ---------------------------------------------------------- */

/* Opens and scores while the host's environment is not the default one. */
static void check_environment(const network *net, const float *x, const float *expected,
                              const char *what) {
    float scores[20];
    memset(scores, 0xa5, sizeof scores);
    ft_model *model = open_network(net);
    CHECK(ft_predict(model, x, 20, scores) == FT_OK, "%s", ft_last_error());
    CHECK(memcmp(scores, expected, sizeof scores) == 0, "%s: %s", net->shape.what, what);
    ft_close(model);
}

static void test_environment(void) {
    static const size_t chosen[] = {0, 4, 7, 11};
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    for (size_t c = 0; c < 4; c++) {
        network net = network_new(&shapes[chosen[c]], 17);
        /* Denormal values that flushing would lose, in the input and in a sum. */
        if (net.shift)
            net.shift[0] = 0;
        float *x = network_rows(&net, 20, 3), expected[20], direct[20];
        if (net.shift && !net.shape.amax) {
            net.scale[0] = 1;
            for (uint32_t n = 0; n < net.layers[0].n; n++)
                net.layers[0].weight[n * net.layers[0].k] = 1e38f;
            for (uint32_t i = 0; i < 20; i++)
                x[i * net.shape.features] = 1e-38f;
        }
        ft_model *model = open_network(&net);
        ft_predict(model, x, 20, expected);
        ft_close(model);
        network_scores(&net, x, 20, direct);
        CHECK(!memcmp(direct, expected, sizeof direct), "%s: default", net.shape.what);
        for (size_t m = 0; m < 4; m++) {
            fesetround(modes[m]);
            check_environment(&net, x, expected, "rounding");
            CHECK(fegetround() == modes[m], "mode %d not restored", modes[m]);
            fesetround(FE_TONEAREST);
        }
#if defined(__x86_64__)
        static const unsigned registers[] = {0x1F80, 0x9FC0, 0x8040 | 0x1F80, 0x7F80, 0x1FBF};
        for (size_t r = 0; r < sizeof registers / sizeof *registers; r++) {
            _mm_setcsr(registers[r]);
            check_environment(&net, x, expected, "flushing");
            const unsigned after = _mm_getcsr();
            _mm_setcsr(0x1F80);
            CHECK((after | 0x3F) == (registers[r] | 0x3F), "MXCSR %04x became %04x", registers[r],
                  after);
        }
#elif defined(__aarch64__)
        /* Flush to zero, default NaN, and the rounding modes. */
        static const uint64_t registers[] = {0, 1u << 24, 1u << 25, 3u << 24, 7u << 22};
        for (size_t r = 0; r < sizeof registers / sizeof *registers; r++) {
            uint64_t after;
            __asm__ __volatile__("msr fpcr, %0" : : "r"(registers[r]));
            check_environment(&net, x, expected, "flushing");
            __asm__ __volatile__("mrs %0, fpcr" : "=r"(after));
            __asm__ __volatile__("msr fpcr, %0" : : "r"((uint64_t)0));
            CHECK(after == registers[r], "FPCR %llx became %llx", (unsigned long long)registers[r],
                  (unsigned long long)after);
        }
#endif
        free(x);
        network_free(&net);
    }
}

#if defined(__x86_64__)
/* With exceptions unmasked an inexact result would be a SIGFPE. */
static void test_unmasked_exceptions(void) {
    network net = network_new(&shapes[4], 18);
    float *x = network_rows(&net, 20, 3), expected[20], scores[20];
    ft_model *model = open_network(&net);
    ft_predict(model, x, 20, expected);
    _mm_setcsr(0);
    ft_predict(model, x, 20, scores);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(0x1F80);
    CHECK(after == 0, "MXCSR 0000 became %04x", after);
    CHECK(memcmp(scores, expected, sizeof scores) == 0, "scores");
    free(x);
    ft_close(model);
    network_free(&net);
}
#endif

int main(void) {
    test_plan();
    test_workspaces();
    test_stack();
    test_threads();
    test_errors_are_of_a_thread();
    test_environment();
#if defined(__x86_64__)
    test_unmasked_exceptions();
#endif
    return check_report();
}
