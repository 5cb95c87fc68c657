/*
 * snapshot/cli/open.c - which configuration and which catalog a command works with, and opening them. The main thread.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <unistd.h>

#define CLI_SYSTEM_CONFIG "/etc/metasnap.conf"

/* One source that has a name and no database (or none at all): enough for what only looks into the catalog. No driver
 * answers to its engine, so that nothing is ever taken for its database. */
static int cli_bare_config(struct config *ret, const char *source, struct err *e)
{
	int r = config_from_url(ret, "sqlite:/none", source ? source : "none", e);
	if (r < 0)
		return r;
	free(ret->sources[0].params.engine);
	ret->sources[0].params.engine = xstrdup("none");
	if (!source) {
		db_params_done(&ret->sources[0].params);
		free(TAKE_PTR(ret->sources[0].name));
		ret->n_sources = 0;
	}
	return 0;
}

static int cli_configure(struct cli *c, struct err *e)
{
	char *source = c->n_args ? c->args[0] : NULL;
	bool is_url = source && strchr(source, ':');
	const char *path = c->config_path;
	int r = 0;
	if (!path && !c->catalog_path) {
		path = getenv("METASNAP_CONFIG");
		if (!path || !*path)
			path = !is_url && !access(CLI_SYSTEM_CONFIG, F_OK) ? CLI_SYSTEM_CONFIG : NULL;
	}
	if (path) {
		r = config_load(&c->config, path, e);
		if (r < 0)
			return r;
	}
	if (is_url) {
		struct config by_url;
		r = config_from_url(&by_url, source, NULL, e);
		if (r < 0)
			return r;
		db_params_hide_password(source);
		if (path) { /* its catalog, not its sources */
			free(by_url.catalog_path);
			by_url.catalog_path = TAKE_PTR(c->config.catalog_path);
			by_url.cache_mb = c->config.cache_mb;
		}
		config_done(&c->config);
		c->config = by_url;
	} else if (!path) {
		if (source && (c->command->connects || c->live))
			return err_set(e, EINVAL,
				       "no configuration says what \"%s\" is (name a database URL, or -c CONFIG)",
				       source);
		if (!source && c->command->all_sources)
			return err_set(e, EINVAL,
				       "no configuration says which sources there are (name one, or -c CONFIG)");
		r = cli_bare_config(&c->config, source, e);
		if (r < 0)
			return r;
	}
	if (c->catalog_path) {
		free(c->config.catalog_path);
		c->config.catalog_path = xstrdup(c->catalog_path);
	}
	return 0;
}

/* A command that only looks makes no source; the service would note a misspelt one in the catalog. */
static int cli_check_source(const struct config *config, struct err *e)
{
	_cleanup_(cleanup_catalog) struct catalog *catalog = NULL;
	int64_t id;
	int r = catalog_open(&catalog, config->catalog_path, CATALOG_READ, e);
	return r < 0 ? r : catalog_source(catalog, config->sources[0].name, &id, e);
}

static int cli_prepare_catalog(const struct cli *c, struct err *e)
{
	const char *path = c->config.catalog_path;
	if (!c->command->creates) {
		if (access(path, F_OK) < 0)
			return errno == ENOENT
				   ? err_set(e, ENOENT, "catalog %s does not exist (metasnap snapshot makes it)", path)
				   : err_sys(e, errno, "catalog %s", path);
		return c->n_args && !c->config.path ? cli_check_source(&c->config, e) : 0;
	}
	return config_make_default_folder(&c->config, e);
}

int cli_open(struct cli *c, struct err *e)
{
	int r = cli_configure(c, e);
	if (r >= 0 && !c->command->no_catalog)
		r = cli_prepare_catalog(c, e);
	if (r < 0)
		return r;
	/* Its source has to be known before anything is opened: the service notes each source in the catalog. */
	const char *name = c->n_args ? c->args[0] : NULL;
	bool by_name = name && c->config.path;
	size_t i = 0;
	while (by_name && i < c->config.n_sources && strcmp(c->config.sources[i].name, name))
		i++;
	if (by_name && i == c->config.n_sources) {
		_cleanup_strbuf_ struct strbuf known = {0};
		for (i = 0; i < c->config.n_sources; i++)
			strbuf_addf(&known, "%s%s", i ? ", " : "", c->config.sources[i].name);
		return err_set(e, ENOENT, "%s has no source \"%.60s\" (it has %s)", c->config.path, name, known.data);
	}
	c->source = i;
	return c->command->no_catalog ? 0 : service_open(&c->svc, &c->config, e);
}

int cli_find_snapshot(struct cli *c, size_t source, const char *name, struct snapshot_info *ret, struct err *e)
{
	int64_t id = service_source_id(c->svc, source);
	int r = strcmp(name, "latest") ? catalog_find(service_catalog(c->svc), id, name, ret, e)
				       : catalog_latest(service_catalog(c->svc), id, ret, e);
	if (r != -ENOENT)
		return r;
	const char *of = cli_source_name(c, source);
	if (!strcmp(name, "latest"))
		return err_set(e, ENOENT, "there is no snapshot yet (metasnap snapshot %s)", of);
	return err_set(e, ENOENT, "there is no snapshot \"%.200s\" (metasnap list %s)", name, of);
}
