/*
 * tests/unit/snapshot/config/keep_test.c - snapshot/config/keep.c: which snapshots the rules keep, and how rules are
 * written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <time.h>

#include "snapshot/config/keep.h"

#define MAX 40

/* "2026-11-22 08:15:30" */
static int64_t moment(const char *text)
{
	struct tm tm = {0};
	int millis = 0;
	assert_true(sscanf(text, "%d-%d-%d %d:%d:%d.%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
			   &tm.tm_sec, &millis) >= 6);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm) * 1000 + millis;
}

/* Snapshots are given in any order; flags: h held, n needed, s safety, i imported. kept: "*" for each kept one, "-" for
 * each other, in the order given. */
struct keep_case {
	const char *what, *rules, *now;
	struct {
		const char *at, *flags;
	} s[MAX];
	const char *kept;
};

static const struct keep_case cases[] = {
    {"none at all", "last=1", "2026-01-01 00:00:00", {{0}}, ""},
    {"the newest few",
     "last=2",
     "2026-01-05 00:00:00",
     {{"2026-01-01 00:00:00", ""}, {"2026-01-04 00:00:00", ""}, {"2026-01-03 00:00:00", ""}},
     "-**"},
    {"the newest of each day, not more days than asked for",
     "daily=2",
     "2026-01-05 00:00:00",
     {{"2026-01-01 10:00:00", ""},
      {"2026-01-02 10:00:00", ""},
      {"2026-01-02 23:59:59.999", ""},
      {"2026-01-03 00:00:00", ""},
      {"2026-01-03 00:00:01", ""}},
     "--*-*"},
    {"days without a snapshot do not count",
     "daily=3",
     "2026-03-05 00:00:00",
     {{"2025-06-01 10:00:00", ""},
      {"2025-06-02 10:00:00", ""},
      {"2026-01-02 10:00:00", ""},
      {"2026-03-01 10:00:00", ""}},
     "-***"},
    {"hours",
     "hourly=2",
     "2026-01-05 00:00:00",
     {{"2026-01-01 22:59:59", ""},
      {"2026-01-01 23:00:00", ""},
      {"2026-01-01 23:59:59", ""},
      {"2026-01-02 00:00:00", ""}},
     "--**"},
    {"a week begins on Monday, also across the year",
     "weekly=2",
     "2026-02-05 00:00:00",
     {{"2025-12-28 23:59:59", ""},  /* Sunday */
      {"2025-12-29 00:00:00", ""},  /* Monday */
      {"2026-01-04 23:59:59", ""},  /* Sunday of the same week */
      {"2026-01-05 00:00:00", ""}}, /* Monday */
     "--**"},
    {"months and the year's edge",
     "monthly=3",
     "2026-04-05 00:00:00",
     {{"2025-11-30 23:59:59", ""},
      {"2025-12-01 00:00:00", ""},
      {"2025-12-31 23:59:59", ""},
      {"2026-01-01 00:00:00", ""},
      {"2026-01-31 23:59:59", ""},
      {"2026-02-28 12:00:00", ""}},
     "--*-**"},
    {"the same month of another year is another month",
     "monthly=2",
     "2026-04-05 00:00:00",
     {{"2024-01-05 00:00:00", ""}, {"2025-01-05 00:00:00", ""}, {"2026-01-05 00:00:00", ""}},
     "-**"},
    {"years, a leap day",
     "yearly=2",
     "2026-04-05 00:00:00",
     {{"2024-02-29 00:00:00", ""}, {"2024-12-31 23:59:59", ""}, {"2025-01-01 00:00:00", ""}},
     "-**"},
    {"any rule is enough",
     "last=1 daily=2 monthly=2",
     "2026-02-05 00:00:00",
     {{"2025-12-31 10:00:00", ""},
      {"2026-01-30 10:00:00", ""},
      {"2026-01-31 10:00:00", ""},
      {"2026-02-01 09:00:00", ""},
      {"2026-02-01 10:00:00", ""}},
     "--*-*"},
    {"the same second: the later one by number",
     "last=1",
     "2026-02-05 00:00:00",
     {{"2026-02-01 10:00:00", ""}, {"2026-02-01 10:00:00", ""}, {"2026-02-01 10:00:00", ""}},
     "--*"},
    {"the same second, of a day",
     "daily=5",
     "2026-02-05 00:00:00",
     {{"2026-02-01 10:00:00", ""}, {"2026-02-01 10:00:00", ""}},
     "-*"},
    {"within counts from the newest, not from now",
     "within=2d",
     "2027-01-01 00:00:00",
     {{"2026-01-01 09:59:59", ""},
      {"2026-01-01 10:00:00", ""},
      {"2026-01-02 00:00:00", ""},
      {"2026-01-03 10:00:00", ""}},
     "-***"},
    {"within months and years",
     "within=1y1m",
     "2027-01-01 00:00:00",
     {{"2025-02-27 23:59:59", ""}, {"2025-02-28 00:00:00", ""}, {"2026-03-28 00:00:00", ""}},
     "-**"},
    {"within hours",
     "within=36h",
     "2027-01-01 00:00:00",
     {{"2025-12-31 11:59:59", ""}, {"2025-12-31 12:00:00", ""}, {"2026-01-02 00:00:00", ""}},
     "-**"},
    {"held ones stay, and count",
     "last=2",
     "2026-02-05 00:00:00",
     {{"2026-01-01 10:00:00", "h"},
      {"2026-01-02 10:00:00", ""},
      {"2026-01-03 10:00:00", "h"},
      {"2026-01-04 10:00:00", ""}},
     "*-**"},
    {"the newest stays, whatever the rules",
     "yearly=0 within=0d last=1",
     "2026-02-05 00:00:00",
     {{"2026-01-01 10:00:00", ""}},
     "*"},
    {"imported ones stay and do not count",
     "daily=1",
     "2026-02-05 00:00:00",
     {{"2026-01-01 10:00:00", ""},
      {"2026-01-02 10:00:00", "i"},
      {"2026-01-02 09:00:00", ""},
      {"2026-01-05 10:00:00", "i"}},
     "-***"},
    {"the state before a restore stays for 30 days and does not count; later it is as any other",
     "last=1",
     "2026-02-01 00:00:00",
     {{"2026-01-01 23:59:59", "s"},
      {"2026-01-02 00:00:01", "s"},
      {"2026-01-02 00:00:00", ""},
      {"2026-01-31 00:00:00", "s"}},
     "-***"},
    {"what an unsettled restore needs stays, however old",
     "last=1",
     "2026-02-01 00:00:00",
     {{"2020-01-01 00:00:00", "sn"},
      {"2020-01-02 00:00:00", "n"},
      {"2026-01-01 00:00:00", ""},
      {"2026-01-02 00:00:00", ""}},
     "**-*"},
    {"one from the future stays and decides nothing",
     "last=1 within=1d",
     "2026-02-01 00:00:00",
     {{"2026-01-01 00:00:00", ""},
      {"2026-01-30 00:00:00", ""},
      {"2026-01-30 12:00:00", ""},
      {"2099-01-01 00:00:00", ""}},
     "-***"},
    {"before 1970",
     "daily=1",
     "1970-01-02 00:00:00",
     {{"1969-12-31 00:00:00", ""}, {"1969-12-31 23:59:59.999", ""}, {"1969-12-31 23:59:59", ""}},
     "-*-"},
};

static void cases_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct keep_case *c = &cases[i];
		struct keep_rules rules;
		struct err e = ERR_INIT;
		struct keep_item v[MAX];
		char got[MAX + 1] = "";
		size_t n = 0;
		if (keep_parse(&rules, c->rules, &e) < 0)
			fail_msg("%s: %s", c->what, e.msg);
		for (; c->s[n].at; n++) {
			const char *f = c->s[n].flags;
			v[n] = (struct keep_item){.taken_ms = moment(c->s[n].at),
						  .id = (int64_t)n + 1,
						  .held = strchr(f, 'h'),
						  .needed = strchr(f, 'n'),
						  .safety = strchr(f, 's'),
						  .imported = strchr(f, 'i')};
		}
		keep_apply(&rules, v, n, moment(c->now));
		for (size_t k = 0; k < n; k++) {
			assert_true(k == 0 || v[k - 1].taken_ms >= v[k].taken_ms);
			assert_int_equal(v[k].keep, v[k].why[0] != '\0');
			got[v[k].id - 1] = v[k].keep ? '*' : '-';
		}
		got[n] = '\0';
		if (strcmp(got, c->kept))
			fail_msg("%s: kept %s, not %s", c->what, got, c->kept);
	}
}

/* A year of hourly snapshots, pruned after each: what stays is what the rules say of a steady state, and a second prune
 * finds nothing more. */
static void a_year_of_prunes(void **state)
{
	(void)state;
	struct keep_rules rules;
	assert_int_equal(keep_parse(&rules, "last=3, hourly=5, daily=7, weekly=4, monthly=12", ERR_DROP), 0);
	struct keep_item v[MAX * 2];
	size_t n = 0;
	int64_t now = moment("2025-01-01 00:30:00"), id = 1;
	for (int hour = 0; hour < 366 * 24; hour++, now += 3600000) {
		v[n++] = (struct keep_item){.taken_ms = now, .id = id++};
		assert_true(n < sizeof v / sizeof *v);
		for (int twice = 0; twice < 2; twice++) {
			size_t left = 0;
			keep_apply(&rules, v, n, now);
			assert_true(v[0].keep);
			for (size_t i = 0; i < n; i++)
				if (v[i].keep)
					v[left++] = v[i];
			assert_true(!twice || left == n);
			n = left;
		}
	}
	/* It ends on Thursday, 2026-01-01 23:30: 5 hours; 6 more days, to 12-26; 12-21 and 12-14 (the week before them
	 * ended on a day that is there); November to February. */
	assert_int_equal(n, 5 + 6 + 2 + 10);
	assert_int_equal(v[n - 1].taken_ms, moment("2025-02-28 23:30:00"));
}

static void words(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
					  "last",
					  "last=",
					  "last=x",
					  "last=-1",
					  "last=1 last=2",
					  "last=1000001",
					  "minutely=3",
					  "last=0",
					  "within=",
					  "within=3",
					  "within=3w",
					  "within=d",
					  "within=1d1d",
					  "within=1d1y",
					  "within=1 d",
					  "last=3=4",
					  "weekly=0 within=0h"};
	struct keep_rules k;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = ERR_INIT;
		if (keep_parse(&k, bad[i], &e) != -EINVAL)
			fail_msg("\"%s\" is taken", bad[i]);
		assert_true(e.msg[0]);
	}
	struct strbuf text = {0};
	assert_int_equal(keep_parse(&k, " yearly=2,last=5\tdaily=7 within=1y6m3d12h ", ERR_DROP), 0);
	keep_text(&k, &text);
	assert_string_equal(text.data, "last=5 daily=7 yearly=2 within=1y6m3d12h");
	assert_int_equal(keep_parse(&k, "within=36h", ERR_DROP), 0);
	assert_false(keep_is_empty(&k));
	strbuf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cases_hold),
	    cmocka_unit_test(a_year_of_prunes),
	    cmocka_unit_test(words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
