/* What one core can do at most: loops that only multiply and add in registers, and loops that only
 * read memory.  Compiled by _limits.py as a library, so that they take turns with what they bound.
 *
 * Every loop has more independent accumulators than the latency of its instructions hides. */

#include <stddef.h>

#if defined(__x86_64__) && defined(__GNUC__)

#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define HAS_VNNI (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"))

#define CLEAR                                                                                      \
    "vzeroall\n\t"                                                                                 \
    ".p2align 5\n1:\n\t"
#define AGAIN                                                                                      \
    "dec %0\n\tjnz 1b\n\tvzeroupper\n\t" : "+r"(n) : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",     \
        "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",       \
        "xmm15", "memory", "cc"

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define FOUR(X) X(0) X(1) X(2) X(3)

#define FMA(d) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #d "\n\t"
static void fma(long n) { __asm__ volatile(CLEAR TWELVE(FMA) AGAIN); }

#define FMA512(d) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #d "\n\t"
static void fma512(long n) { __asm__ volatile(CLEAR TWELVE(FMA512) AGAIN); }

#define UB(t) "vpmaddubsw %%ymm14, %%ymm15, %%ymm" #t "\n\t"
#define ADDW(t, u) "vpaddw %%ymm" #t ", %%ymm" #u ", %%ymm" #u "\n\t"
#define WIDEN(t, d)                                                                                \
    "vpmaddwd %%ymm13, %%ymm" #t ", %%ymm" #t "\n\tvpaddd %%ymm" #t ", %%ymm" #d ", %%ymm" #d      \
    "\n\t"
static void depth1(long n) {
    __asm__ volatile(CLEAR UB(8) UB(9) UB(10) UB(11) WIDEN(8, 0) WIDEN(9, 1) WIDEN(10, 2)
                         WIDEN(11, 3) UB(8) UB(9) UB(10) UB(11) WIDEN(8, 4) WIDEN(9, 5)
                             WIDEN(10, 6) WIDEN(11, 7) AGAIN);
}

#define PAIR(t, u, d) UB(t) UB(u) ADDW(t, u) WIDEN(u, d)
static void depth2(long n) {
    __asm__ volatile(CLEAR PAIR(8, 9, 0) PAIR(10, 11, 1) PAIR(8, 9, 2) PAIR(10, 11, 3)
                         PAIR(8, 9, 4) PAIR(10, 11, 5) PAIR(8, 9, 6) PAIR(10, 11, 7) AGAIN);
}

#define QUAD(t, u, d) UB(t) UB(u) ADDW(t, u) UB(t) ADDW(t, u) UB(t) ADDW(t, u) WIDEN(u, d)
static void depth4(long n) {
    __asm__ volatile(CLEAR QUAD(8, 9, 0) QUAD(10, 11, 1) QUAD(8, 9, 2) QUAD(10, 11, 3)
                         QUAD(8, 9, 4) QUAD(10, 11, 5) QUAD(8, 9, 6) QUAD(10, 11, 7) AGAIN);
}

/* Words: what exact u8 x s8 needs where single products of bytes may saturate. */
#define WORD(t, d)                                                                                 \
    "vpmaddwd %%ymm14, %%ymm15, %%ymm" #t "\n\tvpaddd %%ymm" #t ", %%ymm" #d ", %%ymm" #d "\n\t"
static void words(long n) {
    __asm__ volatile(CLEAR WORD(8, 0) WORD(9, 1) WORD(10, 2) WORD(11, 3) WORD(8, 4) WORD(9, 5)
                         WORD(10, 6) WORD(11, 7) AGAIN);
}

/* Nibbles unpacked once and used for one row. */
#define NIBBLES(d, e)                                                                              \
    "vpand %%ymm13, %%ymm15, %%ymm8\n\tvpsrlw $4, %%ymm15, %%ymm9\n\t"                             \
    "vpand %%ymm13, %%ymm9, %%ymm9\n\tvpmaddubsw %%ymm14, %%ymm8, %%ymm8\n\t"                      \
    "vpmaddubsw %%ymm14, %%ymm9, %%ymm9\n\t" ADDW(8, d) ADDW(9, e)
static void nibbles(long n) {
    __asm__ volatile(CLEAR NIBBLES(0, 1) NIBBLES(2, 3) NIBBLES(4, 5) NIBBLES(6, 7) AGAIN);
}

#define DOT512(d) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #d "\n\t"
static void dot512(long n) { __asm__ volatile(CLEAR TWELVE(DOT512) AGAIN); }

#define NIBBLES512(d, e)                                                                           \
    "vpandd %%zmm13, %%zmm15, %%zmm8\n\tvpsrlw $4, %%zmm15, %%zmm9\n\t"                            \
    "vpandd %%zmm13, %%zmm9, %%zmm9\n\tvpdpbusd %%zmm14, %%zmm8, %%zmm" #d "\n\t"                  \
    "vpdpbusd %%zmm14, %%zmm9, %%zmm" #e "\n\t"
static void nibbles512(long n) {
    __asm__ volatile(CLEAR NIBBLES512(0, 1) NIBBLES512(2, 3) NIBBLES512(4, 5) NIBBLES512(6, 7)
                         AGAIN);
}

/* Multiply-adds of one turn of each loop. */
static const struct {
    const char *name;
    void (*run)(long);
    double work;
    int needs_vnni;
} loops[] = {
    {"fp32 vfmadd, 256 bits", fma, 12 * 8, 0},
    {"vpmaddubsw, depth 1", depth1, 8 * 32, 0},
    {"vpmaddubsw, depth 2", depth2, 8 * 64, 0},
    {"vpmaddubsw, depth 4", depth4, 8 * 128, 0},
    {"vpmaddwd on 16 bits", words, 8 * 16, 0},
    {"nibbles + vpmaddubsw", nibbles, 4 * 64, 0},
    {"fp32 vfmadd, 512 bits", fma512, 12 * 16, 1},
    {"vpdpbusd, 512 bits", dot512, 12 * 64, 1},
    {"nibbles + vpdpbusd, 512 bits", nibbles512, 4 * 128, 1},
};

#define ROWS(r, width)                                                                             \
    "vmovdqu64 0*" width "(%0), %%" r "0\n\tvmovdqu64 1*" width "(%0), %%" r "1\n\t"               \
    "vmovdqu64 2*" width "(%0), %%" r "2\n\tvmovdqu64 3*" width "(%0), %%" r "3\n\t"

static void read512(const char *at, size_t blocks) {
    __asm__ volatile("1:\n\t" ROWS("zmm", "64") "add $256, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper\n\t"
                     : "+r"(at), "+r"(blocks)
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc");
}

static void read256(const char *at, size_t blocks) {
    __asm__ volatile("1:\n\t"
                     "vmovdqu 0(%0), %%ymm0\n\tvmovdqu 32(%0), %%ymm1\n\t"
                     "vmovdqu 64(%0), %%ymm2\n\tvmovdqu 96(%0), %%ymm3\n\t"
                     "vmovdqu 128(%0), %%ymm0\n\tvmovdqu 160(%0), %%ymm1\n\t"
                     "vmovdqu 192(%0), %%ymm2\n\tvmovdqu 224(%0), %%ymm3\n\t"
                     "add $256, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper\n\t"
                     : "+r"(at), "+r"(blocks)
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc");
}

#define COUNT ((int)(sizeof loops / sizeof *loops))

/* The name of loop i; NULL past the last, "" where this CPU lacks its instructions. */
const char *limit_name(int i) {
    if (i >= COUNT) return NULL;
    return HAS_AVX2 && (!loops[i].needs_vnni || HAS_VNNI) ? loops[i].name : "";
}

double limit_work(int i) { return loops[i].work; }

void limit_run(int i, long turns) {
    if (turns > 0) loops[i].run(turns);
}

/* Reads bytes (a multiple of 256) from `at`, so many times. */
void limit_read(const char *at, size_t bytes, long times) {
    const int wide = HAS_VNNI;
    if (bytes < 256 || !HAS_AVX2) return;
    for (long i = 0; i < times; i++) (wide ? read512 : read256)(at, bytes / 256);
}

#else

const char *limit_name(int i) { return (void)i, NULL; }
double limit_work(int i) { return (void)i, 0.0; }
void limit_run(int i, long turns) { (void)i, (void)turns; }
void limit_read(const char *at, size_t bytes, long times) { (void)at, (void)bytes, (void)times; }

#endif
