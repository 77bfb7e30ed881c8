/* Faults of disk and clock for one process, preloaded into it: what the system would say on a disk that is full,
 * read-only, broken or slow, and a wall clock that was set. shim.rs builds it and decides when; both map `control`.
 *
 * Only what lies below CAUDAL_FAULTS_IN is concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The order is that of `Fault` in shim.rs. */
static struct {
    _Atomic int64_t full;          /* 1: there are `space` bytes left, and no more */
    _Atomic int64_t space;
    _Atomic int64_t read_only;     /* 1: nothing may be changed */
    _Atomic int64_t sync_fails;    /* fsync fails, 1: of files, 2: of folders */
    _Atomic int64_t sync_delay_us; /* fsync takes so much longer */
    _Atomic int64_t clock_us;      /* the wall clock is so far ahead */
} *control;

static const char *within;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("CAUDAL_FAULTS");
    within = getenv("CAUDAL_FAULTS_IN");
    int file = path && within ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        fputs("the shim has no control file\n", stderr);
        abort();
    }
    close(file);
    control = mapped;
}

#define NEXT(name, type) \
    static __typeof__(type) next; \
    if (!next) next = (__typeof__(type))dlsym(RTLD_NEXT, name)

static int is_within(const char *path) { return control && strncmp(path, within, strlen(within)) == 0; }

static int is_file_within(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = control ? readlink(link, path, sizeof path - 1) : -1;
    if (length < 0) return 0;
    path[length] = 0;
    return is_within(path);
}

static int refused(const char *path) {
    if (!is_within(path) || !control->read_only) return 0;
    errno = EROFS;
    return 1;
}

static int opened(const char *path, int flags) {
    int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    return changes && refused(path) ? -1 : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(#name, int (*)(const char *, int, ...)); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(path, flags) ? -1 : next(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t count) {
    NEXT("write", ssize_t (*)(int, const void *, size_t));
    if (control && (control->full || control->read_only) && is_file_within(fd)) {
        if (control->read_only) {
            errno = EROFS;
            return -1;
        }
        if (atomic_fetch_sub(&control->space, (int64_t)count) < (int64_t)count) {
            atomic_fetch_add(&control->space, (int64_t)count);
            errno = ENOSPC;
            return -1;
        }
    }
    return next(fd, bytes, count);
}

static int sync_with(int (*next)(int), int fd) {
    if (!control || !(control->sync_fails || control->sync_delay_us) || !is_file_within(fd)) return next(fd);
    if (control->sync_delay_us) usleep(control->sync_delay_us);
    struct stat stat;
    int kind = fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode) ? 2 : 1;
    if (control->sync_fails != kind) return next(fd);
    errno = EIO;
    return -1;
}

int fsync(int fd) {
    NEXT("fsync", int (*)(int));
    return sync_with(next, fd);
}

int fdatasync(int fd) {
    NEXT("fdatasync", int (*)(int));
    return sync_with(next, fd);
}

int mkdir(const char *path, mode_t mode) {
    NEXT("mkdir", int (*)(const char *, mode_t));
    /* Of a folder that is there the system says so, on a read-only disk too. */
    return access(path, F_OK) != 0 && refused(path) ? -1 : next(path, mode);
}

int rename(const char *from, const char *to) {
    NEXT("rename", int (*)(const char *, const char *));
    return refused(to) ? -1 : next(from, to);
}

int link(const char *from, const char *to) {
    NEXT("link", int (*)(const char *, const char *));
    return refused(to) ? -1 : next(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    NEXT("linkat", int (*)(int, const char *, int, const char *, int));
    return refused(to) ? -1 : next(from_folder, from, to_folder, to, flags);
}

/* A file that goes gives its space back. */
int unlink(const char *path) {
    NEXT("unlink", int (*)(const char *));
    if (refused(path)) return -1;
    struct stat file;
    int counts = is_within(path) && control->full && stat(path, &file) == 0 && file.st_nlink == 1;
    int outcome = next(path);
    if (counts && outcome == 0) atomic_fetch_add(&control->space, file.st_size);
    return outcome;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT("clock_gettime", int (*)(clockid_t, struct timespec *));
    int outcome = next(clock, time);
    int64_t ahead = control && clock == CLOCK_REALTIME ? control->clock_us : 0;
    if (outcome == 0 && ahead) {
        int64_t us = (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000 + ahead;
        time->tv_sec = us / 1000000;
        time->tv_nsec = us % 1000000 * 1000;
    }
    return outcome;
}
