/*
 * drivers/sqlite/describe.c - what is in the file: tables, columns, keys, sequences, and the schema as text.
 */
#include "drivers/derive.h"
#include "drivers/sqlite/internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <strings.h>

static bool sqlite_type_has(const char *type, const char *word)
{
	return strcasestr(type, word) != NULL;
}

/* The affinity rules in their order (sqlite.org/datatype3.html, 3.1), after JSON, which has no affinity of its own. */
static void sqlite_set_form(struct db_column *c)
{
	const char *type = c->type;
	if (sqlite_type_has(type, "JSON")) {
		c->form = DB_FORM_JSON_TEXT;
	} else if (sqlite_type_has(type, "INT")) {
		c->form = DB_FORM_NUMBER;
		c->integer = true;
	} else if (sqlite_type_has(type, "CHAR") || sqlite_type_has(type, "CLOB") || sqlite_type_has(type, "TEXT")) {
		c->form = DB_FORM_TEXT;
	} else if (sqlite_type_has(type, "BLOB")) {
		c->form = DB_FORM_BINARY;
	} else if (!*type || !strcasecmp(type, "ANY")) {
		c->form = DB_FORM_TEXT;
	} else {
		c->form = DB_FORM_NUMBER; /* REAL and NUMERIC, BOOLEAN among them */
	}
}

/* The derivation names the document as the expression spells it: make it the column's name, or drop it. */
static void sqlite_fix_derivations(struct db_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		struct db_column *c = &t->columns[i];
		const struct db_column *document = NULL;
		for (size_t j = 0; c->document && j < t->n_columns && !document; j++)
			if (!strcasecmp(t->columns[j].name, c->document) && !t->columns[j].generated &&
			    t->columns[j].form == DB_FORM_JSON_TEXT)
				document = &t->columns[j];
		free(c->document);
		c->document = document ? xstrdup(document->name) : NULL;
		if (!document) {
			free(c->member);
			c->member = NULL;
		}
	}
}

static int sqlite_describe_columns(struct sqlite_conn *c, struct db_table *t, const char *sql, struct db_index *rowid,
				   struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	size_t rowid_column = 0, n_primary = 0;
	int r = sqlite_prepare(
	    c, sqlite_reader(c), &stmt,
	    "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid", e, t->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, t->name)) > 0) {
		t->columns = xrealloc(t->columns, (t->n_columns + 1) * sizeof *t->columns);
		struct db_column *column = &t->columns[t->n_columns];
		*column =
		    (struct db_column){.name = xstrdup(sqlite_text(stmt, 0)), .type = xstrdup(sqlite_text(stmt, 1))};
		column->nullable = !sqlite3_column_int(stmt, 2);
		column->generated = sqlite3_column_int(stmt, 4) >= 2;
		sqlite_set_form(column);
		if (column->generated) {
			_cleanup_free_ char *expression = sqlite_ddl_generated(sql, column->name);
			db_column_derive(column, expression);
		}
		if (sqlite3_column_int(stmt, 3)) {
			rowid_column = t->n_columns;
			n_primary++;
		}
		t->n_columns++;
	}
	if (r < 0)
		return r;
	sqlite_fix_derivations(t);
	/* Offered as an index when no index of origin "pk" turns up: then the column is the rowid itself. */
	if (n_primary == 1) {
		rowid->columns = xmalloc(sizeof *rowid->columns);
		rowid->columns[0] = rowid_column;
		rowid->n_columns = 1;
	}
	return 0;
}

/* Appends an index without columns; the list grows by reallocation. */
static struct db_index *sqlite_add_index(struct db_index **list, size_t *n, const char *name, bool primary, bool unique)
{
	*list = xrealloc(*list, (*n + 1) * sizeof **list);
	(*list)[*n] = (struct db_index){.name = xstrdup(name), .primary = primary, .unique = unique};
	return &(*list)[(*n)++];
}

/* False in *ret_usable for an index over expressions or the rowid. */
static int sqlite_describe_index(struct sqlite_conn *c, struct db_index *index, bool *ret_usable, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r =
	    sqlite_prepare(c, sqlite_reader(c), &stmt,
			   "SELECT cid FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno", e, index->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, index->name, -1, SQLITE_STATIC);
	*ret_usable = true;
	while ((r = sqlite_step(c, stmt, e, index->name)) > 0) {
		int column = sqlite3_column_int(stmt, 0);
		if (column < 0) {
			*ret_usable = false;
			return 0;
		}
		index->columns = xrealloc(index->columns, (index->n_columns + 1) * sizeof *index->columns);
		index->columns[index->n_columns++] = (size_t)column; /* cid: the position in table_xinfo */
	}
	return r;
}

static int sqlite_describe_indexes(struct sqlite_conn *c, const struct db_table *t, struct db_index **list, size_t *n,
				   bool *ret_primary, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt,
			       "SELECT name, \"unique\", origin FROM pragma_index_list(?1, 'main') WHERE NOT partial",
			       e, t->name);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = sqlite_step(c, stmt, e, t->name)) > 0) {
		bool usable = false;
		bool primary = !strcmp(sqlite_text(stmt, 2), "pk");
		*ret_primary |= primary;
		/* A primary key may hold NULLs unless its columns say NOT NULL: db_table_choose_key looks at that. */
		struct db_index *index =
		    sqlite_add_index(list, n, sqlite_text(stmt, 0), primary, sqlite3_column_int(stmt, 1));
		r = sqlite_describe_index(c, index, &usable, e);
		if (r < 0)
			return r;
		if (!usable)
			index->n_columns = 0; /* never chosen */
	}
	return r;
}

static int sqlite_describe_key(struct sqlite_conn *c, struct db_table *t, struct db_index *rowid, struct err *e)
{
	struct db_index *list = NULL;
	size_t n = 0;
	bool primary = false;
	int r = sqlite_describe_indexes(c, t, &list, &n, &primary, e);
	if (r >= 0 && !primary && rowid->n_columns) {
		struct db_index *index = sqlite_add_index(&list, &n, "", true, true);
		index->columns = TAKE_PTR(rowid->columns);
		index->n_columns = 1;
		t->columns[index->columns[0]].nullable = false; /* NULL means "the next number" when inserted */
	}
	if (r >= 0)
		db_table_choose_key(t, list, n);
	for (size_t i = 0; i < n; i++) {
		free(list[i].name);
		free(list[i].columns);
	}
	free(list);
	return r;
}

/* The largest rowid: as good as a count where rows are not deleted, and without a scan. */
static int64_t sqlite_estimate(struct sqlite_conn *c, const struct db_table *t)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	_cleanup_free_ char *value = NULL;
	strbuf_adds(&sql, "SELECT max(rowid) FROM ");
	sqlite_quote(&sql, t->name);
	if (sqlite_ask(c, sqlite_reader(c), sql.data, &value, ERR_DROP, t->name) < 0)
		return -1; /* WITHOUT ROWID */
	int64_t n = value ? strtoll(value, NULL, 10) : 0;
	return n < 0 ? -1 : n;
}

/* What SQLite says when it compiles the statement; NULL: nothing. The caller frees. */
static char *sqlite_lacks(struct sqlite_conn *c, const char *sql)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	bool fails = (sqlite3_prepare_v2(sqlite_reader(c), sql, -1, &stmt, NULL) & 0xff) == SQLITE_ERROR;
	return fails ? xstrdup(sqlite3_errmsg(sqlite_reader(c))) : NULL;
}

/* Keys of tables WITHOUT ROWID are not looked at before an insert runs. */
static int sqlite_lacks_collation(struct sqlite_conn *c, const char *table, char **ret, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	int r = sqlite_prepare(c, sqlite_reader(c), &stmt,
			       "SELECT DISTINCT x.coll FROM pragma_index_list(?1, 'main') l,"
			       " pragma_index_xinfo(l.name, 'main') x WHERE x.coll IS NOT NULL",
			       e, table);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while (!*ret && (r = sqlite_step(c, stmt, e, table)) > 0) {
		_cleanup_strbuf_ struct strbuf sql = {0};
		strbuf_adds(&sql, "SELECT '' = '' COLLATE ");
		sqlite_quote(&sql, sqlite_text(stmt, 0));
		*ret = sqlite_lacks(c, sql.data);
	}
	return r < 0 ? r : 0;
}

/* Collations and functions that only an application has: rows can be read without them, but never put back. */
static int sqlite_check_writable(struct sqlite_conn *c, const char *table, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = {0};
	if (!*table)
		return err_set(e, ENOTSUP, "%s has a table without a name, which no file can have (rename it)",
			       c->path);
	strbuf_adds(&sql, "EXPLAIN INSERT INTO main.");
	sqlite_quote(&sql, table);
	strbuf_adds(&sql, " DEFAULT VALUES");
	_cleanup_free_ char *lacks = sqlite_lacks(c, sql.data);
	int r = lacks ? 0 : sqlite_lacks_collation(c, table, &lacks, e);
	if (r < 0 || !lacks)
		return r;
	return err_set(e, ENOTSUP,
		       "table %s of %s cannot be written back: %s (only its application has it; exclude the table)",
		       table, c->path, lacks);
}

static int sqlite_describe_table(struct sqlite_conn *c, struct db_table *t, const char *sql, struct err *e)
{
	struct db_index rowid = {0};
	int r = sqlite_check_writable(c, t->name, e);
	if (r < 0)
		return r;
	t->dynamic = true;
	t->has_auto_increment = sqlite_ddl_has_word(sql, "AUTOINCREMENT"); /* a reserved word: never a bare name */
	r = sqlite_describe_columns(c, t, sql, &rowid, e);
	if (r >= 0)
		r = sqlite_describe_key(c, t, &rowid, e);
	free(rowid.columns);
	if (r >= 0)
		t->estimated_rows = sqlite_estimate(c, t);
	return r;
}

/* The newest by its numbers (1.10.0 after 1.9.2); server_change_log first, the older Flyway table else. */
static int sqlite_describe_app(struct sqlite_conn *c, char **ret, struct err *e)
{
	static const char *const tables[] = {"SERVER_CHANGE_LOG", "DATABASE_CHANGE_LOG"};
	for (size_t i = 0; i < 2 && !*ret; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		_cleanup_free_ char *there = NULL, *sql = NULL;
		sql = xasprintf("SELECT 1 FROM pragma_table_xinfo('%s', 'main') WHERE name = 'version'", tables[i]);
		int r = sqlite_ask(c, sqlite_reader(c), sql, &there, e, tables[i]);
		if (r < 0)
			return r;
		if (!there)
			continue;
		free(TAKE_PTR(sql));
		sql = xasprintf("SELECT version FROM \"%s\" WHERE version IS NOT NULL", tables[i]);
		r = sqlite_prepare(c, sqlite_reader(c), &stmt, sql, e, tables[i]);
		if (r < 0)
			return r;
		while ((r = sqlite_step(c, stmt, e, tables[i])) > 0) {
			if (*ret && strverscmp(sqlite_text(stmt, 0), *ret) <= 0)
				continue;
			free(*ret);
			*ret = xstrdup(sqlite_text(stmt, 0));
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int sqlite_describe_into(struct sqlite_conn *c, struct db_schema *s, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_(sqlite_free_list) char **virtual_names = NULL;
	s->engine = xstrdup("sqlite");
	s->server_version = xstrdup(sqlite3_libversion());
	s->database = xstrdup(c->path);
	int r = sqlite_virtual_names(c, sqlite_reader(c), &virtual_names, e);
	if (r >= 0)
		r = sqlite_prepare(c, sqlite_reader(c), &stmt,
				   "SELECT s.name, s.sql, l.type FROM sqlite_schema s JOIN pragma_table_list l"
				   " ON l.schema = 'main' AND l.name = s.name WHERE s.type = 'table'"
				   " AND l.type <> 'virtual' AND lower(substr(s.name, 1, 7)) <> 'sqlite_'"
				   " ORDER BY s.name",
				   e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *name = sqlite_text(stmt, 0), *type = sqlite_text(stmt, 2);
		if (sqlite_left_out(c, virtual_names, name, type))
			continue;
		s->tables = xrealloc(s->tables, (s->n_tables + 1) * sizeof *s->tables);
		struct db_table *t = &s->tables[s->n_tables++];
		*t = (struct db_table){.name = xstrdup(name), .estimated_rows = -1};
		r = sqlite_describe_table(c, t, sqlite_text(stmt, 1), e);
		if (r < 0)
			return r;
		if (!strcmp(type, "shadow"))
			t->estimated_rows = -1; /* FTS5 numbers the rows of its index by rules of its own */
	}
	if (r < 0)
		return r;
	return sqlite_describe_app(c, &s->app_version, e);
}

static int sqlite_schema_pragma(struct sqlite_conn *c, const char *name, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *value = NULL;
	_cleanup_free_ char *sql = xasprintf("PRAGMA main.%s", name);
	int r = sqlite_ask(c, sqlite_reader(c), sql, &value, e, sql);
	if (r >= 0 && value && strcmp(value, "0"))
		strbuf_addf(out, "PRAGMA %s=%s;\n", name, value);
	return r;
}

int sqlite_schema_sql(struct db_conn *conn, const struct db_schema *s, struct strbuf *out, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
	_cleanup_(sqlite_free_list) char **virtual_names = NULL;
	(void)s;
	int r = sqlite_check(c, e, c->path);
	/* Programs keep their own schema's number here; the sqlite3 shell's .dump forgets it. */
	if (r >= 0)
		r = sqlite_schema_pragma(c, "application_id", out, e);
	if (r >= 0)
		r = sqlite_schema_pragma(c, "user_version", out, e);
	if (r >= 0)
		r = sqlite_virtual_names(c, sqlite_reader(c), &virtual_names, e);
	/* By rowid within each kind: the order of creation, which VACUUM keeps too. */
	if (r >= 0)
		r = sqlite_prepare(
		    c, sqlite_reader(c), &stmt,
		    "SELECT s.sql, s.tbl_name, l.type FROM sqlite_schema s LEFT JOIN pragma_table_list l"
		    " ON l.schema = 'main' AND l.name = s.tbl_name WHERE s.sql IS NOT NULL"
		    " AND lower(substr(s.name, 1, 7)) <> 'sqlite_'"
		    " ORDER BY CASE s.type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END,"
		    " s.rowid",
		    e, c->path);
	if (r < 0)
		return r;
	while ((r = sqlite_step(c, stmt, e, c->path)) > 0) {
		const char *sql = sqlite_text(stmt, 0);
		const char *type = sqlite3_column_type(stmt, 2) == SQLITE_NULL ? NULL : sqlite_text(stmt, 2);
		if (sqlite_left_out(c, virtual_names, sqlite_text(stmt, 1), type))
			continue;
		/* A view's text may end in a comment that would swallow the semicolon. */
		_cleanup_free_ char *closed = xasprintf("%s;", sql);
		strbuf_addf(out, "%s%s;\n", sql, sqlite3_complete(closed) ? "" : "\n");
	}
	return r;
}

int sqlite_has_sequences(struct sqlite_conn *c, bool *ret, struct err *e)
{
	_cleanup_free_ char *there = NULL;
	int r = sqlite_ask(c, sqlite_reader(c), "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", &there, e,
			   "sqlite_sequence");
	*ret = there != NULL;
	return r;
}

int sqlite_finish(struct db_conn *conn, struct db_schema *s, struct err *e)
{
	struct sqlite_conn *c = sqlite_of(conn);
	bool any = false;
	int r = sqlite_check(c, e, "sqlite_sequence");
	if (r >= 0)
		r = sqlite_has_sequences(c, &any, e);
	for (size_t i = 0; r >= 0 && any && i < s->n_tables; i++) {
		_cleanup_stmt_ sqlite3_stmt *stmt = NULL;
		struct db_table *t = &s->tables[i];
		if (!t->has_auto_increment)
			continue;
		r = sqlite_prepare(c, sqlite_reader(c), &stmt, "SELECT seq FROM sqlite_sequence WHERE name = ?1", e,
				   t->name);
		if (r < 0)
			return r;
		(void)sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
		r = sqlite_step(c, stmt, e, t->name);
		/* seq is the last value given; 0 stays for "nothing was ever inserted", which has no row there. */
		t->auto_increment =
		    r > 0 && sqlite3_column_int64(stmt, 0) >= 0 ? (uint64_t)sqlite3_column_int64(stmt, 0) + 1 : 0;
	}
	return r < 0 ? r : 0;
}
