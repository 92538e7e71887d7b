/* vectra-check-aof: reads a log, file by file, and says how far it is good;
 * cuts off what is not, or what came after a point of the stream or of time.
 *
 * exit  0 the log is good (now), 1 it is not, or cannot be read or mended */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "tools/check/check_aof_cut.h"
#include "tools/check/check_aof_scan.h"

static const char usage[] =
    "usage: vectra-check-aof [--fix | --truncate-to-lsn N |\n"
    "                         --truncate-to-time UNIX-SECONDS] [--yes] PATH\n"
    "\n"
    "Reads a log and verifies what can be: the snapshot it begins with, every\n"
    "command, and of Vectra's own files the sum and the place in the stream "
    "of\n"
    "each batch. PATH is a manifest, a folder with one, or a single file.\n"
    "\n"
    "  --fix                cut off what is torn or damaged at the end\n"
    "  --truncate-to-lsn N  keep what the stream had up to offset N\n"
    "  --truncate-to-time T keep what was written up to a time, which needs\n"
    "                       lines #TS: (aof-timestamp-enabled yes)\n"
    "  --yes                do not ask\n"
    "\n"
    "Cutting changes files in place: work on a copy, with the server "
    "stopped.\n";

struct options {
    bool fix, yes;
    struct check_limit limit;
    const char *path;
};

static bool is_cut_wanted(const struct options *o)
{
    return o->limit.lsn != CHECK_NO_LSN || o->limit.unix_s != CHECK_NO_TIME;
}

/* ---- what is told of a file -------------------------------------------- */

static void print_file(const char *name, const struct check_aof_file *f)
{
    printf("%s: %" PRIu64 " bytes", name, f->size);
    if (f->is_rdb) {
        printf(", snapshot of %" PRIu64 " keys", f->keys);
    }
    if (f->units || !f->is_rdb) {
        printf(", %" PRIu64 " commands", f->commands);
    }
    if (f->has_sums) {
        printf(" in %" PRIu64 " batches", f->units);
    }
    if (f->first_lsn != CHECK_NO_LSN) {
        printf(", LSN %" PRIu64 " to %" PRIu64, f->first_lsn, f->last_lsn);
    }
    if (f->first_ts) {
        printf(", time %" PRId64 " to %" PRId64, f->first_ts, f->last_ts);
    }
    printf("%s\n", f->damaged ? ": DAMAGED" : f->ends_torn ? ": torn" : ": ok");
    if (f->damaged || f->ends_torn) {
        printf("  %s\n  good up to offset %" PRIu64 ", %" PRIu64
               " bytes follow\n",
               f->words, f->good, f->size - f->good);
    }
}

/* ---- cutting ----------------------------------------------------------- */

static bool ask(const struct options *o, const char *question)
{
    char line[16] = "";

    if (o->yes) {
        return true;
    }
    printf("%s [y/N] ", question);
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) &&
           (line[0] == 'y' || line[0] == 'Y');
}

static int fail(const struct err_ctx *ctx)
{
    printf("vectra-check-aof: %s\n", ctx->text);
    return 1;
}

static void print_slate(const struct check_slate *s)
{
    if (s->to > s->from) {
        printf("%s: %" PRIu64
               " bytes that the log does not have yet, LSN %" PRIu64
               " to %" PRIu64 ": the server goes on with them\n",
               strrchr(s->path, '/') ? strrchr(s->path, '/') + 1 : s->path,
               s->to - s->from, s->from, s->to);
    }
}

/* Cuts file `at` of the log at `offset` and drops the files after it. */
static int cut(const struct options *o, const struct check_log *log, size_t at,
               uint64_t offset)
{
    const struct check_log_file *f = &log->files[at];
    char question[PATH_MAX + 128];
    struct err_ctx ctx;
    size_t dropped = log->n - at - 1;

    snprintf(question, sizeof(question),
             "cut %" PRIu64 " bytes off %s%s, leaving %" PRIu64 "?",
             f->scan.size - offset, f->name,
             dropped ? " and drop all files after it" : "", offset);
    if (!ask(o, question)) {
        printf("nothing was changed\n");
        return 1;
    }
    if (check_log_cut(log, at, offset, o->fix, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    printf("cut %s at offset %" PRIu64 "%s\n", f->name, offset,
           dropped ? "; later files are gone" : "");
    return 0;
}

/* The first file that is not whole; n when all are. */
static size_t first_bad(const struct check_log *log)
{
    size_t i;

    for (i = 0; i < log->n; i++) {
        if (log->files[i].scan.damaged || log->files[i].scan.ends_torn) {
            return i;
        }
    }
    return i;
}

static int fix(const struct options *o, const struct check_log *log, size_t bad)
{
    const struct check_aof_file *f = &log->files[bad].scan;

    if (bad + 1 < log->n) {
        printf("%s is not the last file: cutting it would lose what follows.\n"
               "Take a backup, or cut the log there yourself with "
               "--truncate-to-lsn.\n",
               log->files[bad].name);
        return 1;
    }
    if (f->is_rdb && f->damaged && f->good == 0) {
        printf("a damaged snapshot cannot be mended\n");
        return 1;
    }
    return cut(o, log, bad, f->good);
}

/* Whether the base is already past what is wanted. */
static bool base_is_later(const struct options *o, const struct check_log *log)
{
    if (o->limit.lsn != CHECK_NO_LSN) {
        return log->base_lsn >= 0 && o->limit.lsn < (uint64_t)log->base_lsn;
    }
    return log->base_unix_s >= 0 && o->limit.unix_s < log->base_unix_s;
}

static int too_late(const struct check_log *log)
{
    printf("the log begins after that, ");
    if (log->base_lsn >= 0) {
        printf("at LSN %" PRId64 ", ", log->base_lsn);
    }
    if (log->base_unix_s >= 0) {
        printf("at time %" PRId64 ", ", log->base_unix_s);
    }
    printf("and an older backup is needed\n");
    return 1;
}

/* The log itself has nothing past what is wanted. What is on the slate has no
 * time but the file's own. */
static int cut_slate(const struct options *o, const struct check_slate *s,
                     const struct check_log *log)
{
    bool by_lsn = o->limit.lsn != CHECK_NO_LSN;
    bool is_past = by_lsn ? s->to > o->limit.lsn : s->unix_s > o->limit.unix_s;
    char question[128];
    struct err_ctx ctx;

    if (s->to == s->from || !is_past) {
        printf("the log has nothing past that: nothing to cut\n");
        return 0;
    }
    snprintf(question, sizeof(question),
             "drop what the slate has behind LSN %" PRIu64 "?",
             by_lsn ? o->limit.lsn : s->from);
    if (!ask(o, question)) {
        printf("nothing was changed\n");
        return 1;
    }
    if (check_log_cut_slate(log, by_lsn ? o->limit.lsn : s->from, &ctx) !=
        ERR_OK) {
        return fail(&ctx);
    }
    printf("cut the slate\n");
    return 0;
}

static int cut_to_limit(const struct options *o, const struct check_log *log)
{
    size_t i, bad = first_bad(log);

    for (i = 0; i < log->n; i++) {
        const struct check_aof_file *f = &log->files[i].scan;

        if (f->has_cut) {
            if (f->first_lsn != CHECK_NO_LSN && f->cut_lsn != CHECK_NO_LSN) {
                printf("the log will end at LSN %" PRIu64 "\n", f->cut_lsn);
            }
            if (i == 0 && f->cut == 0 && log->has_base) {
                return too_late(log);
            }
            return cut(o, log, i, f->cut);
        }
        if (i == bad) {
            printf("%s is not whole, and its good part ends before that\n",
                   log->files[i].name);
            return 1;
        }
    }
    return cut_slate(o, &log->slate, log);
}

/* ---- the command line -------------------------------------------------- */

static bool number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && !*end;
}

static bool parse(int argc, char **argv, struct options *o)
{
    uint64_t n;
    int i;

    for (i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (strcmp(word, "--fix") == 0) {
            o->fix = true;
        } else if (strcmp(word, "--yes") == 0) {
            o->yes = true;
        } else if (strcmp(word, "--truncate-to-lsn") == 0 && i + 1 < argc &&
                   number(argv[i + 1], &o->limit.lsn)) {
            i++;
        } else if (strcmp(word, "--truncate-to-time") == 0 && i + 1 < argc &&
                   number(argv[i + 1], &n) && n < INT64_MAX) {
            o->limit.unix_s = (int64_t)n;
            i++;
        } else if (word[0] == '-' || o->path) {
            return false;
        } else {
            o->path = word;
        }
    }
    return o->path && !(o->fix && is_cut_wanted(o));
}

int main(int argc, char **argv)
{
    struct options o = {.limit = {CHECK_NO_LSN, CHECK_NO_TIME}};
    struct check_log log;
    struct err_ctx ctx;
    size_t i, bad;
    int rc = 0;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 1;
    }
    if (check_log_open(&log, o.path, &o.limit, &ctx) != ERR_OK) {
        return fail(&ctx);
    }
    for (i = 0; i < log.n; i++) {
        print_file(log.files[i].name, &log.files[i].scan);
    }
    print_slate(&log.slate);
    bad = first_bad(&log);
    if (is_cut_wanted(&o)) {
        rc = base_is_later(&o, &log) ? too_late(&log) : cut_to_limit(&o, &log);
    } else if (bad < log.n && o.fix) {
        rc = fix(&o, &log, bad);
    } else if (bad < log.n) {
        printf("BAD %s: %s; --fix cuts what is behind\n", log.files[bad].name,
               log.files[bad].scan.words);
        rc = 1;
    } else if (log.gap[0]) {
        printf("BAD %s\n", log.gap);
        rc = 1;
    } else {
        printf("OK %s: %zu files\n", o.path, log.n);
    }
    check_log_close(&log);
    return rc;
}
