/*
 * snapshot/sqlfile/apply.c - one pass over a `.sql` file in the transaction: its TRUNCATEs and rows, in the order they
 * have in it.
 *
 * Runs on the job's thread; no locks.
 */
#include "snapshot/sqlfile/apply.h"

#include <errno.h>
#include <inttypes.h>

#define LOAD_BYTES ((size_t)1 << 20)

void sql_job_done(struct sql_job *j)
{
	sql_scan_done(&j->scan);
	db_schema_free(j->live);
	version_list_done(&j->safety);
	free(j->tables);
	sql_map_free(j->map);
	hasher_free(j->hasher);
	strbuf_done(&j->line);
}

/* r, with the line in front of the words of a failure. */
static int at_line(int r, uint64_t line, struct err *e)
{
	return r < 0 ? err_prefix(e, "line %" PRIu64, line) : r;
}

int sql_check_cancelled(const struct sql_job *j, struct err *e)
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

int sql_find_tables(struct sql_job *j, struct err *e)
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

struct db_table *sql_part_of(const struct sql_job *j, struct db_schema *ret)
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
	if (r == -ERESTART)
		r = 0;
	int q = j->driver->scan_close(j->rs->conn, r == 0 ? e : ERR_DROP);
	return r < 0 ? r : q;
}

int sql_note_rows(struct sql_job *j, struct err *e)
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

/* ---- loads ---- */

int sql_end_load(struct sql_job *j, struct err *e)
{
	if (!j->loading)
		return 0;
	j->loading = false;
	int r = j->driver->load_end(j->rs->conn, true, e);
	j->server = r < 0;
	return r;
}

void sql_abandon_load(struct sql_job *j)
{
	if (j->loading)
		(void)j->driver->load_end(j->rs->conn, false, ERR_DROP);
	j->loading = false;
}

int sql_load_row(struct sql_job *j, const struct sql_item *item, const struct db_value *values, size_t most,
		 struct err *e)
{
	if (j->loading && (j->span.last - j->span.first + 1 >= most || j->span_bytes >= LOAD_BYTES)) {
		int r = sql_end_load(j, e);
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

int sql_use_map(struct sql_job *j, const struct sql_item *item, struct err *e)
{
	size_t i = table_index(j, sql_map_find(j->live, item->table));
	if (j->map && i == j->current && sql_map_fits(j->map, item))
		return 0;
	int r = sql_end_load(j, e);
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

/* ---- the pass ---- */

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
	int r = sql_check_cancelled(j, e);
	if (r < 0)
		return r;
	r = sql_use_map(j, item, e);
	if (r < 0)
		return r;
	r = sql_map_row(j->map, item, &values, e);
	if (r < 0)
		return at_line(r, item->line, e);
	count_row(j);
	atomic_fetch_add_explicit(&rs->job->rows_done, 1, memory_order_relaxed);
	return rs->dry_run ? 0 : sql_load_row(j, item, values, SQL_LOAD_ROWS, e);
}

static int apply_truncate(struct sql_job *j, const struct sql_item *item, struct err *e)
{
	struct sql_table *t = &j->tables[table_index(j, sql_map_find(j->live, item->table))];
	int r = sql_end_load(j, e);
	if (r < 0)
		return r;
	t->deletes += t->rows;
	t->rows = 0;
	t->digest = (struct digest){0};
	t->known = true;
	return j->rs->dry_run ? 0 : at_line(j->driver->delete_all(j->rs->conn, t->table, e), item->line, e);
}

int sql_apply_file(struct sql_job *j, struct err *e)
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
		r = sql_end_load(j, e);
	sql_abandon_load(j);
	if (r < 0)
		return r;
	uint8_t sha[ROW_SHA_LEN];
	sql_read_sha256(s, sha);
	return memcmp(sha, j->scan.sha, sizeof sha) ? err_set(e, EBADMSG, "the file changed while it was read") : 0;
}
