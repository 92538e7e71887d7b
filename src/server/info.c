/* INFO from stats.def: see info.h. */
#include "server/info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "db/graph/graph.h"
#include "db/lists/lists.h"
#include "db/search/search.h"
#include "server/aof.h"
#include "server/server.h"

/* The allocator adds its numbers up for every question, and the kernel prints
 * its own; whoever asks INFO a thousand times a second gets them ten times. */
enum { MEM_SAMPLE_US = 100000 };

/* What the expressions of stats.def see. */
struct info_view {
    struct server *s;
    const struct net_stats *net;
    struct search_pool_stats searches;
    struct rusage process, children, thread;
    size_t used, peak, overhead;
    size_t total_memory;
    struct aof_info aof;
    uint64_t vector_sets, vectors;
    uint64_t graphs, tail_rows, bucketed_rows;
    uint64_t lists, trainings, lists_tail_rows;
    struct child_progress child; /* zeros when none is at work */
    int64_t saving_s, cow_age_s;
    int64_t uptime_s;
    const char *compiler;
    char os[256];
    char executable[512];
};

/* ---- gathering --------------------------------------------------------- */

static void gather_memory(struct info_view *v)
{
    struct server *s = v->s;
    time_us now = clock_mono_us();

    if (s->mem_sampled_at == 0 || now - s->mem_sampled_at > MEM_SAMPLE_US) {
        mem_stats_read(&s->mem_stats);
        s->resident_bytes = mem_resident();
        s->mem_sampled_at = now;
    }
    v->used = mem_used();
    v->peak = mem_peak();
    v->overhead = s->startup_bytes + s->clients.memory_bytes;
    if (v->overhead > v->used) {
        v->overhead = v->used;
    }
    v->total_memory =
        (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

static void gather_system(struct info_view *v)
{
    struct utsname name;
    ssize_t n;

    if (uname(&name) == 0) {
        snprintf(v->os, sizeof(v->os), "%.64s %.64s %.64s", name.sysname,
                 name.release, name.machine);
    }
    n = readlink("/proc/self/exe", v->executable, sizeof(v->executable) - 1);
    v->executable[n > 0 ? n : 0] = '\0';
#ifdef __GNUC__
#define TEXT_OF(x)   #x
#define NUMBER_OF(x) TEXT_OF(x)
    v->compiler = NUMBER_OF(__GNUC__) "." NUMBER_OF(
        __GNUC_MINOR__) "." NUMBER_OF(__GNUC_PATCHLEVEL__);
#else
    v->compiler = "0.0.0";
#endif
}

static void gather_child(struct info_view *v)
{
    const struct child *c = v->s->child;
    time_us now = clock_mono_us();

    v->saving_s = -1;
    if (child_is_busy(c)) {
        child_progress_read(c, &v->child);
        v->saving_s = (now - v->child.started_at) / 1000000;
    }
    if (v->child.cow_at > 0) {
        v->cow_age_s = (now - v->child.cow_at) / 1000000;
    }
}

static void gather(struct info_view *v, struct server *s)
{
    int i;

    memset(v, 0, sizeof(*v));
    v->s = s;
    v->net = net_stats(s->net);
    v->uptime_s = (clock_mono_us() - s->started_at) / 1000000;
    search_pool_stats_read(s->ks->searches, &v->searches);
    getrusage(RUSAGE_SELF, &v->process);
    getrusage(RUSAGE_CHILDREN, &v->children);
    getrusage(RUSAGE_THREAD, &v->thread);
    for (i = 0; i < s->ks->n_dbs; i++) {
        v->vector_sets += s->ks->dbs[i]->n_vsets;
        v->vectors += s->ks->dbs[i]->n_vectors;
    }
    graph_count_all(s->ks, &v->graphs, &v->tail_rows, &v->bucketed_rows);
    lists_count_all(s->ks, &v->lists, &v->trainings, &v->lists_tail_rows);
    aof_info_read(s->aof, &v->aof);
    gather_memory(v);
    gather_system(v);
    gather_child(v);
}

/* ---- formats ----------------------------------------------------------- */

static double ratio(size_t a, size_t b)
{
    return b ? (double)a / (double)b : 0;
}

static int64_t difference(size_t a, size_t b)
{
    return (int64_t)a - (int64_t)b;
}

static void put_TEXT(struct buf *out, const char *text)
{
    buf_append_str(out, text);
}

/* Up to the first blank. */
static void put_WORD(struct buf *out, const char *text)
{
    buf_append(out, text, strcspn(text, " "));
}

static void put_INT(struct buf *out, int64_t value)
{
    buf_printf(out, "%" PRId64, value);
}

static void put_UINT(struct buf *out, uint64_t value)
{
    buf_printf(out, "%" PRIu64, value);
}

static void put_RATIO(struct buf *out, double value)
{
    buf_printf(out, "%.2f", value);
}

static void put_PERCENT(struct buf *out, double share)
{
    buf_printf(out, "%.2f%%", share * 100);
}

static void put_SECONDS(struct buf *out, struct timeval tv)
{
    buf_printf(out, "%lld.%06d", (long long)tv.tv_sec, (int)tv.tv_usec);
}

static void put_HUMAN(struct buf *out, size_t bytes)
{
    static const char units[] = "KMGTP";
    double value = (double)bytes / 1024;
    int unit = 0;

    if (bytes < 1024) {
        buf_printf(out, "%zuB", bytes);
        return;
    }
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, "%.2f%c", value, units[unit]);
}

/* ---- lines that are not fields ----------------------------------------- */

static void put_listeners(const struct info_view *v, struct buf *out)
{
    const struct config *c = &v->s->config;
    const char *p = c->bind;
    int n = 0;

    if (c->port > 0 && *p) {
        buf_append_str(out, "listener0:name=tcp");
        while (*p) {
            size_t len = strcspn(p, " ");

            buf_printf(out, ",bind=%.*s", (int)len, p);
            p += len + (p[len] == ' ');
        }
        buf_printf(out, ",port=%" PRId64 "\r\n", c->port);
        n++;
    }
    if (*c->unixsocket) {
        buf_printf(out, "listener%d:name=unix,bind=%s\r\n", n, c->unixsocket);
    }
}

static void put_modules(const struct info_view *v, struct buf *out)
{
    (void)v;
    buf_append_str(out, "module:name=vectorset,ver=1,api=1,filters=0,"
                        "usedby=[],using=[],options=[]\r\n");
}

static void put_log(const struct info_view *v, struct buf *out)
{
    const struct aof_info *a = &v->aof;

    if (a->is_on) {
        buf_printf(out,
                   "aof_current_size:%" PRIu64 "\r\naof_base_size:%" PRIu64
                   "\r\naof_pending_rewrite:%d\r\naof_buffer_length:%" PRIu64
                   "\r\naof_pending_bio_fsync:%d\r\naof_delayed_fsync:%" PRIu64
                   "\r\n",
                   a->current_size, a->base_size, a->rewrite_scheduled,
                   a->buffered, a->sync_pending, a->delayed_syncs);
    }
}

static void put_commandstats(const struct info_view *v, struct buf *out)
{
    int id;

    for (id = 0; id < CMD_ID_COUNT; id++) {
        const struct cmd_counter *n = &v->s->commands.counters[id];
        double us = (double)n->ns / 1000;

        if (n->calls + n->rejected + n->failed == 0) {
            continue;
        }
        buf_printf(out,
                   "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRId64
                   ",usec_per_call=%.2f,rejected_calls=%" PRIu64
                   ",failed_calls=%" PRIu64 "\r\n",
                   command_table[id].name, n->calls, n->ns / 1000,
                   n->calls ? us / (double)n->calls : 0.0, n->rejected,
                   n->failed);
    }
}

static void put_errorstats(const struct info_view *v, struct buf *out)
{
    const struct cmd_env *env = &v->s->commands;
    size_t i;

    for (i = 0; i < env->n_errors; i++) {
        buf_printf(out, "errorstat_%s:count=%" PRIu64 "\r\n",
                   env->errors[i].code, env->errors[i].n);
    }
}

static void put_loading(const struct info_view *v, struct buf *out)
{
    const struct server_loading *l = &v->s->loading;
    time_us took = clock_mono_us() - l->started_at;
    uint64_t left =
        l->total_bytes > l->loaded_bytes ? l->total_bytes - l->loaded_bytes : 0;

    if (!v->s->commands.is_loading) {
        return;
    }
    buf_printf(out,
               "loading_start_time:%" PRId64 "\r\nloading_total_bytes:%" PRIu64
               "\r\nloading_rdb_used_mem:0\r\nloading_loaded_bytes:%" PRIu64
               "\r\nloading_loaded_perc:%.2f\r\nloading_eta_seconds:%.0f\r\n",
               l->started_unix, l->total_bytes, l->loaded_bytes,
               100 * ratio(l->loaded_bytes, l->total_bytes),
               ratio(left, l->loaded_bytes) * (double)took / 1e6);
}

static void put_keyspace(const struct info_view *v, struct buf *out)
{
    struct keyspace *ks = v->s->ks;
    int i;

    for (i = 0; i < ks->n_dbs; i++) {
        if (keyspace_count(ks, i) > 0) {
            buf_printf(out,
                       "db%d:keys=%zu,expires=%zu,avg_ttl=%" PRId64
                       ",subexpiry=0\r\n",
                       i, keyspace_count(ks, i), keyspace_volatile_count(ks, i),
                       keyspace_mean_ttl(ks, i));
        }
    }
}

/* ---- the table --------------------------------------------------------- */

enum row_kind { ROW_SECTION, ROW_FIELD, ROW_LINES };

/* In which of INFO's general requests a section is. */
enum when { WHEN_ALL, WHEN_DEFAULT };

struct row {
    enum row_kind kind;
    enum when when;
    const char *name;
    const char *doc;
    void (*put)(const struct info_view *v, struct buf *out);
};

#define STAT_SECTION(sym, title, when)
#define STAT_LINES(sym, fn, field, doc)
#define STAT(field, format, value, doc)                                        \
    static void stat_##field(const struct info_view *v, struct buf *out)       \
    {                                                                          \
        (void)v;                                                               \
        put_##format(out, value);                                              \
    }
#include "server/stats.def"
#undef STAT_SECTION
#undef STAT_LINES
#undef STAT

static const struct row rows[] = {
#define STAT_SECTION(sym, title, when_)                                        \
    {ROW_SECTION, WHEN_##when_, title, NULL, NULL},
#define STAT_LINES(sym, fn, field, doc)                                        \
    {ROW_LINES, WHEN_DEFAULT, field, doc, fn},
#define STAT(field, format, value, doc)                                        \
    {ROW_FIELD, WHEN_DEFAULT, #field, doc, stat_##field},
#include "server/stats.def"
#undef STAT_SECTION
#undef STAT_LINES
#undef STAT
};

/* ---- writing ----------------------------------------------------------- */

static bool is_asked_for(const struct row *section,
                         const struct bytes *sections, size_t n)
{
    size_t i;

    if (n == 0) {
        return section->when == WHEN_DEFAULT;
    }
    for (i = 0; i < n; i++) {
        if (bytes_equal_fold(sections[i], section->name) ||
            bytes_equal_fold(sections[i], "all") ||
            bytes_equal_fold(sections[i], "everything") ||
            (bytes_equal_fold(sections[i], "default") &&
             section->when == WHEN_DEFAULT)) {
            return true;
        }
    }
    return false;
}

void info_write(void *server, const struct bytes *sections, size_t n,
                struct buf *out)
{
    struct info_view v;
    bool asked = false;
    bool first = true;
    size_t i;

    gather(&v, server);
    for (i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];

        if (r->kind == ROW_SECTION) {
            asked = is_asked_for(r, sections, n);
            if (asked) {
                buf_printf(out, "%s# %s\r\n", first ? "" : "\r\n", r->name);
                first = false;
            }
        } else if (asked && r->kind == ROW_LINES) {
            r->put(&v, out);
        } else if (asked) {
            buf_append_str(out, r->name);
            buf_append_byte(out, ':');
            r->put(&v, out);
            buf_append_str(out, "\r\n");
        }
    }
}

void info_dump(struct buf *out)
{
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];

        if (r->kind == ROW_SECTION) {
            buf_printf(out, "%s## %s\n\n| Field | Meaning |\n|---|---|\n",
                       i ? "\n" : "", r->name);
        } else {
            buf_printf(out, "| `%s` | %s |\n", r->name, r->doc);
        }
    }
}
