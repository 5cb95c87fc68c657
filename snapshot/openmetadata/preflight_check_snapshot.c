/*
 * snapshot/openmetadata/preflight_check_snapshot.c - the checks of the way back: a fresh snapshot, and a proof that one
 * can be restored. No state.
 */
#include "snapshot/openmetadata/internal.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/openmetadata/preflight_facts.h"
#include "snapshot/store/journal.h"
#include "snapshot/store/snapshot.h"
#include "snapshot/store/tables.h"

#define SNAPSHOT_FRESH_MS (INT64_C(24) * 3600 * 1000)
#define PROVEN_FRESH_MS (INT64_C(30) * 24 * 3600 * 1000)

/* "tag 480 -> 481, ..." of the tables whose numbers of rows differ; returns how many. */
static size_t compare_counts(const struct preflight_facts *f, const struct version_list *v, struct strbuf *out)
{
	size_t differ = 0;
	const struct db_schema *s = f->schema;
	for (size_t i = 0, k = 0; i < s->n_tables || k < v->n;) {
		int order = i == s->n_tables ? 1 : k == v->n ? -1 : strcmp(s->tables[i].name, v->v[k].name);
		const char *name = order <= 0 ? s->tables[i].name : v->v[k].name;
		bool same = order == 0 && f->server.rows[i] == v->v[k].rows;
		if (!same && differ++ < PREFLIGHT_NAMED) {
			strbuf_adds(out, differ > 1 ? ", " : "");
			preflight_add_name(out, name, strlen(name));
			if (order < 0)
				strbuf_adds(out, " new");
			else if (order > 0)
				strbuf_adds(out, " gone");
			else
				strbuf_addf(out, " %" PRIu64 " -> %" PRIu64, v->v[k].rows, f->server.rows[i]);
		}
		i += order <= 0;
		k += order >= 0;
	}
	if (differ > PREFLIGHT_NAMED)
		strbuf_addf(out, " and %zu more", differ - PREFLIGHT_NAMED);
	return differ;
}

static void advise_snapshot(const struct preflight_facts *f, struct preflight_line *l)
{
	preflight_advise(l, "Stop the OpenMetadata server, then: metasnap snapshot %s before-%s\n", f->rq->label,
			 f->rq->to ? f->rq->to : "upgrade");
	preflight_advise(l, "(on the mount: mkdir %s/snapshots/before-%s)\n", f->rq->source->name,
			 f->rq->to ? f->rq->to : "upgrade");
}

static void compare_snapshot(const struct preflight_facts *f, const struct snapshot_info *s, struct preflight_line *l)
{
	struct version_list tables = {0};
	_cleanup_strbuf_ struct strbuf differing = {0};
	struct err e = ERR_INIT;
	if (!f->schema || !f->server.rows || f->unexamined.code) {
		preflight_say(l, PREFLIGHT_WARN, "; not compared with the database, which could not be read");
		return;
	}
	if (strcmp(s->engine ? s->engine : "", f->schema->engine)) {
		preflight_say(l, PREFLIGHT_FAIL, "; it is of a %s database", s->engine ? s->engine : "(not named)");
		advise_snapshot(f, l);
		return;
	}
	if (f->schema->app_version && s->app_version && strcmp(s->app_version, f->schema->app_version)) {
		preflight_say(l, PREFLIGHT_FAIL, "; it is of OpenMetadata %s, the database of %s", s->app_version,
			      f->from_text);
		advise_snapshot(f, l);
		return;
	}
	if (catalog_tables(f->rq->catalog, s->id, &tables, &e) < 0) {
		preflight_say(l, PREFLIGHT_FAIL, "; the catalog cannot be read: %s", e.msg);
		preflight_advise(l, "metasnap check\n");
		return;
	}
	size_t n = compare_counts(f, &tables, &differing);
	if (n) {
		preflight_say(l, PREFLIGHT_WARN, "; %zu table%s differ%s from it now: %s", n, n > 1 ? "s" : "",
			      n > 1 ? "" : "s", differing.data);
		advise_snapshot(f, l);
	} else {
		preflight_say(l, PREFLIGHT_OK, "; each of its %zu tables has as many rows now", tables.n);
	}
	version_list_done(&tables);
}

void preflight_check_snapshot(const struct preflight_facts *f, struct preflight_line *l)
{
	const struct preflight_request *rq = f->rq;
	struct snapshot_info s;
	struct err e = ERR_INIT;
	char when[CLOCK_TEXT];
	int r =
	    rq->catalog && rq->source_id ? store_newest_taken(rq->catalog, rq->source_id, f->now_ms, &s, &e) : -ENOENT;
	if (rq->catalog_err && rq->catalog_err->code) {
		r = -rq->catalog_err->code;
		e = *rq->catalog_err;
	}
	if (r == -ENOENT) {
		preflight_say(l, PREFLIGHT_FAIL, "there is no snapshot of this database");
		advise_snapshot(f, l);
		return;
	}
	if (r < 0) {
		preflight_say(l, PREFLIGHT_FAIL, "the catalog cannot be read: %s", e.msg);
		return;
	}
	int64_t age = f->now_ms - s.taken_ms;
	clock_text(s.taken_ms, when);
	if (age >= SNAPSHOT_FRESH_MS) {
		preflight_say(l, PREFLIGHT_FAIL, "the newest snapshot, %s, is of %s, older than 24 hours", s.name,
			      when);
		advise_snapshot(f, l);
	} else {
		preflight_say(l, PREFLIGHT_OK, "snapshot %s of %s, %" PRId64 " rows", s.name, when, s.rows);
		compare_snapshot(f, &s, l);
	}
	snapshot_info_done(&s);
}

/* The newest proof that a way back exists, and whether a snapshot has been found damaged since. */
struct proof {
	int64_t at_ms;
	char what[300];
	bool damaged;
	char damage[600];
};

static int look_at_journal(void *arg, const struct journal_entry *j)
{
	struct proof *p = arg;
	bool restored = j->op == JOURNAL_RESTORE && j->state == JOURNAL_COMMITTED;
	bool verify = j->op == JOURNAL_VERIFY;
	if (restored || (verify && j->state == JOURNAL_DONE)) {
		p->at_ms = j->finished_ms ? j->finished_ms : j->at_ms;
		p->damaged = false;
		(void)snprintf(p->what, sizeof p->what, "%s %s", j->op_word, j->subject ? j->subject : "");
	} else if (verify && j->state == JOURNAL_FAILED && j->subject && strcmp(j->subject, "live")) {
		p->damaged = true;
		(void)snprintf(p->damage, sizeof p->damage, "%s: %s", j->subject, j->detail ? j->detail : "failed");
	}
	return 0;
}

void preflight_check_restore_proven(const struct preflight_facts *f, struct preflight_line *l)
{
	const struct preflight_request *rq = f->rq;
	struct proof p = {0};
	struct err e = ERR_INIT;
	char when[CLOCK_TEXT];
	if (rq->catalog && rq->source_id &&
	    journal_each(rq->catalog, rq->source_id, false, look_at_journal, &p, &e) < 0) {
		preflight_say(l, PREFLIGHT_WARN, "the journal cannot be read: %s", e.msg);
		return;
	}
	clock_text(p.at_ms, when);
	if (p.damaged) {
		preflight_say(l, PREFLIGHT_FAIL, "the last `verify` found damage: %s", p.damage);
		preflight_advise(l, "Take a new snapshot, then: metasnap verify %s latest\n", rq->label);
		return;
	}
	if (p.at_ms && f->now_ms - p.at_ms < PROVEN_FRESH_MS) {
		preflight_say(l, PREFLIGHT_OK, "%s succeeded on %s", p.what, when);
		return;
	}
	preflight_say(l, PREFLIGHT_WARN,
		      p.at_ms ? "the last proof is older than 30 days: %s, %s" : "no restore and no `verify` yet%s%s",
		      p.at_ms ? p.what : "", p.at_ms ? when : "");
	preflight_advise(
	    l,
	    "metasnap verify %s latest            (every row of the snapshot is read and compared with its digest)\n"
	    "metasnap verify %s latest --live     (the database itself, while nothing writes to it)\n"
	    "or a drill: restore an exported snapshot into an empty database.\n",
	    rq->label, rq->label);
}
