/*
 * base/clock.h - the time of day, the time that only goes forward, and both as texts. Any thread; no state.
 */
#pragma once

#include <stdint.h>
#include <time.h>

/* Milliseconds since 1970, UTC. */
int64_t clock_ms(void);
/* The same to the nanosecond: what files have as their times. */
int64_t clock_ns(void);
/* Milliseconds of a clock that nobody sets (CLOCK_MONOTONIC): for durations and deadlines. */
int64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);
/* The moment `ms` milliseconds from now: for pthread_cond_timedwait and the like. */
struct timespec clock_after(clockid_t clock, int64_t ms);

#define CLOCK_TEXT 32
/* 2026-11-27T13:29:04Z of milliseconds since 1970. */
void clock_text(int64_t ms, char out[CLOCK_TEXT]);
