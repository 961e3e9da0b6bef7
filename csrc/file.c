#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* a file of 2 GiB and more is too big here, not unreadable */
#endif

#include "file.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ft_status io_error(const char *path, int code) {
    return ft_fail(FT_ERR_IO, "%s: %s", path, strerror(code));
}

static ft_status not_regular(const char *path) {
    return ft_fail(FT_ERR_IO, "%s: not a regular file", path);
}

/* Up to *size bytes; *size is then how many there were.  errno, or 0. */
static int read_all(int file, uint8_t *data, size_t *size) {
    size_t done = 0;
    while (done < *size) {
        const ssize_t got = read(file, data + done, *size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *size = done;
    return 0;
}

static int rewind_to_start(int file) {
    return lseek(file, 0, SEEK_SET) < 0;
}

/* lseek tells the size; fstat would, but what is built with a glibc of 2021 or later could then
 * not be loaded with an older one. */
static ft_status read_open(int file, const char *path, uint8_t **data, size_t *size) {
    const off_t end = lseek(file, 0, SEEK_END);
    if (end < 0 || rewind_to_start(file)) /* a pipe or a terminal */
        return not_regular(path);
    uint8_t first;
    *size = sizeof first;
    int code = read_all(file, &first, size); /* what a folder refuses */
    if (code)
        return io_error(path, code);
    if (end == 0 && *size > 0) /* a device: it gives bytes but has no end */
        return not_regular(path);
    if ((uintmax_t)end >= SIZE_MAX)
        return io_error(path, EFBIG);
    *size = (size_t)end;
    *data = malloc(*size + 1); /* never 0 bytes */
    if (!*data)
        return ft_fail(FT_ERR_MEMORY, "%s: out of memory for %zu bytes", path, *size);
    code = rewind_to_start(file) ? errno : read_all(file, *data, size);
    if (code == 0)
        return FT_OK;
    free(*data);
    return io_error(path, code);
}

ft_status ft_read_file(const char *path, uint8_t **data, size_t *size) {
    /* Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever. */
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return io_error(path, errno);
    const ft_status status = read_open(file, path, data, size);
    close(file);
    return status;
}
