/*
 * snapshot/store/codec.c - descriptions of tables and dictionaries of packs: found or made by content, kept once they
 * were read.
 *
 * Any thread. codec_mutex is held for the two lists only; what is in them stays until the catalog is closed.
 */
#include "snapshot/store/internal.h"

#include <errno.h>
#include <inttypes.h>

struct codec_entry {
	int64_t id;
	struct row_codec *codec;
	struct codec_entry *next;
};

struct dict_entry {
	int64_t id;
	ZSTD_DDict *dict;
	struct dict_entry *next;
};

void store_codecs_free(struct catalog *c)
{
	while (c->codecs) {
		struct codec_entry *next = c->codecs->next;
		row_codec_free(c->codecs->codec);
		free(c->codecs);
		c->codecs = next;
	}
	while (c->dicts) {
		struct dict_entry *next = c->dicts->next;
		(void)ZSTD_freeDDict(c->dicts->dict);
		free(c->dicts);
		c->dicts = next;
	}
}

static int codec_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	return table_json_parse(arg, NULL, (const char *)sqlite3_column_text(st, 0),
				(size_t)sqlite3_column_bytes(st, 0), e);
}

/* With codec_mutex held. */
static struct codec_entry *codec_find(const struct catalog *c, int64_t codec_id)
{
	struct codec_entry *ce = c->codecs;
	while (ce && ce->id != codec_id)
		ce = ce->next;
	return ce;
}

int catalog_codec(struct catalog *c, int64_t codec_id, const struct row_codec **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		const struct codec_entry *ce = codec_find(c, codec_id);
		if (ce) {
			*ret = ce->codec;
			return 0;
		}
	}
	struct db_table t = {0};
	int r =
	    store_read(c, STMT_CODEC, BINDS(bind_int(codec_id)), codec_from_row, &t, "reading a table description", e);
	if (r == 0)
		return err_set(e, EIO, "catalog: table description %" PRId64 " is missing", codec_id);
	if (r == -EBADMSG)
		return err_set(e, EIO, "catalog: table description %" PRId64 " is damaged", codec_id);
	if (r < 0)
		return r;
	struct codec_entry *mine = xcalloc(1, sizeof *mine);
	mine->id = codec_id;
	mine->codec = row_codec_new(&t);
	db_table_done(&t);
	MUTEX_GUARD(&c->codec_mutex);
	struct codec_entry *there = codec_find(c, codec_id);
	if (there) { /* another thread was faster */
		row_codec_free(mine->codec);
		free(mine);
		*ret = there->codec;
		return 0;
	}
	mine->next = c->codecs;
	c->codecs = mine;
	*ret = mine->codec;
	return 0;
}

/* In the caller's transaction. */
static int codec_id(struct store_db *db, const struct strbuf *text, int64_t *ret, struct err *e)
{
	uint8_t sha[ROW_SHA_LEN];
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	hasher_sha256(h, text->data, text->len, sha);
	int r = store_query(db, STMT_CODEC_FIND, BINDS(bind_blob(sha, sizeof sha)), row_int, ret,
			    "looking for a table description", e);
	if (r)
		return r < 0 ? r : 0;
	r = store_exec(db, STMT_CODEC_INSERT, BINDS(bind_blob(sha, sizeof sha), bind_text(text->data)),
		       "storing a table description", e);
	*ret = sqlite3_last_insert_rowid(db->h);
	return r;
}

int store_codec_id(struct catalog *c, const struct db_table *t, int64_t *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	table_json_render(t, NULL, &text);
	struct store_db *db = store_write_begin(c, STORE_LAZY, e);
	return db ? store_write_end(c, db, codec_id(db, &text, ret, e), e) : err_code(e);
}

struct dict_row {
	int64_t id;
	struct strbuf *data;
};

static int dict_from_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct dict_row *d = arg;
	d->id = sqlite3_column_int64(st, 0);
	column_add(st, 1, d->data);
	return 0;
}

int store_codec_dict(struct catalog *c, int64_t codec_id, int64_t *ret_id, struct strbuf *dict, struct err *e)
{
	struct dict_row d = {.data = dict};
	int r = store_read(c, STMT_CODEC_DICT, BINDS(bind_int(codec_id)), dict_from_row, &d, "reading a dictionary", e);
	*ret_id = d.id;
	return r < 0 ? r : 0;
}

int store_dict(struct catalog *c, int64_t dict_id, struct strbuf *out, struct err *e)
{
	struct dict_row d = {.data = out};
	size_t before = out->len;
	int r = store_read(c, STMT_DICT, BINDS(bind_int(dict_id)), dict_from_row, &d, "reading a dictionary", e);
	if (r < 0)
		return r;
	return out->len > before ? 0
				 : err_set(e, EIO, "catalog: dictionary %" PRId64 " is damaged or missing", dict_id);
}

/* With codec_mutex held. */
static struct dict_entry *dict_find(const struct catalog *c, int64_t dict_id)
{
	struct dict_entry *de = c->dicts;
	while (de && de->id != dict_id)
		de = de->next;
	return de;
}

int store_ddict(struct catalog *c, int64_t dict_id, const ZSTD_DDict **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		const struct dict_entry *de = dict_find(c, dict_id);
		if (de) {
			*ret = de->dict;
			return 0;
		}
	}
	_cleanup_strbuf_ struct strbuf data = {0};
	int r = store_dict(c, dict_id, &data, e);
	if (r < 0)
		return r;
	ZSTD_DDict *dict = ZSTD_createDDict(data.data, data.len);
	if (!dict)
		return err_set(e, EIO, "catalog: dictionary %" PRId64 " is damaged or missing", dict_id);
	MUTEX_GUARD(&c->codec_mutex);
	const struct dict_entry *there = dict_find(c, dict_id);
	if (there) {
		(void)ZSTD_freeDDict(dict);
		*ret = there->dict;
		return 0;
	}
	struct dict_entry *de = xcalloc(1, sizeof *de);
	*de = (struct dict_entry){.id = dict_id, .dict = dict, .next = c->dicts};
	c->dicts = de;
	*ret = dict;
	return 0;
}
