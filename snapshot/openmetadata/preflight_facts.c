/*
 * snapshot/openmetadata/preflight_facts.c - what the checks look at, gathered in one read-only transaction and one pass
 * over the rows.
 *
 * What cannot be gathered (no server, no rights) is told by one of the errors in it. One thread; no locks.
 */
#include "snapshot/openmetadata/preflight_facts.h"

#include <errno.h>

static const struct preflight_version v1_3 = {{1, 3}, true};
static const struct preflight_version v1_4 = {{1, 4}, true};

void preflight_facts_done(struct preflight_facts *f)
{
	db_schema_free(f->schema);
	db_examination_done(&f->server);
	preflight_rows_done(&f->rows);
	free(f->from_text);
}

/* Whether the way from the version found to the one meant passes v. What is not known may be anything. */
static bool passes(const struct preflight_facts *f, const struct preflight_version *v)
{
	return !(f->from.known && preflight_version_compare(&f->from, v) >= 0) &&
	       !(f->to.known && preflight_version_compare(&f->to, v) < 0);
}

bool preflight_passes_1_3(const struct preflight_facts *f)
{
	return passes(f, &v1_3);
}

bool preflight_before_1_4(const struct preflight_facts *f)
{
	return !(f->from.known && preflight_version_compare(&f->from, &v1_4) >= 0) &&
	       !(f->to.known && preflight_version_compare(&f->to, &v1_3) < 0);
}

bool preflight_is_engine(const struct preflight_facts *f, const char *engine)
{
	return !strcmp(f->rq->source->params.engine, engine);
}

bool preflight_is_embedded(const struct preflight_facts *f)
{
	return !preflight_is_engine(f, "mysql") && !preflight_is_engine(f, "postgresql");
}

const char *preflight_engine_name(const struct preflight_facts *f)
{
	const char *engine = f->schema ? f->schema->engine : f->rq->source->params.engine;
	return !strcmp(engine, "postgresql") ? "PostgreSQL"
	       : !strcmp(engine, "mysql")    ? "MySQL"
	       : !strcmp(engine, "mariadb")  ? "MariaDB"
					     : "SQLite";
}

/* ---- gathering ---- */

static int gather_schema(struct preflight_facts *f, struct db_conn *c, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (d->examine(c, f->schema, "query_entity", &f->server, &f->unexamined) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	/* A failed statement ends the transaction on some engines. */
	if (f->unexamined.code && f->schema) {
		f->rows_err = f->unexamined;
		return 0;
	}
	if (!f->schema)
		return 0;
	/* Documents are not looked into without a reason. */
	if (preflight_passes_1_3(f) &&
	    preflight_rows_read(&f->rows, c, f->schema, f->rq->waiter, &f->rows_err) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	/* Last: a snapshot without the schema's text is none, and where that fails is worth knowing before. */
	if (!f->rows_err.code && d->schema_sql(c, f->schema, &sql, &f->unfit) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	return 0;
}

static int gather_from(struct preflight_facts *f, struct db_conn *c, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	int r = d->begin(c, DB_READ, &f->schema, &f->unread);
	if (r == -EINTR)
		return err_set(e, EINTR, "interrupted");
	if (f->schema && f->schema->app_version) {
		struct strbuf from = {0};
		preflight_add_name(&from, f->schema->app_version, strlen(f->schema->app_version));
		f->from_text = strbuf_detach(&from);
		(void)preflight_version_parse(&f->from, f->from_text);
	}
	r = gather_schema(f, c, e);
	if (f->schema)
		d->rollback(c);
	return r;
}

int preflight_gather(struct preflight_facts *f, struct err *e)
{
	const struct preflight_request *rq = f->rq;
	_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
	if (config_connect(rq->source, &c, &f->unreached) < 0) {
		f->unread = f->unreached;
		return rq->waiter && atomic_load(&rq->waiter->interrupted) ? err_set(e, EINTR, "interrupted") : 0;
	}
	int r = rq->connected ? rq->connected(rq->arg, c, e) : 0;
	if (r == 0)
		r = gather_from(f, c, e);
	if (rq->connected)
		(void)rq->connected(rq->arg, NULL, ERR_DROP);
	if (r == 0 && rq->waiter && atomic_load(&rq->waiter->interrupted))
		r = err_set(e, EINTR, "interrupted");
	return r;
}
