/* What the C tests share: counted checks, random data, memory with a guard page. */
#ifndef FT_TESTS_CHECK_H
#define FT_TESTS_CHECK_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS under -std=c11 */
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long checks_passed, checks_failed;

/* Counts a check; says which one failed, with the printf-style context, for the first few. */
#define CHECK(condition, ...)                                                  \
    do {                                                                       \
        if (condition) checks_passed++;                                        \
        else if (checks_failed++ < 20) {                                       \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);             \
            printf(__VA_ARGS__);                                               \
            printf("\n");                                                      \
        }                                                                      \
    } while (0)

/* The last line of a test and its exit code. */
static inline int check_report(void) {
    printf("%ld passed, %ld failed\n", checks_passed, checks_failed);
    return checks_failed || !checks_passed;
}

/* SplitMix64 (Steele, Lea and Flood 2014): the same data on every platform. */
static inline uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint32_t random_below(uint64_t *state, uint32_t bound) {
    return (uint32_t)(random_bits(state) % bound);
}

/* An area between two pages nobody may touch: one byte too far is a fault. */
typedef struct guarded {
    char *map;
    size_t room, page; /* usable bytes from map on; of each page around them */
} guarded;

static inline guarded guarded_map(size_t room) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (room + page - 1) / page * page;
    char *all = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, body, PROT_READ | PROT_WRITE)) {
        perror("guarded_map");
        exit(2);
    }
    return (guarded){all + page, body, page};
}

/* The last `size` bytes before the guard page. */
static inline void *guarded_end(const guarded *g, size_t size) { return g->map + g->room - size; }

static inline void guarded_unmap(guarded *g) { munmap(g->map - g->page, g->room + 2 * g->page); }

#endif
