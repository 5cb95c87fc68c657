/*
 * fs/restore/sets.c - see sets.h.
 *
 * Deciding costs little for 448,000 files: a look at the whole set (backup_look) is made when its manifest arrives,
 * then again only when the number of files says that nothing can be missing any more (staged_set.need). A backup that
 * lacks files is never restored, but the copier should hear of it. Three things tell that the copier is done: all files
 * of an archive are there (one is too short); it has filled the last table while an earlier one stayed short (copiers
 * finish a directory before the next: restores_filled); the process that brought the last file sets the times of the
 * top directory (cp -a, tar do so last, and tell of errors). Then the service is asked, which refuses and names what
 * differs.
 */
#include "fs/restore/sets.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fs/restore/internal.h"
#include "fs/restore/sql_file.h"
#include "fs/restore/staged_backup.h"
#include "fs/restore/texts.h"
#include "fs/staging/commit.h"
#include "fs/staging/nodes.h"
#include "fs/staging/sets.h"
#include "snapshot/capture/backup_look.h"
#include "snapshot/openmetadata/entity.h"
#include "snapshot/openmetadata/names.h"
#include "snapshot/row/manifest.h"

struct restores *restores_new(struct service *svc, struct staging *s)
{
	struct restores *rs = xcalloc(1, sizeof *rs);
	rs->service = svc;
	rs->staging = s;
	(void)pthread_mutex_init(&rs->mutex, NULL);
	return rs;
}

void restores_free(struct restores *rs)
{
	if (!rs)
		return;
	while (rs->tracks)
		restores_drop_track(rs, rs->tracks->top);
	(void)pthread_mutex_destroy(&rs->mutex);
	free(rs);
}

static int restores_apply(struct restores *rs, int64_t top, size_t source, const char *label, bool plan_only,
			  const struct requester *who, struct waiter *w, struct err *e)
{
	bool is_sql = restores_is_sql(rs, top);
	_cleanup_(cleanup_backup) struct backup_tree *tree = is_sql ? NULL : staged_backup_open(rs->staging, top);
	struct restore_sql file = {rs->staging, top};
	_cleanup_strbuf_ struct strbuf report = {0};
	const struct source_config *c = service_source(rs->service, source);
	struct sql_file sql = {.source = {restore_sql_read, &file}, .mysql = !strcmp(c->params.engine, "mysql")};
	struct restore_plan plan = {0};
	struct restore_request rq = {
	    .backup = tree,
	    .sql = is_sql ? &sql : NULL,
	    .label = label,
	    .dry_run = plan_only,
	    .force = c->restore_force,
	    .policy = c->restore,
	};
	int r = service_restore(rs->service, source, &rq, who, w, &plan, &report, e);
	if (plan.n || r == 0) {
		_cleanup_strbuf_ struct strbuf text = {0};
		restore_plan_text(&plan, &text);
		if (plan_only && r == 0)
			strbuf_addf(&text, "\nNothing was changed yet. To do it: touch %s%c" RESTORES_APPLY_NAME "\n",
				    label, is_sql ? '.' : '/');
		if (r == 0 && report.len) {
			strbuf_addch(&text, '\n');
			strbuf_add(&text, report.data, report.len);
		}
		restores_write_text(rs, top, "PLAN.txt", &text);
	}
	restore_plan_done(&plan);
	if (r < 0)
		restores_write_error(rs, top, label, e, &report);
	else
		restores_write_text(rs, top, "ERROR.txt", NULL);
	return r;
}

/* All tables have rows here (those that have any at all), so the copier has been everywhere; at least one is short. */
static bool restores_all_begun(struct restores *rs, int64_t top)
{
	_cleanup_(cleanup_backup) struct backup_tree *tree = staged_backup_open(rs->staging, top);
	struct manifest m;
	struct staged_node n;
	uint64_t files;
	bool all = staging_lookup(rs->staging, top, "schema.sql", &n) == 0;
	int64_t tables;

	if (!all || restores_load_manifest(rs, top, &m) < 0)
		return false;
	all = staged_backup_dir(tree, "tables", &tables) == 0;
	for (size_t k = m.n_tables; all && k-- > 0;) { /* the last ones come last */
		_cleanup_strbuf_ struct strbuf name = {0};
		table_file_name(m.tables[k].name, &name);
		all = staging_lookup(rs->staging, tables, strbuf_str(&name), &n) == 0 && S_ISDIR(n.mode) &&
		      staging_count(rs->staging, n.id, &files) == 0 && files > (m.tables[k].rows > 0 ? 1 : 0);
	}
	manifest_done(&m);
	return all;
}

static bool restores_has_manifest(struct restores *rs, int64_t top)
{
	struct staged_node n;
	return staging_lookup(rs->staging, top, "MANIFEST.json", &n) == 0 ||
	       staging_lookup(rs->staging, top, ".table.json", &n) == 0;
}

int restores_named(struct restores *rs, const struct staged_node *n, const char *from, const char *to)
{
	if (n->top != n->id || !S_ISREG(n->mode) || !restore_sql_is_rsync(from, to))
		return 0;
	{
		MUTEX_GUARD(&rs->mutex);
		if (restores_track_of(rs, n->id)->dated)
			return 0;
	}
	_cleanup_strbuf_ struct strbuf text = {0};
	strbuf_addf(&text,
		    "restore/%s was not restored: rsync gave it its name without its time, as --partial does with a "
		    "file that is cut.\n\nCopy it in again, with rsync -a. If it is whole: touch "
		    "restore/%s." RESTORES_APPLY_NAME "\n",
		    to, to);
	restores_write_text(rs, n->id, "ERROR.txt", &text);
	return -EBADMSG;
}

/* A .sql file whose writer says that it is whole. */
static int restores_look_sql(struct restores *rs, int64_t top, size_t source, const char *label, enum restores_why why,
			     const struct staged_set *set, const struct requester *who, struct waiter *w, struct err *e)
{
	struct staged_node n;
	bool plan_only = service_source(rs->service, source)->restore_confirm && why != RESTORES_APPLY;
	int r = staging_get(rs->staging, top, &n);
	if (r == 0 && !restore_sql_has_end(rs->staging, &n)) {
		r = err_set(e, EBADMSG, "%s: its last line has no end: it is cut (copy it in again)", label);
		restores_write_error(rs, top, label, e, NULL);
	} else if (r == 0) {
		r = restores_apply(rs, top, source, label, plan_only, who, w, e);
	}
	enum staged_state state = r < 0 ? STAGED_FAILED : plan_only ? STAGED_CONFIRM : STAGED_DONE;
	int f = staging_set_finish(rs->staging, top, set->changes, state, r < 0 ? -r : 0, 0);
	return r < 0 ? r : plan_only ? f : 0;
}

void restores_left(struct restores *rs, int64_t top)
{
	struct staged_set set;
	struct staged_node n;
	char name[STAGING_NAME_MAX + 1];
	if (staging_get(rs->staging, top, &n) < 0 || n.top != top || !n.size ||
	    staging_set(rs->staging, top, &set) < 0 || set.state != STAGED_OPEN || set.running || set.dirty ||
	    staging_name(rs->staging, top, name) < 0)
		return;
	_cleanup_strbuf_ struct strbuf text = {0};
	strbuf_addf(
	    &text,
	    "restore/%s was not restored: its writer ended, or left closing it to another program, so that it is "
	    "not known whether it is whole.\n\nWhen it is: touch restore/%s." RESTORES_APPLY_NAME
	    ". Else copy it in again.\n",
	    name, name);
	restores_write_text(rs, top, "ERROR.txt", &text);
}

/* One look, with the set marked as running. */
static int restores_look(struct restores *rs, int64_t top, size_t source, const char *label, enum restores_why why,
			 struct staged_set *set, const struct requester *who, struct waiter *w, struct err *e)
{
	struct backup_state state = {0};
	bool confirm = service_source(rs->service, source)->restore_confirm;
	uint64_t need;

	if (restores_is_sql(rs, top))
		return restores_look_sql(rs, top, source, label, why, set, who, w, e);
	int r;
	{
		_cleanup_(cleanup_backup) struct backup_tree *tree = staged_backup_open(rs->staging, top);
		r = backup_look(tree, &state, e);
	}
	if (r < 0) {
		restores_write_error(rs, top, label, e, NULL);
		(void)staging_set_finish(rs->staging, top, set->changes, STAGED_FAILED, -r, UINT64_MAX);
		return r;
	}
	uint64_t missing = state.files_expected > state.files_found ? state.files_expected - state.files_found : 0;
	bool go = state.complete || why == RESTORES_APPLY;
	if (!go && state.kind == BACKUP_ARCHIVE)
		go = missing == 0;
	/* An archive's files come in any order, and SHA256SUMS is one that the manifest does not count: a restore
	 * before it came would be followed by another one when it does. A copier that says it is at its end has none to
	 * bring. */
	struct staged_node sums;
	if (go && state.kind == BACKUP_ARCHIVE && why == RESTORES_FILE)
		go = staging_lookup(rs->staging, top, "SHA256SUMS", &sums) == 0;
	if (!go && state.kind == BACKUP_SNAPSHOT && missing)
		go = (why == RESTORES_ENDED && missing * 2 <= state.files_expected) || restores_all_begun(rs, top);
	if (!go && state.kind == BACKUP_TABLE && why == RESTORES_ENDED)
		go = state.files_found > 1;
	if (!go) {
		if (state.kind == BACKUP_NONE)
			need = restores_has_manifest(rs, top) ? set->files + 1 : UINT64_MAX;
		else if (state.kind == BACKUP_SNAPSHOT && state.files_found <= 2)
			need = set->files + 1; /* no table yet: it may still become an archive, with far fewer files */
		else
			need = set->files + (missing ? missing : 1);
		if (why == RESTORES_ENDED && state.kind != BACKUP_NONE) {
			(void)err_set(e, EBADMSG, "%s: incomplete: %llu of %llu files are there", label,
				      (unsigned long long)state.files_found, (unsigned long long)state.files_expected);
			restores_write_error(rs, top, label, e, NULL);
			service_say_error(rs->service, source, "restore", e);
			(void)staging_set_finish(rs->staging, top, set->changes, STAGED_OPEN, 0, need);
			return -EBADMSG;
		}
		return staging_set_finish(rs->staging, top, set->changes, STAGED_OPEN, 0, need);
	}
	if (confirm && why != RESTORES_APPLY) {
		r = restores_apply(rs, top, source, label, true, who, w, e);
		int f =
		    staging_set_finish(rs->staging, top, set->changes, r < 0 ? STAGED_FAILED : STAGED_CONFIRM, -r, 0);
		return r < 0 ? r : f;
	}
	r = restores_apply(rs, top, source, label, false, who, w, e);
	(void)staging_set_finish(rs->staging, top, set->changes, r < 0 ? STAGED_FAILED : STAGED_DONE, -r, 0);
	return r;
}

int restores_run(struct restores *rs, int64_t top, enum restores_why why, const struct requester *who, struct waiter *w,
		 struct err *e)
{
	struct staged_set set;
	struct staged_node n;
	char name[STAGING_NAME_MAX + 1];

	for (;;) {
		int r = staging_get(rs->staging, top, &n);
		if (r < 0)
			return r;
		r = staging_name(rs->staging, top, name);
		if (r < 0)
			return r;
		if (n.top != top || n.parent >= 0)
			return 0;
		int source = -ENOENT;
		for (size_t s = 0; s < service_sources(rs->service); s++)
			if (service_source_id(rs->service, s) == -n.parent)
				source = (int)s;
		if (source < 0)
			return source;
		r = staging_set_start(rs->staging, top, &set);
		if (r == -EBUSY)
			return why == RESTORES_APPLY ? err_set(e, EBUSY, "restore/%s is being restored", name) : 0;
		if (r < 0)
			return r;
		_cleanup_free_ char *label = xasprintf("restore/%s", name);
		r = restores_look(rs, top, (size_t)source, label, why, &set, who, w, e);
		(void)staging_commit(rs->staging);
		if (r < 0)
			return r;
		/* what was closed meanwhile found the set running and left it to us */
		struct staged_set now;
		if (staging_set(rs->staging, top, &now) < 0 || now.state != STAGED_OPEN || now.changes == set.changes ||
		    now.dirty || now.running || now.files < now.need || atomic_load(&w->interrupted))
			return 0;
		why = RESTORES_FILE;
	}
}
