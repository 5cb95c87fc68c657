/*
 * snapshot/sqlfile/scan.c - the pass over a whole file that checks it and settles what its backslashes mean. See
 * scan.h. One thread.
 */
#include "snapshot/sqlfile/scan.h"

#include <errno.h>
#include <inttypes.h>

#include "snapshot/row/json_text.h"
#include "snapshot/sqlfile/python_json.h"

/* ---- what backslashes mean ---- */

struct sql_evidence {
	uint64_t plain, doubled; /* line of a proof; 0: none */
	uint64_t open;           /* line of a value that proves nothing */
};

static bool sql_is_document(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	enum json_kind kind;
	return json_text_compact(text, len, JSON_TEXT_DEPTH_MAX, &out, &kind, ERR_DROP) == 0 ||
	       python_json(text, len, &out, ERR_DROP) == 0;
}

static void sql_weigh(struct sql_evidence *v, const struct sql_value *value, uint64_t line)
{
	if (value->kind != SQL_TEXT || !value->backslash || v->plain)
		return;
	if (value->odd) {
		v->plain = line;
		return;
	}
	if (value->data[0] == '{' || value->data[0] == '[') {
		_cleanup_strbuf_ struct strbuf half = {0};
		for (size_t i = 0; i < value->len; i++) {
			strbuf_addch(&half, value->data[i]);
			i += value->data[i] == '\\';
		}
		bool plain = sql_is_document(value->data, value->len), doubled = sql_is_document(half.data, half.len);
		if (plain != doubled) {
			if (plain)
				v->plain = line;
			else if (!v->doubled)
				v->doubled = line;
			return;
		}
	}
	if (!v->open)
		v->open = line;
}

static int sql_decide(const struct sql_evidence *v, struct sql_scan *ret, struct err *e)
{
	if (v->plain && v->doubled)
		return err_set(e, EBADMSG,
			       "line %" PRIu64 " can only be read with backslashes as they are, line %" PRIu64
			       " only with doubled ones",
			       v->plain, v->doubled);
	if (v->open && !v->plain && !v->doubled)
		return err_set(
		    e, EBADMSG,
		    "line %" PRIu64
		    ": nothing in the file tells whether its backslashes are doubled, as OpenMetadata before 1.1 "
		    "wrote them (say it: metasnap restore --backslashes=plain or --backslashes=doubled)",
		    v->open);
	ret->reading = v->doubled ? SQL_BACKSLASH_DOUBLED : SQL_BACKSLASH_PLAIN;
	if (ret->backslashes)
		(void)snprintf(ret->why, sizeof ret->why, "backslashes are taken %s: line %" PRIu64 " proves it",
			       v->doubled ? "as doubled (a file of OpenMetadata before 1.1)" : "as they are",
			       v->doubled ? v->doubled : v->plain);
	return 0;
}

/* ---- the pass ---- */

void sql_scan_done(struct sql_scan *c)
{
	for (size_t i = 0; i < c->n_tables; i++)
		free(c->tables[i].name.text);
	free(c->tables);
	*c = (struct sql_scan){0};
}

static bool sql_same_name(const struct sql_name *a, const struct sql_name *b)
{
	return a->quoted == b->quoted && !strcmp(a->text, b->text);
}

/* *at: where the item before was; files go table by table. */
static void sql_note_table(struct sql_scan *c, const struct sql_item *item, size_t *at)
{
	if (*at < c->n_tables && sql_same_name(&c->tables[*at].name, item->table))
		return;
	for (*at = 0; *at < c->n_tables; ++*at)
		if (sql_same_name(&c->tables[*at].name, item->table))
			return;
	c->tables = xrealloc(c->tables, (c->n_tables + 1) * sizeof *c->tables);
	c->tables[c->n_tables++] = (struct sql_seen){
	    .name = {xstrdup(item->table->text), item->table->quoted},
	    .line = item->line,
	};
}

int sql_scan(const struct sql_source *src, bool mysql, enum sql_choice choice, struct sql_scan *ret, struct err *e)
{
	*ret = (struct sql_scan){.reading = mysql                          ? SQL_BACKSLASH_MYSQL
					    : choice == SQL_CHOICE_DOUBLED ? SQL_BACKSLASH_DOUBLED
									   : SQL_BACKSLASH_PLAIN};
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(src, ret->reading);
	struct sql_evidence evidence = {0};
	struct sql_item item;
	size_t at = 0;
	int r;
	while ((r = sql_read_next(s, &item, e)) == 1) {
		ret->statements = item.statement;
		ret->rows += !item.truncate;
		sql_note_table(ret, &item, &at);
		for (size_t i = 0; i < item.n_values; i++) {
			ret->backslashes |= item.values[i].backslash;
			if (!mysql && choice == SQL_CHOICE_AUTO)
				sql_weigh(&evidence, &item.values[i], item.line);
		}
	}
	sql_read_sha256(s, ret->sha);
	if (r < 0)
		return r;
	if (!ret->statements)
		return err_set(e, EBADMSG, "there is no statement in it");
	if (!mysql && choice == SQL_CHOICE_AUTO)
		return sql_decide(&evidence, ret, e);
	if (ret->backslashes && !mysql)
		(void)snprintf(ret->why, sizeof ret->why, "backslashes are taken %s, as was asked for",
			       choice == SQL_CHOICE_DOUBLED ? "as doubled" : "as they are");
	return 0;
}
