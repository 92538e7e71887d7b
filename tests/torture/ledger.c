/* The ledger's commands, one a line on standard input, one line answered each:
 *
 *   load PORT      starts the clients
 *   wait N MS      until N more operations are acknowledged, a client has lost
 *                  its connection, or MS have passed: "waited ACKED LOST"
 *   stop           ends the clients when what they sent is acknowledged
 *   lost           waits until every client has lost its connection or ended
 *   refused        operations refused since the last time, and the last words
 *   verify PORT [ACK_NS]
 *                  what is there must be what was promised (by a time, where
 *                  later promises are void); it is the base of what follows:
 *                  "ok ..." or "BAD ..."
 *   now            the ledger's clock, in ns
 *   check PORT ACK_NS SENT_NS
 *                  the same for an image of another time, not before the last
 *                  verify; what follows it is not forgotten
 *   forget         begins with an empty server
 *
 * usage: ledger [name=value ...], the names in options_read(). */
#include "ledger.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct options opt = {.n_clients = 4,
                             .n_sets = 4,
                             .n_elements = 120,
                             .depth = 16,
                             .bulk = 24,
                             .del_share = 8,
                             .volatiles = 1,
                             .precision = N_PRECISIONS,
                             .databases = 2,
                             .seed = 1};
static struct client *clients;

static bool options_read(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t *value;
        uint32_t max;
    } numbers[] = {{"clients", &opt.n_clients, MAX_CLIENTS},
                   {"sets", &opt.n_sets, MAX_SETS},
                   {"elements", &opt.n_elements, 1000000},
                   {"depth", &opt.depth, 4096},
                   {"bulk", &opt.bulk, 100000},
                   {"del", &opt.del_share, 500},
                   {"volatile", &opt.volatiles, 1},
                   {"precision", &opt.precision, N_PRECISIONS},
                   {"databases", &opt.databases, 16}};
    int i;
    size_t j;

    for (i = 1; i < argc; i++) {
        const char *eq = strchr(argv[i], '=');
        size_t len = eq ? (size_t)(eq - argv[i]) : 0;

        if (eq && strncmp(argv[i], "seed", len) == 0) {
            opt.seed = strtoull(eq + 1, NULL, 10);
            continue;
        }
        for (j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
            if (eq && strlen(numbers[j].name) == len &&
                strncmp(numbers[j].name, argv[i], len) == 0) {
                *numbers[j].value = (uint32_t)strtoul(eq + 1, NULL, 10);
                break;
            }
        }
        if (j == sizeof(numbers) / sizeof(numbers[0]) ||
            *numbers[j].value > numbers[j].max) {
            fprintf(stderr, "ledger: what is '%s'?\n", argv[i]);
            return false;
        }
    }
    if (opt.bulk > opt.n_elements) {
        opt.bulk = opt.n_elements;
    }
    return true;
}

static uint64_t sum_acked(void)
{
    uint64_t n = 0;
    uint32_t i;

    for (i = 0; i < opt.n_clients; i++) {
        n += clients[i].n_acked;
    }
    return n;
}

static uint32_t count_ended(void)
{
    uint32_t i, n = 0;

    for (i = 0; i < opt.n_clients; i++) {
        n += clients[i].ended;
    }
    return n;
}

static void load(int port)
{
    uint32_t i;

    ledger_stop = false;
    for (i = 0; i < opt.n_clients; i++) {
        client_start(&clients[i], port);
    }
    printf("loading\n");
}

static void wait_for(uint64_t more, uint64_t ms)
{
    uint64_t goal = sum_acked() + more;
    uint64_t end = ledger_now_ns() + ms * 1000000;

    while (sum_acked() < goal && count_ended() == 0 && ledger_now_ns() < end) {
        usleep(500);
    }
    printf("waited %llu %u\n", (unsigned long long)(sum_acked() + more - goal),
           count_ended());
}

static void end(bool stop)
{
    uint64_t sent = 0;
    uint32_t i, lost = 0;

    if (stop) {
        ledger_stop = true;
    }
    for (i = 0; i < opt.n_clients; i++) {
        client_join(&clients[i]);
        sent += clients[i].n_ops;
        lost += clients[i].lost;
    }
    printf("ended sent=%llu acked=%llu lost=%u\n", (unsigned long long)sent,
           (unsigned long long)sum_acked(), lost);
}

static void refused(void)
{
    uint64_t n = 0;
    const char *words = "";
    uint32_t i;

    for (i = 0; i < opt.n_clients; i++) {
        uint64_t more = atomic_exchange(&clients[i].n_refused, 0);

        n += more;
        if (more) {
            words = clients[i].last_error;
        }
    }
    printf("refused %llu %s\n", (unsigned long long)n, words);
}

static void verify(int port, uint64_t ack_ns, uint64_t sent_ns, bool adopt)
{
    struct verdict v;

    check_server(clients, opt.n_clients, port, ack_ns, sent_ns, adopt, &v);
    if (v.ok) {
        printf("ok keys=%llu elements=%llu in_doubt=%llu taken=%llu\n",
               (unsigned long long)v.keys, (unsigned long long)v.elements,
               (unsigned long long)v.in_doubt, (unsigned long long)v.taken);
    } else {
        printf("BAD %s\n", v.words);
    }
}

static void forget(void)
{
    uint32_t i;

    for (i = 0; i < opt.n_clients; i++) {
        model_clear(&clients[i]);
        clients[i].n_ops = 0;
    }
    printf("forgotten\n");
}

int main(int argc, char **argv)
{
    char line[256], word[32];
    unsigned long long a, b, c;
    uint32_t i;

    if (!options_read(argc, argv)) {
        return 2;
    }
    signal(SIGPIPE,
           SIG_IGN); /* a server that is killed is an error of send() */
    clients = calloc(opt.n_clients, sizeof(*clients));
    for (i = 0; i < opt.n_clients; i++) {
        clients[i].id = i;
        clients[i].opt = &opt;
        clients[i].rng = opt.seed * 0x9E3779B97F4A7C15U + i * 77 + 1;
        model_init(&clients[i]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof(line), stdin)) {
        a = b = c = 0;
        if (sscanf(line, "%31s %llu %llu %llu", word, &a, &b, &c) < 1) {
            continue;
        }
        if (strcmp(word, "load") == 0) {
            load((int)a);
        } else if (strcmp(word, "wait") == 0) {
            wait_for(a, b);
        } else if (strcmp(word, "stop") == 0) {
            end(true);
        } else if (strcmp(word, "lost") == 0) {
            end(false);
        } else if (strcmp(word, "refused") == 0) {
            refused();
        } else if (strcmp(word, "verify") == 0) {
            verify((int)a, b ? b : UINT64_MAX, UINT64_MAX, true);
        } else if (strcmp(word, "now") == 0) {
            printf("%llu\n", (unsigned long long)ledger_now_ns());
        } else if (strcmp(word, "check") == 0) {
            verify((int)a, b, c, false);
        } else if (strcmp(word, "forget") == 0) {
            forget();
        } else {
            printf("BAD command %s\n", word);
        }
    }
    return 0;
}
