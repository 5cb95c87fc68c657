/*
 * snapshot/capture/backup.c - a backup outside of the catalog: the tree of a directory, and what a tree holds.
 *
 * A directory's tree owns the descriptor of its top and of the file read last (T.jsonl is read in many small steps).
 * Paths are relative to the top and cannot leave it upwards: they are made from names that a manifest claims. No
 * locks: one thread at a time. Looking reads names and sizes, MANIFEST.json or .table.json, never a row.
 */
#include "snapshot/capture/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "snapshot/row/manifest.h"

/* ---- a directory ---- */

struct backup_dir {
	struct backup_tree tree; /* first: it is what callers hold */
	char *path;
	int fd;
	char *open_path; /* of open_fd; NULL: none */
	int open_fd;
};

/* ENOENT and ENOTDIR are answers that callers ask for; the words are for the others as well. */
static int backup_dir_fail(const struct backup_dir *d, const char *path, int code, struct err *e)
{
	return err_sys(e, code, "%s%s%s", d->path, *path ? "/" : "", path);
}

static int backup_dir_check(const struct backup_dir *d, const char *path, struct err *e)
{
	for (const char *s = path; s; s = strchr(s, '/')) {
		s += *s == '/';
		if (!strcmp(s, "..") || !strncmp(s, "../", 3))
			return err_set(e, EINVAL, "%s: \"%.100s\" leaves the backup", d->path, path);
	}
	return *path == '/' ? err_set(e, EINVAL, "%s: \"%.100s\" leaves the backup", d->path, path) : 0;
}

/* Opens a regular file; never waits for the other end of a FIFO. */
static int backup_dir_openat(struct backup_dir *d, const char *path, int *ret, struct err *e)
{
	struct stat st;
	*ret = -1;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = openat(d->fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return backup_dir_fail(d, path, errno, e);
	if (S_ISDIR(st.st_mode))
		return backup_dir_fail(d, path, EISDIR, e);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s/%s: not a file", d->path, path);
	*ret = TAKE_FD(fd);
	return 0;
}

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int backup_dir_list(struct backup_tree *t, const char *path,
			   int (*each)(void *arg, const char *name, bool is_dir), void *arg, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = openat(d->fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(cleanup_closedir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return backup_dir_fail(d, path, errno, e);
	fd = -1; /* dir's now */
	for (;;) {
		struct stat st;
		errno = 0;
		struct dirent *entry = readdir(dir);
		if (!entry)
			return errno ? backup_dir_fail(d, path, errno, e) : 0;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		bool is_dir = entry->d_type == DT_DIR;
		if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK)
			is_dir = !fstatat(dirfd(dir), entry->d_name, &st, 0) && S_ISDIR(st.st_mode);
		r = each(arg, entry->d_name, is_dir);
		if (r)
			return r;
	}
}

static int backup_dir_pread(struct backup_dir *d, const char *path, int fd, uint64_t offset, void *buf, size_t n,
			    size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	while (*ret_n < n) {
		ssize_t got = pread(fd, (char *)buf + *ret_n, n - *ret_n, (off_t)(offset + *ret_n));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return backup_dir_fail(d, path, errno, e);
		if (!got)
			break;
		*ret_n += (size_t)got;
	}
	return 0;
}

static int backup_dir_slurp(struct backup_tree *t, const char *path, struct strbuf *out, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	_cleanup_close_ int fd = -1;
	struct stat st;
	strbuf_clear(out);
	int r = backup_dir_openat(d, path, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return backup_dir_fail(d, path, errno, e);
	/* One byte more than the size finds the end in one read; a file that grows meanwhile is read on. */
	for (size_t step = (size_t)st.st_size + 1;; step = 65536) {
		size_t got = 0;
		strbuf_reserve(out, step);
		r = backup_dir_pread(d, path, fd, out->len, out->data + out->len, step, &got, e);
		if (r < 0)
			return r;
		out->len += got;
		out->data[out->len] = '\0';
		if (got < step)
			return 0;
	}
}

static int backup_dir_read(struct backup_tree *t, const char *path, uint64_t offset, void *buf, size_t n, size_t *ret_n,
			   struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	if (!d->open_path || strcmp(d->open_path, path)) {
		int fd = -1;
		int r = backup_dir_openat(d, path, &fd, e);
		if (r < 0)
			return r;
		cleanup_close(&d->open_fd);
		free(d->open_path);
		d->open_fd = fd;
		d->open_path = xstrdup(path);
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	return backup_dir_pread(d, path, d->open_fd, offset, buf, n, ret_n, e);
}

static int backup_dir_size(struct backup_tree *t, const char *path, uint64_t *ret, struct err *e)
{
	struct backup_dir *d = (struct backup_dir *)t;
	struct stat st;
	int r = backup_dir_check(d, path, e);
	if (r < 0)
		return r;
	if (fstatat(d->fd, path, &st, 0) < 0)
		return backup_dir_fail(d, path, errno, e);
	if (S_ISDIR(st.st_mode))
		return backup_dir_fail(d, path, EISDIR, e);
	*ret = (uint64_t)st.st_size;
	return 0;
}

static void backup_dir_close(struct backup_tree *t)
{
	struct backup_dir *d = (struct backup_dir *)t;
	cleanup_close(&d->fd);
	cleanup_close(&d->open_fd);
	free(d->open_path);
	free(d->path);
	free(d);
}

int backup_dir_open(struct backup_tree **ret, const char *path, struct err *e)
{
	*ret = NULL;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	struct backup_dir *d = xcalloc(1, sizeof *d);
	d->tree = (struct backup_tree){
	    .list = backup_dir_list,
	    .slurp = backup_dir_slurp,
	    .read = backup_dir_read,
	    .size = backup_dir_size,
	    .close = backup_dir_close,
	};
	d->path = xstrdup(path);
	for (size_t n = strlen(d->path); n > 1 && d->path[n - 1] == '/'; n--)
		d->path[n - 1] = '\0';
	d->fd = fd;
	d->open_fd = -1;
	*ret = &d->tree;
	return 0;
}

/* ---- names ---- */

static bool backup_ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n > m && !strcmp(name + n - m, suffix);
}

bool backup_name_counts(const char *name, bool in_table)
{
	/* row/row.h says what a row file's name is made of; "x (copy).json" can be none. */
	static const char row_bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@+=-.,%~";
	static const char *const leftovers[] = {"~", ".swp", ".swo", ".swx", ".tmp", ".part", ".partial", ".filepart"};
	/* ".json" is the row whose key is the empty text. */
	if (!strcmp(name, ".table.json") || (in_table && !strcmp(name, ".json")))
		return true;
	if (*name == '.')
		return false;
	if (in_table)
		return backup_ends_in(name, ".json") && !name[strspn(name, row_bytes)];
	for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++)
		if (backup_ends_in(name, leftovers[i]))
			return false;
	return *name && *name != '#';
}

/* ---- looking ---- */

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
	bool lines = !is_dir && backup_ends_in(name, ".jsonl");
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
