/*
 * snapshot/openmetadata/preflight.c - the checks before an upgrade of OpenMetadata, one after the other.
 *
 * First everything is gathered; then each check looks at what was gathered. What cannot be gathered (no server, no
 * rights, no catalog) is a line of the report, never its end. No state, no locks.
 */
#include "snapshot/openmetadata/preflight.h"

#include <errno.h>

#include "base/clock.h"
#include "snapshot/openmetadata/internal.h"
#include "snapshot/openmetadata/preflight_facts.h"

static bool always(const struct preflight_facts *f)
{
	(void)f;
	return true;
}

static bool to_is_given(const struct preflight_facts *f)
{
	return f->to.known;
}

enum need { NEED_NOTHING, NEED_SERVER, NEED_EXAMINED, NEED_TABLES, NEED_ROWS };

static const struct check {
	const char *id;
	enum need need;
	bool (*applies)(const struct preflight_facts *f);
	void (*run)(const struct preflight_facts *f, struct preflight_line *l);
} checks[] = {
    {"server", NEED_NOTHING, always, preflight_check_server},
    {"openmetadata_version", NEED_SERVER, always, preflight_check_version},
    {"target", NEED_SERVER, to_is_given, preflight_check_target},
    {"sort_memory", NEED_EXAMINED, always, preflight_check_sort_memory},
    {"query_entity", NEED_TABLES, always, preflight_check_query_entity},
    {"snapshot", NEED_NOTHING, always, preflight_check_snapshot},
    {"restore_proven", NEED_NOTHING, always, preflight_check_restore_proven},
    {"privileges_snapshot", NEED_SERVER, always, preflight_check_privileges_snapshot},
    {"privileges_restore", NEED_SERVER, always, preflight_check_privileges_restore},
    {"airflow_mssql", NEED_ROWS, preflight_passes_1_3, preflight_check_airflow_mssql},
    {"bots_jwt", NEED_ROWS, preflight_passes_1_3, preflight_check_bots_jwt},
    {"search_reindex", NEED_ROWS, preflight_passes_1_3, preflight_check_search_reindex},
    {"custom_connectors", NEED_ROWS, preflight_passes_1_3, preflight_check_custom_connectors},
    {"secrets_manager", NEED_NOTHING, preflight_passes_1_3, preflight_check_secrets_manager},
    {"airflow_lineage", NEED_NOTHING, preflight_before_1_4, preflight_check_airflow_lineage},
};

/* Why a check cannot be made; NULL: it can. */
static const char *hindrance(const struct preflight_facts *f, enum need need)
{
	if (need >= NEED_SERVER && f->unreached.code)
		return "server not reached";
	if (need >= NEED_TABLES && f->unread.code)
		return f->unread.msg;
	if ((need == NEED_EXAMINED || need == NEED_TABLES) && f->unexamined.code)
		return f->unexamined.msg;
	return need >= NEED_ROWS && f->rows_err.code ? f->rows_err.msg : NULL;
}

static void run_checks(const struct preflight_facts *f, struct preflight_report *ret)
{
	size_t n = sizeof checks / sizeof checks[0];
	ret->lines = xcalloc(n, sizeof *ret->lines);
	ret->ready = true;
	for (size_t i = 0; i < n; i++) {
		if (!checks[i].applies(f))
			continue;
		struct preflight_line *l = &ret->lines[ret->n_lines++];
		const char *why = hindrance(f, checks[i].need);
		l->id = checks[i].id;
		if (why) {
			/* The line that says why is another one; where there is none, this is it. */
			bool told = f->unreached.code || f->unread.code;
			preflight_say(l, told ? PREFLIGHT_INFO : PREFLIGHT_WARN, "not checked: %s", why);
		} else {
			checks[i].run(f, l);
		}
		ret->ready &= l->status != PREFLIGHT_FAIL;
	}
}

int preflight_run(const struct preflight_request *rq, struct preflight_report *ret, struct err *e)
{
	_cleanup_(preflight_facts_done) struct preflight_facts f = {.rq = rq, .now_ms = clock_ms()};
	*ret = (struct preflight_report){0};
	if (rq->to && preflight_version_parse(&f.to, rq->to) < 0)
		return err_set(e, EINVAL, "\"%.40s\" is not a version like 1.4.0", rq->to);
	int r = preflight_gather(&f, e);
	if (r < 0)
		return r;
	ret->source = xstrdup(rq->source->name);
	ret->from = xstrdup(f.from_text);
	ret->to = xstrdup(rq->to);
	ret->server = f.schema ? xasprintf("%s %s", preflight_engine_name(&f), f.schema->server_version) : NULL;
	ret->checked_ms = f.now_ms;
	run_checks(&f, ret);
	return 0;
}
