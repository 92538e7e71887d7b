/* See look.h. */
#include "net/look.h"

enum {
    TRY_N = 64, /* requests of a trial */
    STRETCH_MIN = 512,
    STRETCH_MAX = 16384,
    MISSES_MAX = 8,      /* and one for every so many requests: */
    MISSES_SHARE = 8,    /* else looking is given up */
    BETTER_PERCENT = 94, /* of the time, to be worth it */
};

#define LONG_NS INT64_C(1000000) /* counts as no more than that */

static void begin(struct look *l, int stage, enum look_way way)
{
    l->stage = stage;
    l->way = way;
    l->n = l->misses = 0;
    l->sum_ns = 0;
}

void look_init(struct look *l)
{
    *l = (struct look){.stretch = STRETCH_MIN, .better = LOOK_SLEEPS};
    begin(l, LOOK_TRY_SLEEP, LOOK_SLEEPS);
}

static void keep(struct look *l, enum look_way way)
{
    if (way != l->better) {
        l->stretch = STRETCH_MIN;
    } else if (l->stretch < STRETCH_MAX) {
        l->stretch *= 2;
    }
    l->better = way;
    begin(l, LOOK_KEEP, way);
}

static void end_stage(struct look *l)
{
    l->mean_ns[l->way] = l->sum_ns / l->n;
    switch (l->stage) {
    case LOOK_TRY_SLEEP:
        begin(l, LOOK_TRY_LOOK, LOOK_LOOKS);
        break;
    case LOOK_TRY_LOOK:
        keep(l, l->mean_ns[LOOK_LOOKS] <
                        l->mean_ns[LOOK_SLEEPS] / 100 * BETTER_PERCENT
                    ? LOOK_LOOKS
                    : LOOK_SLEEPS);
        break;
    case LOOK_KEEP:
        begin(l, LOOK_TRY_SLEEP, LOOK_SLEEPS);
        break;
    }
}

void look_note_request(struct look *l, int64_t now_ns)
{
    int64_t took = now_ns - l->noticed_ns;

    if (l->noticed_ns) {
        l->sum_ns += took < LONG_NS ? took : LONG_NS;
        if (++l->n == (l->stage == LOOK_KEEP ? l->stretch : TRY_N)) {
            end_stage(l);
        }
    }
    l->noticed_ns = now_ns;
}

void look_note_others(struct look *l)
{
    l->noticed_ns = 0;
}

void look_note_miss(struct look *l)
{
    if (++l->misses > MISSES_MAX + l->n / MISSES_SHARE) {
        keep(l, LOOK_SLEEPS);
    }
}
