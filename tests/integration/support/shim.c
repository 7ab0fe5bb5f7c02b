// Loaded into the real server by LD_PRELOAD, to do what tests cannot wait for.
//
// STAYD_SHIM_KILL_AT=N: the process is killed at its N-th change of a file whose name begins
// with "stayd.db", before it is made; where N is even, and it is a write, in the middle of it.
// STAYD_SHIM_HANG=FILE: no file whose name begins with "stayd.db" is written while FILE exists.
// STAYD_SHIM_CLOCK=FILE: the wall clock is off by the seconds (int64) that are in the file.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const char *hang;
static long kill_at;
static atomic_long changes;
static const volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("STAYD_SHIM_KILL_AT"), *clock = getenv("STAYD_SHIM_CLOCK");
    if (at) kill_at = atol(at);
    hang = getenv("STAYD_SHIM_HANG");
    if (clock) {
        int fd = open(clock, O_RDONLY | O_CLOEXEC);
        void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED) abort();
        offset = page;
        close(fd);
    }
}

static int begins_with(const char *path, const char *begin) {
    const char *name = strrchr(path, '/');
    return strncmp(name ? name + 1 : path, begin, strlen(begin)) == 0;
}

static int is_watched_path(const char *path) { return begins_with(path, "stayd.db"); }

static int is_called(int fd, const char *begin) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return begins_with(path, begin);
}

static int is_watched(int fd) { return kill_at && is_called(fd, "stayd.db"); }

static void may_hang(int fd) {
    if (hang && is_called(fd, "stayd.db"))
        while (access(hang, F_OK) == 0) usleep(1000);
}

// Whether this is the change at which to die.
static int is_last(void) { return atomic_fetch_add(&changes, 1) + 1 == kill_at; }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(result, name, ...)                                                                   \
    static result (*real)(__VA_ARGS__);                                                           \
    if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    may_hang(fd);
    if (is_watched(fd) && is_last()) {
        if (kill_at % 2 == 0) real(fd, bytes, count / 2);
        die();
    }
    return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    may_hang(fd);
    if (is_watched(fd) && is_last()) {
        if (kill_at % 2 == 0) real(fd, bytes, count / 2, at);
        die();
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    may_hang(fd);
    if (is_watched(fd) && is_last()) {
        if (kill_at % 2 == 0) real(fd, bytes, count / 2, at);
        die();
    }
    return real(fd, bytes, count, at);
}

int ftruncate(int fd, off_t length) {
    REAL(int, ftruncate, int, off_t);
    if (is_watched(fd) && is_last()) die();
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    if (is_watched(fd) && is_last()) die();
    return real(fd, length);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    if (is_watched(fd) && is_last()) die();
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    if (is_watched(fd) && is_last()) die();
    return real(fd);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (kill_at && is_watched_path(path) && is_last()) die();
    return real(path);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && offset) now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(int, gettimeofday, struct timeval *, void *);
    int result = real(now, zone);
    if (result == 0 && offset) now->tv_sec += *offset;
    return result;
}
