/* Time, read in one place. Folders without a clock of their own (vec, resp,
 * filter, index) are given times as arguments. */
#ifndef VECTRA_BASE_CLOCK_H
#define VECTRA_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t time_us; /* microseconds */
typedef int64_t time_ms; /* milliseconds */

/* Never goes back; for intervals and deadlines. */
time_us clock_mono_us(void);

/* Nanoseconds of the same clock, for statistics of short work. */
int64_t clock_mono_ns(void);

/* Since 1970; for expiry and what users see. */
time_us clock_wall_us(void);
time_ms clock_wall_ms(void);

#endif
