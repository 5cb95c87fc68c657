/*
 * snapshot/config/config.c - the configuration: an INI file, or one database URL.
 *
 * Owns the members of struct config. No locks, no state: each call works for its caller's thread alone. libinih
 * splits the lines; the reader below feeds it whole lines whatever their length and indentation (libinih would cut
 * long ones and take indented ones for continuations) and notes sections, also empty ones. Nothing is guessed: what
 * is not understood is an error with FILE:LINE. No message quotes a value that could hold a password.
 */
#include "snapshot/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <sched.h>
#include <sys/stat.h>

#define CONFIG_MAX_FILE (1 << 20)
#define CONFIG_MAX_NAME 40 /* libinih keeps 49 bytes of "source NAME" */
#define CONFIG_NOW_MAX_AGE_S 60
#define CONFIG_CACHE_MB 32

static const char *const config_policies[] = {
    [RESTORE_OFF] = "off",
    [RESTORE_EMPTY] = "empty",
    [RESTORE_REPLACE] = "replace",
};

int restore_policy_parse(const char *text, enum restore_policy *ret)
{
	for (size_t i = 0; i < sizeof config_policies / sizeof config_policies[0]; i++)
		if (!strcmp(text, config_policies[i])) {
			*ret = (enum restore_policy)i;
			return 0;
		}
	return -EINVAL;
}

const char *restore_policy_name(enum restore_policy p)
{
	return config_policies[p];
}

static void config_source_done(struct source_config *s)
{
	free(s->name);
	free(s->password_file);
	free(s->openmetadata_config);
	db_params_done(&s->params);
}

void config_done(struct config *c)
{
	free(c->path);
	free(c->catalog_path);
	for (size_t i = 0; i < c->n_sources; i++)
		config_source_done(&c->sources[i]);
	free(c->sources);
	*c = (struct config){0};
}

char *config_default_catalog(void)
{
	const char *path = getenv("METASNAP_CATALOG");
	if (path && *path)
		return xstrdup(path);
	path = getenv("XDG_STATE_HOME");
	if (path && *path == '/') /* the XDG specification: others are to be ignored */
		return xasprintf("%s/metasnap/catalog.db", path);
	path = getenv("HOME");
	return xasprintf("%s/.local/state/metasnap/catalog.db", path && *path ? path : "");
}

int config_make_default_folder(const struct config *c, struct err *e)
{
	_cleanup_free_ char *normal = config_default_catalog();
	if (strcmp(c->catalog_path, normal))
		return 0;
	for (char *slash = strchr(normal + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(normal, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "%s", normal);
		*slash = '/';
	}
	return 0;
}

/* ---- paths ---- */

/* Makes *path absolute below directory `dir` (NULL: the working directory, which a daemon is about to leave). */
static int config_make_absolute(char **path, const char *dir, struct err *e)
{
	if (!*path || **path == '/')
		return 0;
	_cleanup_free_ char *here = dir ? xstrdup(dir) : getcwd(NULL, 0);
	if (!here)
		return err_sys(e, errno, "working directory");
	char *joined = xasprintf("%s/%s", strcmp(here, "/") ? here : "", *path);
	free(*path);
	*path = joined;
	return 0;
}

static int config_dir_of(char **ret, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	*ret = slash ? xmemdup0(path, slash == path ? 1 : (size_t)(slash - path)) : getcwd(NULL, 0);
	return *ret ? config_make_absolute(ret, NULL, e) : err_sys(e, errno, "working directory");
}

/* The files that a URL names: the database of sqlite, certificates and keys. */
static int config_params_absolute(struct db_params *p, const char *dir, struct err *e)
{
	static const char *const files[] = {
	    "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "ssl_ca", "ssl_cert", "ssl_key", "socket",
	};
	int r = strcmp(p->engine, "sqlite") ? 0 : config_make_absolute(&p->database, dir, e);
	for (size_t i = 0; r >= 0 && p->options && p->options[i]; i += 2)
		for (size_t k = 0; r >= 0 && k < sizeof files / sizeof files[0]; k++)
			/* sslrootcert=system is libpq's word for the host's own authorities. */
			if (!strcmp(p->options[i], files[k]) && strcmp(p->options[i + 1], "system"))
				r = config_make_absolute(&p->options[i + 1], dir, e);
	return r;
}

/* Refuses a file with a password in it that others can read. `what` begins the words. */
static int config_check_private(int fd, const char *what, const char *path, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s %s", what, path);
	if (st.st_mode & 077)
		return err_set(e, EACCES, "%s %s holds a password and others can read it (chmod 600 it)", what, path);
	if (st.st_uid && st.st_uid != geteuid())
		return err_set(e, EACCES, "%s %s holds a password and belongs to another user (chown it)", what, path);
	return 0;
}

/* Whole file of at most CONFIG_MAX_FILE bytes. */
static int config_slurp(int fd, const char *path, struct strbuf *out, struct err *e)
{
	for (;;) {
		strbuf_reserve(out, 4096);
		ssize_t n = read(fd, out->data + out->len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "%s", path);
		if (!n)
			break;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len > CONFIG_MAX_FILE)
			return err_set(e, EINVAL, "%s: too large (is it the right file?)", path);
	}
	if (out->len && memchr(out->data, '\0', out->len))
		return err_set(e, EINVAL, "%s: not a text file", path);
	return 0;
}

/* Bytes that held a password do not stay behind in freed memory. */
static void config_wipe(struct strbuf *sb)
{
	if (sb->data)
		explicit_bzero(sb->data, sb->cap);
	strbuf_done(sb);
}

int config_read_password(struct source_config *s, struct err *e)
{
	if (!s->password_file)
		return 0;
	_cleanup_close_ int fd = open(s->password_file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, errno, "password file %s", s->password_file);
	int r = config_check_private(fd, "password file", s->password_file, e);
	if (r < 0)
		return r;
	_cleanup_(config_wipe) struct strbuf text = {0};
	r = config_slurp(fd, s->password_file, &text, e);
	if (r < 0)
		return r;
	const char *line = strbuf_str(&text);
	size_t n = strcspn(line, "\n");
	if (n && line[n] == '\n' && line[n - 1] == '\r')
		n--;
	if (!n)
		return err_set(e, EINVAL, "password file %s: its first line is empty", s->password_file);
	if (s->params.password) {
		explicit_bzero(s->params.password, strlen(s->params.password));
		free(s->params.password);
	}
	s->params.password = xmemdup0(line, n);
	return 0;
}

int config_connect(const struct source_config *s, struct db_conn **ret, struct err *e)
{
	/* The password is read for each connection: files rotate. The copy is wiped with it. */
	struct source_config copy = *s;
	char *given = copy.params.password;
	copy.params.password = xstrdup(given);
	int r = config_read_password(&copy, e);
	if (r == 0)
		r = db_open(ret, &copy.params, e);
	if (copy.params.password)
		explicit_bzero(copy.params.password, strlen(copy.params.password));
	free(copy.params.password);
	return r;
}

/* ---- values ---- */

static bool config_name_is_good(const char *name)
{
	size_t n = strlen(name);
	/* README.txt stands beside the sources' directories. */
	return n && n <= CONFIG_MAX_NAME && *name != '.' && strcmp(name, "README.txt") &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static int config_parse_bool(const char *key, const char *text, bool *ret, struct err *e)
{
	if (strcmp(text, "yes") && strcmp(text, "no"))
		return err_set(e, EINVAL, "%s is not \"yes\" or \"no\"", key);
	*ret = !strcmp(text, "yes");
	return 0;
}

static int config_parse_number(const char *key, const char *text, unsigned max, unsigned *ret, struct err *e)
{
	size_t n = strlen(text);
	unsigned long v =
	    n && n < 10 && strspn(text, "0123456789") == n ? strtoul(text, NULL, 10) : (unsigned long)max + 1;
	if (v > max)
		return err_set(e, EINVAL, "%s is not a whole number from 0 to %u", key, max);
	*ret = (unsigned)v;
	return 0;
}

/* "a, b*" -> NULL-terminated list. */
static int config_parse_globs(const char *text, char ***ret, struct err *e)
{
	char **list = xcalloc(strlen(text) / 2 + 2, sizeof *list);
	size_t n = 0;
	while (*text) {
		text += strspn(text, " \t,");
		size_t len = strcspn(text, ",");
		size_t used = len;
		while (used && strchr(" \t", text[used - 1]))
			used--;
		if (used)
			list[n++] = xmemdup0(text, used);
		text += len;
	}
	*ret = list;
	return n ? 0 : err_set(e, EINVAL, "exclude names nothing");
}

/* ---- the file ---- */

enum config_section { CONFIG_NOWHERE, CONFIG_CATALOG, CONFIG_SOURCE };

enum config_key {
	KEY_PATH,
	KEY_CACHE_MB,
	KEY_URL,
	KEY_PASSWORD_FILE,
	KEY_SCHEMA,
	KEY_RESTORE,
	KEY_EXCLUDE,
	KEY_CONNECTIONS,
	KEY_NOW_MAX_AGE,
	KEY_RESTORE_CONFIRM,
	KEY_RESTORE_FORCE,
	KEY_KEEP,
	KEY_OPENMETADATA_CONFIG,
	KEY_COUNT,
};

static const struct {
	const char *name;
	enum config_section section;
} config_keys[KEY_COUNT] = {
    [KEY_PATH] = {"path", CONFIG_CATALOG},
    [KEY_CACHE_MB] = {"cache_mb", CONFIG_CATALOG},
    [KEY_URL] = {"url", CONFIG_SOURCE},
    [KEY_PASSWORD_FILE] = {"password_file", CONFIG_SOURCE},
    [KEY_SCHEMA] = {"schema", CONFIG_SOURCE},
    [KEY_RESTORE] = {"restore", CONFIG_SOURCE},
    [KEY_EXCLUDE] = {"exclude", CONFIG_SOURCE},
    [KEY_CONNECTIONS] = {"connections", CONFIG_SOURCE},
    [KEY_NOW_MAX_AGE] = {"now_max_age", CONFIG_SOURCE},
    [KEY_RESTORE_CONFIRM] = {"restore_confirm", CONFIG_SOURCE},
    [KEY_RESTORE_FORCE] = {"restore_force", CONFIG_SOURCE},
    [KEY_KEEP] = {"keep", CONFIG_SOURCE},
    [KEY_OPENMETADATA_CONFIG] = {"openmetadata_config", CONFIG_SOURCE},
};

struct config_parser {
	struct config *c;
	const char *path;
	char *dir;
	struct strbuf text; /* the file */
	size_t at;          /* what the reader gives next */
	unsigned line;      /* number of the line the reader gave last */
	bool in_line;       /* the reader is inside of a long line */
	bool continues;     /* what it gave last goes on with the line before */
	enum config_section section;
	unsigned section_line;
	bool catalog_seen;
	/* Of the section: what was given. Values wait here until the section ends: they depend on each other. */
	char *value[KEY_COUNT];
	unsigned value_line[KEY_COUNT];
	int last; /* enum config_key of the line in work, -1: none */
	int r;
	struct err *e;
};

static void config_parser_clear_values(struct config_parser *p)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (p->value[i])
			explicit_bzero(p->value[i], strlen(p->value[i]));
		free(p->value[i]);
		p->value[i] = NULL;
	}
	p->last = -1;
}

static void config_parser_done(struct config_parser *p)
{
	config_parser_clear_values(p);
	config_wipe(&p->text);
	free(p->dir);
}

/* Notes the first error, with FILE:LINE in front of the words that *p->e holds. */
static int config_fail_at(struct config_parser *p, unsigned line)
{
	if (p->r >= 0)
		p->r = err_prefix(p->e, "%s:%u", p->path, line);
	return p->r;
}

/* Words for a line that is not what it should be. */
#define CONFIG_FAIL(p, at_line, ...)                                                                                   \
	((p)->r < 0 ? (p)->r : ((void)err_set((p)->e, EINVAL, __VA_ARGS__), config_fail_at(p, at_line)))

static int config_set_url(struct config_parser *p, struct source_config *s)
{
	int r = db_params_parse(&s->params, p->value[KEY_URL], p->e);
	if (r >= 0)
		r = config_params_absolute(&s->params, p->dir, p->e);
	if (r < 0)
		return config_fail_at(p, p->value_line[KEY_URL]);
	const char *schema = p->value[KEY_SCHEMA];
	if (!schema)
		return 0;
	if (strcmp(s->params.engine, "postgresql"))
		return CONFIG_FAIL(p, p->value_line[KEY_SCHEMA], "schema is for PostgreSQL only");
	if (s->params.schema && strcmp(s->params.schema, "public") && strcmp(s->params.schema, schema))
		return CONFIG_FAIL(p, p->value_line[KEY_SCHEMA], "the url names another schema");
	free(s->params.schema);
	s->params.schema = xstrdup(schema);
	return 0;
}

/* What [source NAME] gave becomes the members of *s. */
static int config_end_source(struct config_parser *p, struct source_config *s)
{
	char **v = p->value;
	int r = 0;
	int key = -1; /* whose value is being looked at */
	if (!v[KEY_URL])
		return CONFIG_FAIL(p, p->section_line, "source \"%s\" has no url", s->name);
	if (config_set_url(p, s) < 0)
		return p->r;
	if (v[KEY_PASSWORD_FILE]) {
		if (s->params.password)
			return CONFIG_FAIL(p, p->value_line[KEY_PASSWORD_FILE],
					   "password_file, and a password in the url (keep one of them)");
		s->password_file = xstrdup(v[KEY_PASSWORD_FILE]);
		r = config_make_absolute(&s->password_file, p->dir, p->e);
		key = KEY_PASSWORD_FILE;
	}
	if (r >= 0 && v[key = KEY_RESTORE] && restore_policy_parse(v[KEY_RESTORE], &s->restore) < 0)
		r = err_set(p->e, EINVAL, "restore is not off, empty or replace");
	if (r >= 0 && v[key = KEY_EXCLUDE])
		r = config_parse_globs(v[KEY_EXCLUDE], &s->params.exclude, p->e);
	if (r >= 0 && v[key = KEY_CONNECTIONS])
		r = config_parse_number("connections", v[KEY_CONNECTIONS], CONNECTIONS_MAX, &s->connections, p->e);
	if (r >= 0 && v[key = KEY_NOW_MAX_AGE])
		r = config_parse_number("now_max_age", v[KEY_NOW_MAX_AGE], 31536000, &s->now_max_age_s, p->e);
	if (r >= 0 && v[key = KEY_RESTORE_CONFIRM])
		r = config_parse_bool("restore_confirm", v[KEY_RESTORE_CONFIRM], &s->restore_confirm, p->e);
	if (r >= 0 && v[key = KEY_RESTORE_FORCE])
		r = config_parse_bool("restore_force", v[KEY_RESTORE_FORCE], &s->restore_force, p->e);
	if (r >= 0 && v[key = KEY_KEEP])
		r = keep_parse(&s->keep, v[KEY_KEEP], p->e);
	if (r >= 0 && v[key = KEY_OPENMETADATA_CONFIG]) {
		s->openmetadata_config = xstrdup(v[KEY_OPENMETADATA_CONFIG]);
		r = config_make_absolute(&s->openmetadata_config, p->dir, p->e);
	}
	return r < 0 ? config_fail_at(p, p->value_line[key]) : 0;
}

static int config_end_catalog(struct config_parser *p)
{
	int r = 0;
	if (p->value[KEY_CACHE_MB]) {
		r = config_parse_number("cache_mb", p->value[KEY_CACHE_MB], 1 << 20, &p->c->cache_mb, p->e);
		if (r < 0)
			return config_fail_at(p, p->value_line[KEY_CACHE_MB]);
	}
	if (p->value[KEY_PATH]) {
		p->c->catalog_path = xstrdup(p->value[KEY_PATH]);
		r = config_make_absolute(&p->c->catalog_path, p->dir, p->e);
	}
	return r < 0 ? config_fail_at(p, p->value_line[KEY_PATH]) : 0;
}

static void config_end_section(struct config_parser *p)
{
	if (p->r >= 0 && p->section == CONFIG_SOURCE)
		(void)config_end_source(p, &p->c->sources[p->c->n_sources - 1]);
	if (p->r >= 0 && p->section == CONFIG_CATALOG)
		(void)config_end_catalog(p);
	config_parser_clear_values(p);
	p->section = CONFIG_NOWHERE;
}

static int config_begin_source(struct config_parser *p, const char *name)
{
	struct config *c = p->c;
	if (!config_name_is_good(name))
		return CONFIG_FAIL(p, p->line,
				   "a source's name is 1 to %d of A-Z a-z 0-9 . _ - and does not begin with \".\"",
				   CONFIG_MAX_NAME);
	for (size_t i = 0; i < c->n_sources; i++)
		if (!strcmp(c->sources[i].name, name))
			return CONFIG_FAIL(p, p->line, "source \"%s\" is there twice", name);
	c->sources = xrealloc(c->sources, (c->n_sources + 1) * sizeof *c->sources);
	c->sources[c->n_sources++] = (struct source_config){
	    .name = xstrdup(name), .restore = RESTORE_EMPTY, .now_max_age_s = CONFIG_NOW_MAX_AGE_S};
	p->section = CONFIG_SOURCE;
	return 0;
}

/* line[0..n) begins with '['. libinih does not tell of sections without keys, so they are looked at here. */
static int config_begin_section(struct config_parser *p, const char *line, size_t n)
{
	config_end_section(p);
	p->section_line = p->line;
	const char *end = memchr(line, ']', n);
	const char *rest = end ? end + 1 : line;
	while (rest < line + n && strchr(" \t\r", *rest))
		rest++;
	if (!end || (rest < line + n && *rest != ';' && *rest != '#'))
		return CONFIG_FAIL(p, p->line, "a section is [catalog] or [source NAME] on a line of its own");
	_cleanup_free_ char *name = xmemdup0(line + 1, (size_t)(end - line - 1));
	if (!strcmp(name, "catalog")) {
		if (p->catalog_seen)
			return CONFIG_FAIL(p, p->line, "[catalog] is there twice");
		p->catalog_seen = true;
		p->section = CONFIG_CATALOG;
		return 0;
	}
	if (!strncmp(name, "source", 6) && (name[6] == ' ' || name[6] == '\t'))
		return config_begin_source(p, name + 7 + strspn(name + 7, " \t"));
	return CONFIG_FAIL(p, p->line, "unknown section [%.60s] (there are [catalog] and [source NAME])", name);
}

/* Where to cut a line of which at most `max` bytes can be given: between two bytes that libinih leaves alone. */
static size_t config_cut(const char *line, size_t max)
{
	for (size_t n = max; n > max / 2; n--)
		if (!strchr(" \t;#", line[n]) && !strchr(" \t", line[n - 1]))
			return n;
	return 0;
}

/* Length of line[0..n) without its comment. libinih knows comments too, but not across the pieces of a long line. */
static size_t config_uncommented(const char *line, size_t n, bool at_start)
{
	if (at_start && (*line == ';' || *line == '#'))
		return 0;
	for (size_t i = 1; i < n; i++)
		if (line[i] == ';' && strchr(" \t", line[i - 1]))
			n = i - 1;
	while (n && strchr(" \t\r\v\f", line[n - 1]))
		n--;
	return n;
}

/* ini_reader: the next line, without indentation. A long one comes in pieces; all but the first are indented, which
 * libinih takes as more of the same value. */
static char *config_read_line(char *out, int size, void *arg)
{
	struct config_parser *p = arg;
	size_t max = size > 4 ? (size_t)size - 4 : 0;
	if (p->r < 0 || p->at >= p->text.len)
		return NULL;
	if (!p->in_line) {
		p->line++;
		if (p->line == 1 && p->text.len >= 3 && !memcmp(p->text.data, "\xEF\xBB\xBF", 3))
			p->at = 3;
	}
	p->continues = p->in_line;
	const char *line = p->text.data + p->at;
	if (!p->in_line)
		line += strspn(line, " \t\r\v\f");
	size_t n = strcspn(line, "\n");
	size_t give = config_uncommented(line, n, !p->in_line);
	if (!p->in_line && *line == '[' && config_begin_section(p, line, n) < 0)
		return NULL;
	const char *sign = line + strcspn(line, "=:;\n");
	if (!p->in_line && *line != '[' && give && *sign != '=' && *sign != ':') {
		(void)CONFIG_FAIL(p, p->line, "not key=value");
		return NULL;
	}
	bool whole = true;
	if (give > max) {
		give = config_cut(line, max);
		if (!give || *line == '[') {
			(void)CONFIG_FAIL(p, p->line, "the line is too long");
			return NULL;
		}
		whole = false;
	}
	p->in_line = !whole;
	p->at = (size_t)(line - p->text.data) + (p->in_line ? give : n + 1);
	size_t len = 0;
	if (p->continues)
		out[len++] = ' ';
	memcpy(out + len, line, give);
	len += give;
	out[len++] = '\n';
	out[len] = '\0';
	return out;
}

/* ini_handler: 1 to go on, 0 for an error. */
static int config_take(void *arg, const char *section, const char *name, const char *value)
{
	struct config_parser *p = arg;
	if (p->r < 0)
		return 0;
	if (p->continues && p->last >= 0) {
		char *joined = xasprintf("%s%s", p->value[p->last], value);
		explicit_bzero(p->value[p->last], strlen(p->value[p->last]));
		free(p->value[p->last]);
		p->value[p->last] = joined;
		return 1;
	}
	if (p->section == CONFIG_NOWHERE)
		return CONFIG_FAIL(p, p->line, "it belongs into a section, [catalog] or [source NAME]") >= 0;
	size_t key = 0;
	while (key < KEY_COUNT && (config_keys[key].section != p->section || strcmp(config_keys[key].name, name)))
		key++;
	/* The name is quoted only where it is a word: it could be the rest of a password after a line break. */
	if (key == KEY_COUNT && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == strlen(name))
		return CONFIG_FAIL(p, p->line, "unknown key \"%s\" in [%s]", name, section) >= 0;
	if (key == KEY_COUNT)
		return CONFIG_FAIL(p, p->line, "unknown key in [%s]", section) >= 0;
	if (p->value[key])
		return CONFIG_FAIL(p, p->line, "%s is given twice", name) >= 0;
	if (!*value)
		return CONFIG_FAIL(p, p->line, "%s has no value", name) >= 0;
	p->value[key] = xstrdup(value);
	p->value_line[key] = p->line;
	p->last = (int)key;
	return 1;
}

static int config_load_into(struct config_parser *p, int fd, struct err *e)
{
	struct config *c = p->c;
	int r = config_dir_of(&p->dir, p->path, e);
	if (r >= 0)
		r = config_slurp(fd, p->path, &p->text, e);
	if (r < 0)
		return r;
	int bad = ini_parse_stream(config_read_line, p, config_take, p);
	if (bad && p->r >= 0) /* the reader should have seen it first */
		return err_set(e, EINVAL, "%s: cannot be parsed", p->path);
	config_end_section(p);
	if (p->r < 0)
		return p->r;
	if (!c->n_sources)
		return err_set(e, EINVAL, "%s: no [source NAME] in it", p->path);
	if (!c->catalog_path) {
		c->catalog_path = config_default_catalog();
		r = config_make_absolute(&c->catalog_path, NULL, e);
	}
	for (size_t i = 0; r >= 0 && i < c->n_sources; i++)
		if (c->sources[i].params.password)
			r = config_check_private(fd, "configuration", p->path, e);
	return r;
}

int config_load(struct config *ret, const char *path, struct err *e)
{
	struct err words = ERR_INIT; /* err_prefix needs a place even when the caller has none */
	struct config c = {.path = xstrdup(path), .cache_mb = CONFIG_CACHE_MB};
	_cleanup_(config_parser_done) struct config_parser p = {.c = &c, .path = path, .last = -1, .e = &words};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	*ret = (struct config){0};
	int r = fd < 0 ? err_sys(&words, errno, "configuration %s", path) : config_load_into(&p, fd, &words);
	if (r < 0) {
		config_done(&c);
		*e = words;
		return r;
	}
	*ret = c;
	return 0;
}

/* ---- one URL ---- */

/* A source's name from the database's. */
static char *config_name_of(const struct db_params *p)
{
	const char *from = p->database ? p->database : p->engine;
	const char *slash = strrchr(from, '/');
	size_t n = strlen(from);
	if (p->database && !strcmp(p->engine, "sqlite")) {
		from = slash ? slash + 1 : from;
		const char *dot = strrchr(from, '.');
		n = dot && dot != from ? (size_t)(dot - from) : strlen(from);
	}
	char *name = xmemdup0(from, n < CONFIG_MAX_NAME ? n : CONFIG_MAX_NAME);
	for (char *s = name; *s; s++) {
		char one[2] = {*s, '\0'};
		if ((s == name && *s == '.') || (*s != '.' && !config_name_is_good(one)))
			*s = '_';
	}
	return name;
}

int config_from_url(struct config *ret, const char *url, const char *name, struct err *e)
{
	struct config c = {.cache_mb = CONFIG_CACHE_MB, .n_sources = 1};
	*ret = (struct config){0};
	if (name && !config_name_is_good(name))
		return err_set(
		    e, EINVAL,
		    "\"%.60s\": a source's name is 1 to %d of A-Z a-z 0-9 . _ - and does not begin with \".\"", name,
		    CONFIG_MAX_NAME);
	c.sources = xcalloc(1, sizeof *c.sources);
	struct source_config *s = &c.sources[0];
	*s = (struct source_config){.restore = RESTORE_EMPTY, .now_max_age_s = CONFIG_NOW_MAX_AGE_S};
	int r = db_params_parse(&s->params, url, e);
	if (r >= 0)
		r = config_params_absolute(&s->params, NULL, e);
	if (r >= 0) {
		s->name = name ? xstrdup(name) : config_name_of(&s->params);
		c.catalog_path = config_default_catalog();
		r = config_make_absolute(&c.catalog_path, NULL, e);
	}
	if (r >= 0 && !config_name_is_good(s->name))
		r = err_set(e, EINVAL, "no source can be named after this database (give a name)");
	if (r < 0) {
		config_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

size_t config_connections(const struct source_config *s)
{
	if (s->connections)
		return s->connections;
	/* One sorts at the server while another sends. */
	cpu_set_t cpus;
	size_t n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : 1;
	return n < 1 ? 1 : n > 4 ? 4 : n;
}
