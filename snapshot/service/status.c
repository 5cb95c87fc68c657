/*
 * snapshot/service/status.c - what a source says of itself: status, progress, journal.
 *
 * Any thread. Locks: service.mutex, then a job's job_ctl.mutex.
 */
#include "snapshot/service/status.h"

#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/service/internal.h"
#include "snapshot/store/texts.h"

void service_progress(struct service *svc, size_t source, struct progress *ret)
{
	*ret = (struct progress){0};
	MUTEX_GUARD(&svc->mutex);
	struct job *j = svc->source[source].job;
	if (!j)
		return;
	{
		MUTEX_GUARD(&j->ctl.mutex);
		memcpy(ret->what, j->ctl.what, sizeof ret->what);
	}
	ret->rows_done = atomic_load(&j->ctl.rows_done);
	ret->rows_total = atomic_load(&j->ctl.rows_total);
	ret->bytes_done = atomic_load(&j->ctl.bytes_done);
	ret->started_ms = j->started_ms;
}

static void status_left_out(struct catalog *c, int64_t snapshot_id, struct strbuf *out)
{
	_cleanup_(manifest_done) struct manifest m = {0};
	if (store_manifest(c, snapshot_id, &m, ERR_DROP) < 0)
		return;
	for (size_t i = 0; i < m.n_left_out; i++)
		strbuf_addf(out, "not in it: %s\n", m.left_out[i]);
}

void service_status(struct service *svc, size_t source, struct strbuf *out)
{
	struct source_state *s = &svc->source[source];
	_cleanup_free_ char *server = db_params_describe(&s->config->params);
	char when[40];
	strbuf_addf(out, "source: %s\nserver: %s\nrestore: %s\n", s->config->name, server,
		    restore_policy_name(s->config->restore));
	struct snapshot_info info;
	if (catalog_latest(svc->catalog, s->id, &info, ERR_DROP) == 0) {
		clock_text(info.taken_ms, when);
		strbuf_addf(out, "last snapshot: %s, %s, %zu tables, %" PRId64 " rows, %s %s%s%s\n", info.name, when,
			    info.n_tables, info.rows, info.engine, info.server_version,
			    info.app_version ? ", OpenMetadata " : "", info.app_version ? info.app_version : "");
		status_left_out(svc->catalog, info.id, out);
		snapshot_info_done(&info);
	} else {
		strbuf_adds(out, "last snapshot: none\n");
	}
	struct progress p;
	service_progress(svc, source, &p);
	if (p.what[0]) {
		double seconds = (double)(clock_ms() - p.started_ms) / 1000;
		strbuf_addf(out, "running: %s, %" PRIu64 " rows", p.what, p.rows_done);
		if (p.rows_total)
			strbuf_addf(out, " of about %" PRIu64, p.rows_total);
		strbuf_addf(out, ", %.0f s", seconds);
		if (p.rows_done && p.rows_total > p.rows_done && seconds > 0)
			strbuf_addf(out, ", about %.0f s left",
				    seconds * (double)(p.rows_total - p.rows_done) / (double)p.rows_done);
		strbuf_addch(out, '\n');
	} else {
		strbuf_adds(out, "running: nothing\n");
	}
	MUTEX_GUARD(&svc->mutex);
	if (s->last_error[0]) {
		clock_text(s->last_error_ms, when);
		strbuf_addf(out, "last error: %s %s\n", when, s->last_error);
	} else {
		strbuf_adds(out, "last error: none\n");
	}
}

static int journal_line(void *arg, const struct journal_entry *j)
{
	struct strbuf *out = arg;
	char when[40];
	clock_text(j->at_ms, when);
	strbuf_addf(out, "%s %s %s: %s", when, j->op_word, j->subject, j->state_word);
	if (j->finished_ms)
		strbuf_addf(out, " after %.1f s", (double)(j->finished_ms - j->at_ms) / 1000);
	strbuf_addf(out, " (uid %" PRId64 ", pid %" PRId64 ", %s)", j->uid, j->pid,
		    j->program && *j->program ? j->program : "?");
	if (j->detail && *j->detail)
		strbuf_addf(out, " %s", j->detail);
	strbuf_addch(out, '\n');
	return 0;
}

int service_journal(struct service *svc, size_t source, struct strbuf *out, struct err *e)
{
	return journal_each(svc->catalog, svc->source[source].id, false, journal_line, out, e);
}
