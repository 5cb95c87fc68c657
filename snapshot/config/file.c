/*
 * snapshot/config/file.c - the configuration file, an INI file, read into a struct config.
 *
 * No state, no locks: each call works for its caller's thread alone. libinih splits the lines; the reader below feeds
 * it whole lines whatever their length and indentation (libinih would cut long ones and take indented ones for
 * continuations) and notes sections, also empty ones. Nothing is guessed: what is not understood is an error with
 * FILE:LINE. No message quotes a value that could hold a password.
 */
#include "snapshot/config/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>

#include "snapshot/config/config.h"

/* ---- values ---- */

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
	strbuf_wipe(&p->text);
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

static int config_set_path(const struct config_parser *p, char **ret, const char *value)
{
	*ret = xstrdup(value);
	return config_make_absolute(ret, p->dir, p->e);
}

/* The other values of a source, the url being there. */
static int config_set_value(const struct config_parser *p, struct source_config *s, enum config_key key,
			    const char *value)
{
	switch (key) {
	case KEY_PASSWORD_FILE:
		if (s->params.password)
			return err_set(p->e, EINVAL, "password_file, and a password in the url (keep one of them)");
		return config_set_path(p, &s->password_file, value);
	case KEY_RESTORE:
		return restore_policy_parse(value, &s->restore) < 0
			   ? err_set(p->e, EINVAL, "restore is not off, empty or replace")
			   : 0;
	case KEY_EXCLUDE:
		return config_parse_globs(value, &s->params.exclude, p->e);
	case KEY_CONNECTIONS:
		return config_parse_number("connections", value, CONNECTIONS_MAX, &s->connections, p->e);
	case KEY_NOW_MAX_AGE:
		return config_parse_number("now_max_age", value, 31536000, &s->now_max_age_s, p->e);
	case KEY_RESTORE_CONFIRM:
		return config_parse_bool("restore_confirm", value, &s->restore_confirm, p->e);
	case KEY_RESTORE_FORCE:
		return config_parse_bool("restore_force", value, &s->restore_force, p->e);
	case KEY_KEEP:
		return keep_parse(&s->keep, value, p->e);
	case KEY_OPENMETADATA_CONFIG:
		return config_set_path(p, &s->openmetadata_config, value);
	default: /* url and schema are set */
		return 0;
	}
}

/* What [source NAME] gave becomes the members of *s. */
static int config_end_source(struct config_parser *p, struct source_config *s)
{
	if (!p->value[KEY_URL])
		return CONFIG_FAIL(p, p->section_line, "source \"%s\" has no url", s->name);
	if (config_set_url(p, s) < 0)
		return p->r;
	for (enum config_key key = 0; key < KEY_COUNT; key++)
		if (p->value[key] && config_set_value(p, s, key, p->value[key]) < 0)
			return config_fail_at(p, p->value_line[key]);
	return 0;
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
	struct source_config *s = &c->sources[c->n_sources++];
	*s = (struct source_config)CONFIG_SOURCE_INIT;
	s->name = xstrdup(name);
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

/* What the reader stands at: the start of a line, behind its indentation, or more of a long one. */
static const char *config_line_at(struct config_parser *p)
{
	p->continues = p->in_line;
	if (p->in_line)
		return p->text.data + p->at;
	p->line++;
	if (p->line == 1 && p->text.len >= 3 && !memcmp(p->text.data, "\xEF\xBB\xBF", 3))
		p->at = 3;
	const char *line = p->text.data + p->at;
	return line + strspn(line, " \t\r\v\f");
}

/* A line that begins, line[0..n), `give` bytes without its comment. */
static int config_check_line(struct config_parser *p, const char *line, size_t n, size_t give)
{
	if (*line == '[')
		return config_begin_section(p, line, n);
	const char *sign = line + strcspn(line, "=:;\n");
	return give && *sign != '=' && *sign != ':' ? CONFIG_FAIL(p, p->line, "not key=value") : 0;
}

/* ini_reader: the next line, without indentation. A long one comes in pieces; all but the first are indented, which
 * libinih takes as more of the same value. */
static char *config_read_line(char *out, int size, void *arg)
{
	struct config_parser *p = arg;
	size_t max = size > 4 ? (size_t)size - 4 : 0;
	if (p->r < 0 || p->at >= p->text.len)
		return NULL;
	const char *line = config_line_at(p);
	size_t n = strcspn(line, "\n"), give = config_uncommented(line, n, !p->continues);
	if (!p->continues && config_check_line(p, line, n, give) < 0)
		return NULL;
	p->in_line = give > max;
	if (p->in_line) {
		give = config_cut(line, max);
		if (!give || *line == '[') {
			(void)CONFIG_FAIL(p, p->line, "the line is too long");
			return NULL;
		}
	}
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

/* A file that others can read must hold no password. */
static int config_check_passwords(const struct config *c, int fd, struct err *e)
{
	for (size_t i = 0; i < c->n_sources; i++)
		if (c->sources[i].params.password)
			return config_check_private(fd, "configuration", c->path, e);
	return 0;
}

int config_read_file(struct config *c, struct err *e)
{
	_cleanup_(config_parser_done) struct config_parser p = {.c = c, .path = c->path, .last = -1, .e = e};
	_cleanup_close_ int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, errno, "configuration %s", c->path);
	int r = config_dir_of(&p.dir, c->path, e);
	if (r < 0)
		return r;
	r = config_slurp(fd, c->path, &p.text, e);
	if (r < 0)
		return r;
	int bad = ini_parse_stream(config_read_line, &p, config_take, &p);
	if (bad && p.r >= 0) /* the reader should have seen it first */
		return err_set(e, EINVAL, "%s: cannot be parsed", c->path);
	config_end_section(&p);
	if (p.r < 0)
		return p.r;
	if (!c->n_sources)
		return err_set(e, EINVAL, "%s: no [source NAME] in it", c->path);
	return config_check_passwords(c, fd, e);
}
