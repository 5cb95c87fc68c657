/*
 * snapshot/openmetadata/preflight_check_server.c - the checks of the server, of the version and of memory for sorting.
 * No state.
 */
#include "snapshot/openmetadata/internal.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/openmetadata/preflight_facts.h"

#define NEED_SORT_BYTES (UINT64_C(20) << 20) /* what OpenMetadata's guide asks for, and no less */
#define MAX_SORT_BYTES (UINT64_C(512) << 20) /* what we advise at most: each sort of each session may take it */
#define SORT_ROWS 16                         /* MySQL sorts nothing when fewer than 15 of the largest rows fit */
#define SORT_SHARE 10                        /* of the table, so that its sort has few runs to merge */

void preflight_check_server(const struct preflight_facts *f, struct preflight_line *l)
{
	_cleanup_free_ char *url = db_params_describe(&f->rq->source->params);
	if (f->unreached.code == ENOTSUP) {
		preflight_say(l, PREFLIGHT_FAIL, "%s", f->unreached.msg);
		preflight_advise(
		    l, "OpenMetadata needs MySQL 8.0 or PostgreSQL 12, or newer: upgrade the database server first.\n");
		return;
	}
	if (f->unreached.code) {
		preflight_say(l, PREFLIGHT_FAIL, "%s cannot be reached: %s", url, f->unreached.msg);
		preflight_advise(l, f->unreached.code == EACCES
					? "Correct user and password (password_file, PGPASSFILE or ~/.my.cnf).\n"
					: "Start the server, or correct the url of this source.\n");
		return;
	}
	if (!f->schema) {
		preflight_say(l, PREFLIGHT_OK, "%s answers at %s, and its version is supported",
			      preflight_engine_name(f), url);
		return;
	}
	preflight_say(l, PREFLIGHT_OK, "%s %s at %s%s%s", preflight_engine_name(f), f->schema->server_version, url,
		      f->server.hosted ? ", " : "", f->server.hosted ? f->server.hosted : "");
	if (preflight_is_embedded(f)) {
		l->status = PREFLIGHT_INFO;
		strbuf_adds(&l->found, ": OpenMetadata itself runs on MySQL and PostgreSQL");
	} else if (!strcmp(f->schema->engine, "mariadb")) {
		preflight_say(l, PREFLIGHT_WARN,
			      ": metasnap supports it, OpenMetadata does not name it among its databases");
		preflight_advise(l, "Try the upgrade on a copy first.\n");
	}
}

void preflight_check_version(const struct preflight_facts *f, struct preflight_line *l)
{
	if (!f->from_text) {
		preflight_say(l, PREFLIGHT_WARN,
			      "no OpenMetadata version found: SERVER_CHANGE_LOG and DATABASE_CHANGE_LOG are %s",
			      f->schema ? "missing or empty" : "not readable");
		preflight_advise(
		    l, "Is this OpenMetadata's database%s? Every check is made, as for an upgrade from any version.\n",
		    preflight_is_engine(f, "postgresql") ? " and schema" : "");
		return;
	}
	if (!f->from.known) {
		preflight_say(l, PREFLIGHT_WARN, "OpenMetadata %s, which cannot be compared with others", f->from_text);
		preflight_advise(l, "Every check is made, as for an upgrade from any version.\n");
		return;
	}
	preflight_say(l, PREFLIGHT_OK, "OpenMetadata %s", f->from_text);
}

void preflight_check_target(const struct preflight_facts *f, struct preflight_line *l)
{
	if (!f->from.known) {
		preflight_say(l, PREFLIGHT_WARN, "%s is meant, and what is there is not known", f->rq->to);
		return;
	}
	int order = preflight_version_compare(&f->from, &f->to);
	if (order > 0) {
		preflight_say(l, PREFLIGHT_FAIL, "%s is older than what is there, %s: migrations do not go back",
			      f->rq->to, f->from_text);
		preflight_advise(l, "The way back is a snapshot that was taken with %s: metasnap restore %s SNAPSHOT\n",
				 f->rq->to, f->rq->label);
	} else if (order == 0) {
		preflight_say(l, PREFLIGHT_WARN, "the database is of version %s already: nothing to upgrade",
			      f->from_text);
	} else {
		preflight_say(l, PREFLIGHT_OK, "from %s to %s", f->from_text, f->rq->to);
	}
}

/* ---- memory for sorting ---- */

/* A number of bytes as settings have it: 20MB, 256kB. */
static const char *bytes_text(uint64_t n, char out[32])
{
	if (n >= 1 << 20 && n % (1 << 20) == 0)
		(void)snprintf(out, 32, "%" PRIu64 "MB", n >> 20);
	else if (n % 1024 == 0)
		(void)snprintf(out, 32, "%" PRIu64 "kB", n >> 10);
	else
		(void)snprintf(out, 32, "%" PRIu64 " bytes", n);
	return out;
}

/* What the size of query_entity makes of the guide's number, in whole MB. */
static uint64_t sort_advice(const struct preflight_facts *f)
{
	uint64_t want = NEED_SORT_BYTES, mb = 1 << 20;
	if (!f->server.measured)
		return want;
	if (f->server.largest > want / SORT_ROWS)
		want = f->server.largest * SORT_ROWS;
	if (f->server.bytes / SORT_SHARE > want)
		want = f->server.bytes / SORT_SHARE;
	want = (want + mb - 1) / mb * mb;
	return want < MAX_SORT_BYTES ? want : MAX_SORT_BYTES;
}

static void advise_sort(const struct preflight_facts *f, uint64_t want, struct preflight_line *l)
{
	const char *hosted = f->server.hosted;
	bool amazon = hosted && !strncmp(hosted, "Amazon", 6), other = hosted && !amazon;
	bool my = preflight_is_engine(f, "mysql");
	uint64_t mb = want >> 20;
	if (!hosted && my)
		preflight_advise(l,
				 "SET GLOBAL sort_buffer_size = %" PRIu64
				 ";      (until the server restarts; for new sessions)\n"
				 "my.cnf, for good: [mysqld] sort_buffer_size = %" PRIu64 "M\n",
				 want, mb);
	if (!hosted && !my)
		preflight_advise(l,
				 "ALTER SYSTEM SET work_mem = '%" PRIu64
				 "MB'; SELECT pg_reload_conf();      (or postgresql.conf; for "
				 "new sessions)\n"
				 "SET work_mem = '%" PRIu64
				 "MB'; is for one session only, and does not help the migration.\n",
				 mb, mb);
	if (!other)
		preflight_advise(l, "%s: %s = %" PRIu64 " in the %s parameter group.\n",
				 amazon ? hosted : "Amazon RDS and Aurora", f->server.setting, my ? want : want >> 10,
				 hosted && strstr(hosted, "Aurora") ? "cluster's (or the instance's)" : "instance's");
	else
		preflight_advise(l, "%s: %s = %" PRIu64 " among the server's parameters (database flags).\n", hosted,
				 f->server.setting, my ? want : want >> 10);
	preflight_advise(l, "It may go back when the migration is done.\n");
}

void preflight_check_sort_memory(const struct preflight_facts *f, struct preflight_line *l)
{
	char has[32], wants[32];
	const struct db_examination *x = &f->server;
	if (!x->setting) {
		preflight_say(l, PREFLIGHT_INFO, "not applicable to %s", preflight_engine_name(f));
		return;
	}
	uint64_t want = sort_advice(f);
	bool enough = x->setting_bytes >= want;
	(void)bytes_text(x->setting_bytes, has);
	(void)bytes_text(x->setting_bytes < NEED_SORT_BYTES ? NEED_SORT_BYTES : want, wants);
	preflight_say(l,
		      enough                               ? PREFLIGHT_OK
		      : x->setting_bytes < NEED_SORT_BYTES ? PREFLIGHT_FAIL
							   : PREFLIGHT_WARN,
		      "%s is %s (%" PRIu64 "), %s%s", x->setting, has, x->setting_bytes,
		      enough                               ? "enough for the migration"
		      : x->setting_bytes < NEED_SORT_BYTES ? "the migration needs at least "
							   : "enough by the guide; query_entity is large and wants ",
		      enough ? "" : wants);
	if (x->setting_only) {
		preflight_say(l, PREFLIGHT_WARN, "; that is so for %s, the server's own value cannot be seen",
			      x->setting_only);
		preflight_advise(l, "Look at it with the account of the OpenMetadata server: SHOW %s;\n", x->setting);
	}
	if (!enough)
		advise_sort(f, want, l);
}

void preflight_check_query_entity(const struct preflight_facts *f, struct preflight_line *l)
{
	char wants[32];
	uint64_t want = sort_advice(f), rows = 0;
	if (!f->server.measured) {
		preflight_say(l, PREFLIGHT_INFO, "there is no table query_entity");
		return;
	}
	for (size_t i = 0; i < f->schema->n_tables; i++)
		if (!strcmp(f->schema->tables[i].name, "query_entity"))
			rows = f->server.rows[i];
	preflight_say(l, PREFLIGHT_INFO,
		      "query_entity has %" PRIu64 " rows, %" PRIu64 " bytes, the largest row has %" PRIu64, rows,
		      f->server.bytes, f->server.largest);
	if (want > NEED_SORT_BYTES && f->server.setting)
		preflight_advise(l, "It is large: give %s %s during the migration.\n", f->server.setting,
				 bytes_text(want, wants));
}
