/*
 * snapshot/cli/show.c - the commands of `metasnap` that only look: list, diff, verify, check. They run on the main
 * thread; a signal ends the program, which leaves nothing behind. No locks.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <jansson.h>
#include <time.h>

#include "base/log.h"
#include "snapshot/row/manifest.h"
#include "snapshot/stream/changes.h"
#include "snapshot/stream/diff.h"

/* ---- list ---- */

/* A snapshot and the source it is of. */
struct cli_entry {
	const char *source;
	const struct snapshot_info *s;
};

static int cli_compare_entry(const void *a, const void *b)
{
	const struct snapshot_info *x = ((const struct cli_entry *)a)->s, *y = ((const struct cli_entry *)b)->s;
	if (x->taken_ms != y->taken_ms)
		return x->taken_ms < y->taken_ms ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* "2026-11-22T08:15:30", with `between` in the place of the T. */
static void cli_time_text(int64_t ms, char between, char out[64])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm = {0};
	(void)gmtime_r(&t, &tm);
	if (!strftime(out, 64, "%Y-%m-%dT%H:%M:%S", &tm))
		*out = '\0';
	else
		out[strcspn(out, "T")] = between;
}

void cli_size_text(int64_t bytes, char out[16])
{
	static const char units[] = "KMGTPE";
	double n = (double)bytes;
	int unit = -1;
	for (; n >= 1024 && unit < 5; unit++)
		n /= 1024;
	if (unit < 0)
		(void)snprintf(out, 16, "%lldB", (long long)bytes);
	else
		(void)snprintf(out, 16, n < 9.95 ? "%.1f%c" : "%.0f%c", n, units[unit]);
}

static void cli_print_table(const struct cli_entry *v, size_t n, bool with_source)
{
	int name = 4, source = with_source ? 6 : 0;
	for (size_t i = 0; i < n; i++) {
		int length = (int)strlen(v[i].s->name);
		name = length > name ? length : name;
		length = with_source ? (int)strlen(v[i].source) : 0;
		source = length > source ? length : source;
	}
	if (with_source)
		(void)printf("%-*s  ", source, "SOURCE");
	(void)printf("%-*s  %-19s  %6s  %10s  %7s  %7s  %-4s  %s\n", name, "NAME", "TAKEN (UTC)", "TABLES", "ROWS",
		     "SIZE", "STORED", "HELD", "ENGINE");
	for (size_t i = 0; i < n; i++) {
		const struct snapshot_info *s = v[i].s;
		char taken[64], size[16], stored[16];
		cli_time_text(s->taken_ms, ' ', taken);
		cli_size_text(s->line_bytes, size);
		cli_size_text(s->stored_bytes, stored);
		if (with_source)
			(void)printf("%-*s  ", source, v[i].source);
		(void)printf("%-*s  %-19s  %6zu  %10lld  %7s  %7s  %-4s  %s %s\n", name, s->name, taken, s->n_tables,
			     (long long)s->rows, size, stored, s->held ? "yes" : "no", s->engine ? s->engine : "",
			     s->server_version ? s->server_version : "");
	}
}

static int cli_print_json(const struct cli_entry *v, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++) {
		const struct snapshot_info *s = v[i].s;
		char seconds[64], taken[80];
		cli_time_text(s->taken_ms, 'T', seconds);
		(void)snprintf(taken, sizeof taken, "%s.%03dZ", seconds, (int)(s->taken_ms % 1000));
		json_t *o = json_pack(
		    "{ss ss ss sI sI sI sI sI sb ss? ss? ss?}", "source", v[i].source, "name", s->name, "taken", taken,
		    "taken_ms", (json_int_t)s->taken_ms, "tables", (json_int_t)s->n_tables, "rows", (json_int_t)s->rows,
		    "bytes", (json_int_t)s->line_bytes, "stored_bytes", (json_int_t)s->stored_bytes, "held", s->held,
		    "engine", s->engine, "server_version", s->server_version, "openmetadata_version", s->app_version);
		if (!o || json_array_append_new(list, o) < 0) {
			json_decref(list);
			log_error("list: snapshot %s of %s: text that is not UTF-8", s->name, v[i].source);
			return CLI_FAILED;
		}
	}
	(void)json_dumpf(list, stdout, JSON_INDENT(2));
	(void)fputc('\n', stdout);
	json_decref(list);
	return CLI_DONE;
}

/* Sources that the command is about: the named one, else all. */
static void cli_range(const struct cli *c, size_t *ret_first, size_t *ret_end)
{
	*ret_first = c->n_args ? c->source : 0;
	*ret_end = c->n_args ? c->source + 1 : service_sources(c->svc);
}

int cli_list(struct cli *c)
{
	size_t first, end, n = 0;
	struct err e = ERR_INIT;
	int status = CLI_DONE;
	cli_range(c, &first, &end);
	struct snapshot_list *lists = xcalloc(end - first, sizeof *lists);
	struct cli_entry *v = NULL;
	for (size_t i = first; i < end && status == CLI_DONE; i++) {
		struct snapshot_list *l = &lists[i - first];
		if (catalog_list(service_catalog(c->svc), service_source_id(c->svc, i), l, &e) < 0)
			status = cli_fail(&e, "list %s", cli_source_name(c, i));
		v = xrealloc(v, (n + l->n + 1) * sizeof *v);
		for (size_t k = 0; k < l->n; k++)
			v[n++] = (struct cli_entry){cli_source_name(c, i), &l->v[k]};
	}
	if (status == CLI_DONE && n)
		qsort(v, n, sizeof *v, cli_compare_entry);
	if (status == CLI_DONE && c->json)
		status = cli_print_json(v, n);
	else if (status == CLI_DONE && n)
		cli_print_table(v, n, end - first > 1);
	for (size_t i = first; i < end; i++)
		snapshot_list_done(&lists[i - first]);
	free(lists);
	free(v);
	return status;
}

/* ---- diff ---- */

struct cli_diff_state {
	struct strbuf name;
	bool differs;
};

/* A reader that has gone ends the comparison. */
static int cli_diff_written(void)
{
	return ferror(stdout) ? -EPIPE : 0;
}

static int cli_diff_row(void *arg, const char *table, char kind, const struct stored_row *before,
			const struct stored_row *after)
{
	struct cli_diff_state *d = arg;
	const struct stored_row *row = after ? after : before;
	strbuf_clear(&d->name);
	table_file_name(table, &d->name);
	strbuf_addch(&d->name, '/');
	row_name(row->codec, row->key, row->key_len, &d->name);
	d->differs = true;
	(void)printf("%c %s\n", kind, d->name.data);
	return cli_diff_written();
}

static int cli_diff_table(void *arg, const char *table, char kind)
{
	struct cli_diff_state *d = arg;
	strbuf_clear(&d->name);
	table_file_name(table, &d->name);
	d->differs = true;
	(void)printf("%c %s/\n", kind, strbuf_str(&d->name));
	return cli_diff_written();
}

static int cli_diff_rows(struct cli *c, int64_t a, int64_t b, bool *ret_differs, struct err *e)
{
	struct cli_diff_state d = {0};
	const struct diff_sink sink = {.arg = &d, .row = cli_diff_row, .table = cli_diff_table};
	int r = changes_schema(service_catalog(c->svc), a, b, &d.differs, e);
	if (r >= 0 && d.differs)
		(void)puts("C schema.sql");
	if (r >= 0)
		r = diff_snapshots(service_catalog(c->svc), a, b, &sink, e);
	strbuf_done(&d.name);
	*ret_differs = d.differs;
	return r;
}

static int cli_diff_stat(struct cli *c, int64_t a, int64_t b, bool *ret_differs, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	struct changes ch;
	int r = changes_count(service_catalog(c->svc), a, b, NULL, &ch, e);
	if (r == 0) {
		changes_text(&ch, &text);
		(void)fputs(strbuf_str(&text), stdout);
		*ret_differs = changes_any(&ch);
	}
	changes_done(&ch);
	return r;
}

int cli_diff(struct cli *c)
{
	struct snapshot_info s;
	struct err e = ERR_INIT;
	bool differs = false;
	int64_t id[2];
	for (int i = 0; i < 2; i++) {
		if (cli_find_snapshot(c, c->source, c->args[1 + i], &s, &e) < 0) {
			(void)cli_fail(&e, "diff %s", cli_source_name(c, c->source));
			return CLI_DIFF_TROUBLE;
		}
		id[i] = s.id;
		snapshot_info_done(&s);
	}
	int r = (c->stat ? cli_diff_stat : cli_diff_rows)(c, id[0], id[1], &differs, &e);
	if (r < 0) {
		if (r != -EPIPE) /* main says what is wrong with the output */
			(void)cli_fail(&e, "diff %s %s %s", cli_source_name(c, c->source), c->args[1], c->args[2]);
		return CLI_DIFF_TROUBLE;
	}
	return differs ? CLI_DIFFERS : CLI_DONE;
}

/* ---- verify ---- */

/* "ok NAME ROWS"; with its source where several are looked at. */
static void cli_print_ok(const struct cli *c, size_t source, const struct snapshot_info *s)
{
	bool several = !c->n_args && service_sources(c->svc) > 1;
	(void)printf("ok %s%s%s %lld\n", several ? cli_source_name(c, source) : "", several ? "/" : "", s->name,
		     (long long)s->rows);
	(void)fflush(stdout); /* each may take minutes */
}

static int cli_verify_one(struct cli *c, size_t source, const struct snapshot_info *s)
{
	_cleanup_strbuf_ struct strbuf report = {0};
	struct err e = ERR_INIT;
	cli_watch_job(c->watch, c->svc, source, NULL);
	int r = service_verify(c->svc, s->id, &report, &e);
	cli_watch_idle(c->watch);
	if (r < 0) {
		cli_print_report(&report, &e);
		return cli_fail(&e, "verify %s %s", cli_source_name(c, source), s->name);
	}
	cli_print_ok(c, source, s);
	return CLI_DONE;
}

static int cli_verify_all(struct cli *c, size_t source)
{
	struct snapshot_list l = {0};
	struct err e = ERR_INIT;
	int status = CLI_DONE;
	if (catalog_list(service_catalog(c->svc), service_source_id(c->svc, source), &l, &e) < 0)
		return cli_fail(&e, "verify %s", cli_source_name(c, source));
	for (size_t i = 0; i < l.n; i++)
		if (cli_verify_one(c, source, &l.v[i]) != CLI_DONE)
			status = CLI_FAILED; /* and on: the others may be whole */
	snapshot_list_done(&l);
	return status;
}

static int cli_verify_live(struct cli *c, const struct snapshot_info *s)
{
	_cleanup_(restore_plan_done) struct restore_plan plan = {0};
	_cleanup_strbuf_ struct strbuf text = {0};
	struct err e = ERR_INIT;
	cli_watch_job(c->watch, c->svc, c->source, &c->waiter);
	int r = service_verify_live(c->svc, c->source, s->id, &c->waiter, &plan, &e);
	cli_watch_idle(c->watch);
	if (r < 0)
		return cli_fail(&e, "verify %s %s", cli_source_name(c, c->source), s->name);
	if (!r) {
		cli_print_ok(c, c->source, s);
		return CLI_DONE;
	}
	/* The plan says what a restore would do: that is how the database differs. */
	restore_plan_text(&plan, &text);
	(void)fputs(strbuf_str(&text), stdout);
	log_error("verify %s: the database differs from %s", cli_source_name(c, c->source), s->name);
	return CLI_DIFFERS;
}

int cli_verify(struct cli *c)
{
	struct snapshot_info s;
	struct err e = ERR_INIT;
	if (!c->n_args && c->live) {
		log_error("verify: --live needs a source (usage: metasnap verify %s)", c->command->args);
		return CLI_USAGE;
	}
	if (c->n_args < 2 && !c->live) {
		size_t first, end;
		int status = CLI_DONE;
		cli_range(c, &first, &end);
		for (size_t i = first; i < end; i++)
			if (cli_verify_all(c, i) != CLI_DONE)
				status = CLI_FAILED;
		return status;
	}
	if (cli_find_snapshot(c, c->source, c->n_args > 1 ? c->args[1] : "latest", &s, &e) < 0)
		return cli_fail(&e, "verify %s", cli_source_name(c, c->source));
	int status = c->live ? cli_verify_live(c, &s) : cli_verify_one(c, c->source, &s);
	snapshot_info_done(&s);
	return status;
}

int cli_check(struct cli *c)
{
	_cleanup_strbuf_ struct strbuf report = {0};
	struct err e = ERR_INIT;
	int r = service_check(c->svc, &report, &e);
	cli_print_report(&report, &e);
	return r < 0 ? cli_fail(&e, "check") : CLI_DONE;
}
