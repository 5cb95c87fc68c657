/*
 * tests/fuzz/fuzz_row.c - any bytes as a row's line, a row's file and a row's file name: what is refused is refused,
 * and what is taken keeps its laws (one line, one key, one name; pretty and compact undo each other).
 *
 * The first byte chooses the table. Broken laws abort.
 */
#include "snapshot/row/json_text.h"
#include "snapshot/row/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LAW(holds)                                                                                                     \
	do {                                                                                                           \
		if (!(holds)) {                                                                                        \
			(void)fprintf(stderr, "line %d: not so: %s\n", __LINE__, #holds);                              \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static struct row_codec *fuzz_codec(uint8_t choice)
{
	static const size_t keys[][2] = {{0, 1}, {3, 2}, {5, 0}, {6, 1}};
	struct db_column columns[] = {
	    {.name = (char *)"a", .type = (char *)"text", .form = DB_FORM_TEXT},
	    {.name = (char *)"n", .type = (char *)"bigint", .form = DB_FORM_NUMBER, .integer = true},
	    {.name = (char *)"x", .type = (char *)"numeric", .form = DB_FORM_NUMBER},
	    {.name = (char *)"b", .type = (char *)"bytea", .form = DB_FORM_BINARY},
	    {.name = (char *)"t", .type = (char *)"boolean", .form = DB_FORM_BOOL},
	    {.name = (char *)"g",
	     .type = (char *)"text",
	     .form = DB_FORM_TEXT,
	     .generated = true,
	     .document = (char *)"j",
	     .member = (char *)"id"},
	    {.name = (char *)"h",
	     .type = (char *)"bigint",
	     .form = DB_FORM_NUMBER,
	     .integer = true,
	     .generated = true,
	     .document = (char *)"k",
	     .member = (char *)"id"},
	    {.name = (char *)"j", .type = (char *)"jsonb", .form = DB_FORM_JSON},
	    {.name = (char *)"k", .type = (char *)"json", .form = DB_FORM_JSON_TEXT},
	};
	struct db_table t = {
	    .name = (char *)"t",
	    .columns = columns,
	    .n_columns = sizeof columns / sizeof columns[0],
	    .key_kind = (enum db_key_kind)(choice % 3),
	    .key = (size_t *)keys[choice / 3 % 4],
	    .n_key = choice % 3 == DB_KEY_NONE ? 0 : 2,
	    .dynamic = choice / 12 % 2,
	};
	return row_codec_new(&t);
}

static bool fuzz_same(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && !memcmp(strbuf_str(a), strbuf_str(b), a->len);
}

/* The values of a scan: the columns, then the generated ones of the key. */
static int fuzz_encode(const struct row_codec *c, const struct row_values *rv, struct strbuf *line)
{
	struct db_value v[16];
	size_t n = row_codec_columns(c);
	const struct db_table *t = row_codec_table(c);
	memcpy(v, rv->v, n * sizeof *v);
	for (size_t i = 0, at = n; i < t->n_key; i++)
		if (t->columns[t->key[i]].generated)
			v[at++] = rv->v[n + i];
	struct err e = ERR_INIT;
	int rc = row_encode(c, v, line, &e);
	if (rc < 0)
		(void)fprintf(stderr, "%s\n", e.msg);
	return rc;
}

static void fuzz_line(const struct row_codec *c, const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0}, key = {0}, key2 = {0}, name = {0}, pretty = {0};
	struct row_values rv;
	row_values_init(&rv, c);
	uint8_t sha[ROW_SHA_LEN];
	memset(sha, 0xa5, sizeof sha);
	int keyed = row_key(c, text, len, sha, 1, &key, ERR_DROP);
	int64_t ms = row_updated_ms(c, text, len);
	LAW(ms == -1 || ms > 0);
	if (!row_decode(c, text, len, &rv, ERR_DROP)) {
		struct err e = ERR_INIT;
		bool null_key = false;
		for (size_t i = 0; i < row_codec_table(c)->n_key; i++)
			null_key = null_key || !rv.v[row_codec_columns(c) + i].data;
		if (row_key_is_hashed(c) || !null_key) {
			LAW(!fuzz_encode(c, &rv, &line));
			LAW(!row_decode(c, line.data, line.len, &rv, &e));
			LAW(!fuzz_encode(c, &rv, &again));
			LAW(fuzz_same(&line, &again));
			/* Integer columns hold what is not an integer only in lines that no server gave. */
			LAW(row_key(c, line.data, line.len, sha, 1, &key2, ERR_DROP) == keyed);
			LAW(keyed || fuzz_same(&key, &key2));
		}
		if (!keyed) {
			row_name(c, key.data, key.len, &name);
			LAW(name.len <= 200 && strlen(name.data) == name.len && !strchr(name.data, '/'));
			int found = row_key_of_name(c, name.data, &key2);
			LAW(found >= 0);
			LAW(found ? key2.len <= key.len && !memcmp(strbuf_str(&key2), key.data, key2.len)
				  : fuzz_same(&key, &key2));
		}
	}
	row_values_done(&rv);
	row_pretty(text, len, &pretty);
	LAW(pretty.len == row_pretty_size(text, len));
}

static void fuzz_text(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0}, pretty = {0};
	const char *value;
	size_t value_len;
	(void)json_text_member(text, len, "id", 2, &value, &value_len);
	(void)json_text_skip(text, text + len);
	if (row_compact(text, len, &line, ERR_DROP) < 0)
		return;
	LAW(json_text_check(line.data, line.data + line.len, JSON_TEXT_DEPTH_MAX) == line.data + line.len);
	LAW(json_text_skip(line.data, line.data + line.len) == line.data + line.len);
	LAW(!memchr(line.data, '\n', line.len));
	row_pretty(line.data, line.len, &pretty);
	LAW(!row_compact(pretty.data, pretty.len, &again, ERR_DROP));
	LAW(fuzz_same(&line, &again));
	LAW(pretty.len == row_pretty_size(line.data, line.len));
	int found = json_text_member(line.data, line.len, "id", 2, &value, &value_len);
	LAW(found >= 0);
	LAW(!found || json_text_check(value, line.data + line.len, JSON_TEXT_DEPTH_MAX) == value + value_len);
}

static void fuzz_name(const struct row_codec *c, const char *text, size_t len)
{
	_cleanup_free_ char *stem = xmemdup0(text, len < 300 ? len : 300);
	_cleanup_free_ char *name = xasprintf("%s.json", stem);
	_cleanup_strbuf_ struct strbuf key = {0}, again = {0};
	if (row_key_of_name(c, name, &key))
		return;
	row_name(c, key.data, key.len, &again);
	LAW(!strcmp(name, again.data));
}

/* Any values, not only what a line holds: the text as every column's value. */
static void fuzz_values(const struct row_codec *c, const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf line = {0}, again = {0};
	struct db_value v[16];
	for (size_t i = 0; i < row_codec_scan_values(c); i++)
		v[i] = (struct db_value){text, len, DB_KIND_COLUMN};
	const struct db_table *t = row_codec_table(c);
	for (size_t i = 0; i < row_codec_columns(c); i++) {
		if (t->dynamic)
			v[i].kind = (enum db_kind)(DB_KIND_REAL + i % 3);
		else if (!strcmp(t->columns[i].name, "t"))
			v[i].data = NULL;
	}
	int rc = row_encode(c, v, &line, ERR_DROP);
	if (rc < 0)
		return;
	struct row_values rv;
	row_values_init(&rv, c);
	if (!row_decode(c, line.data, line.len, &rv, ERR_DROP)) {
		for (size_t i = 0; i < row_codec_columns(c); i++) {
			bool spaced = !t->dynamic && i == 5; /* jsonb: white space goes */
			LAW(!v[i].data == !rv.v[i].data && v[i].kind == rv.v[i].kind);
			LAW(spaced || !v[i].data || (rv.v[i].len == len && !memcmp(rv.v[i].data, text, len)));
		}
		LAW(!fuzz_encode(c, &rv, &again));
		LAW(fuzz_same(&line, &again));
	} else {
		LAW(t->n_key); /* only for want of a key */
	}
	row_values_done(&rv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct row_codec *c = fuzz_codec(*data);
	const char *text = (const char *)data + 1;
	size--;
	fuzz_line(c, text, size);
	fuzz_text(text, size);
	fuzz_name(c, text, size);
	fuzz_values(c, text, size);
	row_codec_free(c);
	return 0;
}
