/*
 * snapshot/store/codec.c - descriptions of tables and dictionaries of packs: found or made by content, kept once they were read.
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

int catalog_codec(struct catalog *c, int64_t codec_id, const struct row_codec **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		for (struct codec_entry *ce = c->codecs; ce; ce = ce->next)
			if (ce->id == codec_id) {
				*ret = ce->codec;
				return 0;
			}
	}
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	struct db_table t = {0};
	int r;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, codec_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW)
			r = table_json_parse(&t, NULL, (const char *)sqlite3_column_text(st, 0),
					     (size_t)sqlite3_column_bytes(st, 0), e);
		else
			r = step == SQLITE_DONE
				? err_set(e, EIO, "catalog: table description %" PRId64 " is missing", codec_id)
				: store_error(db, "reading a table description", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	if (r < 0)
		return r == -EBADMSG ? err_set(e, EIO, "catalog: table description %" PRId64 " is damaged", codec_id)
				     : r;
	struct codec_entry *mine = xcalloc(1, sizeof *mine);
	mine->id = codec_id;
	mine->codec = row_codec_new(&t);
	db_table_done(&t);
	MUTEX_GUARD(&c->codec_mutex);
	for (struct codec_entry *ce = c->codecs; ce; ce = ce->next)
		if (ce->id == codec_id) { /* another thread was faster */
			row_codec_free(mine->codec);
			free(mine);
			*ret = ce->codec;
			return 0;
		}
	mine->next = c->codecs;
	c->codecs = mine;
	*ret = mine->codec;
	return 0;
}

int store_codec_id(struct catalog *c, const struct db_table *t, int64_t *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	table_json_render(t, NULL, &text);
	uint8_t sha[ROW_SHA_LEN];
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	hasher_sha256(h, text.data, text.len, sha);
	struct store_db *db = store_write_begin(c, STORE_LAZY, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC_FIND, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_blob(st, 1, sha, sizeof sha, SQLITE_STATIC);
		bool found = sqlite3_step(st) == SQLITE_ROW;
		if (found)
			*ret = sqlite3_column_int64(st, 0);
		(void)sqlite3_reset(st);
		st = found ? NULL : store_stmt(db, STMT_CODEC_INSERT, e);
		if (!found && !st)
			r = err_code(e);
		if (st) {
			sqlite3_bind_blob(st, 1, sha, sizeof sha, SQLITE_STATIC);
			sqlite3_bind_text(st, 2, text.data, (int)text.len, SQLITE_STATIC);
			r = store_run(db, st, "storing a table description", e);
			*ret = sqlite3_last_insert_rowid(db->h);
		}
	}
	return store_write_end(c, db, r, e);
}

int store_codec_dict(struct catalog *c, int64_t codec_id, int64_t *ret_id, struct strbuf *dict, struct err *e)
{
	*ret_id = 0;
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return -EIO;
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_CODEC_DICT, e);
	if (!st) {
		r = -EIO;
	} else {
		sqlite3_bind_int64(st, 1, codec_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW) {
			*ret_id = sqlite3_column_int64(st, 0);
			strbuf_add(dict, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		} else if (step != SQLITE_DONE) {
			r = store_error(db, "reading a dictionary", e);
		}
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_dict(struct catalog *c, int64_t dict_id, struct strbuf *out, struct err *e)
{
	struct store_db *db = store_read_begin(c, e);
	if (!db)
		return err_code(e);
	int r = 0;
	sqlite3_stmt *st = store_stmt(db, STMT_DICT, e);
	if (!st) {
		r = err_code(e);
	} else {
		sqlite3_bind_int64(st, 1, dict_id);
		int step = sqlite3_step(st);
		if (step == SQLITE_ROW && sqlite3_column_bytes(st, 0))
			strbuf_add(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
		else
			r = step == SQLITE_ROW || step == SQLITE_DONE
				? err_set(e, EIO, "catalog: dictionary %" PRId64 " is damaged or missing", dict_id)
				: store_error(db, "reading a dictionary", e);
		(void)sqlite3_reset(st);
	}
	store_read_end(c, db);
	return r;
}

int store_ddict(struct catalog *c, int64_t dict_id, const ZSTD_DDict **ret, struct err *e)
{
	{
		MUTEX_GUARD(&c->codec_mutex);
		for (struct dict_entry *de = c->dicts; de; de = de->next)
			if (de->id == dict_id) {
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
	for (struct dict_entry *de = c->dicts; de; de = de->next)
		if (de->id == dict_id) {
			(void)ZSTD_freeDDict(dict);
			*ret = de->dict;
			return 0;
		}
	struct dict_entry *de = xcalloc(1, sizeof *de);
	*de = (struct dict_entry){.id = dict_id, .dict = dict, .next = c->dicts};
	c->dicts = de;
	*ret = dict;
	return 0;
}
