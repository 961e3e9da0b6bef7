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
#include <sys/stat.h>
#include <unistd.h>

static ft_status io_error(const char *path, int code) {
    return ft_fail(FT_ERR_IO, "%s: %s", path, strerror(code));
}

/* Fewer bytes than `size` only where the file has become shorter; errno, or 0. */
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

static ft_status read_open(int file, const char *path, uint8_t **data, size_t *size) {
    struct stat status;
    if (fstat(file, &status))
        return io_error(path, errno);
    if (S_ISDIR(status.st_mode))
        return io_error(path, EISDIR);
    if (!S_ISREG(status.st_mode))
        return ft_fail(FT_ERR_IO, "%s: not a regular file", path);
    if ((uintmax_t)status.st_size >= SIZE_MAX)
        return io_error(path, EFBIG);
    *size = (size_t)status.st_size;
    *data = malloc(*size + 1); /* never 0 bytes */
    if (!*data)
        return ft_fail(FT_ERR_MEMORY, "%s: out of memory for %zu bytes", path, *size);
    const int code = read_all(file, *data, size);
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
