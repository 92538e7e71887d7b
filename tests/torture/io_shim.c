/* A library for LD_PRELOAD between a server and its files.
 *
 * It watches what goes to files under $VECTRA_SHIM_DIR (a real, absolute path):
 *  - by the plan in the control block ($VECTRA_SHIM_CONTROL, io_trace.h) it
 *    fails, shortens or delays the n-th call, or kills the process before,
 *    after or in the middle of it;
 *  - it writes each call that changed something to $VECTRA_SHIM_TRACE, from
 *    which powerloss.c makes what a disk may hold after the power went.
 *
 * Calls are made with syscall(), so nothing here calls itself and nothing
 * allocates: the forked child of a snapshot runs through it as well. The C
 * library's own writing (stdio, mkstemp) does not pass here; a server whose
 * files matter uses neither. */
#include "io_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, TRACE_FD_FROM = 512, MAX_PIECES = 64 };

static char watched[PATH_MAX];
static size_t watched_len;
static struct io_control *control;
static int trace_fd = -1;
static _Atomic uint64_t inode_of[MAX_FD]; /* 0: not a file of ours */

__attribute__((constructor)) static void shim_start(void)
{
    const char *dir = getenv("VECTRA_SHIM_DIR");
    const char *path = getenv("VECTRA_SHIM_CONTROL");
    int fd;

    if (!dir || strlen(dir) >= sizeof(watched)) {
        return;
    }
    strcpy(watched, dir);
    watched_len = strlen(dir);
    if (path && (fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                                   O_RDWR | O_CLOEXEC)) >= 0) {
        void *p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, 0);

        control = p == MAP_FAILED ? NULL : p;
        syscall(SYS_close, fd);
        if (control) {
            control->server_pid = (uint32_t)getpid();
        }
    }
    path = getenv("VECTRA_SHIM_TRACE");
    if (path) {
        fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        trace_fd = fcntl(fd, F_DUPFD_CLOEXEC, TRACE_FD_FROM);
        syscall(SYS_close, fd);
    }
}

/* ---- which files ------------------------------------------------------- */

static bool is_watched(const char *path)
{
    return watched_len && strncmp(path, watched, watched_len) == 0 &&
           (path[watched_len] == '/' || !path[watched_len]);
}

/* The path of a descriptor; false when it has none. */
static bool path_of_fd(int fd, char *out)
{
    char link[32];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, out, PATH_MAX - 1);
    if (n < 0) {
        return false;
    }
    out[n] = '\0';
    return true;
}

/* Makes a path absolute; links inside it are not resolved. */
static void absolute(int dirfd, const char *path, char *out)
{
    char dir[PATH_MAX];
    const char *p = path;

    while (p[0] == '.' && p[1] == '/') {
        p += 2;
    }
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    dir[0] = '\0';
    if (dirfd != AT_FDCWD) {
        (void)path_of_fd(dirfd, dir);
    } else if (syscall(SYS_getcwd, dir, sizeof(dir)) < 0) {
        dir[0] = '\0';
    }
    if (strcmp(p, ".") == 0 || !*p) {
        snprintf(out, PATH_MAX, "%.*s", PATH_MAX - 1, dir);
    } else {
        snprintf(out, PATH_MAX, "%.2000s/%.2000s", dir, p);
    }
}

/* The inode behind a descriptor of ours, or 0. A descriptor that the C library
 * closed behind our back and gave to a socket is told by its kind. */
static uint64_t inode_behind(int fd)
{
    struct stat st;
    uint64_t ino;

    if (fd < 0 || fd >= MAX_FD || !(ino = inode_of[fd])) {
        return 0;
    }
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_ino != ino) {
        inode_of[fd] = 0;
        return 0;
    }
    return ino;
}

/* ---- the plan ---------------------------------------------------------- */

static void kill_all(void)
{
    if (control->role != IO_CHILD) {
        kill((pid_t)control->server_pid, SIGKILL);
    }
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

/* Counts a call and says what is to be done to it. */
static enum io_action gate(enum io_op op, const char *path)
{
    struct timespec pause;
    uint64_t n;
    bool child;

    if (!control) {
        return IO_PASS;
    }
    __atomic_fetch_add(&control->count[op], 1, __ATOMIC_SEQ_CST);
    child = (uint32_t)getpid() != control->server_pid;
    if (!__atomic_load_n(&control->armed, __ATOMIC_ACQUIRE) ||
        !(control->op_mask >> op & 1) ||
        (control->role == IO_SERVER && child) ||
        (control->role == IO_CHILD && !child) ||
        (control->path[0] && !strstr(path, control->path))) {
        return IO_PASS;
    }
    n = __atomic_add_fetch(&control->matched, 1, __ATOMIC_SEQ_CST);
    if (n < control->first || n > control->last) {
        return IO_PASS;
    }
    if (__atomic_add_fetch(&control->acted, 1, __ATOMIC_SEQ_CST) == 1) {
        control->acted_op = op;
        snprintf(control->acted_path, sizeof(control->acted_path), "%.100s",
                 strlen(path) > 100 ? path + strlen(path) - 100 : path);
    }
    if (control->action == IO_DELAY) {
        pause.tv_sec = control->delay_us / 1000000;
        pause.tv_nsec = control->delay_us % 1000000 * 1000L;
        nanosleep(&pause, NULL);
        return IO_PASS;
    }
    if (control->action == IO_KILL_BEFORE) {
        kill_all();
    }
    return (enum io_action)control->action;
}

static int refuse(void)
{
    errno = (int)control->err;
    return -1;
}

/* What is due after the call was made. */
static void after(enum io_action action)
{
    if (action == IO_KILL_AFTER || action == IO_KILL_TORN) {
        kill_all();
    }
}

/* ---- the trace --------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

struct note {
    enum io_op op;
    unsigned flags;
    uint64_t ino, off, size;
    const char *path, *path2;
};

static void record(const struct note *n, const struct iovec *data, int n_data,
                   size_t data_len)
{
    struct io_record r = {.magic = IO_MAGIC,
                          .op = (uint16_t)n->op,
                          .flags = (uint16_t)n->flags,
                          .t_ns = now_ns(),
                          .ino = n->ino,
                          .off = n->off,
                          .size = n->size,
                          .tid = (uint32_t)syscall(SYS_gettid),
                          .path_len = n->path ? (uint32_t)strlen(n->path) : 0,
                          .path2_len =
                              n->path2 ? (uint32_t)strlen(n->path2) : 0,
                          .data_len = (uint32_t)data_len};
    struct iovec v[3 + MAX_PIECES];
    int saved = errno, i, k = 3;

    if (trace_fd < 0) {
        return;
    }
    v[0] = (struct iovec){&r, sizeof(r)};
    v[1] = (struct iovec){(void *)(uintptr_t)n->path, r.path_len};
    v[2] = (struct iovec){(void *)(uintptr_t)n->path2, r.path2_len};
    for (i = 0; i < n_data && data_len > 0; i++, k++) {
        v[k] = data[i];
        if (v[k].iov_len > data_len) {
            v[k].iov_len = data_len;
        }
        data_len -= v[k].iov_len;
    }
    /* One call, so that records of threads and of the child do not mix. */
    if (syscall(SYS_writev, trace_fd, v, k) < 0) {
        abort();
    }
    errno = saved;
}

/* ---- names ------------------------------------------------------------- */

static int shim_open(int dirfd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    bool ours, counts, existed;
    enum io_action action = IO_PASS;
    struct stat st;
    int fd;

    if (!watched_len) {
        return (int)syscall(SYS_openat, dirfd, path, flags, mode);
    }
    absolute(dirfd, path, full);
    ours = is_watched(full);
    counts = ours && ((flags & O_ACCMODE) != O_RDONLY ||
                      (flags & (O_CREAT | O_DIRECTORY | O_TRUNC)));
    existed = ours && stat(full, &st) == 0;
    if (counts) {
        action = gate(IO_OPEN, full);
        if (action == IO_FAIL) {
            return refuse();
        }
    }
    fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
    if (fd < 0) {
        return fd;
    }
    if (fd < MAX_FD) {
        inode_of[fd] = 0;
    }
    if (ours && fd < MAX_FD && fstat(fd, &st) == 0 &&
        (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        inode_of[fd] = st.st_ino;
        if (S_ISREG(st.st_mode) && (!existed || (flags & O_TRUNC))) {
            record(&(struct note){.op = IO_OPEN,
                                  .flags = (existed ? 0 : IO_CREATED) |
                                           (flags & O_TRUNC ? IO_TRUNCATED : 0),
                                  .ino = st.st_ino,
                                  .path = full},
                   NULL, 0, 0);
        }
    }
    after(action);
    return fd;
}

static mode_t mode_argument(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name, dirfd_parameter, dirfd)                                     \
    int name(dirfd_parameter const char *path, int flags, ...);                \
    int name(dirfd_parameter const char *path, int flags, ...)                 \
    {                                                                          \
        va_list ap;                                                            \
        mode_t mode;                                                           \
                                                                               \
        va_start(ap, flags);                                                   \
        mode = mode_argument(flags, ap);                                       \
        va_end(ap);                                                            \
        return shim_open(dirfd, path, flags, mode);                            \
    }
#define NOTHING
#define AT_DIR int at,
OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
OPEN(openat, AT_DIR, at)
OPEN(openat64, AT_DIR, at)

int creat(const char *path, mode_t mode)
{
    return shim_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* The C library's own opens its file past us. */
int mkostemp(char *template, int flags)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(template);
    uint64_t seed = now_ns() ^ (uint64_t)getpid() << 40;
    int try, i;

    for (try = 0; try < 100; try++) {
        int fd;

        for (i = 1; i <= 6; i++) {
            template[len - (size_t)i] = letters[seed % 36];
            seed = seed / 36 + seed * 6364136223846793005U;
        }
        fd = shim_open(AT_FDCWD, template, O_RDWR | O_CREAT | O_EXCL | flags,
                       0600);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

int mkstemp(char *template)
{
    return mkostemp(template, 0);
}

/* A call on one or two names: counted by the first, recorded when done. */
static int named(enum io_op op, const char *a, const char *b, long number,
                 const long args[5])
{
    enum io_action action = IO_PASS;
    struct stat st = {0};
    bool ours = is_watched(a) || (b && is_watched(b));
    int rc;

    if (ours) {
        (void)lstat(a, &st);
        action = gate(op, a);
        if (action == IO_FAIL) {
            return refuse();
        }
    }
    rc = (int)syscall(number, args[0], args[1], args[2], args[3], args[4]);
    if (ours && rc == 0) {
        record(
            &(struct note){.op = op, .ino = st.st_ino, .path = a, .path2 = b},
            NULL, 0, 0);
    }
    if (ours) {
        after(action);
    }
    return rc;
}

static int rename_at(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];

    absolute(from_dir, from, a);
    absolute(to_dir, to, b);
    return named(IO_RENAME, a, b, SYS_renameat2,
                 (long[]){from_dir, (long)from, to_dir, (long)to, flags});
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return rename_at(from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags)
{
    return rename_at(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to,
           int flags)
{
    char a[PATH_MAX], b[PATH_MAX];

    absolute(from_dir, from, a);
    absolute(to_dir, to, b);
    return named(IO_LINK, a, b, SYS_linkat,
                 (long[]){from_dir, (long)from, to_dir, (long)to, flags});
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    char a[PATH_MAX];

    absolute(dirfd, path, a);
    return named(IO_UNLINK, a, NULL, SYS_unlinkat,
                 (long[]){dirfd, (long)path, flags, 0, 0});
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
    char a[PATH_MAX];

    absolute(dirfd, path, a);
    return named(IO_MKDIR, a, NULL, SYS_mkdirat,
                 (long[]){dirfd, (long)path, mode, 0, 0});
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- bytes ------------------------------------------------------------- */

/* Half of the bytes of v, at least one; how many pieces that takes. */
static int halve(const struct iovec *v, int n, struct iovec half[MAX_PIECES])
{
    size_t total = 0;
    int i;

    for (i = 0; i < n; i++) {
        total += v[i].iov_len;
    }
    total = total > 1 ? total / 2 : total;
    for (i = 0; i < n && total > 0; i++) {
        half[i] = v[i];
        if (half[i].iov_len > total) {
            half[i].iov_len = total;
        }
        total -= half[i].iov_len;
    }
    return i;
}

/* Writes at `at`, or at the descriptor's position when it is negative. */
static ssize_t shim_write(int fd, const struct iovec *v, int n, off_t at)
{
    char path[PATH_MAX] = "";
    enum io_op op = at < 0 ? IO_WRITE : IO_PWRITE;
    enum io_action action;
    struct iovec half[MAX_PIECES];
    uint64_t ino = inode_behind(fd);
    ssize_t done;

    if (!ino) {
        return at < 0 ? syscall(SYS_writev, fd, v, n)
                      : syscall(SYS_pwritev, fd, v, n, (long)at, 0L);
    }
    (void)path_of_fd(fd, path);
    action = gate(op, path);
    if (action == IO_FAIL) {
        return refuse();
    }
    if ((action == IO_SHORT || action == IO_KILL_TORN) && n > 0) {
        n = halve(v, n, half);
        v = half;
    }
    done = at < 0 ? syscall(SYS_writev, fd, v, n)
                  : syscall(SYS_pwritev, fd, v, n, (long)at, 0L);
    if (done > 0 && trace_fd >= 0) {
        off_t end =
            at < 0 ? (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR) : at + done;

        record(&(struct note){.op = op,
                              .ino = ino,
                              .off = (uint64_t)(end - done),
                              .size = (uint64_t)done,
                              .path = path},
               v, n, (size_t)done);
    }
    after(action);
    return done;
}

ssize_t write(int fd, const void *data, size_t len)
{
    if (fd < 0 || fd >= MAX_FD || !inode_of[fd]) {
        return syscall(SYS_write, fd, data, len);
    }
    return shim_write(fd, &(struct iovec){(void *)(uintptr_t)data, len}, 1, -1);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (fd < 0 || fd >= MAX_FD || !inode_of[fd]) {
        return syscall(SYS_writev, fd, v, n);
    }
    /* More pieces than a record takes go in two calls, as a disk may do. */
    return shim_write(fd, v, n > MAX_PIECES ? MAX_PIECES : n, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return shim_write(fd, &(struct iovec){(void *)(uintptr_t)data, len}, 1, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    return shim_write(fd, v, n > MAX_PIECES ? MAX_PIECES : n, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at);
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at)
{
    return pwritev(fd, v, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return pwrite(fd, data, len, at);
}

/* A call on a descriptor: counted, noted when done. */
static int on_file(enum io_op op, int fd, uint64_t size, long number,
                   const long args[4])
{
    char path[PATH_MAX] = "";
    enum io_action action;
    uint64_t ino = inode_behind(fd);
    struct note note = {.op = op, .ino = ino, .size = size, .path = path};
    struct stat st;
    int rc;

    if (!ino) {
        return (int)syscall(number, args[0], args[1], args[2], args[3]);
    }
    (void)path_of_fd(fd, path);
    action = gate(op, path);
    if (action == IO_FAIL) {
        return refuse();
    }
    if (op == IO_FSYNC || op == IO_FDATASYNC) {
        if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
            note.flags = IO_DIRECTORY;
        }
        note.flags |= IO_BEGIN;
        record(&note, NULL, 0, 0);
        note.flags &= ~(unsigned)IO_BEGIN;
    }
    rc = (int)syscall(number, args[0], args[1], args[2], args[3]);
    if (rc == 0) {
        record(&note, NULL, 0, 0);
    }
    after(action);
    return rc;
}

int fsync(int fd)
{
    return on_file(IO_FSYNC, fd, 0, SYS_fsync, (long[4]){fd});
}

int fdatasync(int fd)
{
    return on_file(IO_FDATASYNC, fd, 0, SYS_fdatasync, (long[4]){fd});
}

int sync_file_range(int fd, off_t from, off_t len, unsigned flags)
{
    return on_file(IO_SYNC_RANGE, fd, 0, SYS_sync_file_range,
                   (long[]){fd, from, len, flags});
}

int ftruncate(int fd, off_t size)
{
    return on_file(IO_TRUNCATE, fd, (uint64_t)size, SYS_ftruncate,
                   (long[4]){fd, size});
}

int ftruncate64(int fd, off_t size);
int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

int truncate(const char *path, off_t size)
{
    int fd = shim_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : ftruncate(fd, size);

    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return on_file(IO_FALLOCATE, fd,
                   mode & FALLOC_FL_KEEP_SIZE ? 0 : (uint64_t)(at + len),
                   SYS_fallocate, (long[]){fd, mode, at, len});
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    return fallocate(fd, 0, at, len) == 0 ? 0 : errno;
}

int close(int fd)
{
    enum io_action action = IO_PASS;
    char path[PATH_MAX] = "";
    int rc;

    if (fd >= 0 && fd < MAX_FD && inode_of[fd]) {
        if (inode_behind(fd) && path_of_fd(fd, path)) {
            action = gate(IO_CLOSE, path);
        }
        inode_of[fd] = 0;
    }
    if (trace_fd >= 0 && fd == trace_fd) {
        return 0;
    }
    rc = (int)syscall(SYS_close, fd);
    /* A close that fails has closed all the same. */
    if (action == IO_FAIL) {
        return refuse();
    }
    after(action);
    return rc;
}
