/*
 * snapshot/openmetadata/preflight.c - the checks before an upgrade of OpenMetadata, one function each, and the report as text or
 * JSON.
 *
 * First everything is gathered, in one read-only transaction and one pass over the rows; then each check looks at what
 * was gathered. What cannot be gathered (no server, no rights, no catalog) is a line of the report, never its end.
 * No state, no locks.
 */
#include "snapshot/openmetadata/preflight.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

#include "base/clock.h"
#include "snapshot/store/store.h"

#define NEED_SORT_BYTES (UINT64_C(20) << 20) /* what OpenMetadata's guide asks for, and no less */
#define MAX_SORT_BYTES (UINT64_C(512) << 20) /* what we advise at most: each sort of each session may take it */
#define SORT_ROWS 16                         /* MySQL sorts nothing when fewer than 15 of the largest rows fit */
#define SORT_SHARE 10                        /* of the table, so that its sort has few runs to merge */
#define SNAPSHOT_FRESH_MS (INT64_C(24) * 3600 * 1000)
#define PROVEN_FRESH_MS (INT64_C(30) * 24 * 3600 * 1000)
#define NAMED 20 /* things that one line names */

static const struct preflight_version v1_3 = {{1, 3}, true};
static const struct preflight_version v1_4 = {{1, 4}, true};

/* What is known when the checks run. */
struct gathered {
	const struct preflight_request *rq;
	int64_t now_ms;
	struct preflight_version from, to;
	struct err unreached;     /* code 0: there is a connection */
	struct err unread;        /* code 0: the tables could be read, else why not */
	struct err unfit;         /* code 0: the schema's text could be read */
	struct err unexamined;    /* code 0: settings, rights and counts are known */
	struct err rows_err;      /* code 0: the rows were looked at */
	struct db_schema *schema; /* NULL: unread */
	struct db_examination server;
	struct preflight_rows rows;
	char *from_text;
};

static void gathered_done(struct gathered *g)
{
	db_schema_free(g->schema);
	db_examination_done(&g->server);
	preflight_rows_done(&g->rows);
	free(g->from_text);
}

/* ---- versions ---- */

int preflight_version_parse(struct preflight_version *ret, const char *text)
{
	*ret = (struct preflight_version){0};
	for (size_t i = 0; i < 4; i++) {
		size_t n = strspn(text, "0123456789");
		if (!n || n > 6)
			return -EINVAL;
		ret->part[i] = (unsigned)strtoul(text, NULL, 10);
		text += n;
		if (!*text) {
			ret->known = i > 0; /* "1" says too little */
			return i > 0 ? 0 : -EINVAL;
		}
		if (*text++ != '.')
			return -EINVAL;
	}
	return -EINVAL;
}

static int version_compare(const struct preflight_version *a, const struct preflight_version *b)
{
	for (size_t i = 0; i < 4; i++)
		if (a->part[i] != b->part[i])
			return a->part[i] < b->part[i] ? -1 : 1;
	return 0;
}

/* Whether the way from the version found to the one meant passes v. What is not known may be anything. */
static bool passes(const struct gathered *g, const struct preflight_version *v)
{
	return !(g->from.known && version_compare(&g->from, v) >= 0) &&
	       !(g->to.known && version_compare(&g->to, v) < 0);
}

static bool always(const struct gathered *g)
{
	(void)g;
	return true;
}

static bool to_is_given(const struct gathered *g)
{
	return g->to.known;
}

static bool passes_1_3(const struct gathered *g)
{
	return passes(g, &v1_3);
}

/* Deprecated in 1.3, gone in 1.4. */
static bool before_1_4(const struct gathered *g)
{
	return !(g->from.known && version_compare(&g->from, &v1_4) >= 0) &&
	       !(g->to.known && version_compare(&g->to, &v1_3) < 0);
}

/* ---- words ---- */

__attribute__((format(printf, 3, 4))) static void say(struct preflight_line *l, enum preflight_status status,
						      const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = NULL;
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (status > l->status)
		l->status = status;
	if (n >= 0)
		strbuf_adds(&l->found, text);
	free(text);
}

#define advise(l, ...) strbuf_addf(&(l)->todo, __VA_ARGS__)

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

static bool is_engine(const struct gathered *g, const char *engine)
{
	return !strcmp(g->rq->source->params.engine, engine);
}

/* SQLite, and what stands for it in tests. */
static bool is_embedded(const struct gathered *g)
{
	return !is_engine(g, "mysql") && !is_engine(g, "postgresql");
}

static const char *engine_name(const struct gathered *g)
{
	const char *engine = g->schema ? g->schema->engine : g->rq->source->params.engine;
	return !strcmp(engine, "postgresql") ? "PostgreSQL"
	       : !strcmp(engine, "mysql")    ? "MySQL"
	       : !strcmp(engine, "mariadb")  ? "MariaDB"
					     : "SQLite";
}

/* ---- the server ---- */

static void check_server(const struct gathered *g, struct preflight_line *l)
{
	_cleanup_free_ char *url = db_params_describe(&g->rq->source->params);
	if (g->unreached.code == ENOTSUP) {
		say(l, PREFLIGHT_FAIL, "%s", g->unreached.msg);
		advise(l,
		       "OpenMetadata needs MySQL 8.0 or PostgreSQL 12, or newer: upgrade the database server first.\n");
		return;
	}
	if (g->unreached.code) {
		say(l, PREFLIGHT_FAIL, "%s cannot be reached: %s", url, g->unreached.msg);
		advise(l, g->unreached.code == EACCES
			      ? "Correct user and password (password_file, PGPASSFILE or ~/.my.cnf).\n"
			      : "Start the server, or correct the url of this source.\n");
		return;
	}
	if (!g->schema) {
		say(l, PREFLIGHT_OK, "%s answers at %s, and its version is supported", engine_name(g), url);
		return;
	}
	say(l, PREFLIGHT_OK, "%s %s at %s%s%s", engine_name(g), g->schema->server_version, url,
	    g->server.hosted ? ", " : "", g->server.hosted ? g->server.hosted : "");
	if (is_embedded(g)) {
		l->status = PREFLIGHT_INFO;
		strbuf_adds(&l->found, ": OpenMetadata itself runs on MySQL and PostgreSQL");
	} else if (!strcmp(g->schema->engine, "mariadb")) {
		say(l, PREFLIGHT_WARN, ": metasnap supports it, OpenMetadata does not name it among its databases");
		advise(l, "Try the upgrade on a copy first.\n");
	}
}

static void check_version(const struct gathered *g, struct preflight_line *l)
{
	if (!g->from_text) {
		say(l, PREFLIGHT_WARN,
		    "no OpenMetadata version found: SERVER_CHANGE_LOG and DATABASE_CHANGE_LOG are %s",
		    g->schema ? "missing or empty" : "not readable");
		advise(l,
		       "Is this OpenMetadata's database%s? Every check is made, as for an upgrade from any version.\n",
		       is_engine(g, "postgresql") ? " and schema" : "");
		return;
	}
	if (!g->from.known) {
		say(l, PREFLIGHT_WARN, "OpenMetadata %s, which cannot be compared with others", g->from_text);
		advise(l, "Every check is made, as for an upgrade from any version.\n");
		return;
	}
	say(l, PREFLIGHT_OK, "OpenMetadata %s", g->from_text);
}

static void check_target(const struct gathered *g, struct preflight_line *l)
{
	if (!g->from.known) {
		say(l, PREFLIGHT_WARN, "%s is meant, and what is there is not known", g->rq->to);
		return;
	}
	int order = version_compare(&g->from, &g->to);
	if (order > 0) {
		say(l, PREFLIGHT_FAIL, "%s is older than what is there, %s: migrations do not go back", g->rq->to,
		    g->from_text);
		advise(l, "The way back is a snapshot that was taken with %s: metasnap restore %s SNAPSHOT\n",
		       g->rq->to, g->rq->label);
	} else if (order == 0) {
		say(l, PREFLIGHT_WARN, "the database is of version %s already: nothing to upgrade", g->from_text);
	} else {
		say(l, PREFLIGHT_OK, "from %s to %s", g->from_text, g->rq->to);
	}
}

/* ---- memory for sorting ---- */

/* What the size of query_entity makes of the guide's number, in whole MB. */
static uint64_t sort_advice(const struct gathered *g)
{
	uint64_t want = NEED_SORT_BYTES, mb = 1 << 20;
	if (!g->server.measured)
		return want;
	if (g->server.largest > want / SORT_ROWS)
		want = g->server.largest * SORT_ROWS;
	if (g->server.bytes / SORT_SHARE > want)
		want = g->server.bytes / SORT_SHARE;
	want = (want + mb - 1) / mb * mb;
	return want < MAX_SORT_BYTES ? want : MAX_SORT_BYTES;
}

static void advise_sort(const struct gathered *g, uint64_t want, struct preflight_line *l)
{
	const char *hosted = g->server.hosted;
	bool amazon = hosted && !strncmp(hosted, "Amazon", 6), other = hosted && !amazon;
	bool my = is_engine(g, "mysql");
	uint64_t mb = want >> 20;
	if (!hosted && my)
		advise(l,
		       "SET GLOBAL sort_buffer_size = %" PRIu64 ";      (until the server restarts; for new sessions)\n"
		       "my.cnf, for good: [mysqld] sort_buffer_size = %" PRIu64 "M\n",
		       want, mb);
	if (!hosted && !my)
		advise(l,
		       "ALTER SYSTEM SET work_mem = '%" PRIu64
		       "MB'; SELECT pg_reload_conf();      (or postgresql.conf; for "
		       "new sessions)\n"
		       "SET work_mem = '%" PRIu64 "MB'; is for one session only, and does not help the migration.\n",
		       mb, mb);
	if (!other)
		advise(l, "%s: %s = %" PRIu64 " in the %s parameter group.\n",
		       amazon ? hosted : "Amazon RDS and Aurora", g->server.setting, my ? want : want >> 10,
		       hosted && strstr(hosted, "Aurora") ? "cluster's (or the instance's)" : "instance's");
	else
		advise(l, "%s: %s = %" PRIu64 " among the server's parameters (database flags).\n", hosted,
		       g->server.setting, my ? want : want >> 10);
	advise(l, "It may go back when the migration is done.\n");
}

static void check_sort_memory(const struct gathered *g, struct preflight_line *l)
{
	char has[32], wants[32];
	const struct db_examination *x = &g->server;
	if (!x->setting) {
		say(l, PREFLIGHT_INFO, "not applicable to %s", engine_name(g));
		return;
	}
	uint64_t want = sort_advice(g);
	bool enough = x->setting_bytes >= want;
	(void)bytes_text(x->setting_bytes, has);
	(void)bytes_text(x->setting_bytes < NEED_SORT_BYTES ? NEED_SORT_BYTES : want, wants);
	say(l,
	    enough                               ? PREFLIGHT_OK
	    : x->setting_bytes < NEED_SORT_BYTES ? PREFLIGHT_FAIL
						 : PREFLIGHT_WARN,
	    "%s is %s (%" PRIu64 "), %s%s", x->setting, has, x->setting_bytes,
	    enough                               ? "enough for the migration"
	    : x->setting_bytes < NEED_SORT_BYTES ? "the migration needs at least "
						 : "enough by the guide; query_entity is large and wants ",
	    enough ? "" : wants);
	if (x->setting_only) {
		say(l, PREFLIGHT_WARN, "; that is so for %s, the server's own value cannot be seen", x->setting_only);
		advise(l, "Look at it with the account of the OpenMetadata server: SHOW %s;\n", x->setting);
	}
	if (!enough)
		advise_sort(g, want, l);
}

static void check_query_entity(const struct gathered *g, struct preflight_line *l)
{
	char wants[32];
	uint64_t want = sort_advice(g), rows = 0;
	if (!g->server.measured) {
		say(l, PREFLIGHT_INFO, "there is no table query_entity");
		return;
	}
	for (size_t i = 0; i < g->schema->n_tables; i++)
		if (!strcmp(g->schema->tables[i].name, "query_entity"))
			rows = g->server.rows[i];
	say(l, PREFLIGHT_INFO, "query_entity has %" PRIu64 " rows, %" PRIu64 " bytes, the largest row has %" PRIu64,
	    rows, g->server.bytes, g->server.largest);
	if (want > NEED_SORT_BYTES && g->server.setting)
		advise(l, "It is large: give %s %s during the migration.\n", g->server.setting,
		       bytes_text(want, wants));
}

/* ---- the snapshot ---- */

/* "tag 480 -> 481, ..." of the tables whose numbers of rows differ; returns how many. */
static size_t compare_counts(const struct gathered *g, const struct version_list *v, struct strbuf *out)
{
	size_t differ = 0;
	const struct db_schema *s = g->schema;
	for (size_t i = 0, k = 0; i < s->n_tables || k < v->n;) {
		int order = i == s->n_tables ? 1 : k == v->n ? -1 : strcmp(s->tables[i].name, v->v[k].name);
		const char *name = order <= 0 ? s->tables[i].name : v->v[k].name;
		bool same = order == 0 && g->server.rows[i] == v->v[k].rows;
		if (!same && differ++ < NAMED) {
			strbuf_adds(out, differ > 1 ? ", " : "");
			preflight_add_name(out, name, strlen(name));
			if (order < 0)
				strbuf_adds(out, " new");
			else if (order > 0)
				strbuf_adds(out, " gone");
			else
				strbuf_addf(out, " %" PRIu64 " -> %" PRIu64, v->v[k].rows, g->server.rows[i]);
		}
		i += order <= 0;
		k += order >= 0;
	}
	if (differ > NAMED)
		strbuf_addf(out, " and %zu more", differ - NAMED);
	return differ;
}

static void advise_snapshot(const struct gathered *g, struct preflight_line *l)
{
	advise(l, "Stop the OpenMetadata server, then: metasnap snapshot %s before-%s\n", g->rq->label,
	       g->rq->to ? g->rq->to : "upgrade");
	advise(l, "(on the mount: mkdir %s/snapshots/before-%s)\n", g->rq->source->name,
	       g->rq->to ? g->rq->to : "upgrade");
}

static void compare_snapshot(const struct gathered *g, const struct snapshot_info *s, struct preflight_line *l)
{
	struct version_list tables = {0};
	_cleanup_strbuf_ struct strbuf differing = {0};
	struct err e = ERR_INIT;
	if (!g->schema || !g->server.rows || g->unexamined.code) {
		say(l, PREFLIGHT_WARN, "; not compared with the database, which could not be read");
		return;
	}
	if (strcmp(s->engine ? s->engine : "", g->schema->engine) != 0) {
		say(l, PREFLIGHT_FAIL, "; it is of a %s database", s->engine ? s->engine : "(not named)");
		advise_snapshot(g, l);
		return;
	}
	if (g->schema->app_version && s->app_version && strcmp(s->app_version, g->schema->app_version) != 0) {
		say(l, PREFLIGHT_FAIL, "; it is of OpenMetadata %s, the database of %s", s->app_version, g->from_text);
		advise_snapshot(g, l);
		return;
	}
	if (catalog_tables(g->rq->catalog, s->id, &tables, &e) < 0) {
		say(l, PREFLIGHT_FAIL, "; the catalog cannot be read: %s", e.msg);
		advise(l, "metasnap check\n");
		return;
	}
	size_t n = compare_counts(g, &tables, &differing);
	if (n) {
		say(l, PREFLIGHT_WARN, "; %zu table%s differ%s from it now: %s", n, n > 1 ? "s" : "", n > 1 ? "" : "s",
		    differing.data);
		advise_snapshot(g, l);
	} else {
		say(l, PREFLIGHT_OK, "; each of its %zu tables has as many rows now", tables.n);
	}
	version_list_done(&tables);
}

static void check_snapshot(const struct gathered *g, struct preflight_line *l)
{
	const struct preflight_request *rq = g->rq;
	struct snapshot_info s;
	struct err e = ERR_INIT;
	char when[40];
	int r =
	    rq->catalog && rq->source_id ? store_newest_taken(rq->catalog, rq->source_id, g->now_ms, &s, &e) : -ENOENT;
	if (rq->catalog_err && rq->catalog_err->code) {
		r = -rq->catalog_err->code;
		e = *rq->catalog_err;
	}
	if (r == -ENOENT) {
		say(l, PREFLIGHT_FAIL, "there is no snapshot of this database");
		advise_snapshot(g, l);
		return;
	}
	if (r < 0) {
		say(l, PREFLIGHT_FAIL, "the catalog cannot be read: %s", e.msg);
		return;
	}
	int64_t age = g->now_ms - s.taken_ms;
	clock_text(s.taken_ms, when);
	if (age >= SNAPSHOT_FRESH_MS) {
		say(l, PREFLIGHT_FAIL, "the newest snapshot, %s, is of %s, older than 24 hours", s.name, when);
		advise_snapshot(g, l);
	} else {
		say(l, PREFLIGHT_OK, "snapshot %s of %s, %" PRId64 " rows", s.name, when, s.rows);
		compare_snapshot(g, &s, l);
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
	} else if (verify && j->state == JOURNAL_FAILED && j->subject && strcmp(j->subject, "live") != 0) {
		p->damaged = true;
		(void)snprintf(p->damage, sizeof p->damage, "%s: %s", j->subject, j->detail ? j->detail : "failed");
	}
	return 0;
}

static void check_restore_proven(const struct gathered *g, struct preflight_line *l)
{
	const struct preflight_request *rq = g->rq;
	struct proof p = {0};
	struct err e = ERR_INIT;
	char when[40];
	if (rq->catalog && rq->source_id &&
	    journal_each(rq->catalog, rq->source_id, false, look_at_journal, &p, &e) < 0) {
		say(l, PREFLIGHT_WARN, "the journal cannot be read: %s", e.msg);
		return;
	}
	clock_text(p.at_ms, when);
	if (p.damaged) {
		say(l, PREFLIGHT_FAIL, "the last `verify` found damage: %s", p.damage);
		advise(l, "Take a new snapshot, then: metasnap verify %s latest\n", rq->label);
		return;
	}
	if (p.at_ms && g->now_ms - p.at_ms < PROVEN_FRESH_MS) {
		say(l, PREFLIGHT_OK, "%s succeeded on %s", p.what, when);
		return;
	}
	say(l, PREFLIGHT_WARN,
	    p.at_ms ? "the last proof is older than 30 days: %s, %s" : "no restore and no `verify` yet%s%s",
	    p.at_ms ? p.what : "", p.at_ms ? when : "");
	advise(l,
	       "metasnap verify %s latest            (every row of the snapshot is read and compared with its digest)\n"
	       "metasnap verify %s latest --live     (the database itself, while nothing writes to it)\n"
	       "or a drill: restore an exported snapshot into an empty database.\n",
	       rq->label, rq->label);
}

/* ---- rights ---- */

/* Names what is lacking and gives each statement once. */
static size_t tell_lacks(const struct gathered *g, bool restore, struct preflight_line *l)
{
	const struct db_examination *x = &g->server;
	size_t n = 0, statements = 0;
	for (size_t i = 0; i < x->n_lacks; i++) {
		const struct db_lack *lack = &x->lacks[i];
		if (lack->restore != restore)
			continue;
		if (n++ < NAMED) {
			strbuf_adds(&l->found, n > 1 ? "; " : "");
			preflight_add_name(&l->found, lack->right, strlen(lack->right));
		}
		bool known = false;
		for (size_t k = 0; k < i && !known; k++)
			known = x->lacks[k].restore == restore && !strcmp(x->lacks[k].statement, lack->statement);
		if (!known && statements++ < NAMED) {
			preflight_add_name(&l->todo, lack->statement, strlen(lack->statement));
			strbuf_addch(&l->todo, '\n');
		}
	}
	if (n > NAMED)
		strbuf_addf(&l->found, " and %zu more", n - NAMED);
	if (statements > NAMED)
		advise(l, "and %zu more such statements.\n", statements - NAMED);
	return n;
}

static size_t count_lacks(const struct db_examination *x, bool restore)
{
	size_t n = 0;
	for (size_t i = 0; i < x->n_lacks; i++)
		n += x->lacks[i].restore == restore;
	return n;
}

static void check_privileges_snapshot(const struct gathered *g, struct preflight_line *l)
{
	const char *account = g->server.account ? g->server.account : "this user";
	const struct err *why = g->unread.code ? &g->unread : &g->unfit;
	size_t n = g->unexamined.code ? 0 : count_lacks(&g->server, false);
	if (n) {
		say(l, PREFLIGHT_FAIL, "%s lacks what a snapshot needs: ", account);
		(void)tell_lacks(g, false, l);
	} else if (why->code) {
		say(l, PREFLIGHT_FAIL, "a snapshot cannot be taken: %s", why->msg);
	} else if (g->unexamined.code) {
		say(l, PREFLIGHT_WARN, "not known: %s", g->unexamined.msg);
	} else {
		say(l, PREFLIGHT_OK, "%s has what a snapshot needs", account);
	}
}

static bool file_is_writable(const struct gathered *g)
{
	return !access(g->rq->source->params.database, W_OK);
}

static void check_privileges_restore(const struct gathered *g, struct preflight_line *l)
{
	const char *account = g->server.account ? g->server.account : "this user";
	bool off = g->rq->source->restore == RESTORE_OFF;
	if (g->unexamined.code) {
		say(l, PREFLIGHT_WARN, "not known: %s", g->unexamined.msg);
	} else if (is_embedded(g) && !file_is_writable(g)) {
		say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s cannot be written by this user",
		    g->rq->source->params.database);
	} else if (count_lacks(&g->server, true) + count_lacks(&g->server, false) == 0) {
		say(l, PREFLIGHT_OK, "%s has what a restore needs%s", account, off ? " (restore = off)" : "");
	} else if (count_lacks(&g->server, true) == 0) {
		say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s lacks what already a snapshot needs", account);
	} else {
		say(l, off ? PREFLIGHT_INFO : PREFLIGHT_FAIL, "%s lacks what a restore needs: ", account);
		(void)tell_lacks(g, true, l);
	}
	if (off && l->status == PREFLIGHT_INFO)
		advise(l, "restore = off for this source: have another account at hand that can restore.\n");
}

/* ---- rows ---- */

static void say_found(struct preflight_line *l, enum preflight_status status, const struct preflight_found *f,
		      const char *one, const char *many)
{
	_cleanup_strbuf_ struct strbuf names = {0};
	if (!f->n)
		return;
	preflight_found_text(f, &names);
	say(l, status, "%s%" PRIu64 " %s: %s", l->found.len ? "; " : "", f->n, f->n == 1 ? one : many,
	    strbuf_str(&names));
}

static void say_none(struct preflight_line *l, bool there, const char *what, const char *table)
{
	if (!l->found.len)
		say(l, there ? PREFLIGHT_OK : PREFLIGHT_INFO, there ? "%s" : "%s: there is no table %s", what,
		    there ? "" : table);
}

static void check_airflow_mssql(const struct gathered *g, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &g->rows.mssql, "Airflow pipeline service whose metadata database is MSSQL",
		  "Airflow pipeline services whose metadata database is MSSQL");
	if (g->rows.mssql.n)
		advise(l, "1.3.0 takes that option away: move Airflow's own database to MySQL or PostgreSQL, then "
			  "correct the "
			  "service's connection.\n");
	say_found(l, PREFLIGHT_WARN, &g->rows.mssql_hidden, "Airflow service whose connection cannot be read here",
		  "Airflow services whose connection cannot be read here");
	if (g->rows.mssql_hidden.n)
		advise(l, "Look yourself whether their metadata database is MSSQL (Settings, Services, Pipelines).\n");
	say_none(l, g->rows.pipelines, "no Airflow service with an MSSQL metadata database", "pipeline_service_entity");
}

static void check_bots_jwt(const struct gathered *g, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &g->rows.bots, "bot that does not log in by JWT",
		  "bots that do not log in by JWT");
	say_found(l, PREFLIGHT_WARN, &g->rows.bots_without, "bot without a way to log in",
		  "bots without a way to log in");
	if (l->found.len)
		advise(l, "From 1.3.0 on the Python SDK knows JWT only: Settings, Bots, generate a JWT token for each, "
			  "and put it "
			  "where the bot runs.\n");
	say_none(l, g->rows.users, "every bot logs in by JWT", "user_entity");
}

static void check_search_reindex(const struct gathered *g, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_FAIL, &g->rows.reindexing, "ingestion pipeline that reindexes Elasticsearch",
		  "ingestion pipelines that reindex Elasticsearch");
	say_found(l, PREFLIGHT_WARN, &g->rows.reindexing_dags, "DAG metadata_to_es among the pipelines",
		  "DAGs metadata_to_es among the pipelines");
	if (l->found.len)
		advise(
		    l,
		    "The server reindexes by itself since 1.3.0 (Settings, Applications, Search Indexing): delete the "
		    "pipeline, and its DAG in Airflow.\n");
	say_none(l, g->rows.ingestion, "no ingestion pipeline reindexes Elasticsearch", "ingestion_pipeline_entity");
}

static void check_custom_connectors(const struct gathered *g, struct preflight_line *l)
{
	say_found(l, PREFLIGHT_WARN, &g->rows.custom, "service with a connector of your own",
		  "services with a connector of your own");
	if (l->found.len)
		advise(
		    l,
		    "Their code must change for 1.3.0:\n"
		    "from metadata.generated.schema.entity.services.ingestionPipelines.status import StackTraceError\n"
		    "and StackTraceError's property stack_trace is called stackTrace.\n");
	say_none(l, g->rows.services, "no service has a connector of your own", "*_service_entity");
}

/* ---- what lies elsewhere ---- */

static void check_secrets_manager(const struct gathered *g, struct preflight_line *l)
{
	preflight_secrets_manager(g->rq->source->openmetadata_config, l);
}

static void check_airflow_lineage(const struct gathered *g, struct preflight_line *l)
{
	(void)g;
	say(l, PREFLIGHT_INFO, "DAGs that give their lineage as a dictionary are not seen from here");
	advise(l, "inlets={\"tables\": [...]} is deprecated, and from 1.4 on works for tables only. The newer form:\n"
		  "from metadata.ingestion.source.pipeline.airflow.lineage_parser import OMEntity\n"
		  "inlets=[OMEntity(entity=Table, fqn=\"service.db.schema.table\", key=\"group\")]\n");
}

/* ---- all of them ---- */

enum need { NEED_NOTHING, NEED_SERVER, NEED_EXAMINED, NEED_TABLES, NEED_ROWS };

static const struct check {
	const char *id;
	enum need need;
	bool (*applies)(const struct gathered *g);
	void (*run)(const struct gathered *g, struct preflight_line *l);
} checks[] = {
    {"server", NEED_NOTHING, always, check_server},
    {"openmetadata_version", NEED_SERVER, always, check_version},
    {"target", NEED_SERVER, to_is_given, check_target},
    {"sort_memory", NEED_EXAMINED, always, check_sort_memory},
    {"query_entity", NEED_TABLES, always, check_query_entity},
    {"snapshot", NEED_NOTHING, always, check_snapshot},
    {"restore_proven", NEED_NOTHING, always, check_restore_proven},
    {"privileges_snapshot", NEED_SERVER, always, check_privileges_snapshot},
    {"privileges_restore", NEED_SERVER, always, check_privileges_restore},
    {"airflow_mssql", NEED_ROWS, passes_1_3, check_airflow_mssql},
    {"bots_jwt", NEED_ROWS, passes_1_3, check_bots_jwt},
    {"search_reindex", NEED_ROWS, passes_1_3, check_search_reindex},
    {"custom_connectors", NEED_ROWS, passes_1_3, check_custom_connectors},
    {"secrets_manager", NEED_NOTHING, passes_1_3, check_secrets_manager},
    {"airflow_lineage", NEED_NOTHING, before_1_4, check_airflow_lineage},
};

/* Why a check cannot be made; NULL: it can. */
static const char *hindrance(const struct gathered *g, enum need need)
{
	if (need >= NEED_SERVER && g->unreached.code)
		return "server not reached";
	if (need >= NEED_TABLES && g->unread.code)
		return g->unread.msg;
	if ((need == NEED_EXAMINED || need == NEED_TABLES) && g->unexamined.code)
		return g->unexamined.msg;
	return need >= NEED_ROWS && g->rows_err.code ? g->rows_err.msg : NULL;
}

static void run_checks(const struct gathered *g, struct preflight_report *ret)
{
	size_t n = sizeof checks / sizeof checks[0];
	ret->lines = xcalloc(n, sizeof *ret->lines);
	ret->ready = true;
	for (size_t i = 0; i < n; i++) {
		if (!checks[i].applies(g))
			continue;
		struct preflight_line *l = &ret->lines[ret->n_lines++];
		const char *why = hindrance(g, checks[i].need);
		l->id = checks[i].id;
		if (why) {
			/* The line that says why is another one; where there is none, this is it. */
			bool told = g->unreached.code || g->unread.code;
			say(l, told ? PREFLIGHT_INFO : PREFLIGHT_WARN, "not checked: %s", why);
		} else {
			checks[i].run(g, l);
		}
		ret->ready &= l->status != PREFLIGHT_FAIL;
	}
}

/* ---- gathering ---- */

static int gather_schema(struct gathered *g, struct db_conn *c, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (d->examine(c, g->schema, "query_entity", &g->server, &g->unexamined) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	/* A failed statement ends the transaction on some engines. */
	if (g->unexamined.code && g->schema) {
		g->rows_err = g->unexamined;
		return 0;
	}
	if (!g->schema)
		return 0;
	/* Documents are not looked into without a reason. */
	if (passes_1_3(g) && preflight_rows_read(&g->rows, c, g->schema, g->rq->waiter, &g->rows_err) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	/* Last: a snapshot without the schema's text is none, and where that fails is worth knowing before. */
	if (!g->rows_err.code && d->schema_sql(c, g->schema, &sql, &g->unfit) == -EINTR)
		return err_set(e, EINTR, "interrupted");
	return 0;
}

static int gather_from(struct gathered *g, struct db_conn *c, struct err *e)
{
	const struct db_driver *d = db_driver_of(c);
	int r = d->begin(c, DB_READ, &g->schema, &g->unread);
	if (r == -EINTR)
		return err_set(e, EINTR, "interrupted");
	if (g->schema && g->schema->app_version) {
		struct strbuf from = {0};
		preflight_add_name(&from, g->schema->app_version, strlen(g->schema->app_version));
		g->from_text = strbuf_detach(&from);
		(void)preflight_version_parse(&g->from, g->from_text);
	}
	r = gather_schema(g, c, e);
	if (g->schema)
		d->rollback(c);
	return r;
}

static int gather(struct gathered *g, struct err *e)
{
	const struct preflight_request *rq = g->rq;
	_cleanup_(cleanup_db_close) struct db_conn *c = NULL;
	if (config_connect(rq->source, &c, &g->unreached) < 0) {
		g->unread = g->unreached;
		return rq->waiter && atomic_load(&rq->waiter->interrupted) ? err_set(e, EINTR, "interrupted") : 0;
	}
	int r = rq->connected ? rq->connected(rq->arg, c, e) : 0;
	if (r == 0)
		r = gather_from(g, c, e);
	if (rq->connected)
		(void)rq->connected(rq->arg, NULL, ERR_DROP);
	if (r == 0 && rq->waiter && atomic_load(&rq->waiter->interrupted))
		r = err_set(e, EINTR, "interrupted");
	return r;
}

int preflight_run(const struct preflight_request *rq, struct preflight_report *ret, struct err *e)
{
	_cleanup_(gathered_done) struct gathered g = {.rq = rq, .now_ms = clock_ms()};
	*ret = (struct preflight_report){0};
	if (rq->to && preflight_version_parse(&g.to, rq->to) < 0)
		return err_set(e, EINVAL, "\"%.40s\" is not a version like 1.4.0", rq->to);
	int r = gather(&g, e);
	if (r < 0)
		return r;
	ret->source = xstrdup(rq->source->name);
	ret->from = xstrdup(g.from_text);
	ret->to = xstrdup(rq->to);
	ret->server = g.schema ? xasprintf("%s %s", engine_name(&g), g.schema->server_version) : NULL;
	ret->checked_ms = g.now_ms;
	run_checks(&g, ret);
	return 0;
}

void preflight_report_done(struct preflight_report *r)
{
	for (size_t i = 0; i < r->n_lines; i++) {
		strbuf_done(&r->lines[i].found);
		strbuf_done(&r->lines[i].todo);
	}
	free(r->lines);
	free(r->source);
	free(r->from);
	free(r->to);
	free(r->server);
	*r = (struct preflight_report){0};
}

/* ---- rendering ---- */

static size_t count_status(const struct preflight_report *r, enum preflight_status status)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_lines; i++)
		n += r->lines[i].status == status;
	return n;
}

void preflight_text(const struct preflight_report *r, struct strbuf *out)
{
	static const char *const words[] = {"OK", "INFO", "WARN", "FAIL"};
	size_t failed = count_status(r, PREFLIGHT_FAIL), warned = count_status(r, PREFLIGHT_WARN);
	char when[40];
	clock_text(r->checked_ms, when);
	strbuf_addf(out, "%s: %zu failed, %zu to look at, of %zu checks\n", r->ready ? "ready" : "not ready", failed,
		    warned, r->n_lines);
	strbuf_addf(out, "source %s, from OpenMetadata %s to %s, checked %s\n\n", r->source,
		    r->from ? r->from : "(not known)", r->to ? r->to : "any newer version", when);
	for (size_t i = 0; i < r->n_lines; i++) {
		const struct preflight_line *l = &r->lines[i];
		strbuf_addf(out, "%-4s  %s: ", words[l->status], l->id);
		preflight_add_text(out, strbuf_str(&l->found), l->found.len);
		strbuf_addch(out, '\n');
		for (const char *line = strbuf_str(&l->todo); *line;) {
			size_t n = strcspn(line, "\n");
			strbuf_adds(out, "      ");
			preflight_add_text(out, line, n);
			strbuf_addch(out, '\n');
			line += n + (line[n] == '\n');
		}
	}
}

/* The server's own words may hold bytes that are not UTF-8. */
static json_t *json_text(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf all = {0};
	for (size_t i = 0; i < len; i++) {
		size_t n = strcspn(text + i, "\n");
		preflight_add_text(&all, text + i, n);
		i += n;
		if (i < len)
			strbuf_addch(&all, '\n');
	}
	return json_stringn(strbuf_str(&all), all.len);
}

void preflight_json(const struct preflight_report *r, struct strbuf *out)
{
	static const char *const words[] = {"ok", "info", "warn", "fail"};
	char when[40];
	clock_text(r->checked_ms, when);
	json_t *list = json_array();
	for (size_t i = 0; i < r->n_lines; i++) {
		const struct preflight_line *l = &r->lines[i];
		size_t todo = l->todo.len && l->todo.data[l->todo.len - 1] == '\n' ? l->todo.len - 1 : l->todo.len;
		json_t *o = json_object();
		(void)json_object_set_new(o, "id", json_string(l->id));
		(void)json_object_set_new(o, "status", json_string(words[l->status]));
		(void)json_object_set_new(o, "found", json_text(strbuf_str(&l->found), l->found.len));
		(void)json_object_set_new(o, "do", todo ? json_text(l->todo.data, todo) : json_null());
		(void)json_array_append_new(list, o);
	}
	json_t *all = json_pack("{ss ss? sb ss? ss? ss so}", "source", r->source, "server", r->server, "ready",
				r->ready, "from", r->from, "to", r->to, "checked", when, "checks", list);
	char *text = json_dumps(all, JSON_INDENT(2));
	strbuf_adds(out, text ? text : "{}");
	strbuf_addch(out, '\n');
	free(text);
	json_decref(all);
}
