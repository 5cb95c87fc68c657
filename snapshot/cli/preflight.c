/*
 * snapshot/cli/preflight.c - `metasnap preflight`: the checks before an upgrade. It stands apart from the service, which
 * would note the source in the catalog: the catalog is opened for reading, and need not be there at all.
 */
#include "snapshot/openmetadata/preflight.h"

#include <errno.h>

#include "base/log.h"
#include "snapshot/cli/cli.h"

/* No catalog, or a source that it does not know: then there is no snapshot, which the report tells. */
static int cli_preflight_catalog(const struct cli *c, struct catalog **ret, int64_t *ret_source, struct err *e)
{
	*ret = NULL;
	*ret_source = 0;
	if (access(c->config.catalog_path, F_OK) < 0 && errno == ENOENT)
		return 0;
	int r = catalog_open(ret, c->config.catalog_path, CATALOG_READ, e);
	if (r == 0)
		r = catalog_source(*ret, c->config.sources[c->source].name, ret_source, e);
	return r == -ENOENT ? 0 : r;
}

int cli_preflight(struct cli *c)
{
	const struct source_config *source = &c->config.sources[c->source];
	_cleanup_(cleanup_catalog) struct catalog *catalog = NULL;
	_cleanup_(preflight_report_done) struct preflight_report report = {0};
	_cleanup_strbuf_ struct strbuf text = {0};
	struct err e = ERR_INIT, catalog_err = ERR_INIT;
	struct preflight_version to;
	int64_t source_id;
	if (c->to && preflight_version_parse(&to, c->to) < 0) {
		log_error("preflight: --to %.40s is not a version like 1.4.0 (usage: metasnap preflight %s)", c->to,
			  c->command->args);
		return CLI_USAGE;
	}
	if (cli_preflight_catalog(c, &catalog, &source_id, &catalog_err) == 0)
		catalog_err = ERR_INIT;
	_cleanup_free_ char *url = db_params_describe(&source->params);
	struct preflight_request rq = {.source = source,
				       .label = c->config.path ? source->name : url,
				       .catalog = catalog,
				       .source_id = source_id,
				       .catalog_err = &catalog_err,
				       .to = c->to};
	if (preflight_run(&rq, &report, &e) < 0)
		return cli_fail(&e, "preflight %s", source->name);
	if (c->json)
		preflight_json(&report, &text);
	else
		preflight_text(&report, &text);
	(void)fputs(text.data, stdout);
	return report.ready ? CLI_DONE : CLI_FAILED;
}
