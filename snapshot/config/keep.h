/*
 * snapshot/config/keep.h - which snapshots a prune keeps: the rules, and their application to a list.
 *
 * Pure functions of what they are given; any thread. Periods are those of UTC; a week begins on Monday.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

enum keep_rule { KEEP_LAST, KEEP_HOURLY, KEEP_DAILY, KEEP_WEEKLY, KEEP_MONTHLY, KEEP_YEARLY, KEEP_COUNTS };

/* A snapshot is kept when any of the rules wants it. */
struct keep_rules {
	unsigned count[KEEP_COUNTS]; /* the newest snapshot of each of the last N periods that have one; 0: no rule */
	struct {
		unsigned years, months, days, hours;
	} within; /* before the newest snapshot; all 0: no rule */
};

#define KEEP_SAFETY_MS (30 * INT64_C(86400000)) /* how long the way back of a restore is kept */

/* One snapshot: what the rules look at, and what they say. */
struct keep_item {
	int64_t taken_ms;
	int64_t id;
	bool held;
	bool needed;   /* a restore that is not settled yet is compared with it */
	bool safety;   /* the state before a restore */
	bool imported; /* a backup that was brought in */
	/* Filled in. */
	bool keep;
	char why[96]; /* "last, daily"; "" when it is not kept */
};

/* "last" ... "yearly", "within" with a value, as in `keep = last=5 daily=7 within=1y6m`: the value of one rule. name is
 * without "=". EINVAL. */
int keep_set(struct keep_rules *k, const char *name, const char *value, struct err *e);
/* The words of the configuration: NAME=VALUE, separated by blanks or commas, each name once, at least one rule. */
int keep_parse(struct keep_rules *k, const char *text, struct err *e);
bool keep_is_empty(const struct keep_rules *k);
/* "last=5 daily=7": as keep_parse reads it. */
void keep_text(const struct keep_rules *k, struct strbuf *out);

/*
 * Sorts the items, newest first (by moment, then id), and decides on each.
 *
 * Always kept: held ones; ones that an unsettled restore needs; imported ones (they are not the source's own course of
 * time); the states before a restore for KEEP_SAFETY_MS; ones from the future (a clock was wrong: nothing is concluded
 * from them). None of those is counted, held ones excepted, which count like any other. Of the counted ones the newest
 * is always kept.
 */
void keep_apply(const struct keep_rules *k, struct keep_item *v, size_t n, int64_t now_ms);
