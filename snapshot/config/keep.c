/*
 * snapshot/config/keep.c - see keep.h. No state, no locks.
 */
#include "snapshot/config/keep.h"

#include <errno.h>
#include <time.h>

#define KEEP_MAX 1000000U

static const char *const keep_names[KEEP_COUNTS] = {"last", "hourly", "daily", "weekly", "monthly", "yearly"};

/* ---- words ---- */

/* Digits up to KEEP_MAX; advances *p. */
static bool keep_number(const char **p, unsigned *ret)
{
	const char *s = *p;
	unsigned v = 0;
	for (; *s >= '0' && *s <= '9' && v <= KEEP_MAX; s++)
		v = v * 10 + (unsigned)(*s - '0');
	if (s == *p || v > KEEP_MAX)
		return false;
	*p = s;
	*ret = v;
	return true;
}

/* "1y6m", "90d", "36h": each unit at most once. */
static int keep_set_within(struct keep_rules *k, const char *value, struct err *e)
{
	static const char units[] = "ymdh";
	unsigned *to[] = {&k->within.years, &k->within.months, &k->within.days, &k->within.hours};
	size_t next = 0;
	const char *p = value;
	do {
		unsigned n = 0;
		const char *unit = keep_number(&p, &n) && *p ? strchr(units + next, *p) : NULL;
		if (!unit)
			return err_set(e, EINVAL, "within=%.40s is not a duration such as 30d, 36h or 1y6m", value);
		*to[unit - units] = n;
		next = (size_t)(unit - units) + 1;
		p++;
	} while (*p);
	return 0;
}

int keep_set(struct keep_rules *k, const char *name, const char *value, struct err *e)
{
	if (!strcmp(name, "within"))
		return keep_set_within(k, value, e);
	for (size_t i = 0; i < KEEP_COUNTS; i++) {
		const char *p = value;
		if (strcmp(name, keep_names[i]))
			continue;
		if (!keep_number(&p, &k->count[i]) || *p)
			return err_set(e, EINVAL, "%s=%.40s is not a whole number from 0 to %u", name, value, KEEP_MAX);
		return 0;
	}
	return err_set(e, EINVAL, "no rule is called \"%.40s\" (last, hourly, daily, weekly, monthly, yearly, within)",
		       name);
}

int keep_parse(struct keep_rules *k, const char *text, struct err *e)
{
	_cleanup_strbuf_ struct strbuf seen = {0};
	*k = (struct keep_rules){0};
	for (;;) {
		text += strspn(text, " \t,");
		size_t n = strcspn(text, " \t,");
		if (!n)
			break;
		_cleanup_free_ char *word = xmemdup0(text, n);
		char *value = strchr(word, '=');
		if (!value)
			return err_set(e, EINVAL, "\"%.40s\" is not RULE=NUMBER", word);
		*value++ = '\0';
		_cleanup_free_ char *mark = xasprintf(" %s ", word);
		if (strstr(strbuf_str(&seen), mark))
			return err_set(e, EINVAL, "%.40s is given twice", word);
		strbuf_adds(&seen, mark);
		int r = keep_set(k, word, value, e);
		if (r < 0)
			return r;
		text += n;
	}
	return keep_is_empty(k) ? err_set(e, EINVAL, "these rules keep nothing") : 0;
}

static bool keep_has_within(const struct keep_rules *k)
{
	return k->within.years || k->within.months || k->within.days || k->within.hours;
}

bool keep_is_empty(const struct keep_rules *k)
{
	for (size_t i = 0; i < KEEP_COUNTS; i++)
		if (k->count[i])
			return false;
	return !keep_has_within(k);
}

void keep_text(const struct keep_rules *k, struct strbuf *out)
{
	const char *gap = "";
	for (size_t i = 0; i < KEEP_COUNTS; i++)
		if (k->count[i]) {
			strbuf_addf(out, "%s%s=%u", gap, keep_names[i], k->count[i]);
			gap = " ";
		}
	if (!keep_has_within(k))
		return;
	strbuf_addf(out, "%swithin=", gap);
	const unsigned n[] = {k->within.years, k->within.months, k->within.days, k->within.hours};
	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		if (n[i])
			strbuf_addf(out, "%u%c", n[i], "ymdh"[i]);
}

/* ---- time ---- */

static int64_t keep_floor(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The period of a rule that a moment lies in: equal numbers are the same one. */
static int64_t keep_period(enum keep_rule rule, int64_t ms, int64_t nth)
{
	int64_t s = keep_floor(ms, 1000), days = keep_floor(s, 86400);
	time_t t = (time_t)s;
	struct tm tm = {0};
	switch (rule) {
	case KEEP_HOURLY:
		return keep_floor(s, 3600);
	case KEEP_DAILY:
		return days;
	case KEEP_WEEKLY:
		return keep_floor(days + 3, 7); /* 1970-01-01 was a Thursday */
	case KEEP_MONTHLY:
		(void)gmtime_r(&t, &tm);
		return (int64_t)tm.tm_year * 12 + tm.tm_mon;
	case KEEP_YEARLY:
		(void)gmtime_r(&t, &tm);
		return tm.tm_year;
	case KEEP_LAST:
	case KEEP_COUNTS:
		break;
	}
	return nth; /* each snapshot is a period of its own */
}

/* The moment that lies the rule's duration before `ms`. */
static int64_t keep_before(const struct keep_rules *k, int64_t ms)
{
	time_t t = (time_t)keep_floor(ms, 1000);
	struct tm tm = {0};
	(void)gmtime_r(&t, &tm);
	tm.tm_year -= (int)k->within.years;
	tm.tm_mon -= (int)k->within.months; /* timegm takes any number, and 31 February for 3 March */
	tm.tm_mday -= (int)k->within.days;
	tm.tm_hour -= (int)k->within.hours;
	return (int64_t)timegm(&tm) * 1000 + (ms - keep_floor(ms, 1000) * 1000);
}

/* ---- the decision ---- */

static int keep_newest_first(const void *a, const void *b)
{
	const struct keep_item *x = a, *y = b;
	if (x->taken_ms != y->taken_ms)
		return x->taken_ms > y->taken_ms ? -1 : 1;
	return (x->id < y->id) - (x->id > y->id);
}

static void keep_because(struct keep_item *i, const char *why)
{
	size_t n = strlen(i->why);
	i->keep = true;
	(void)snprintf(i->why + n, sizeof i->why - n, "%s%s", n ? ", " : "", why);
}

/* Looks at what no rule counts. */
static bool keep_apart(struct keep_item *i, int64_t now_ms)
{
	if (i->needed)
		keep_because(i, "an unsettled restore needs it");
	if (i->imported)
		keep_because(i, "imported");
	if (i->safety && now_ms - i->taken_ms < KEEP_SAFETY_MS)
		keep_because(i, "before a restore");
	if (i->taken_ms > now_ms)
		keep_because(i, "in the future");
	return i->keep;
}

void keep_apply(const struct keep_rules *k, struct keep_item *v, size_t n, int64_t now_ms)
{
	unsigned left[KEEP_COUNTS];
	int64_t last[KEEP_COUNTS] = {0}, since = 0, nth = 0;
	bool any = false;
	memcpy(left, k->count, sizeof left);
	qsort(v, n, sizeof *v, keep_newest_first);
	for (size_t i = 0; i < n; i++) {
		struct keep_item *s = &v[i];
		s->keep = false;
		s->why[0] = '\0';
		if (s->held)
			keep_because(s, "held");
		struct keep_item apart = *s;
		apart.keep = false;
		if (keep_apart(&apart, now_ms)) {
			*s = apart;
			continue;
		}
		if (!any)
			since = keep_before(k, s->taken_ms);
		for (enum keep_rule rule = KEEP_LAST; rule < KEEP_COUNTS; rule++) {
			int64_t period = keep_period(rule, s->taken_ms, nth);
			if (!left[rule] || (any && period == last[rule]))
				continue;
			left[rule]--;
			last[rule] = period;
			keep_because(s, keep_names[rule]);
		}
		if (keep_has_within(k) && s->taken_ms >= since)
			keep_because(s, "within");
		if (!any && !s->keep)
			keep_because(s, "the newest");
		any = true;
		nth++;
	}
}
