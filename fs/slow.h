/*
 * fs/slow.h - threads for what takes long: a FUSE worker hands the request over and goes on serving others.
 *
 * Threads are made when work waits and end after some idle seconds; at most SLOW_THREADS, what comes then waits in
 * line. Any thread may call slow_run. Lock: slow.mutex, never held while work runs.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define SLOW_THREADS 512

struct slow;

struct slow *slow_new(void);
/* run(arg) on a thread of its own, soon. */
void slow_run(struct slow *s, void (*run)(void *arg), void *arg);
/* Waits until all work that was handed over has ended, at most so long; true when it has. */
bool slow_drain(struct slow *s, unsigned timeout_ms);
void slow_free(struct slow *s); /* after slow_drain gave true */
