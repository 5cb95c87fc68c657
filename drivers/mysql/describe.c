/*
 * drivers/mysql/describe.c - what is in a MySQL/MariaDB database: tables, columns, keys.
 *
 * Everything comes from information_schema in a handful of statements, sorted here: the server sorts names by its own
 * collation. Two descriptions are made at once: struct db_schema for everybody, struct my_catalog with what only the
 * driver needs (character sets, how to read each column exactly, which index gives the key's order).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "drivers/derive.h"
#include "drivers/mysql/internal.h"

static int my_name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * MariaDB opens each table for information_schema and leaves out, without a word, one that another session holds
 * exclusively (seen with RENAME on 10.11). The names alone come from the directory: none may be missing.
 */
static int my_check_names(struct my_conn *c, const char *database, MYSQL_RES *detailed, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r =
	    my_select(c, &res, e, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q", database);

	if (r < 0)
		return r;
	for (MYSQL_ROW name; (name = mysql_fetch_row(res));) {
		bool found = false;

		mysql_data_seek(detailed, 0);
		for (MYSQL_ROW row; !found && (row = mysql_fetch_row(detailed));)
			found = !strcmp(row[0], name[0]) && row[1];
		if (!found)
			return err_set(e, EAGAIN, "table %s is being changed", name[0]);
	}
	mysql_data_seek(detailed, 0);
	return 0;
}

int my_list_tables(struct my_conn *c, const char *database, struct my_names *ret, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	_cleanup_strbuf_ struct strbuf refused = {0};
	int r = my_select(c, &res, e,
			  "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q",
			  database);

	if (r < 0 || (c->mariadb && (r = my_check_names(c, database, res, e)) < 0))
		return r;
	ret->names = xcalloc((size_t)mysql_num_rows(res) + 1, sizeof *ret->names);
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		const char *name = row[0], *type = row[1] ? row[1] : "", *engine = row[2] ? row[2] : "no engine";

		/* SYSTEM VIEW and TEMPORARY belong to nobody's schema text. */
		if (strstr(type, "VIEW") || !strcmp(type, "TEMPORARY") || db_params_excludes(&c->params, name))
			continue;
		if (!strcmp(type, "BASE TABLE") && !strcasecmp(engine, "InnoDB"))
			ret->names[ret->n++] = xstrdup(name);
		else
			strbuf_addf(&refused, "%s%s (%s)", refused.len ? ", " : "", name,
				    !strcmp(type, "BASE TABLE") ? engine : type);
	}
	qsort(ret->names, ret->n, sizeof *ret->names, my_name_cmp);
	if (refused.len)
		return err_set(e, ENOTSUP, "only InnoDB tables can be kept in one moment; convert or exclude: %s",
			       strbuf_str(&refused));
	return 0;
}

/* ---- columns ---- */

static bool my_type_is(const char *type, const char *const *list)
{
	for (; *list; list++)
		if (!strcasecmp(type, *list))
			return true;
	return false;
}

/* Quotes inside of members are doubled. */
bool my_has_empty_member(const char *column_type)
{
	const char *p = strchr(column_type, '(');

	while (p && *++p == '\'') {
		const char *start = p + 1;

		for (p = start; *p && !(*p == '\'' && p[1] != '\''); p++)
			if (*p == '\'')
				p++;
		if (!*p)
			break;
		if (p == start)
			return true;
		p++; /* closing quote; then ',' or ')' */
		if (*p != ',')
			break;
	}
	return false;
}

/* MySQL shows '$.id' in an expression as _utf8mb4\'$.id\': takes the escapes away. */
static char *my_plain_expression(const char *expression)
{
	struct strbuf sb = {0};

	for (const char *p = expression; *p; p++) {
		if (*p == '\\' && (p[1] == '\'' || p[1] == '\\'))
			p++;
		strbuf_addch(&sb, *p);
	}
	return strbuf_detach(&sb);
}

/* Form and way of reading. false: a type this driver does not know. */
static bool my_set_form(const struct my_conn *c, struct db_column *col, struct my_column *mine, const char *type)
{
	static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint", NULL};
	static const char *const texts[] = {"char", "varchar", "tinytext", "text",  "mediumtext", "longtext",
					    "enum", "set",     "date",     "time",  "datetime",   "timestamp",
					    "year", "uuid",    "inet4",    "inet6", NULL};
	static const char *const bytes[] = {"binary",
					    "varbinary",
					    "tinyblob",
					    "blob",
					    "mediumblob",
					    "longblob",
					    "bit",
					    "geometry",
					    "point",
					    "linestring",
					    "polygon",
					    "multipoint",
					    "multilinestring",
					    "multipolygon",
					    "geometrycollection",
					    "geomcollection",
					    "vector",
					    NULL};
	bool zerofill = strstr(col->type, "zerofill") != NULL;

	mine->read = MY_READ_PLAIN;
	if (my_type_is(type, integers)) {
		col->form = DB_FORM_NUMBER;
		col->integer = true;
		if (zerofill)
			mine->read = MY_READ_NUMBER;
	} else if (!strcasecmp(type, "decimal")) {
		col->form = DB_FORM_NUMBER;
		if (zerofill)
			mine->read = MY_READ_NUMBER;
	} else if (!strcasecmp(type, "float") || !strcasecmp(type, "double")) {
		col->form = DB_FORM_NUMBER;
		if (!strcasecmp(type, "float") || strchr(col->type, '(') || zerofill)
			mine->read = MY_READ_DOUBLE;
	} else if (!strcasecmp(type, "json") && !c->mariadb) {
		col->form = DB_FORM_JSON;
		mine->places = my_places_new();
	} else if (my_type_is(type, texts)) {
		bool member = !strcasecmp(type, "enum") || !strcasecmp(type, "set");

		col->form = DB_FORM_TEXT;
		mine->is_enum = !strcasecmp(type, "enum");
		if (member && my_has_empty_member(col->type))
			mine->empty_member = xstrdup(type);
		if (mine->charset && !member && strncasecmp(mine->charset, "utf8", 4) != 0)
			mine->doubt = !strcasecmp(mine->charset, "ascii") || !strcasecmp(mine->charset, "latin1")
					  ? MY_DOUBT_MARK
					  : MY_DOUBT_ALWAYS;
	} else if (my_type_is(type, bytes)) {
		col->form = DB_FORM_BINARY;
		mine->is_bit = !strcasecmp(type, "bit");
	} else {
		return false;
	}
	return true;
}

struct my_work {
	struct db_table *tables; /* the same tables as in cat, or NULL */
	struct my_catalog *cat;
};

static int my_read_columns(struct my_conn *c, const char *database, struct my_work *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r =
	    my_select(c, &res, e,
		      "SELECT TABLE_NAME, COLUMN_NAME, IS_NULLABLE, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA, "
		      "GENERATION_EXPRESSION, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=%q "
		      "ORDER BY ORDINAL_POSITION",
		      database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		struct my_table *mt = my_catalog_find(w->cat, row[0]);
		const char *extra = row[6] ? row[6] : "";

		if (!mt)
			continue; /* a view, or excluded */
		struct db_table *t = &w->tables[mt - w->cat->tables];
		if (mt->n_columns % 16 == 0) {
			mt->columns = xrealloc(mt->columns, (mt->n_columns + 16) * sizeof *mt->columns);
			t->columns = xrealloc(t->columns, (t->n_columns + 16) * sizeof *t->columns);
		}
		struct my_column *mine = &mt->columns[mt->n_columns++];
		struct db_column *col = &t->columns[t->n_columns++];
		*mine = (struct my_column){
		    .name = xstrdup(row[1]), .charset = xstrdup(row[5]), .collation = xstrdup(row[8])};
		*col = (struct db_column){.name = xstrdup(row[1]), .type = xstrdup(row[4])};
		col->nullable = !strcasecmp(row[2], "YES");
		/* DEFAULT_GENERATED is an expression default, an ordinary column. */
		col->generated = mine->generated = strcasestr(extra, "VIRTUAL GENERATED") ||
						   strcasestr(extra, "STORED GENERATED") ||
						   strcasestr(extra, "PERSISTENT");
		if (strcasestr(extra, "auto_increment"))
			t->has_auto_increment = true;
		if (!my_set_form(c, col, mine, row[3]) && !col->generated)
			return err_set(
			    e, ENOTSUP,
			    "table %s, column %s: type %s is not one metasnap knows how to keep; exclude the table",
			    row[0], row[1], row[4]);
		if (col->generated && row[7]) {
			_cleanup_free_ char *plain = my_plain_expression(row[7]);
			db_column_derive(col, plain);
		}
	}
	return 0;
}

/* MariaDB's JSON is LONGTEXT with a check; the text is kept as it came. */
static int my_mark_json(struct my_conn *c, const char *database, struct my_work *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	int r = my_select(
	    c, &res, e,
	    "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA=%q",
	    database);

	if (r < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		struct my_table *mt = my_catalog_find(w->cat, row[0]);
		struct db_table *t = mt ? &w->tables[mt - w->cat->tables] : NULL;

		for (size_t i = 0; t && row[1] && i < t->n_columns; i++) {
			_cleanup_strbuf_ struct strbuf clause = {0};

			my_sql(&clause, "json_valid(%i)", t->columns[i].name);
			if (t->columns[i].form == DB_FORM_TEXT && !strcasecmp(strbuf_str(&clause), row[1]))
				t->columns[i].form = DB_FORM_JSON_TEXT;
		}
	}
	return 0;
}

/* ---- indexes ---- */

struct my_found_index {
	struct my_index index;
	bool unique;
	bool usable; /* whole columns only, ordered */
	bool first_descending;
};

static void my_add_index(struct my_table *mt, const struct my_found_index *f)
{
	mt->indexes = xrealloc(mt->indexes, (mt->n_indexes + 1) * sizeof *mt->indexes);
	mt->indexes[mt->n_indexes++] = f->index;
}

static void my_choose_key(struct my_table *mt, struct db_table *t, const struct my_found_index *found, size_t n)
{
	struct db_index *offered = xcalloc(n + 1, sizeof *offered);
	size_t n_offered = 0;

	for (size_t i = 0; i < n; i++) {
		if (!found[i].usable) {
			free(found[i].index.name);
			free(found[i].index.columns);
			continue;
		}
		offered[n_offered++] = (struct db_index){
		    .name = found[i].index.name,
		    .primary = !strcmp(found[i].index.name, "PRIMARY"),
		    .unique = found[i].unique,
		    .columns = found[i].index.columns,
		    .n_columns = found[i].index.n_columns,
		};
		my_add_index(mt, &found[i]);
	}
	db_table_choose_key(t, offered, n_offered);
	free(offered);
}

static int my_read_indexes(struct my_conn *c, const char *database, struct my_work *w, struct err *e)
{
	_cleanup_result_ MYSQL_RES *res = NULL;
	const char *visible = !c->mariadb            ? "IS_VISIBLE"
			      : c->version >= 100600 ? "IF(IGNORED='YES','NO','YES')"
						     : "'YES'";
	int r = my_select(c, &res, e,
			  "SELECT TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART, INDEX_TYPE, %s "
			  "FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=%q ORDER BY SEQ_IN_INDEX",
			  visible, database);

	if (r < 0)
		return r;
	/* In the order of SEQ_IN_INDEX: each pass over the rows collects one table's indexes. */
	size_t n_rows = (size_t)mysql_num_rows(res), n_tables = w->cat->n_tables;
	struct my_found_index **found = xcalloc(n_tables + 1, sizeof *found);
	size_t *n_found = xcalloc(n_tables + 1, sizeof *n_found);

	for (size_t k = 0; k < n_rows; k++) {
		MYSQL_ROW row = mysql_fetch_row(res);
		struct my_table *mt = row ? my_catalog_find(w->cat, row[0]) : NULL;
		struct my_found_index *f = NULL;
		size_t column = 0;

		if (!mt)
			continue;
		size_t ti = (size_t)(mt - w->cat->tables);
		for (size_t i = 0; i < n_found[ti] && !f; i++)
			if (!strcmp(found[ti][i].index.name, row[1]))
				f = &found[ti][i];
		bool descending = row[4] && !strcmp(row[4], "D");
		if (!f) {
			found[ti] = xrealloc(found[ti], (n_found[ti] + 1) * sizeof **found);
			f = &found[ti][n_found[ti]++];
			*f = (struct my_found_index){
			    .index = {.name = xstrdup(row[1]), .visible = !strcmp(row[7], "YES"), .ascending = true},
			    .unique = !strcmp(row[2], "0"),
			    .usable = true,
			    .first_descending = descending,
			};
		}
		/* An expression has no column name; a prefix is less than the column; only a B-tree has an order. */
		if (!row[3] || row[5] || strcasecmp(row[6], "BTREE") != 0 || !my_table_column(mt, row[3], &column)) {
			f->usable = false;
			continue;
		}
		f->index.ascending &= descending == f->first_descending;
		f->index.columns = xrealloc(f->index.columns, (f->index.n_columns + 1) * sizeof *f->index.columns);
		f->index.columns[f->index.n_columns++] = column;
	}
	for (size_t i = 0; i < n_tables; i++) {
		my_choose_key(&w->cat->tables[i], &w->tables[i], found[i], n_found[i]);
		free(found[i]);
	}
	free(found);
	free(n_found);
	return 0;
}

/* ---- the whole ---- */

/* The newest OpenMetadata version: the migrations' own log, else the older Flyway one. */
static int my_read_app_version(struct my_conn *c, const char *database, struct db_schema *s, struct err *e)
{
	static const char *const logs[] = {"SERVER_CHANGE_LOG", "DATABASE_CHANGE_LOG"};

	for (size_t i = 0; i < 2 && !s->app_version; i++) {
		for (size_t k = 0; k < s->n_tables; k++) {
			struct my_table *mt = my_catalog_find(&c->catalog, s->tables[k].name);

			/* lower_case_table_names=1 */
			if (strcasecmp(s->tables[k].name, logs[i]) != 0 || !mt ||
			    !my_table_column(mt, "version", NULL) || !my_table_column(mt, "installed_rank", NULL))
				continue;
			int r = my_select_one(
			    c, &s->app_version, e,
			    "SELECT version FROM %i.%i WHERE version IS NOT NULL ORDER BY installed_rank DESC LIMIT 1",
			    database, s->tables[k].name);
			if (r < 0)
				return err_prefix(e, "%s", s->tables[k].name);
			break;
		}
	}
	return 0;
}

int my_describe(struct my_conn *c, const char *database, struct my_catalog *cat, struct db_schema **ret, struct err *e)
{
	_cleanup_(cleanup_db_schema) struct db_schema *s = xcalloc(1, sizeof *s);
	_cleanup_result_ MYSQL_RES *res = NULL;
	_cleanup_names_ struct my_names names = {0};
	int r = my_list_tables(c, database, &names, e);

	if (r < 0)
		return r;
	s->engine = xstrdup(c->mariadb ? "mariadb" : "mysql");
	s->server_version = xstrdup(c->server_version);
	s->database = xstrdup(c->database);
	s->tables = xcalloc(names.n + 1, sizeof *s->tables);
	my_catalog_done(cat);
	cat->tables = xcalloc(names.n + 1, sizeof *cat->tables);
	for (size_t i = 0; i < names.n; i++) {
		s->tables[i].name = xstrdup(names.names[i]);
		s->tables[i].estimated_rows = -1;
		cat->tables[i].name = xstrdup(names.names[i]);
	}
	s->n_tables = cat->n_tables = names.n;

	struct my_work w = {.tables = s->tables, .cat = cat};
	if ((r = my_read_columns(c, database, &w, e)) < 0 ||
	    (c->mariadb && (r = my_mark_json(c, database, &w, e)) < 0) || (r = my_read_indexes(c, database, &w, e)) < 0)
		return r;
	for (size_t i = 0; i < s->n_tables; i++)
		if (s->tables[i].n_columns == 0)
			return err_set(e, EAGAIN, "table %s: its columns cannot be read", s->tables[i].name);
	if ((r = my_select(c, &res, e,
			   "SELECT TABLE_NAME, TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA=%q",
			   database)) < 0)
		return r;
	for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
		struct my_table *mt = my_catalog_find(cat, row[0]);
		if (mt && row[1])
			s->tables[mt - cat->tables].estimated_rows = strtoll(row[1], NULL, 10);
	}
	if (!ret)
		return 0;
	if ((r = my_read_app_version(c, database, s, e)) < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}
