/*
 * snapshot/cli/prune.c - `metasnap prune`: removes the snapshots that no rule keeps and frees their space. On the main
 * thread; a signal ends the program, at any moment without harm. No locks.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "snapshot/cli/cli.h"
#include "snapshot/store/prune.h"

static const struct keep_rules *cli_rules(const struct cli *c, size_t source)
{
	return c->keep_given ? &c->keep : &service_source(c->svc, source)->keep;
}

static int64_t cli_catalog_bytes(const struct cli *c)
{
	struct stat sb;
	return stat(c->config.catalog_path, &sb) == 0 ? (int64_t)sb.st_size : 0;
}

/* A line for each snapshot, oldest first, then the sum. */
static void cli_print_prune(const struct cli *c, size_t source, bool several, const struct prune_list *l)
{
	const char *name = cli_source_name(c, source), *remove = c->dry_run ? "would remove" : "remove";
	size_t kept = 0;
	int width = 0;
	for (size_t i = 0; i < l->n; i++) {
		int n = (int)strlen(l->v[i].name);
		width = n > width && l->v[i].item.keep ? n : width;
		kept += l->v[i].item.keep;
	}
	for (size_t i = l->n; i-- > 0;) {
		const struct prune_entry *p = &l->v[i];
		(void)printf("%-*s  %s%s%-*s", (int)strlen(remove), p->item.keep ? "keep" : remove, several ? name : "",
			     several ? "/" : "", p->item.keep ? width : 0, p->name);
		(void)printf(p->item.keep ? "  %s\n" : "\n", p->item.why);
	}
	(void)printf("%s: %zu kept, %zu %s\n", name, kept, l->n - kept, c->dry_run ? "would be removed" : "removed");
}

static int cli_prune_one(struct cli *c, size_t source, bool several)
{
	struct prune_list list = {0};
	struct err e = ERR_INIT;
	if (service_prune(c->svc, source, cli_rules(c, source), c->dry_run, &c->who, &list, &e) < 0)
		return cli_fail(&e, "prune %s", cli_source_name(c, source));
	cli_print_prune(c, source, several, &list);
	prune_list_done(&list);
	return CLI_DONE;
}

static int cli_free_space(struct cli *c)
{
	struct err e = ERR_INIT;
	char before[16], after[16];
	cli_size_text(cli_catalog_bytes(c), before);
	int r = service_compact(c->svc, &e);
	if (r < 0)
		return cli_fail(&e, "prune: freeing space");
	cli_size_text(cli_catalog_bytes(c), after);
	(void)printf("catalog: %s before, %s now%s\n", before, after,
		     r ? "; a snapshot is being taken, the next prune frees the rest" : "");
	return CLI_DONE;
}

int cli_prune(struct cli *c)
{
	size_t first = 0, end = service_sources(c->svc), with_rules = 0;
	int status = CLI_DONE;
	if (c->n_args) {
		first = c->source;
		end = first + 1;
	}
	for (size_t i = first; i < end; i++)
		with_rules += !keep_is_empty(cli_rules(c, i));
	if (!with_rules) {
		log_error("prune: nothing says what to keep (--keep-last N, --keep-daily N, ..., or keep = in the "
			  "configuration)");
		return CLI_USAGE;
	}
	for (size_t i = first; i < end; i++) {
		if (keep_is_empty(cli_rules(c, i)))
			(void)printf("%s: no rules, nothing is removed\n", cli_source_name(c, i));
		else if (cli_prune_one(c, i, end - first > 1) != CLI_DONE)
			status = CLI_FAILED; /* and on: the other sources are others */
	}
	if (!c->dry_run && cli_free_space(c) != CLI_DONE)
		status = CLI_FAILED;
	return status;
}
