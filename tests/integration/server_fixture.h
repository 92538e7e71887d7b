/* A real server for a test program: its own process, port and directory.
 *
 * server_start() returns when it answers; server_stop() ends it and fails the
 * test when its log has a sanitizer's report or a failed assertion. The binary
 * is $VECTRA_SERVER, which tests/run sets, or the release build's.
 *
 * Waiting is for conditions. WAIT_S bounds how long a hung server is waited
 * for; no test depends on how long anything takes. */
#ifndef VECTRA_TESTS_INTEGRATION_SERVER_FIXTURE_H
#define VECTRA_TESTS_INTEGRATION_SERVER_FIXTURE_H

#include "unit/cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 120 };

struct server {
    pid_t pid;
    int port;
    char dir[64];
    char unix_path[96];
    char log_path[96];
};

static inline double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A port that was free a moment ago, below those that the kernel gives to
 * connections; server_start() tries again when somebody took it meanwhile. */
static inline int server_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    static unsigned tried;
    bool is_free = false;
    unsigned port = 0;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (!is_free) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        port = 10000 + ((unsigned)getpid() * 211 + ++tried) % 22000;
        a.sin_port = htons((uint16_t)port);
        is_free = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
        close(fd);
    }
    return (int)port;
}

static inline void server_exec(const struct server *s, const char *const *more)
{
    const char *program = getenv("VECTRA_SERVER");
    const char *argv[64] = {0};
    char port[16];
    size_t n = 0;
    int fd = open(s->log_path, O_CREAT | O_APPEND | O_WRONLY, 0600);

    if (!program) {
        program = "bin/vectra-server";
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves none behind */
    dup2(fd, 1);
    dup2(fd, 2);
    snprintf(port, sizeof(port), "%d", s->port);
    argv[n++] = program;
    argv[n++] = "--port";
    argv[n++] = port;
    argv[n++] = "--dir";
    argv[n++] = s->dir;
    argv[n++] = "--save"; /* nothing that a test did not ask for */
    argv[n++] = "";
    argv[n++] = "--unixsocket";
    argv[n++] = s->unix_path;
    while (more && *more && n < 62) {
        argv[n++] = *more++;
    }
    execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* False when the process ended before it answered. */
static inline bool server_answers(struct server *s)
{
    double until = now_s() + WAIT_S;

    while (now_s() < until) {
        redisContext *c = redisConnectUnix(s->unix_path);
        redisReply *r = c && !c->err ? redisCommand(c, "PING") : NULL;

        freeReplyObject(r);
        redisFree(c);
        if (r) {
            return true;
        }
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            return false;
        }
        poll(NULL, 0, 5);
    }
    fail_msg("the server did not answer within %d s", WAIT_S);
    return false;
}

/* Starts the server again on the same port and directory. */
static inline bool server_launch(struct server *s, const char *const *more)
{
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        server_exec(s, more);
    }
    return server_answers(s);
}

/* more: further arguments, ended by NULL; may be NULL itself. */
static inline void server_start(struct server *s, const char *const *more)
{
    int try;

    memset(s, 0, sizeof(*s));
    signal(SIGPIPE, SIG_IGN);
    snprintf(s->dir, sizeof(s->dir), "/tmp/vectra-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->unix_path, sizeof(s->unix_path), "%s/socket", s->dir);
    snprintf(s->log_path, sizeof(s->log_path), "%s/log", s->dir);
    for (try = 0; try < 10; try++) {
        s->port = server_free_port();
        if (server_launch(s, more)) {
            return;
        }
    }
    fail_msg("the server does not start: see %s", s->log_path);
}

static inline void server_end_process(struct server *s)
{
    int status;

    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("the server ended with status %#x", (unsigned)status);
    }
}

static inline void server_check_log(const struct server *s)
{
    static const char *const bad[] = {"Sanitizer", "runtime error",
                                      "assertion failed"};
    FILE *f = fopen(s->log_path, "r");
    char line[4096];
    size_t i;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            if (strstr(line, bad[i])) {
                fail_msg("in %s: %s", s->log_path, line);
            }
        }
    }
    fclose(f);
}

static inline void server_stop(struct server *s)
{
    server_end_process(s);
    server_check_log(s);
    unlink(s->log_path);
    unlink(s->unix_path);
    assert_int_equal(rmdir(s->dir), 0); /* it left nothing else there */
}

/* The server of a program, for all of its tests. */
static struct server server;

static inline int server_group_setup(void **state)
{
    (void)state;
    server_start(&server, NULL);
    return 0;
}

static inline int server_group_teardown(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

/* ---- connections and replies ------------------------------------------- */

static inline redisContext *server_connect(const struct server *s)
{
    struct timeval wait = {.tv_sec = WAIT_S};
    redisContext *c = redisConnect("127.0.0.1", s->port);

    assert_non_null(c);
    assert_int_equal(c->err, 0);
    assert_int_equal(redisSetTimeout(c, wait), REDIS_OK);
    return c;
}

/* The reply to a command; owned by the caller, never NULL. */
static inline redisReply *call(redisContext *c, const char *format, ...)
{
    redisReply *r;
    va_list args;

    va_start(args, format);
    r = redisvCommand(c, format, args);
    va_end(args);
    if (!r) {
        fail_msg("%s: %s", format, c->errstr);
    }
    return r;
}

static inline redisReply *next_reply(redisContext *c)
{
    void *r = NULL;

    if (redisGetReply(c, &r) != REDIS_OK) {
        fail_msg("no reply: %s", c->errstr);
    }
    return r;
}

static inline void is_int(redisReply *r, long long want)
{
    if (r->type == REDIS_REPLY_ERROR) {
        fail_msg("%s", r->str);
    }
    assert_int_equal(r->type, REDIS_REPLY_INTEGER);
    assert_int_equal(r->integer, want);
    freeReplyObject(r);
}

static inline void is_text(redisReply *r, const char *want)
{
    assert_non_null(r->str);
    assert_string_equal(r->str, want);
    freeReplyObject(r);
}

static inline void is_blob(redisReply *r, const void *want, size_t len)
{
    assert_int_equal(r->type, REDIS_REPLY_STRING);
    assert_int_equal(r->len, len);
    assert_memory_equal(r->str, want, len);
    freeReplyObject(r);
}

static inline void is_error(redisReply *r, const char *part)
{
    assert_int_equal(r->type, REDIS_REPLY_ERROR);
    if (!strstr(r->str, part)) {
        fail_msg("the error is '%s', not '%s'", r->str, part);
    }
    freeReplyObject(r);
}

static inline void is_nil(redisReply *r)
{
    assert_int_equal(r->type, REDIS_REPLY_NIL);
    freeReplyObject(r);
}

#endif
