/*
 * drivers/postgres/dump.c - the schema's text: made by pg_dump (the tool that knows) inside our snapshot, freed of what
 * changes without the schema changing; and cut into statements again for a restore.
 *
 * Runs pg_dump as a child with an environment of its own. The password is neither there nor on its command line, where
 * `ps` would show it: it is in a file in memory that the child inherits. It is started as soon as the moment is fixed
 * and runs beside the scans; schema_sql reads what it wrote. Owns struct pg_conn's `dump`. No locks. The cutter knows
 * PostgreSQL's lexical rules, because function bodies hold semicolons and comments.
 */
#include "drivers/postgres/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PG_DUMP_TIMEOUT_MS 600000
#define PG_VERSION_TIMEOUT_MS 20000
#define PG_MAX_STDERR 4000
#define PG_DUMP_PIPE (1 << 20) /* texts up to this size never keep pg_dump waiting for us */
#define PG_PASS_FD 3           /* the child's */
#define PG_PASS_FILE "/proc/self/fd/3"
#define PG_PASS_MAX 150 /* libpq before 14 reads lines of 320 bytes; each byte may take two */

/* ---- running a program ---- */

struct pg_pipe {
	int fd;
	struct strbuf *out;
};

static int64_t pg_clock_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Reads both pipes until the child has closed them. -EINTR: cancelled, -ETIMEDOUT. c may be NULL. */
static int pg_read_pipes(struct pg_conn *c, struct pg_pipe *pipes, int timeout_ms)
{
	int64_t deadline = pg_clock_ms() + timeout_ms;
	while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
		struct pollfd fds[3] = {
		    {.fd = pipes[0].fd, .events = POLLIN},
		    {.fd = pipes[1].fd, .events = POLLIN},
		    {.fd = c ? c->wake : -1, .events = POLLIN},
		};
		if (c && pg_is_cancelled(c))
			return -EINTR;
		int64_t left = deadline - pg_clock_ms();
		int n = left > 0 ? poll(fds, 3, (int)left) : 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -ETIMEDOUT;
		for (int i = 0; n > 0 && i < 2; i++) {
			char buffer[65536];
			if (!fds[i].revents)
				continue;
			ssize_t got = read(pipes[i].fd, buffer, sizeof buffer);
			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0) {
				(void)close(pipes[i].fd);
				pipes[i].fd = -1;
			} else if (i == 0 || pipes[i].out->len < PG_MAX_STDERR) {
				strbuf_add(pipes[i].out, buffer, (size_t)got);
			}
		}
	}
	return 0;
}

/* pass: a descriptor that the program gets as PG_PASS_FD; -1: none. */
static int pg_start_program(struct pg_child *ret, char *const argv[], char *const env[], int pass)
{
	int stdout_pipe[2] = {-1, -1}, stderr_pipe[2] = {-1, -1};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	pid_t pid;

	if (pipe2(stdout_pipe, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(stderr_pipe, O_CLOEXEC) < 0) {
		int r = -errno;
		(void)close(stdout_pipe[0]);
		(void)close(stdout_pipe[1]);
		return r;
	}
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, stdout_pipe[1], 1);
	(void)posix_spawn_file_actions_adddup2(&actions, stderr_pipe[1], 2);
	if (pass >= 0)
		(void)posix_spawn_file_actions_adddup2(&actions, pass, PG_PASS_FD);
	(void)posix_spawnattr_init(&attr);
	/* Our threads block signals and ignore SIGPIPE; the child must not inherit that. */
	(void)sigemptyset(&none);
	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);
	(void)sigaddset(&defaults, SIGTERM);
	(void)sigaddset(&defaults, SIGINT);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int r = -posix_spawn(&pid, argv[0], &actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(stdout_pipe[1]);
	(void)close(stderr_pipe[1]);
	if (r < 0) {
		(void)close(stdout_pipe[0]);
		(void)close(stderr_pipe[0]);
		return r;
	}
	*ret = (struct pg_child){.pid = pid, .out = stdout_pipe[0], .words = stderr_pipe[0]};
	return 0;
}

/* Waits for the program's end, its output to *out and its complaints to *words. Returns its exit status, or -errno. */
static int pg_end_program(struct pg_conn *c, struct pg_child *child, int timeout_ms, struct strbuf *out,
			  struct strbuf *words)
{
	int status = 0;
	struct pg_pipe pipes[2] = {{child->out, out}, {child->words, words}};
	int r = pg_read_pipes(c, pipes, timeout_ms);
	if (r < 0)
		(void)kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!r)
		r = WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
	for (int i = 0; i < 2; i++)
		if (pipes[i].fd >= 0)
			(void)close(pipes[i].fd);
	*child = (struct pg_child){0};
	return r;
}

/* ---- finding pg_dump ---- */

/* Major version of the pg_dump at path; 0 when it is none. */
static int pg_dump_major(const char *path)
{
	_cleanup_strbuf_ struct strbuf out = {0}, words = {0};
	char *argv[] = {(char *)path, (char *)"--version", NULL};
	struct pg_child child;
	if (access(path, X_OK) || pg_start_program(&child, argv, environ, -1) < 0 ||
	    pg_end_program(NULL, &child, PG_VERSION_TIMEOUT_MS, &out, &words))
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
static void pg_fill_environment(struct pg_conn *c, int pass, struct pg_words *env)
{
	for (char **v = environ; *v; v++)
		if (strncmp(*v, "PG", 2) && strncmp(*v, "LC_", 3) && strncmp(*v, "LANG", 4))
			pg_words_add(env, xstrdup(*v));
	pg_words_add(env, xstrdup("LC_ALL=C"));
	PQconninfoOption *options = PQconninfo(c->pg);
	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->envvar || !o->val || !*o->val)
			continue;
		if (!strcmp(o->keyword, "host") || !strcmp(o->keyword, "port") || !strcmp(o->keyword, "hostaddr") ||
		    !strcmp(o->keyword, "service") || !strcmp(o->keyword, "password") ||
		    !strcmp(o->keyword, "client_encoding") || (pass >= 0 && !strcmp(o->keyword, "passfile")))
			continue;
		pg_words_add(env, xasprintf("%s=%s", o->envvar, o->val));
	}
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
	    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY "
	    "($1::pg_catalog.oid[])";
	_cleanup_strbuf_ struct strbuf excluded = {0};
	_cleanup_result_ PGresult *res = NULL;
	pg_add_oid_array(&excluded, c->listing.excluded, c->listing.n_excluded);
	const char *params[] = {strbuf_str(&excluded)};
	int r = pg_query(c, &res, "cannot list the sequences", sql, 1, params, e);
	for (int i = 0; !r && i < PQntuples(res); i++)
		pg_words_add(argv, pg_pattern("--exclude-table=", c->schema, PQgetvalue(res, i, 0)));
	return r;
}

static int pg_fill_arguments(struct pg_conn *c, const char *program, int major, struct pg_words *argv, struct err *e)
{
	pg_words_add(argv, xstrdup(program));
	pg_words_add(argv, xstrdup("--schema-only"));
	pg_words_add(argv, xstrdup("--no-password"));
	pg_words_add(argv, xasprintf("--encoding=%s", c->sql_ascii ? "SQL_ASCII" : "UTF8"));
	pg_words_add(argv, xstrdup("--lock-wait-timeout=" PG_LOCK_TIMEOUT));
	pg_words_add(argv, xasprintf("--snapshot=%s", c->snapshot));
	pg_words_add(argv, pg_pattern("--schema=", c->schema, NULL));
	/* Before 14 there is no such option, and --schema leaves the extensions out: rebuild then needs them in place.
	 */
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

int pg_dump_start(struct pg_conn *c, struct err *e)
{
	_cleanup_(pg_words_done) struct pg_words argv = {0}, env = {0};
	_cleanup_free_ char *program = NULL;
	int major = 0, r = pg_find_dump(c, &program, &major, e);
	if (r < 0)
		return r;
	_cleanup_close_ int pass = pg_pass_file(PQpass(c->pg) ? PQpass(c->pg) : "", major);
	pg_fill_environment(c, pass, &env);
	r = pg_fill_arguments(c, program, major, &argv, e);
	if (r < 0)
		return r;
	r = pg_start_program(&c->dump, argv.list, env.list, pass);
	if (r < 0)
		return err_sys(e, -r, "cannot run %s", program);
	/* More than the system gives to one of its users: then pg_dump waits for us with the rest. */
	(void)fcntl(c->dump.out, F_SETPIPE_SZ, PG_DUMP_PIPE);
	return 0;
}

void pg_dump_stop(struct pg_conn *c)
{
	if (!c->dump.pid)
		return;
	(void)kill(c->dump.pid, SIGKILL);
	while (waitpid(c->dump.pid, NULL, 0) < 0 && errno == EINTR)
		;
	(void)close(c->dump.out);
	(void)close(c->dump.words);
	c->dump = (struct pg_child){0};
}

int pg_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	struct pg_conn *c = (struct pg_conn *)conn;
	_cleanup_strbuf_ struct strbuf text = {0}, words = {0};
	(void)s;
	if (!c->active || !c->snapshot)
		return err_set(e, EINVAL, "schema text: no transaction with a snapshot of its own");
	int r = c->dump.pid ? 0 : pg_dump_start(c, e);
	if (r < 0)
		return r;
	r = pg_end_program(c, &c->dump, PG_DUMP_TIMEOUT_MS, &text, &words);
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
	pg_add_cleaned(out, strbuf_str(&text));
	return 0;
}

/* ---- cutting it into statements ---- */

void pg_script_done(struct pg_script *s)
{
	for (size_t i = 0; i < s->n_statements; i++) {
		free(s->statements[i].sql);
		free(s->statements[i].entry);
		free(s->statements[i].type);
	}
	free(s->statements);
	*s = (struct pg_script){0};
}

struct pg_cutter {
	const char *p;
	char entry[200]; /* of the comment block above */
	char type[64];
	int parens;
	int begins; /* BEGIN ATOMIC and CASE of a SQL-standard function body, whose semicolons end nothing */
	int words;  /* seen in this statement, up to 5 */
	bool create, routine;
};

static bool pg_is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* "-- Name: t; Type: TABLE; Schema: public; Owner: me" */
static void pg_note_entry(struct pg_cutter *k, const char *line, size_t n)
{
	_cleanup_free_ char *text = xmemdup0(line, n);
	char *type = NULL;
	if (strncmp(text, "-- Name: ", 9))
		return;
	for (char *p = strstr(text, "; Type: "); p; p = strstr(p + 1, "; Type: "))
		type = p;
	if (!type)
		return;
	*type = '\0';
	type += 8;
	type[strcspn(type, ";")] = '\0';
	(void)snprintf(k->type, sizeof k->type, "%s", type);
	(void)snprintf(k->entry, sizeof k->entry, "%.40s %.150s", type, text + 9);
}

/* From an opening quote to after the closing one; NULL when there is none. */
static const char *pg_skip_quoted(const char *p, bool escapes)
{
	char quote = *p++;
	for (; *p; p++) {
		if (escapes && *p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	return NULL;
}

/* At '$': after the end of a dollar-quoted string, p itself when this opens none, NULL when it has no end. */
static const char *pg_skip_dollar(const char *p)
{
	const char *tag = p + 1;
	while (pg_is_word(*tag) && *tag != '$')
		tag++;
	if (*tag != '$' || isdigit((unsigned char)p[1]))
		return p;
	size_t n = (size_t)(tag + 1 - p);
	_cleanup_free_ char *mark = xmemdup0(p, n);
	const char *end = strstr(p + n, mark);
	return end ? end + n : NULL;
}

static const char *pg_skip_block_comment(const char *p)
{
	int depth = 0;
	for (; *p; p++) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p++;
		} else if (p[0] == '*' && p[1] == '/') {
			p++;
			if (!--depth)
				return p + 1;
		}
	}
	return NULL;
}

static bool pg_word_is(const char *word, size_t n, const char *wanted)
{
	return strlen(wanted) == n && !strncasecmp(word, wanted, n);
}

/* As psql does it (psqlscan.l): only in CREATE [OR REPLACE] FUNCTION or PROCEDURE do BEGIN, CASE and END count. */
static void pg_note_word(struct pg_cutter *k, const char *word, size_t n)
{
	int place = k->words++;
	if (!place)
		k->create = pg_word_is(word, n, "CREATE");
	if (place && place < 4 && (pg_word_is(word, n, "FUNCTION") || pg_word_is(word, n, "PROCEDURE")))
		k->routine = k->create;
	if (!k->routine || k->parens)
		return;
	if (pg_word_is(word, n, "BEGIN") || (k->begins && pg_word_is(word, n, "CASE")))
		k->begins++;
	else if (k->begins && pg_word_is(word, n, "END"))
		k->begins--;
}

/* Skips white space and comments between statements. Returns false at the end of the text. */
static bool pg_skip_between(struct pg_cutter *k)
{
	for (;;) {
		while (isspace((unsigned char)*k->p))
			k->p++;
		if (k->p[0] != '-' || k->p[1] != '-')
			return *k->p != '\0';
		size_t n = strcspn(k->p, "\n");
		pg_note_entry(k, k->p, n);
		k->p += n;
	}
}

/* From the first byte of a statement to after its semicolon; NULL when the text ends before. */
static const char *pg_cut_statement(struct pg_cutter *k)
{
	const char *p = k->p;
	k->parens = k->begins = k->words = 0;
	k->create = k->routine = false;
	while (p && *p) {
		if (*p == ';' && !k->parens && !k->begins)
			return p + 1;
		if (*p == '\'') {
			p = pg_skip_quoted(p, false);
		} else if ((*p == 'E' || *p == 'e') && p[1] == '\'') {
			p = pg_skip_quoted(p + 1, true);
		} else if (*p == '"') {
			p = pg_skip_quoted(p, false);
		} else if (*p == '$') {
			const char *after = pg_skip_dollar(p);
			p = after == p ? p + 1 : after;
		} else if (p[0] == '-' && p[1] == '-') {
			p += strcspn(p, "\n");
		} else if (p[0] == '/' && p[1] == '*') {
			p = pg_skip_block_comment(p);
		} else if (pg_is_word(*p)) {
			const char *start = p;
			while (pg_is_word(*p))
				p++;
			pg_note_word(k, start, (size_t)(p - start));
		} else {
			k->parens += *p == '(' ? 1 : *p == ')' && k->parens ? -1 : 0;
			p++;
		}
	}
	return NULL;
}

int pg_script_parse(struct pg_script *ret, const char *sql, struct err *e)
{
	struct pg_cutter k = {.p = sql};
	size_t cap = 0;
	*ret = (struct pg_script){0};
	while (pg_skip_between(&k)) {
		const char *start = k.p, *end = pg_cut_statement(&k);
		if (!end) {
			pg_script_done(ret);
			return err_set(e, EINVAL, "the schema text ends inside of a statement%s%s",
				       *k.entry ? ": " : "", k.entry);
		}
		if (ret->n_statements == cap) {
			cap = cap ? 2 * cap : 64;
			ret->statements = xrealloc(ret->statements, cap * sizeof *ret->statements);
		}
		ret->statements[ret->n_statements++] = (struct pg_statement){
		    .sql = xmemdup0(start, (size_t)(end - start)),
		    .entry = xstrdup(k.entry),
		    .type = xstrdup(k.type),
		    .at = (size_t)(start - sql),
		    .end = (size_t)(end - sql),
		};
		k.p = end;
	}
	return 0;
}
