/*
 * snapshot/capture/backup_look.c - see backup_look.h.
 *
 * Looking reads names and sizes, MANIFEST.json or .table.json, never a row. No state.
 */
#include "snapshot/capture/backup_look.h"

#include <errno.h>

#include "snapshot/row/manifest.h"

/* True when the text's first object is closed. A file that is still being copied ends in the middle (or holds the
 * zeros of what has not arrived): that is "not yet", while a whole text that makes no sense is an error. */
static bool backup_text_is_whole(const struct strbuf *text)
{
	size_t depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < text->len; i++) {
		char c = text->data[i];
		if (!c)
			return false;
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '['))
			depth++;
		else if (!quoted && (c == '}' || c == ']') && (!depth || !--depth))
			return true;
		else if (!depth && !strchr(" \t\r\n", c))
			return true; /* not JSON of ours: for the parser to say */
	}
	return false;
}

/* 1: the text is there and whole; 0: not (yet). */
static int backup_look_text(struct backup_tree *t, const char *path, struct strbuf *text, struct err *e)
{
	int r = t->slurp(t, path, text, e);
	if (r == -ENOENT || r == -EISDIR)
		return 0;
	return r < 0 ? r : backup_text_is_whole(text);
}

struct backup_names {
	uint64_t rows;
	bool table_json;
};

static int backup_count_name(void *arg, const char *name, bool is_dir)
{
	struct backup_names *names = arg;
	if (is_dir)
		return 0;
	if (!strcmp(name, ".table.json"))
		names->table_json = true;
	else if (backup_name_counts(name, true))
		names->rows++;
	return 0;
}

/* A directory of row files that should hold .table.json and `rows` rows. */
static int backup_look_rows(struct backup_tree *t, const char *path, uint64_t rows, struct backup_state *s,
			    struct err *e)
{
	struct backup_names names = {0};
	int r = t->list(t, path, backup_count_name, &names, e);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	s->files_expected += 1 + rows;
	s->files_found += names.table_json + (names.rows < rows ? names.rows : rows);
	return 0;
}

static int backup_look_lines(struct backup_tree *t, const char *path, uint64_t bytes, struct backup_state *s,
			     struct err *e)
{
	uint64_t size = 0;
	int r = t->size(t, path, &size, e);
	if (r < 0 && r != -ENOENT && r != -EISDIR && r != -ENOTDIR)
		return r;
	s->files_expected++;
	s->files_found += r >= 0;
	s->bytes_expected += bytes;
	s->bytes_found += size < bytes ? size : bytes;
	return 0;
}

/* Which of a manifest's tables are there as directories and as files. */
struct backup_tables {
	const struct manifest *m;
	bool any_dir;
	bool any_lines;
};

static int backup_compare_table(const void *key, const void *table)
{
	return strcmp(key, ((const struct manifest_table *)table)->name);
}

static int backup_sort_name(void *arg, const char *name, bool is_dir)
{
	struct backup_tables *b = arg;
	size_t n = strlen(name);
	bool lines = !is_dir && n > strlen(".jsonl") && !strcmp(name + n - strlen(".jsonl"), ".jsonl");
	if (!is_dir && !lines)
		return 0;
	_cleanup_free_ char *file = xmemdup0(name, lines ? n - strlen(".jsonl") : n);
	_cleanup_strbuf_ struct strbuf table = {0};
	if (b->m->n_tables && table_of_file_name(file, &table) == 0 &&
	    bsearch(strbuf_str(&table), b->m->tables, b->m->n_tables, sizeof *b->m->tables, backup_compare_table)) {
		b->any_dir |= is_dir;
		b->any_lines |= lines;
	}
	return 0;
}

/* MANIFEST.json is there: the rest is what it announces. */
static int backup_look_manifest(struct backup_tree *t, const struct manifest *m, struct backup_state *s, struct err *e)
{
	struct backup_tables tables = {.m = m};
	uint64_t size = 0;
	int r = t->list(t, "tables", backup_sort_name, &tables, e);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	/* Directories win where both are there. With no table there yet, what only an archive has decides. */
	bool archive = !tables.any_dir && (tables.any_lines || t->size(t, "SHA256SUMS", &size, ERR_DROP) >= 0);
	s->kind = archive ? BACKUP_ARCHIVE : BACKUP_SNAPSHOT;
	r = t->size(t, "schema.sql", &size, e);
	if (r < 0 && r != -ENOENT)
		return r;
	s->files_expected = 2;
	s->files_found = r < 0 ? 1 : 2;
	for (size_t i = 0; i < m->n_tables; i++) {
		const struct manifest_table *mt = &m->tables[i];
		_cleanup_strbuf_ struct strbuf file = {0};
		table_file_name(mt->name, &file);
		_cleanup_free_ char *path = xasprintf("tables/%s%s", strbuf_str(&file), archive ? ".jsonl" : "");
		r = archive ? backup_look_lines(t, path, mt->line_bytes, s, e)
			    : backup_look_rows(t, path, mt->rows, s, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int backup_look_into(struct backup_tree *t, struct backup_state *s, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	int r = backup_look_text(t, "MANIFEST.json", &text, e);
	if (r < 0)
		return r;
	if (r) {
		struct manifest m;
		r = manifest_parse(&m, text.data, text.len, e);
		if (r < 0)
			return err_prefix(e, "MANIFEST.json");
		r = backup_look_manifest(t, &m, s, e);
		manifest_done(&m);
		return r;
	}
	r = backup_look_text(t, ".table.json", &text, e);
	if (r <= 0)
		return r;
	struct db_table table;
	struct manifest_table counts;
	r = table_json_parse(&table, &counts, text.data, text.len, e);
	if (r < 0)
		return err_prefix(e, ".table.json");
	s->kind = BACKUP_TABLE;
	r = backup_look_rows(t, "", counts.rows, s, e);
	db_table_done(&table);
	free(counts.name);
	return r;
}

int backup_look(struct backup_tree *t, struct backup_state *ret, struct err *e)
{
	struct backup_state s = {.kind = BACKUP_NONE};
	*ret = s;
	int r = backup_look_into(t, &s, e);
	if (r < 0)
		return r;
	s.complete = s.kind != BACKUP_NONE && s.files_found == s.files_expected && s.bytes_found == s.bytes_expected;
	*ret = s;
	return 0;
}
