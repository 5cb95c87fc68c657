/*
 * drivers/postgres/dump.c - the schema's text: made by pg_dump (the tool that knows) inside our snapshot, freed of what
 * changes without the schema changing.
 *
 * Runs pg_dump as a child with an environment of its own. The password is neither there nor on its command line, where
 * `ps` would show it: it is in a file in memory that the child inherits. It is started as soon as the moment is fixed
 * and runs beside the scans; schema_sql reads what it wrote. Owns struct pg_conn's `dump`. No locks.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PG_DUMP_TIMEOUT_MS 600000
#define PG_VERSION_TIMEOUT_MS 20000
#define PG_DUMP_PIPE (1 << 20)         /* texts up to this size never keep pg_dump waiting for us */
#define PG_PASS_FILE "/proc/self/fd/3" /* PG_CHILD_PASS_FD */
#define PG_PASS_MAX 150                /* libpq before 14 reads lines of 320 bytes; each byte may take two */

/* ---- finding pg_dump ---- */

/* Major version of the pg_dump at path; 0 when it is none. */
static int pg_dump_major(const char *path)
{
	_cleanup_strbuf_ struct strbuf out = {0}, words = {0};
	char *argv[] = {(char *)path, (char *)"--version", NULL};
	struct pg_child child;
	if (access(path, X_OK) || pg_child_start(&child, argv, environ, -1) < 0 ||
	    pg_child_end(NULL, &child, PG_VERSION_TIMEOUT_MS, &out, &words))
		return 0;
	/* "pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)" */
	const char *p = strstr(strbuf_str(&out), "(PostgreSQL) ");
	return p ? atoi(p + 13) : 0;
}

/* A pg_dump of the server's major or newer: the first of PATH that is one, else the lowest such major where the
 * distributions put them, in folders named by the major. (Debian's PATH has a wrapper of all versions, which may choose
 * an older one.) */
static int pg_find_dump(const struct pg_conn *c, char **ret, int *ret_major, struct err *e)
{
	int wanted = c->version_num / 10000, best = 0, seen = 0;
	_cleanup_free_ char *path = xstrdup(getenv("PATH")), *found = NULL;
	char *rest = path;
	for (char *dir; rest && (dir = strsep(&rest, ":"));) {
		_cleanup_free_ char *candidate = xasprintf("%s/pg_dump", *dir ? dir : ".");
		_cleanup_free_ char *real = realpath(candidate, NULL);
		const char *base = real ? strrchr(real, '/') : NULL;
		if (!base || !strcmp(base, "/pg_wrapper"))
			continue;
		int major = pg_dump_major(candidate);
		if (major > seen)
			seen = major;
		if (major >= wanted) {
			*ret = TAKE_PTR(candidate);
			*ret_major = major;
			return 0;
		}
	}
	static const struct {
		const char *dir, *prefix, *suffix;
	} places[] = {{"/usr/lib/postgresql", "", "/bin/pg_dump"},
		      {"/usr", "pgsql-", "/bin/pg_dump"},
		      {"/usr/libexec", "postgresql", "/pg_dump"}};
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		DIR *d = opendir(places[i].dir);
		size_t n = strlen(places[i].prefix);
		for (struct dirent *entry; d && (entry = readdir(d));) {
			if (strncmp(entry->d_name, places[i].prefix, n) || !isdigit((unsigned char)entry->d_name[n]))
				continue;
			_cleanup_free_ char *candidate =
			    xasprintf("%s/%s%s", places[i].dir, entry->d_name, places[i].suffix);
			int major = access(candidate, X_OK) ? 0 : atoi(entry->d_name + n);
			if (major > seen)
				seen = major;
			if (major >= wanted && (!best || major < best)) {
				best = major;
				free(found);
				found = TAKE_PTR(candidate);
			}
		}
		if (d)
			(void)closedir(d);
	}
	if (!found && seen)
		return err_set(
		    e, ENOTSUP,
		    "the server is PostgreSQL %d but the newest pg_dump here is %d: install postgresql-client-%d",
		    wanted, seen, wanted);
	if (!found)
		return err_set(e, ENOTSUP, "no pg_dump found: install postgresql-client-%d", wanted);
	*ret = TAKE_PTR(found);
	*ret_major = best;
	return 0;
}

/* ---- its environment and arguments ---- */

struct pg_words {
	char **list; /* NULL-terminated */
	size_t n;
};

static void pg_words_done(struct pg_words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		explicit_bzero(w->list[i], strlen(w->list[i]));
		free(w->list[i]);
	}
	free(w->list);
}

static void pg_words_add(struct pg_words *w, char *word)
{
	w->list = xrealloc(w->list, (w->n + 2) * sizeof *w->list);
	w->list[w->n++] = word;
	w->list[w->n] = NULL;
}

/* A file in memory that libpq takes for a passfile, with this password for every server. -1: it cannot be given that
 * way to a pg_dump of this major version. */
static int pg_pass_file(const char *password, int major)
{
	size_t n = strlen(password), len = 0;
	if (!n || strpbrk(password, "\r\n") || (major < 14 && n > PG_PASS_MAX) || access("/proc/self/fd", X_OK))
		return -1;
	_cleanup_free_ char *line = xmalloc(2 * n + sizeof "*:*:*:*:\n");
	len = (size_t)sprintf(line, "*:*:*:*:");
	for (const char *p = password; *p; p++) {
		if (*p == ':' || *p == '\\')
			line[len++] = '\\';
		line[len++] = *p;
	}
	line[len++] = '\n';
	int fd = memfd_create("metasnap", MFD_CLOEXEC);
	/* libpq does not read one that others could */
	if (fd >= 0 && (fchmod(fd, 0600) < 0 || write(fd, line, len) != (ssize_t)len)) {
		(void)close(fd);
		fd = -1;
	}
	explicit_bzero(line, len);
	return fd;
}

/* The connection that we have, as environment variables: also right for service files, several hosts and passfiles.
 * Without a passfile of ours (pass is -1) the password is one of them. */
static void pg_fill_environment(struct pg_conn *c, int pass, const char *settings, struct pg_words *env)
{
	const char *session = "";
	for (char **v = environ; *v; v++)
		if (strncmp(*v, "PG", 2) && strncmp(*v, "LC_", 3) && strncmp(*v, "LANG", 4))
			pg_words_add(env, xstrdup(*v));
	pg_words_add(env, xstrdup("LC_ALL=C"));
	PQconninfoOption *options = PQconninfo(c->pg);
	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->envvar || !o->val || !*o->val)
			continue;
		if (!strcmp(o->keyword, "options") && *settings)
			session = o->val;
		else if (!strcmp(o->keyword, "host") || !strcmp(o->keyword, "port") ||
			 !strcmp(o->keyword, "hostaddr") || !strcmp(o->keyword, "service") ||
			 !strcmp(o->keyword, "password") || !strcmp(o->keyword, "client_encoding") ||
			 (pass >= 0 && !strcmp(o->keyword, "passfile")))
			continue;
		else
			pg_words_add(env, xasprintf("%s=%s", o->envvar, o->val));
	}
	if (*settings)
		pg_words_add(env, xasprintf("PGOPTIONS=%s%s", session, settings));
	PQconninfoFree(options);
	if (PQhost(c->pg) && *PQhost(c->pg))
		pg_words_add(env, xasprintf("PGHOST=%s", PQhost(c->pg)));
	if (PQport(c->pg) && *PQport(c->pg))
		pg_words_add(env, xasprintf("PGPORT=%s", PQport(c->pg)));
	if (pass >= 0)
		pg_words_add(env, xstrdup("PGPASSFILE=" PG_PASS_FILE));
	else if (PQpass(c->pg) && *PQpass(c->pg))
		pg_words_add(env, xasprintf("PGPASSWORD=%s", PQpass(c->pg)));
	pg_words_add(env, xstrdup("PGCONNECT_TIMEOUT=30"));
}

/* A pattern of psql's kind that matches this one name: quoted, nothing in it is special but the quote. */
static char *pg_pattern(const char *option, const char *schema, const char *name)
{
	struct strbuf sb = {0};
	strbuf_adds(&sb, option);
	pg_add_ident(&sb, schema);
	if (name) {
		strbuf_addch(&sb, '.');
		pg_add_ident(&sb, name);
	}
	return strbuf_detach(&sb);
}

/* --exclude-table of a table leaves its serial sequences in the dump (only identity ones go with it, pg_dump 10-18). */
static int pg_exclude_sequences(struct pg_conn *c, struct pg_words *argv, struct err *e)
{
	static const char sql[] =
	    "SELECT DISTINCT c.relname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid"
	    " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind = 'S' AND d.deptype = 'a'"
	    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    " AND d.refobjid = ANY ($1::pg_catalog.oid[])";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the sequences", sql, 1, params, e);
	if (r < 0)
		return r;
	for (int i = 0; i < PQntuples(res); i++)
		pg_words_add(argv, pg_pattern("--exclude-table=", c->schema, PQgetvalue(res, i, 0)));
	return 0;
}

static int pg_fill_arguments(struct pg_conn *c, const char *program, int major, struct pg_words *argv, struct err *e)
{
	pg_words_add(argv, xstrdup(program));
	pg_words_add(argv, xstrdup("--schema-only"));
	pg_words_add(argv, xstrdup("--verbose")); /* the table of contents, see toc.c */
	pg_words_add(argv, xstrdup("--no-password"));
	pg_words_add(argv, xasprintf("--encoding=%s", c->sql_ascii ? "SQL_ASCII" : "UTF8"));
	pg_words_add(argv, xstrdup("--lock-wait-timeout=" PG_LOCK_TIMEOUT));
	pg_words_add(argv, xasprintf("--snapshot=%s", c->snapshot));
	pg_words_add(argv, pg_pattern("--schema=", c->schema, NULL));
	/* Before 14 there is no such option, and --schema leaves the extensions out: then a rebuild needs them there. */
	if (major >= 14)
		pg_words_add(argv, xstrdup("--extension=*"));
	for (size_t i = 0; i < c->listing.n_excluded; i++)
		pg_words_add(argv, pg_pattern("--exclude-table=", c->schema, c->listing.excluded_names[i]));
	return c->listing.n_excluded ? pg_exclude_sequences(c, argv, e) : 0;
}

/* ---- cleaning its text ---- */

static bool pg_starts_with(const char *line, const char *prefix)
{
	return !strncmp(line, prefix, strlen(prefix));
}

/* Leaves out what differs between two dumps of one schema: the random \restrict key and the versions. These lines stand
 * outside of every statement: before the first and after the last comment block of the dump. */
static void pg_add_cleaned(struct strbuf *out, const char *text)
{
	const char *end = text + strlen(text), *body = strstr(text, "\n-- Name: "), *tail = text;
	for (const char *p = strstr(text, "\n-- PostgreSQL database dump complete"); p;
	     p = strstr(p + 1, "\n-- PostgreSQL database dump complete"))
		tail = p;
	if (!body)
		body = tail;
	bool skipped = false;
	for (const char *line = text; line < end;) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next + 1 : end;
		bool outside = line < body || line > tail;
		if (outside && (pg_starts_with(line, "\\restrict ") || pg_starts_with(line, "\\unrestrict ") ||
				pg_starts_with(line, "-- Dumped from ") || pg_starts_with(line, "-- Dumped by "))) {
			skipped = true;
		} else if (outside && skipped && *line == '\n') {
			/* and the empty lines around them, which not every minor version has */
		} else {
			skipped = false;
			strbuf_add(out, line, (size_t)(next - line));
		}
		line = next;
	}
}

/* What roles and databases may set and pg_dump leaves so, though the text comes out otherwise: how strings are read,
 * names, and constants of types whose text depends on the session. " -c name=value" for each that is not as our own
 * sessions have it: the text then means to them what it says. Only where it is needed, because a pooler may not know
 * the option. */
static int pg_child_settings(struct pg_conn *c, char **ret, struct err *e)
{
	static const char sql[] =
	    "SELECT coalesce(pg_catalog.string_agg(' -c ' || w.name || '=' || w.value, ''), '')"
	    " FROM (VALUES ('standard_conforming_strings', 'on', '^on$'), ('quote_all_identifiers', 'off', '^off$'),"
	    " ('bytea_output', 'hex', '^hex$'), ('TimeZone', 'UTC', '^(UTC|Etc/UTC|GMT)$'),"
	    " ('lc_monetary', 'C', '^(C|POSIX|C[.].*|en_US.*)$')) AS w(name, value, same)"
	    " JOIN pg_catalog.pg_settings s ON s.name = w.name AND s.reset_val !~ w.same";
	_cleanup_result_ PGresult *res = NULL;
	int r = pg_query(c, &res, "cannot read the settings", sql, 0, NULL, e);
	if (r == 0)
		*ret = xstrdup(PQgetvalue(res, 0, 0));
	return r;
}

int pg_dump_start(struct pg_conn *c, struct err *e)
{
	_cleanup_(pg_words_done) struct pg_words argv = {0}, env = {0};
	_cleanup_free_ char *program = NULL, *settings = NULL;
	int major = 0, r = pg_find_dump(c, &program, &major, e);
	if (r < 0)
		return r;
	r = pg_child_settings(c, &settings, e);
	if (r < 0)
		return r;
	_cleanup_close_ int pass = pg_pass_file(PQpass(c->pg) ? PQpass(c->pg) : "", major);
	pg_fill_environment(c, pass, settings, &env);
	r = pg_fill_arguments(c, program, major, &argv, e);
	if (r < 0)
		return r;
	r = pg_child_start(&c->dump, argv.list, env.list, pass);
	if (r < 0)
		return err_sys(e, -r, "cannot run %s", program);
	/* More than the system gives to one of its users: then pg_dump waits for us with the rest. */
	(void)fcntl(c->dump.out, F_SETPIPE_SZ, PG_DUMP_PIPE);
	return 0;
}

int pg_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf text = {0}, words = {0};
	(void)s;
	if (!c->active || !c->snapshot)
		return err_set(e, EINVAL, "schema text: no transaction with a snapshot of its own");
	if (!c->listing.schema_exists)
		return 0;
	int r = c->dump.pid ? 0 : pg_dump_start(c, e);
	if (r < 0)
		return r;
	r = pg_child_end(c, &c->dump, PG_DUMP_TIMEOUT_MS, &text, &words);
	if (r == -EINTR)
		return err_set(e, EINTR, "schema text: cancelled");
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "schema text: pg_dump did not end in time");
	if (r < 0)
		return err_sys(e, -r, "pg_dump");
	if (r > 0) {
		/* Its first "error:" line has the reason; what follows is the query. */
		const char *line = strstr(strbuf_str(&words), "error: ");
		line = line ? line + 7 : strbuf_str(&words);
		int code = strstr(line, "lock timeout") ? EBUSY : strstr(line, "permission denied") ? EACCES : EIO;
		return err_set(e, code, "pg_dump: %.*s", (int)strcspn(line, "\n"),
			       *line ? line : "failed without a word");
	}
	if (!strstr(strbuf_str(&text), "-- PostgreSQL database dump complete"))
		return err_set(e, EIO, "pg_dump ended without the end of its text");
	if (strlen(strbuf_str(&text)) != text.len)
		return err_set(e, EIO, "pg_dump's text holds a NUL byte");
	_cleanup_strbuf_ struct strbuf cleaned = {0};
	pg_add_cleaned(&cleaned, strbuf_str(&text));
	pg_toc_done(&c->toc);
	r = pg_toc_strip(&c->toc, strbuf_str(&cleaned), out, e);
	return r < 0 ? r : pg_add_empty_views(c, out, e);
}
