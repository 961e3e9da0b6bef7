/* The floating-point environment that results depend on: round to nearest, denormals kept,
 * no traps.  A host may have changed it; between ft_env_enter and ft_env_leave it is the
 * default.  Floating-point work in between must sit in a noinline function, or the compiler
 * may move it out. */
#ifndef FT_ENV_H
#define FT_ENV_H

#if defined(__GNUC__)
#define FT_NOINLINE __attribute__((noinline))
#else
#define FT_NOINLINE
#endif

#if defined(__x86_64__) || defined(_M_X64)

#include <xmmintrin.h>

#define FT_MXCSR_DEFAULT 0x1F80u /* every exception masked, everything else off */
#define FT_MXCSR_STATUS 0x3Fu    /* flags that arithmetic leaves behind */

typedef unsigned ft_env;

static inline int ft_env_changed(ft_env env) {
    return (env & ~FT_MXCSR_STATUS) != FT_MXCSR_DEFAULT;
}

/* Writing MXCSR costs far more than reading it, so it is written only where it differs. */
static inline ft_env ft_env_enter(void) {
    const ft_env saved = _mm_getcsr();
    if (ft_env_changed(saved))
        _mm_setcsr(FT_MXCSR_DEFAULT);
    return saved;
}

static inline void ft_env_leave(ft_env saved) {
    if (ft_env_changed(saved))
        _mm_setcsr(saved);
}

#elif defined(__aarch64__)

#include <stdint.h>

typedef uint64_t ft_env; /* FPCR: 0 is the default, its flags live elsewhere (FPSR) */

static inline ft_env ft_env_enter(void) {
    ft_env saved;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(saved));
    if (saved)
        __asm__ __volatile__("msr fpcr, %0" : : "r"((ft_env)0));
    return saved;
}

static inline void ft_env_leave(ft_env saved) {
    if (saved)
        __asm__ __volatile__("msr fpcr, %0" : : "r"(saved));
}

#else

#include <fenv.h>

typedef fenv_t ft_env;

static inline ft_env ft_env_enter(void) {
    ft_env saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV);
    return saved;
}

static inline void ft_env_leave(ft_env saved) {
    fesetenv(&saved);
}

#endif
#endif
