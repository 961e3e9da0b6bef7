/* Preloaded into Python around the wheel of bochscpu: it always builds the same CPU, so its two
 * factories, which are called through the symbol table, are replaced by the one named in BOCHS_CPU.
 * The wheel also asks for functions of glibc 2.38. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *create(void *cpu) {
    void *wheel = dlopen(getenv("BOCHS_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
    void *(*factory)(void *) = (void *(*)(void *))dlsym(wheel, getenv("BOCHS_CPU"));
    if (!factory) abort();
    return factory(cpu);
}

void *_Z23create_corei3_cnl_cpuidP8BX_CPU_C(void *cpu) { return create(cpu); }
void *_Z29create_corei7_skylake_x_cpuidP8BX_CPU_C(void *cpu) { return create(cpu); }

unsigned long long __isoc23_strtoull(const char *s, char **end, int base) {
    return strtoull(s, end, base);
}
unsigned long __isoc23_strtoul(const char *s, char **end, int base) { return strtoul(s, end, base); }
long __isoc23_strtol(const char *s, char **end, int base) { return strtol(s, end, base); }
long long __isoc23_strtoll(const char *s, char **end, int base) { return strtoll(s, end, base); }

int __isoc23_sscanf(const char *s, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int count = vsscanf(s, format, list);
    va_end(list);
    return count;
}

int __isoc23_fscanf(FILE *file, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int count = vfscanf(file, format, list);
    va_end(list);
    return count;
}
