/* The ledger: clients that write down what they sent and what was acknowledged,
 * and a check that a server, after whatever happened to it, holds what it
 * promised.
 *
 * Each client has keys of its own and sends one sequence of operations, so what
 * its keys may look like is exactly this: the state after the first J of its
 * operations, for some J that is at least the last one acknowledged and at most
 * the last one sent. A state older than that is acknowledged loss, an element
 * that fits no such J is a resurrection or a mixture, and so is one key that
 * agrees only with an earlier J than another. A transaction is one operation; a
 * bulk command that works in slices is one per element.
 *
 * ledger_model.c  what an operation does to a key
 * ledger_client.c operations are drawn, sent and acknowledged
 * ledger_check.c  a server's content is fetched and compared
 * ledger.c        commands from the driver */
#ifndef VECTRA_TESTS_TORTURE_LEDGER_H
#define VECTRA_TESTS_TORTURE_LEDGER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    MAX_CLIENTS = 32,
    N_STRINGS = 8, /* keys of a client: strings first, then sets */
    MAX_SETS = 8,
    MAX_KEYS = N_STRINGS + MAX_SETS,
    MAX_DIM = 64,
    MAX_VALUE = 512
};

/* ---- operations -------------------------------------------------------- */

enum op_kind {
    OP_VADD,     /* el, version; attribute when attr */
    OP_VREM,     /* el */
    OP_VSETATTR, /* el, version; 0: removes it */
    OP_VMADD,    /* count elements from el on */
    OP_VMREM,
    OP_VCREATE,
    OP_VTRAIN,
    OP_SET,
    OP_SET_PX, /* a value that lasts for ttl_ms */
    OP_APPEND,
    OP_INCR,
    OP_DEL,
    OP_RENAME, /* key to key2 */
    OP_EXPIRE,
    OP_PERSIST,
    N_OP_KINDS
};

enum op_status { OP_UNKNOWN, OP_DONE, OP_REFUSED };

struct op {
    uint8_t kind;
    uint8_t status;
    bool attr;
    bool in_group;   /* part of a transaction ... */
    bool ends_group; /* ... and its last */
    uint8_t key, key2;
    uint32_t el, count;
    uint32_t version;
    uint32_t ttl_ms;
    uint64_t sent_ns, ack_ns; /* CLOCK_MONOTONIC; ack 0: none */
};

/* ---- what a key is like ------------------------------------------------ */

struct element {
    bool present;
    uint32_t version; /* of the vector */
    uint32_t attr;    /* version of the attribute, 0: none */
};

enum key_kind { KEY_NONE, KEY_STRING, KEY_SET };

struct key_state {
    enum key_kind kind;
    bool stays; /* a set made by VCREATE stays when emptied */
    char value[MAX_VALUE];
    uint32_t value_len;
    /* Milliseconds of CLOCK_MONOTONIC between which it expires; 0: never. */
    uint64_t expires_from, expires_to;
    uint32_t card;
    struct element *el; /* n_elements of them */
};

enum precision { PRECISION_Q8, PRECISION_FP32, PRECISION_BIN, N_PRECISIONS };

struct options {
    uint32_t n_clients;
    uint32_t n_sets;
    uint32_t n_elements;
    uint32_t depth;     /* of the pipeline */
    uint32_t bulk;      /* elements of a VMADD, at most */
    uint32_t del_share; /* of 1,000 operations on sets, those that drop one */
    uint32_t volatiles; /* keys that expire within seconds: 0 or 1 */
    uint32_t precision; /* N_PRECISIONS: of all kinds */
    uint32_t databases; /* clients are spread over this many */
    uint64_t seed;
};

struct client {
    uint32_t id;
    const struct options *opt;
    uint64_t rng;
    uint32_t version;
    struct key_state keys[MAX_KEYS]; /* before the first of ops */
    struct op *ops;
    size_t n_ops, cap_ops;
    int port;
    pthread_t thread;
    bool running;
    _Atomic uint64_t n_acked;
    _Atomic uint64_t n_refused;
    _Atomic bool ended;
    bool lost; /* the connection broke */
    char last_error[160];
};

extern _Atomic bool ledger_stop;

uint64_t ledger_now_ns(void);
uint32_t ledger_n_keys(const struct options *opt);

/* ---- ledger_model.c ---------------------------------------------------- */

uint32_t model_dim(const struct client *c, uint32_t key);
enum precision model_precision(const struct client *c, uint32_t key);
void model_key_name(const struct client *c, uint32_t key, char out[48]);
void model_element_name(uint32_t el, char out[32]);
void model_vector(const struct client *c, uint32_t el, uint32_t version,
                  uint32_t dim, float *out);
int model_attribute(uint32_t version, char out[64]);
int model_value(uint32_t version, char out[64]);

void model_init(struct client *c);

/* Gives a client the keys of another, element by element. */
void model_copy(struct client *to, const struct client *from);
void model_clear(struct client *c);
/* The number of steps of an operation that a crash may fall between. */
uint32_t model_steps(const struct op *op);
/* Does step `step`. What it touched: a key, or one element of it, or a second
 * key as well. */
struct touched {
    uint32_t key, key2; /* UINT32_MAX: none */
    uint32_t el;        /* UINT32_MAX: all of the key */
};
struct touched model_step(struct client *c, const struct op *op, uint32_t step,
                          uint64_t unknown_until_ms);

/* ---- ledger_client.c --------------------------------------------------- */

void client_start(struct client *c, int port);
void client_join(struct client *c);

/* ---- ledger_check.c ---------------------------------------------------- */

struct verdict {
    bool ok;
    char words[600];
    uint64_t keys, elements, in_doubt, taken; /* taken: of those in doubt */
};

/* Compares with what is between the operations acknowledged by ack_ns (and, if
 * a window is given, older than that) and those sent by sent_ns. With `adopt`
 * the state found becomes the one that is known. */
void check_client(struct client *c, int port, uint64_t ack_ns, uint64_t sent_ns,
                  bool adopt, struct verdict *out);
void check_server(struct client *clients, uint32_t n, int port, uint64_t ack_ns,
                  uint64_t sent_ns, bool adopt, struct verdict *out);

#endif
