/*
 * fs/restore/track.c - see track.h; what decides is told in sets.c.
 *
 * Any thread. Lock: restores.mutex.
 */
#include "fs/restore/track.h"

#include <errno.h>
#include <sys/stat.h>

#include "fs/restore/internal.h"
#include "fs/restore/staged_backup.h"
#include "fs/staging/nodes.h"
#include "fs/staging/sets.h"

struct restores_track *restores_track_of(struct restores *rs, int64_t top)
{
	struct restores_track *k = rs->tracks;
	while (k && k->top != top)
		k = k->next;
	if (!k) {
		k = xcalloc(1, sizeof *k);
		k->top = top;
		k->next = rs->tracks;
		rs->tracks = k;
	}
	return k;
}

void restores_drop_track(struct restores *rs, int64_t top)
{
	for (struct restores_track **at = &rs->tracks; *at; at = &(*at)->next) {
		if ((*at)->top == top) {
			struct restores_track *k = *at;
			*at = k->next;
			if (k->known)
				manifest_done(&k->manifest);
			free(k);
			return;
		}
	}
}

static bool restores_is_manifest(const char *name)
{
	return !strcmp(name, "MANIFEST.json") || !strcmp(name, ".table.json");
}

int restores_load_manifest(struct restores *rs, int64_t top, struct manifest *ret)
{
	_cleanup_(cleanup_backup) struct backup_tree *t = staged_backup_open(rs->staging, top);
	_cleanup_strbuf_ struct strbuf text = {0};
	int r = t->slurp(t, "MANIFEST.json", &text, ERR_DROP);
	return r < 0 ? r : manifest_parse(ret, strbuf_str(&text), text.len, ERR_DROP);
}

static const struct manifest_table *restores_find_table(const struct manifest *m, const char *table)
{
	for (size_t k = 0; k < m->n_tables; k++)
		if (!strcmp(m->tables[k].name, table))
			return &m->tables[k];
	return NULL;
}

/* True when file n, just arrived in a directory of row files, is the one that fills it. Estimates from above, so that
 * the exact count is only asked for when it matters. */
static bool restores_filled(struct restores *rs, const struct staged_node *n)
{
	struct staged_node dir;
	MUTEX_GUARD(&rs->mutex);
	struct restores_track *k = restores_track_of(rs, n->top);
	if (n->parent == k->dir) {
		if (!k->expected || ++k->at_least < k->expected)
			return false;
	} else {
		if (n->parent == n->top || staging_get(rs->staging, n->parent, &dir) < 0 || dir.parent == k->top)
			return false;
		if (!k->known) {
			if (restores_load_manifest(rs, n->top, &k->manifest) < 0)
				return false;
			k->known = true;
		}
		char name[STAGING_NAME_MAX + 1];
		_cleanup_strbuf_ struct strbuf table = {0};
		k->dir = n->parent;
		k->tables = dir.parent;
		k->expected = 0;
		if (staging_name(rs->staging, dir.id, name) == 0 && table_of_file_name(name, &table) == 0) {
			const struct manifest_table *t = restores_find_table(&k->manifest, strbuf_str(&table));
			k->expected = t ? t->rows + 1 : 0;
		}
		if (!k->expected)
			return false;
	}
	if (staging_count(rs->staging, n->parent, &k->at_least) < 0)
		return false;
	return k->at_least >= k->expected;
}

int64_t restores_due(struct restores *rs, const struct staged_node *n, const char *name, pid_t pid)
{
	struct staged_set set;
	if (!n->top || staging_set(rs->staging, n->top, &set) < 0)
		return 0;
	bool manifest = n->parent == n->top && restores_is_manifest(name);
	{
		MUTEX_GUARD(&rs->mutex);
		if (manifest)
			restores_drop_track(rs, n->top);
		restores_track_of(rs, n->top)->pid = pid;
	}
	if (set.state != STAGED_OPEN || set.running)
		return 0;
	if (n->top == n->id && S_ISREG(n->mode))
		return n->size && set.dirty == 0 ? n->top : 0;
	/* A shell closes its own descriptor of `> x.json` before the command has written: an empty file is no row. */
	size_t len = strlen(name);
	if (S_ISREG(n->mode) && n->size == 0 && len > 5 && !strcmp(name + len - 5, ".json"))
		return 0;
	bool filled = S_ISREG(n->mode) && !manifest && restores_filled(rs, n);
	if (manifest || (filled && set.dirty == 0) || S_ISDIR(n->mode))
		return n->top;
	return set.need != UINT64_MAX && set.files >= set.need && set.dirty == 0 ? n->top : 0;
}

int64_t restores_ended(struct restores *rs, const struct staged_node *n, pid_t pid)
{
	struct staged_set set;
	if (n->top != n->id || staging_set(rs->staging, n->top, &set) < 0)
		return 0;
	if (set.state != STAGED_OPEN || set.running || pid <= 0)
		return 0;
	/* Only who has brought the last file is at its end: rsync sets times at its start and in between, too, by
	 * another process than the one that writes. */
	MUTEX_GUARD(&rs->mutex);
	return restores_track_of(rs, n->top)->pid == pid ? n->top : 0;
}

void restores_dated(struct restores *rs, const struct staged_node *n)
{
	if (n->parent >= 0 || !S_ISREG(n->mode)) /* not directly in restore/ */
		return;
	MUTEX_GUARD(&rs->mutex);
	restores_track_of(rs, n->id)->dated = n->mtime_ns >= 1000000000;
}
