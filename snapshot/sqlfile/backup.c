/*
 * snapshot/sqlfile/backup.c - the writer of the former command line's files. Rows go from the server to the file:
 * memory is that of one row. Runs on the caller's thread, no locks.
 */
#include "snapshot/sqlfile/backup.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "drivers/registry.h"
#include "drivers/sql_text.h"

/* Written first, and without the columns' names. */
static const char *const backup_whole[] = {"task_sequence",        "entity_usage",       "entity_relationship",
					   "entity_extension",     "field_relationship", "tag_usage",
					   "openmetadata_settings"};
#define BACKUP_WHOLE (sizeof backup_whole / sizeof backup_whole[0])
/* Written last. */
static const char backup_last[] = "entity_extension_time_series";

struct backup_writer {
	struct db_conn *conn;
	const struct sql_dialect *dialect;
	bool postgres;
	struct out_file *file;
	struct strbuf head; /* INSERT INTO t ... VALUES of the table */
};

/* OpenMetadata's own words stand without quotes, as they always did: none of these is part of a server's keyword. */
static bool backup_is_own(const char *name, bool postgres)
{
	static const char *const words[] = {"json", "tag", "classification", "extension", "jsonschema", "suggestions"};
	static const char *const parts[] = {"_entity",   "entity_",   "_time_series", "_relationship", "_usage",
					    "_sequence", "_settings", "_event",       "fqn",           "hash"};
	for (const char *p = name; *p; p++)
		if (!(isalnum((unsigned char)*p) || *p == '_') || (postgres && isupper((unsigned char)*p)))
			return false;
	if (isdigit((unsigned char)*name))
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (!strcasecmp(name, words[i]))
			return true;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strcasestr(name, parts[i]) && strcasecmp(name, parts[i]))
			return true;
	return false;
}

static void backup_add_name(const struct backup_writer *w, const char *name, struct strbuf *out)
{
	if (backup_is_own(name, w->postgres))
		strbuf_adds(out, name);
	else
		w->dialect->name(name, out);
}

static bool backup_is_whole(const struct db_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].generated)
			return false;
	for (size_t i = 0; i < BACKUP_WHOLE; i++)
		if (!strcasecmp(t->name, backup_whole[i]))
			return true;
	return false;
}

static void backup_make_head(struct backup_writer *w, const struct db_table *t)
{
	const char *separator = " (";
	strbuf_clear(&w->head);
	strbuf_adds(&w->head, "INSERT INTO ");
	backup_add_name(w, t->name, &w->head);
	for (size_t i = 0; i < t->n_columns && !backup_is_whole(t); i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(&w->head, separator);
		backup_add_name(w, t->columns[i].name, &w->head);
		separator = ",";
	}
	strbuf_adds(&w->head, *separator == ',' ? ") VALUES (" : " VALUES (");
}

static void backup_add_row(const struct backup_writer *w, const struct db_table *t, const struct db_value *v)
{
	struct strbuf *out = &w->file->buffer;
	const char *separator = "";
	strbuf_add(out, w->head.data, w->head.len);
	for (size_t i = 0; i < t->n_columns; i++) {
		if (t->columns[i].generated)
			continue;
		strbuf_adds(out, separator);
		separator = ",";
		if (v->data)
			w->dialect->literal(&t->columns[i], v, out);
		else
			strbuf_adds(out, "null");
		v++;
	}
	strbuf_adds(out, ");\n");
}

/* The table's part of the file; ERESTART: it must follow once more, which replaces it. */
static int backup_part(struct backup_writer *w, const struct db_table *t, struct err *e)
{
	const struct db_driver *d = db_driver_of(w->conn);
	const struct db_value *values = NULL;
	strbuf_adds(&w->file->buffer, "TRUNCATE TABLE ");
	backup_add_name(w, t->name, &w->file->buffer);
	strbuf_adds(&w->file->buffer, ";\n");
	int r = d->scan_open(w->conn, t, DB_SCAN_UNORDERED, e);
	if (r < 0)
		return r;
	while ((r = d->scan_next(w->conn, &values, e)) == 1) {
		backup_add_row(w, t, values);
		r = out_file_more(w->file, e);
		if (r < 0)
			break;
	}
	int closed = d->scan_close(w->conn, r < 0 ? ERR_DROP : e);
	return r < 0 ? r : closed;
}

static int backup_table(struct backup_writer *w, const struct db_table *t, struct err *e)
{
	size_t stored = 0;
	for (size_t i = 0; i < t->n_columns; i++)
		stored += !t->columns[i].generated;
	if (!stored)
		return err_set(e, ENOTSUP, "table %s has no column that an INSERT could name (exclude it)", t->name);
	backup_make_head(w, t);
	struct err why = ERR_INIT;
	int r;
	do {
		why = ERR_INIT;
		r = backup_part(w, t, &why);
	} while (r == -ERESTART);
	if (r < 0)
		*e = why;
	return r;
}

enum backup_place { BACKUP_FIRST, BACKUP_BETWEEN, BACKUP_LAST };

static enum backup_place backup_place_of(const struct db_table *t)
{
	if (!strcasecmp(t->name, backup_last))
		return BACKUP_LAST;
	for (size_t i = 0; i < BACKUP_WHOLE; i++)
		if (!strcasecmp(t->name, backup_whole[i]))
			return BACKUP_FIRST;
	return BACKUP_BETWEEN;
}

static int backup_tables(struct backup_writer *w, const struct db_schema *s, struct err *e)
{
	w->dialect = sql_dialect_of(s->engine);
	w->postgres = !strcmp(s->engine, "postgresql");
	if (!w->dialect || !w->dialect->literal)
		return err_set(e, ENOTSUP, "there is no such file for %s (metasnap export)", s->engine);
	for (enum backup_place place = BACKUP_FIRST; place <= BACKUP_LAST; place++)
		for (size_t i = 0; i < s->n_tables; i++) {
			int r = backup_place_of(&s->tables[i]) == place ? backup_table(w, &s->tables[i], e) : 0;
			if (r < 0)
				return r;
		}
	return 0;
}

int sql_backup_write(struct db_conn *conn, struct out_file *f, struct err *e)
{
	struct backup_writer w = {.conn = conn, .file = f};
	_cleanup_(cleanup_db_schema) struct db_schema *s = NULL;
	int r = db_driver_of(conn)->begin(conn, DB_READ, &s, e);
	if (r < 0)
		return r;
	r = backup_tables(&w, s, e);
	if (r >= 0)
		r = db_driver_of(conn)->commit(conn, e);
	else
		db_driver_of(conn)->rollback(conn);
	strbuf_done(&w.head);
	return r;
}
