/*
 * tests/fuzz/fuzz_sql_read.c - any bytes as a `.sql` file and as a document that Python printed: what is taken keeps
 * its laws. The pieces that a file is read in make no difference; what the scan takes, a reader takes; a document that
 * comes out is JSON.
 *
 * The first byte chooses the meaning of backslashes and the size of the pieces. Broken laws abort.
 */
#include "snapshot/row/json_text.h"
#include "snapshot/sqlfile/python_json.h"
#include "snapshot/sqlfile/read.h"
#include "snapshot/sqlfile/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LAW(holds)                                                                                                     \
	do {                                                                                                           \
		if (!(holds)) {                                                                                        \
			(void)fprintf(stderr, "line %d: not so: %s\n", __LINE__, #holds);                              \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct fuzz_file {
	const uint8_t *data;
	size_t size, piece;
};

static int fuzz_read(void *arg, uint64_t offset, void *buf, size_t n, size_t *ret_n, struct err *e)
{
	const struct fuzz_file *f = arg;
	(void)e;
	size_t left = offset < f->size ? f->size - (size_t)offset : 0;
	n = n < f->piece ? n : f->piece;
	*ret_n = n < left ? n : left;
	if (*ret_n)
		memcpy(buf, f->data + offset, *ret_n);
	return 0;
}

/* Everything that the items say; the result of the last reading is returned. */
static int fuzz_items(struct fuzz_file *f, enum sql_backslashes b, struct strbuf *out)
{
	struct sql_source src = {fuzz_read, f};
	_cleanup_(cleanup_sql_read) struct sql_read *s = sql_read_new(&src, b);
	struct sql_item item;
	struct err e = ERR_INIT;
	int r;
	while ((r = sql_read_next(s, &item, &e)) == 1) {
		LAW(item.line && item.statement && *item.table->text);
		LAW(!item.truncate || (!item.n_values && !item.n_columns));
		strbuf_addf(out, "%d %s %zu %zu", item.truncate, item.table->text, item.n_columns, item.n_values);
		for (size_t i = 0; i < item.n_values; i++) {
			LAW((item.values[i].kind == SQL_NULL) == (item.values[i].data == NULL));
			strbuf_addf(out, " %d ", (int)item.values[i].kind);
			strbuf_add(out, item.values[i].data, item.values[i].len);
		}
		strbuf_addch(out, '\n');
	}
	LAW(r == 0 || r == -74 /* EBADMSG */);
	LAW(r == 0 || !strncmp(e.msg, "line ", 5));
	strbuf_adds(out, e.msg);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	uint8_t choice = *data++;
	size--;
	enum sql_backslashes b = (enum sql_backslashes)(choice % 3);
	struct fuzz_file whole = {data, size, size + 1}, pieces = {data, size, 1 + choice / 3 % 5};
	_cleanup_strbuf_ struct strbuf first = {0}, second = {0}, json = {0}, compact = {0};
	int r = fuzz_items(&whole, b, &first);
	LAW(fuzz_items(&pieces, b, &second) == r);
	LAW(first.len == second.len && !memcmp(strbuf_str(&first), strbuf_str(&second), first.len));

	struct sql_scan scan;
	struct sql_source src = {fuzz_read, &whole};
	bool mysql = b == SQL_BACKSLASH_MYSQL;
	if (sql_scan(&src, mysql, SQL_CHOICE_AUTO, &scan, ERR_DROP) == 0) {
		strbuf_clear(&first);
		LAW(fuzz_items(&whole, scan.reading, &first) == 0);
		LAW(scan.n_tables);
	}
	sql_scan_done(&scan);

	enum json_kind kind;
	if (python_json((const char *)data, size, &json, ERR_DROP) == 0)
		LAW(json_text_compact(strbuf_str(&json), json.len, JSON_TEXT_DEPTH_MAX, &compact, &kind, ERR_DROP) ==
			0 &&
		    compact.len == json.len && !memcmp(compact.data, json.data, json.len));
	else
		LAW(!json.len);
	return 0;
}
