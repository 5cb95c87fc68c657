/*
 * fs/tree/computed.c - the extended attributes of rows and tables: computed when they are asked for. Any thread; no
 * locks.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/text.h"
#include "fs/tree/internal.h"

#define COMPUTED_PREFIX "user.metasnap."

/* The name without the prefix of ours; NULL: it is none of ours. */
static const char *computed_name(const char *name)
{
	return strncmp(name, COMPUTED_PREFIX, sizeof COMPUTED_PREFIX - 1) ? NULL : name + sizeof COMPUTED_PREFIX - 1;
}

static void computed_add_ms(int64_t ms, struct strbuf *out)
{
	char text[CLOCK_TEXT];
	clock_text(ms, text);
	strbuf_addf(out, "%.*s.%03dZ", (int)strcspn(text, "Z"), text, (int)(ms % 1000));
}

/* The key's values as they are in the database, joined by commas; where rows have no key of their own, the file's
 * name. */
static int computed_key(struct stored_row *row, struct strbuf *out, struct err *e)
{
	const struct db_table *table = row_codec_table(row->codec);
	if (table->key_kind != DB_KEY_UNIQUE) {
		int q = stored_row_key(row, e);
		if (q < 0)
			return q;
		row_name(row->codec, row->key, row->key_len, out);
		if (out->len > 5)
			out->data[out->len -= 5] = '\0';
		return 0;
	}
	struct row_values values;
	row_values_init(&values, row->codec);
	int r = row_decode(row->codec, row->line, row->line_len, &values, e);
	for (size_t k = 0; r == 0 && k < table->n_key; k++) {
		const struct db_value *v = &values.v[row_codec_columns(row->codec) + k];
		if (k)
			strbuf_addch(out, ',');
		if (v->data)
			strbuf_add(out, v->data, v->len);
	}
	row_values_done(&values);
	return r;
}

int tree_row_xattr(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e)
{
	struct stored_row row;
	const char *what = computed_name(name);
	if (!what)
		return -ENODATA;
	int r = catalog_row_by_ref(t->catalog, (struct row_ref){.pack = (int64_t)i->id, .index = i->sub}, &row, e);
	if (r < 0)
		return r;
	if (!strcmp(what, "sha256")) {
		_cleanup_strbuf_ struct strbuf text = {0};
		_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
		uint8_t sha[ROW_SHA_LEN];
		row_pretty(row.line, row.line_len, &text);
		hasher_sha256(h, text.data, text.len, sha);
		hex_add(out, sha, sizeof sha);
	} else if (!strcmp(what, "key")) {
		r = computed_key(&row, out, e);
	} else if (!strcmp(what, "table")) {
		strbuf_adds(out, row_codec_table(row.codec)->name);
	} else if (!strcmp(what, "first_seen")) {
		computed_add_ms(row.first_seen_ms, out);
	} else {
		r = -ENODATA;
	}
	stored_row_done(&row);
	return r;
}

int tree_table_xattr(struct tree *t, const struct ino *i, const char *name, struct strbuf *out, struct err *e)
{
	_cleanup_snap_ struct snap_ref ref = {.tree = t};
	const char *what = computed_name(name);
	if (!what)
		return -ENODATA;
	int r = snap_get(t, (int64_t)i->id, NULL, &ref.snap, e);
	if (r)
		return r < 0 ? r : -ENODATA;
	const struct version_info *v = snap_table(ref.snap, i->sub);
	if (!v)
		return -ENOENT;
	if (!strcmp(what, "table")) {
		strbuf_adds(out, v->name);
	} else if (!strcmp(what, "rows")) {
		strbuf_addf(out, "%llu", (unsigned long long)v->rows);
	} else if (!strcmp(what, "digest")) {
		/* as MANIFEST.json has it: most significant byte first */
		uint8_t sum[ROW_SHA_LEN];
		for (size_t k = 0; k < sizeof sum; k++)
			sum[k] = v->digest.sum[sizeof sum - 1 - k];
		hex_add(out, sum, sizeof sum);
	} else {
		return -ENODATA;
	}
	return 0;
}

int tree_table_xattrs(struct tree *t, const struct ino *i, struct strbuf *out)
{
	static const char names[] = COMPUTED_PREFIX "table\0" COMPUTED_PREFIX "rows\0" COMPUTED_PREFIX "digest";
	strbuf_add(out, names, sizeof names);
	return 0;
}
