/*
 * fs/staging/sets.c - see sets.h. `top` of a node is the set it counts for: a name that does not count makes everything
 * below it inert.
 *
 * Any thread. Lock: staging.mutex, held by the caller of what internal.h declares.
 */
#include "fs/staging/sets.h"

#include <errno.h>
#include <sys/stat.h>

#include "fs/staging/internal.h"
#include "snapshot/capture/backup.h"

/* ---- what counts ---- */

static bool staging_counts(const char *name, mode_t mode)
{
	if (S_ISDIR(mode))
		return backup_name_counts(name, false);
	/* fs/restore/sets.c only needs a count that is never too small */
	return S_ISREG(mode) && (backup_name_counts(name, true) || backup_name_counts(name, false));
}

void staging_counts_sql(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	char name[STAGING_NAME_MAX + 1];
	size_t len = (size_t)sqlite3_value_bytes(v[0]);
	const void *data = sqlite3_value_blob(v[0]);
	if (len > STAGING_NAME_MAX || !data)
		len = 0;
	else
		memcpy(name, data, len);
	name[len] = '\0';
	sqlite3_result_int(ctx, staging_counts(name, (mode_t)sqlite3_value_int64(v[1])));
}

bool staging_is_sql(const char *name)
{
	size_t len = strlen(name);
	return name[0] != '.' && len > 4 && !strcmp(name + len - 4, ".sql");
}

/* What is a set when it lies directly in restore/. */
bool staging_is_set(const char *name, mode_t mode)
{
	return S_ISDIR(mode) ? staging_counts(name, mode) : S_ISREG(mode) && staging_is_sql(name);
}

/* The set that a node called `name` in `parent` counts for. id: the node's own, 0 when not known yet. */
int64_t staging_top_of(const struct staged_node *parent, const char *name, mode_t mode, int64_t id)
{
	if (parent->id < 0)
		return staging_is_set(name, mode) ? id : 0;
	return parent->top && staging_counts(name, mode) ? parent->top : 0;
}

/* ---- counters ---- */

static int staging_set_of(struct staging *s, int64_t top, struct staging_set_entry **ret)
{
	struct staging_set_entry *x = s->sets;
	while (x && x->set.top != top)
		x = x->next;
	if (!x) {
		int state = STAGED_OPEN, error = 0;
		sqlite3_stmt *st = staging_stmt(s, ST_SET_STATE);
		(void)sqlite3_bind_int64(st, 1, top);
		int rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			state = sqlite3_column_int(st, 0);
			error = sqlite3_column_int(st, 1);
		}
		(void)sqlite3_reset(st);
		if (rc != SQLITE_ROW && rc != SQLITE_DONE)
			return staging_failed(s, rc);
		x = xcalloc(1, sizeof *x);
		x->set = (struct staged_set){.top = top, .state = (enum staged_state)state, .error = error};
		x->next = s->sets;
		s->sets = x;
	}
	if (!x->counted) {
		sqlite3_stmt *st = staging_stmt(s, ST_SET_COUNT);
		(void)sqlite3_bind_int64(st, 1, top);
		int rc = sqlite3_step(st);
		if (rc != SQLITE_ROW) {
			(void)sqlite3_reset(st);
			return staging_failed(s, rc);
		}
		x->set.files = (uint64_t)sqlite3_column_int64(st, 0);
		x->counted = true;
		x->set.need = 0;
		(void)sqlite3_reset(st);
	}
	*ret = x;
	return 0;
}

void staging_forget_set(struct staging *s, int64_t top)
{
	for (struct staging_set_entry **p = &s->sets; *p; p = &(*p)->next) {
		if ((*p)->set.top == top) {
			struct staging_set_entry *x = *p;
			*p = x->next;
			free(x);
			return;
		}
	}
}

/* Something that counts for `top` changes; files: by how much its number of files does. Called before the change,
 * inside the transaction. `again`: files may have gone or got other names, so `need` does not hold any more. */
int staging_changed(struct staging *s, int64_t top, int files, bool again)
{
	if (!top)
		return 0;
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	x->set.changes++;
	x->set.files += (uint64_t)(int64_t)files;
	if (again)
		x->set.need = 0;
	if (x->set.state != STAGED_OPEN) {
		sqlite3_stmt *st = staging_stmt(s, ST_SET_PUT);
		(void)sqlite3_bind_int64(st, 1, top);
		(void)sqlite3_bind_int(st, 2, STAGED_OPEN);
		(void)sqlite3_bind_int(st, 3, 0);
		r = staging_run(s, st);
		if (r < 0)
			return r;
		x->set.state = STAGED_OPEN;
		x->set.error = 0;
		x->set.need = 0;
	}
	return 0;
}

static unsigned staging_dirty_of(const struct staging *s, int64_t top)
{
	unsigned n = 0;
	for (size_t b = 0; b < STAGING_BUCKETS; b++)
		for (const struct staging_open_node *o = s->opens[b]; o; o = o->next)
			if (o->top == top && o->dirty)
				n++;
	return n;
}

int staging_count(struct staging *s, int64_t dir, uint64_t *ret)
{
	MUTEX_GUARD(&s->mutex);
	sqlite3_stmt *st = staging_stmt(s, ST_COUNT);
	(void)sqlite3_bind_int64(st, 1, dir);
	int rc = sqlite3_step(st);
	*ret = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	(void)sqlite3_reset(st);
	return rc == SQLITE_ROW ? 0 : staging_failed(s, rc);
}

/* ---- states ---- */

int staging_set(struct staging *s, int64_t top, struct staged_set *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	*ret = x->set;
	ret->dirty = s->dirty ? staging_dirty_of(s, top) : 0;
	return 0;
}

int staging_set_start(struct staging *s, int64_t top, struct staged_set *ret)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x;
	int r = staging_set_of(s, top, &x);
	if (r < 0)
		return r;
	if (x->set.running)
		return -EBUSY;
	x->set.running = true;
	*ret = x->set;
	return 0;
}

int staging_set_finish(struct staging *s, int64_t top, uint64_t changes, enum staged_state state, int error,
		       uint64_t need)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_set_entry *x = s->sets;
	while (x && x->set.top != top)
		x = x->next;
	if (!x)
		return 0; /* removed meanwhile */
	x->set.running = false;
	x->set.need = need;
	if (x->set.changes != changes) {
		state = STAGED_OPEN;
		error = 0;
		x->set.need = 0;
	}
	if (state == x->set.state && error == x->set.error)
		return 0;
	x->set.state = state;
	x->set.error = error;
	int r = staging_begin(s);
	if (r < 0)
		return r;
	sqlite3_stmt *st = staging_stmt(s, ST_SET_PUT);
	(void)sqlite3_bind_int64(st, 1, top);
	(void)sqlite3_bind_int(st, 2, (int)state);
	(void)sqlite3_bind_int(st, 3, error);
	return staging_run(s, st);
}
