/*
 * snapshot/config/config.c - the configuration, from a file or of one database URL, and what is asked of it.
 *
 * Owns the members of struct config. No locks, no state: each call works for its caller's thread alone.
 */
#include "snapshot/config/config.h"
#include "drivers/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include "snapshot/config/internal.h"

#define CONFIG_CACHE_MB 32

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

static int config_use_default_catalog(struct config *c, struct err *e)
{
	c->catalog_path = config_default_catalog();
	return config_make_absolute(&c->catalog_path, NULL, e);
}

int config_load(struct config *ret, const char *path, struct err *e)
{
	_cleanup_(config_done) struct config c = {.path = xstrdup(path), .cache_mb = CONFIG_CACHE_MB};
	*ret = (struct config){0};
	int r = config_read_file(&c, e);
	if (r < 0)
		return r;
	if (!c.catalog_path && (r = config_use_default_catalog(&c, e)) < 0)
		return r;
	*ret = c;
	c = (struct config){0};
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
	_cleanup_(config_done) struct config c = {.cache_mb = CONFIG_CACHE_MB, .n_sources = 1};
	*ret = (struct config){0};
	c.sources = xcalloc(1, sizeof *c.sources);
	struct source_config *s = &c.sources[0];
	*s = (struct source_config)CONFIG_SOURCE_INIT;
	if (name && !config_name_is_good(name))
		return err_set(
		    e, EINVAL,
		    "\"%.60s\": a source's name is 1 to %d of A-Z a-z 0-9 . _ - and does not begin with \".\"", name,
		    CONFIG_MAX_NAME);
	int r = db_params_parse(&s->params, url, e);
	if (r < 0)
		return r;
	r = config_params_absolute(&s->params, NULL, e);
	if (r < 0)
		return r;
	s->name = name ? xstrdup(name) : config_name_of(&s->params);
	r = config_use_default_catalog(&c, e);
	if (r < 0)
		return r;
	if (!config_name_is_good(s->name))
		return err_set(e, EINVAL, "no source can be named after this database (give a name)");
	*ret = c;
	c = (struct config){0};
	return 0;
}

/* ---- connecting ---- */

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
	_cleanup_wipe_ struct strbuf text = {0};
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

size_t config_connections(const struct source_config *s)
{
	if (s->connections)
		return s->connections;
	/* One sorts at the server while another sends. */
	cpu_set_t cpus;
	size_t n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : 1;
	return n < 1 ? 1 : n > 4 ? 4 : n;
}
