/*
 * snapshot/sqlfile/restore.c - see restore.h.
 *
 * The file is read twice: sql_scan checks all of it and finds the tables before anything is locked; then it is applied.
 * Rows go to the server in small loads. When one is refused, the transaction is rolled back, and the rows of that
 * load's table are sent once more, one by one where it matters, only to learn which line it was; then that is rolled
 * back, too. Runs on the job's thread; no locks.
 */
#include "snapshot/sqlfile/restore.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "snapshot/capture/capture.h"
#include "snapshot/restore/policy.h"
#include "snapshot/restore/safety.h"
#include "snapshot/sqlfile/map.h"
#include "snapshot/sqlfile/scan.h"

#define LOAD_ROWS 500U
#define LOAD_BYTES ((size_t)1 << 20)

/* One table that the file names. */
struct sql_table {
	const struct db_table *table; /* of the schema that `begin` gave */
	const struct version_info *was;
	uint64_t rows; /* in it, by what the file has done so far */
	uint64_t inserts, deletes;
	size_t left_out;      /* values of generated columns, in each row */
	struct digest digest; /* of those rows, while `known` */
	bool known;
};

/* Where a load of rows begins and ends in the file. */
struct sql_span {
	size_t table;         /* in sql_job.tables */
	uint64_t first, last; /* rows, counted through the file from 1; first 0: none */
	uint64_t first_line, last_line;
};

struct sql_job {
	struct restore *rs;
	const struct db_driver *driver;
	const struct sql_source *src;
	struct sql_scan scan;
	struct db_schema *live;
	struct version_list safety;
	struct sql_table *tables;
	size_t n_tables, cap_tables;
	struct sql_map *map;  /* of the rows at hand */
	size_t current;       /* the table of `map` */
	uint64_t row;         /* the last one read */
	bool loading, server; /* `server`: the last error is a refusal of what was sent */
	struct sql_span span; /* of the load that is open, or failed */
	size_t span_bytes;
	struct hasher *hasher;
	struct strbuf line;
};

static void sql_job_done(struct sql_job *j)
{
	sql_scan_done(&j->scan);
	db_schema_free(j->live);
	version_list_done(&j->safety);
	free(j->tables);
	sql_map_free(j->map);
	hasher_free(j->hasher);
	strbuf_done(&j->line);
}

static int at_line(int r, uint64_t line, struct err *e)
{
	return r < 0 ? err_prefix(e, "line %" PRIu64, line) : r;
}

static int check_cancelled(const struct sql_job *j, struct err *e)
{
	return atomic_load_explicit(&j->rs->job->cancelled, memory_order_relaxed) ? err_set(e, EINTR, "cancelled") : 0;
}

/* ---- tables ---- */

/* Two names in the file may mean one table. */
static size_t table_index(const struct sql_job *j, const struct db_table *t)
{
	size_t i = 0;
	while (i < j->n_tables && j->tables[i].table != t)
		i++;
	return i;
}

static int find_tables(struct sql_job *j, struct err *e)
{
	j->tables = xcalloc(j->scan.n_tables + 1, sizeof *j->tables);
	for (size_t i = 0; i < j->scan.n_tables; i++) {
		const struct sql_seen *seen = &j->scan.tables[i];
		const struct db_table *t = sql_map_find(j->live, &seen->name);
		if (!t)
			return err_set(e, EBADMSG,
				       "line %" PRIu64 ": table %.100s is not in the database, or left out by exclude=",
				       seen->line, seen->name.text);
		if (table_index(j, t) == j->n_tables)
			j->tables[j->n_tables++].table = t;
	}
	return 0;
}

/* The part of the schema that the file changes; *ret borrows, its array is the caller's. */
static struct db_table *part_of(const struct sql_job *j, struct db_schema *ret)
{
	*ret = *j->live;
	ret->n_tables = j->n_tables;
	ret->tables = xcalloc(j->n_tables + 1, sizeof *ret->tables);
	for (size_t i = 0; i < j->n_tables; i++)
		ret->tables[i] = *j->tables[i].table;
	return ret->tables;
}

/* What a dry run says a table holds. */
static int count_rows(struct sql_job *j, struct sql_table *t, struct err *e)
{
	struct db_table plain = db_table_without_key(t->table);
	const struct db_value *values;
	int r = j->driver->scan_open(j->rs->conn, &plain, DB_SCAN_UNORDERED, e);
	if (r < 0)
		return r;
	while ((r = j->driver->scan_next(j->rs->conn, &values, e)) == 1)
		t->rows++;
	int q = j->driver->scan_close(j->rs->conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

static int note_rows(struct sql_job *j, struct err *e)
{
	for (size_t i = 0; i < j->n_tables; i++) {
		struct sql_table *t = &j->tables[i];
		if (j->rs->dry_run) {
			int r = count_rows(j, t, e);
			if (r < 0)
				return r;
			continue;
		}
		for (size_t k = 0; k < j->safety.n; k++)
			if (!strcmp(j->safety.v[k].name, t->table->name))
				t->was = &j->safety.v[k];
		if (!t->was)
			return err_set(e, EIO, "table %s is not in the safety snapshot", t->table->name);
		t->rows = t->was->rows;
		t->digest = t->was->digest;
		t->known = true;
	}
	return 0;
}

/* ---- one pass over the file ---- */

static int end_load(struct sql_job *j, struct err *e)
{
	if (!j->loading)
		return 0;
	j->loading = false;
	int r = j->driver->load_end(j->rs->conn, true, e);
	j->server = r < 0;
	return r;
}

static void abandon_load(struct sql_job *j)
{
	if (j->loading)
		(void)j->driver->load_end(j->rs->conn, false, ERR_DROP);
	j->loading = false;
}

static int load_row(struct sql_job *j, const struct sql_item *item, const struct db_value *values, size_t most,
		    struct err *e)
{
	if (j->loading && (j->span.last - j->span.first + 1 >= most || j->span_bytes >= LOAD_BYTES)) {
		int r = end_load(j, e);
		if (r < 0)
			return r;
	}
	if (!j->loading) {
		j->span = (struct sql_span){j->current, j->row, j->row, item->line, item->line};
		j->span_bytes = 0;
		int r = j->driver->load_begin(j->rs->conn, sql_map_table(j->map), e);
		if (r < 0)
			return at_line(r, item->line, e);
		j->loading = true;
	}
	j->span.last = j->row;
	j->span.last_line = item->line;
	for (size_t i = 0; i < item->n_values; i++)
		j->span_bytes += item->values[i].len;
	int r = j->driver->load_row(j->rs->conn, values, e);
	j->server = r < 0;
	return r;
}

/* The map for this item; a load that is open for other rows ends. */
static int use_map(struct sql_job *j, const struct sql_item *item, struct err *e)
{
	size_t i = table_index(j, sql_map_find(j->live, item->table));
	if (j->map && i == j->current && sql_map_fits(j->map, item))
		return 0;
	int r = end_load(j, e);
	if (r < 0)
		return r;
	sql_map_free(TAKE_PTR(j->map));
	r = sql_map_new(&j->map, j->tables[i].table, j->live->engine, item, e);
	if (r < 0)
		return at_line(r, item->line, e);
	j->current = i;
	if (sql_map_left_out(j->map))
		j->tables[i].left_out = sql_map_left_out(j->map);
	job_ctl_say(j->rs->job, "restore: %s", j->tables[i].table->name);
	return 0;
}

static void count_row(struct sql_job *j)
{
	struct sql_table *t = &j->tables[j->current];
	uint8_t sha[ROW_SHA_LEN];
	t->rows++;
	t->inserts++;
	t->known = t->known && sql_map_line(j->map, &j->line);
	if (!t->known)
		return;
	hasher_sha256(j->hasher, strbuf_str(&j->line), j->line.len, sha);
	digest_add(&t->digest, sha);
}

static int apply_row(struct sql_job *j, const struct sql_item *item, struct err *e)
{
	const struct db_value *values;
	struct restore *rs = j->rs;
	j->row++;
	int r = check_cancelled(j, e);
	if (r == 0)
		r = use_map(j, item, e);
	if (r < 0)
		return r;
	r = sql_map_row(j->map, item, &values, e);
	if (r < 0)
		return at_line(r, item->line, e);
	count_row(j);
	atomic_fetch_add_explicit(&rs->job->rows_done, 1, memory_order_relaxed);
	return rs->dry_run ? 0 : load_row(j, item, values, LOAD_ROWS, e);
}

static int apply_truncate(struct sql_job *j, const struct sql_item *item, struct err *e)
{
	struct sql_table *t = &j->tables[table_index(j, sql_map_find(j->live, item->table))];
	int r = end_load(j, e);
	if (r < 0)
		return r;
	t->deletes += t->rows;
	t->rows = 0;
	t->digest = (struct digest){0};
	t->known = true;
	return j->rs->dry_run ? 0 : at_line(j->driver->delete_all(j->rs->conn, t->table, e), item->line, e);
}

static int apply_file(struct sql_job *j, struct err *e)
{
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(j->src, j->scan.reading);
	struct sql_item item;
	int r;
	while ((r = sql_read_next(s, &item, e)) == 1) {
		r = item.truncate ? apply_truncate(j, &item, e) : apply_row(j, &item, e);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = end_load(j, e);
	abandon_load(j);
	if (r == 0) {
		uint8_t sha[ROW_SHA_LEN];
		sql_read_sha256(s, sha);
		if (memcmp(sha, j->scan.sha, sizeof sha) != 0)
			r = err_set(e, EBADMSG, "the file changed while it was read");
	}
	return r;
}

/* ---- which line was it? ---- */

/* The rows of the failed span's table again, up to that span in large loads, then each by itself. 1: *ret_line is the
 * one; 0: none was refused. */
static int find_in_file(struct sql_job *j, const struct sql_span *failed, uint64_t *ret_line, struct err *e)
{
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(j->src, j->scan.reading);
	const struct db_table *t = j->tables[failed->table].table;
	struct sql_item item;
	const struct db_value *values;
	int r = 0;
	while (r == 0 && j->row < failed->last && sql_read_next(s, &item, e) == 1) {
		j->row += !item.truncate;
		if (sql_map_find(j->live, item.table) != t)
			continue;
		bool suspect = j->row >= failed->first;
		if (suspect && j->span.first < failed->first)
			r = end_load(j, e);
		if (r == 0 && item.truncate) {
			r = end_load(j, e);
			if (r == 0)
				r = j->driver->delete_all(j->rs->conn, t, e);
			continue;
		}
		if (r == 0)
			r = use_map(j, &item, e);
		if (r == 0)
			r = sql_map_row(j->map, &item, &values, e);
		if (r == 0)
			r = load_row(j, &item, values, suspect ? 1 : LOAD_ROWS, e);
		if (r == 0 && suspect)
			r = end_load(j, e);
		*ret_line = item.line;
		if (r < 0 && suspect && j->server)
			r = 1;
	}
	abandon_load(j);
	return r < 0 ? r : r == 1;
}

static bool row_was_refused(const struct sql_job *j, int r)
{
	return r < 0 && j->server && j->span.first && r != -EINTR && r != -ECONNRESET && r != -EBUSY && r != -ETIMEDOUT;
}

/* After a refusal and the rollback: names the line in *e. That nothing is found out is no new failure. */
static void name_line(struct sql_job *j, struct err *e)
{
	const struct sql_span failed = j->span;
	const char *table = j->tables[failed.table].table->name;
	struct err why = ERR_INIT;
	struct db_schema *live = NULL;
	uint64_t line = failed.first_line;
	int r = failed.first == failed.last ? 1 : 0;
	if (r == 0 && j->driver->begin(j->rs->conn, DB_WRITE, &live, ERR_DROP) == 0) {
		struct sql_job again = {.rs = j->rs, .driver = j->driver, .src = j->src, .live = live};
		again.scan = j->scan;
		again.hasher = j->hasher;
		struct db_schema part;
		_cleanup_free_ struct db_table *tables = NULL;
		r = find_tables(&again, ERR_DROP);
		if (r == 0 && again.n_tables == j->n_tables) {
			tables = part_of(&again, &part);
			r = j->driver->change_begin(j->rs->conn, &part, ERR_DROP);
		}
		if (r == 0)
			r = find_in_file(&again, &failed, &line, &why);
		j->driver->rollback(j->rs->conn);
		free(again.tables);
		sql_map_free(again.map);
		strbuf_done(&again.line);
		db_schema_free(live);
	}
	if (r == 1)
		(void)err_prefix(e, "line %" PRIu64, line);
	else
		(void)err_prefix(e, "one of the rows from line %" PRIu64 " to line %" PRIu64 " (table %s)",
				 failed.first_line, failed.last_line, table);
}

/* ---- what came of it ---- */

/* What the transaction holds, kept as a snapshot that is not listed. */
static int capture_target(struct sql_job *j, const struct strbuf *schema_sql, struct err *e)
{
	struct restore *rs = j->rs;
	_cleanup_(cleanup_snapshot_writer) struct snapshot_writer *w = NULL;
	int r = snapshot_writer_new(&w, rs->catalog, rs->source_id, clock_ms(), e);
	if (r < 0)
		return r;
	struct capture cp = {.catalog = rs->catalog,
			     .conn = rs->conn,
			     .schema = j->live,
			     .writer = w,
			     .job = rs->job,
			     .base_id = rs->safety_id,
			     .whole = true,
			     .schema_sql = schema_sql};
	/* Noted before it is there, so that it is never nobody's. */
	r = journal_state(rs->catalog, rs->journal_id, "begun", NULL, rs->safety_id, snapshot_writer_id(w), false, e);
	if (r == 0)
		r = capture_run(&cp, NULL, e);
	if (r == 0)
		rs->target_id = snapshot_writer_id(w);
	return r;
}

static const struct sql_table *table_of_name(const struct sql_job *j, const char *name)
{
	for (size_t i = 0; i < j->n_tables; i++)
		if (!strcmp(j->tables[i].table->name, name))
			return &j->tables[i];
	return NULL;
}

static int check_table(struct sql_job *j, const struct version_info *now, struct err *e)
{
	const struct sql_table *t = table_of_name(j, now->name);
	if (!t) {
		for (size_t i = 0; i < j->safety.n; i++)
			if (!strcmp(j->safety.v[i].name, now->name) &&
			    digest_equal(&j->safety.v[i].digest, &now->digest))
				return 0;
		return err_set(e, EIO, "table %s, which the file does not name, has changed; rolled back", now->name);
	}
	if (t->rows != now->rows)
		return err_set(e, EIO,
			       "table %s: after the restore it holds %" PRIu64 " rows, where the file makes it %" PRIu64
			       "; rolled back",
			       now->name, now->rows, t->rows);
	if (j->rs->report && t->left_out)
		strbuf_addf(j->rs->report,
			    "table %s: values of %zu generated columns are left to the server, which makes them of the "
			    "others\n",
			    now->name, t->left_out);
	if (j->rs->report && !(t->known && digest_equal(&t->digest, &now->digest)))
		strbuf_addf(
		    j->rs->report,
		    "table %s: its %" PRIu64
		    " rows were counted, not compared: the server spells values in another way than the file, or "
		    "the file leaves columns to it\n",
		    now->name, now->rows);
	return 0;
}

static int check_target(struct sql_job *j, struct err *e)
{
	struct version_list now = {0};
	int r = catalog_tables(j->rs->catalog, j->rs->target_id, &now, e);
	for (size_t i = 0; r == 0 && i < now.n; i++)
		r = check_table(j, &now.v[i], e);
	version_list_done(&now);
	return r;
}

/* ---- the whole ---- */

static void make_plan(const struct sql_job *j)
{
	for (size_t i = 0; j->rs->plan && i < j->n_tables; i++) {
		struct table_plan *p = restore_plan_add(j->rs->plan, j->tables[i].table->name);
		p->inserts = j->tables[i].inserts;
		p->deletes = j->tables[i].deletes;
	}
}

/* In the transaction, up to COMMIT. */
static int apply(struct sql_job *j, struct db_schema *part, struct err *e)
{
	struct restore *rs = j->rs;
	_cleanup_strbuf_ struct strbuf sql = {0};
	int r = restore_take_safety(rs, j->live, &sql, e);
	if (r == 0)
		r = catalog_tables(rs->catalog, rs->safety_id, &j->safety, e);
	if (r == 0)
		r = note_rows(j, e);
	if (r == 0)
		r = journal_state(rs->catalog, rs->journal_id, "begun", NULL, rs->safety_id, 0, false, e);
	if (r < 0)
		return r;
	rs->begun = true;
	atomic_store(&rs->job->rows_done, 0);
	atomic_store(&rs->job->bytes_done, 0);
	atomic_store(&rs->job->rows_total, j->scan.rows);
	r = j->driver->change_begin(rs->conn, part, e);
	if (r == 0)
		r = apply_file(j, e);
	if (r == 0)
		r = j->driver->change_end(rs->conn, NULL, e);
	for (size_t i = 0; r == 0 && j->driver->advance_sequences && i < j->n_tables; i++)
		r = j->driver->advance_sequences(rs->conn, j->tables[i].table, e);
	if (r == 0)
		r = capture_target(j, &sql, e);
	if (r == 0)
		r = check_target(j, e);
	if (r == 0)
		r = check_cancelled(j, e);
	return r;
}

static int dry_run(struct sql_job *j, const struct db_schema *part, struct err *e)
{
	int r = note_rows(j, e);
	if (r == 0 && j->driver->change_check)
		r = j->driver->change_check(j->rs->conn, part, e);
	return r == 0 ? apply_file(j, e) : r;
}

static int run_locked(struct sql_job *j, struct err *e)
{
	struct db_schema part;
	int r = find_tables(j, e);
	if (r < 0)
		return r;
	_cleanup_free_ struct db_table *tables = part_of(j, &part);
	r = restore_may_over(j->rs->policy, RESTORE_ACT_FILE, j->rs->conn, &part, e);
	if (r == 0)
		r = j->rs->dry_run ? dry_run(j, &part, e) : apply(j, &part, e);
	if (r == 0)
		make_plan(j);
	return r == 0 && !j->rs->dry_run ? restore_commit(j->rs, e) : r;
}

int sql_restore_run(struct restore *rs, const struct sql_file *file, struct err *e)
{
	_cleanup_(sql_job_done) struct sql_job j = {.rs = rs, .driver = db_driver_of(rs->conn), .src = &file->source};
	struct err why = ERR_INIT;
	int r = restore_may(rs->policy, RESTORE_ACT_FILE, false, e);
	if (r < 0)
		return r;
	j.hasher = hasher_new();
	job_ctl_say(rs->job, "restore: reading the file");
	r = sql_scan(&file->source, file->mysql, file->backslashes, &j.scan, &why);
	if (r == 0 && rs->report && j.scan.why[0])
		strbuf_addf(rs->report, "%s\n", j.scan.why);
	if (r == 0 && !rs->dry_run)
		r = j.driver->settle(rs->conn, &why);
	if (r == 0)
		r = j.driver->begin(rs->conn, rs->dry_run ? DB_READ : DB_WRITE, &j.live, &why);
	if (r == 0) {
		r = run_locked(&j, &why);
		if (r < 0 || rs->dry_run)
			j.driver->rollback(rs->conn);
		if (row_was_refused(&j, r))
			name_line(&j, &why);
	}
	if (r < 0 && e)
		*e = why;
	return r;
}
