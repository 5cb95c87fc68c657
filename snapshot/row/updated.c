/*
 * snapshot/row/updated.c - when a row was changed last, as the row itself says. Any thread; no state.
 */
#include "snapshot/row/updated.h"

#include "snapshot/row/internal.h"

#define UPDATED_MEMBER "updatedAt"
#define UPDATED_MAX_MS INT64_C(253402300799999) /* the last of the year 9999 */

static int64_t row_ms_of(const char *text, size_t len)
{
	bool negative;
	uint64_t n;
	if (!len || *text < '1' || *text > '9' || !row_parse_integer(text, len, &negative, &n) || n > UPDATED_MAX_MS)
		return -1;
	return (int64_t)n;
}

/* Time of a row whose table has no such column: the first document with the member tells. 0: this document has none. */
static int64_t row_updated_of_document(const struct db_value *document, struct strbuf *text)
{
	const char *p;
	size_t len, offset = IN_PLACE;
	if (!document->data ||
	    json_text_member(document->data, document->len, UPDATED_MEMBER, sizeof UPDATED_MEMBER - 1, &p, &len) <= 0)
		return 0;
	struct db_value v = {.data = p, .len = row_number_len(p, len)};
	if (*p == '"' && !row_take_string(p, p + len, &v, text, &offset))
		return -1;
	return row_ms_of(v.data, v.len);
}

int64_t row_updated_ms(const struct row_codec *c, const char *line, size_t len)
{
	if (c->updated == ROW_UPDATED_NEVER)
		return -1;
	_cleanup_strbuf_ struct strbuf text = {0};
	const char *p = line, *end = line + len;
	bool any = c->updated == ROW_UPDATED_ANY;
	for (size_t i = 0; i < c->n_columns; i++) {
		const struct db_column *column = c->columns[i].column;
		const char *value = row_walk_name(c, i, p, end);
		p = value ? json_text_skip(value, end) : NULL;
		if (!p)
			return -1;
		if (any ? !row_is_document(column) : i != c->updated_field.row)
			continue;
		struct db_value v, derived;
		size_t offset;
		strbuf_clear(&text);
		if (row_take_value(column, c->table.dynamic, value, p, true, &v, &text, &offset) != p)
			return -1;
		if (c->updated == ROW_UPDATED_COLUMN)
			return v.data ? row_ms_of(v.data, v.len) : -1;
		if (c->updated == ROW_UPDATED_DERIVED)
			return row_derive(c, &c->updated_field, &v, &derived, &text, &offset) && derived.data
				   ? row_ms_of(derived.data, derived.len)
				   : -1;
		int64_t ms = row_updated_of_document(&v, &text);
		if (ms)
			return ms;
	}
	return -1;
}
