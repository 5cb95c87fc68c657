/*
 * fs/restore/link.c - see link.h.
 */
#include "fs/restore/link.h"

#include <errno.h>

#include "fs/restore/internal.h"
#include "snapshot/openmetadata/entity.h"
#include "snapshot/openmetadata/names.h"

/* What a link points to: a snapshot, and the path of one entity in its index of names (NULL: all of it). */
static bool restores_parse_link(const char *target, char **ret_snapshot, const char **ret_entity)
{
	static const char *const folders[] = {"../snapshots/", "../archives/", "../entities/"};
	for (size_t k = 0; k < 3; k++) {
		size_t len = strlen(folders[k]);
		if (strncmp(target, folders[k], len))
			continue;
		const char *name = target + len, *rest = name + strcspn(name, "/");
		bool entity = k == 2;
		*ret_snapshot = xmemdup0(name, (size_t)(rest - name));
		*ret_entity = entity ? rest + 1 : NULL;
		return rest != name && (entity ? rest[0] && rest[1] : !rest[0] || !rest[1]);
	}
	return false;
}

/* The snapshot called `name`, waited for when it is being taken. */
static int restores_snapshot(struct restores *rs, size_t source, const char *name, struct waiter *w, int64_t *ret,
			     struct err *e)
{
	int64_t source_id = service_source_id(rs->service, source);
	struct snapshot_info info;
	char pending[256];
	if (service_pending(rs->service, source, ret, pending) == 0 && !strcmp(pending, name))
		return service_wait(rs->service, *ret, w, e);
	int r = !strcmp(name, "latest") ? catalog_latest(service_catalog(rs->service), source_id, &info, e)
					: catalog_find(service_catalog(rs->service), source_id, name, &info, e);
	if (r < 0)
		return r;
	*ret = info.id;
	snapshot_info_done(&info);
	return 0;
}

/* The entity's row, and its name behind the label. */
static int restores_entity(struct restores *rs, int64_t snapshot_id, const char *path, struct strbuf *ret_row,
			   struct strbuf *label, struct err *e)
{
	struct catalog *c = service_catalog(rs->service);
	_cleanup_strbuf_ struct strbuf table = {0}, row = {0};
	int r = names_find_path(c, snapshot_id, path, &table, &row, e);
	if (r < 0)
		return r;
	strbuf_addf(ret_row, "%s/%s", strbuf_str(&table), strbuf_str(&row));
	strbuf_addf(label, ", entity %.*s ", (int)strcspn(path, "/"), path);
	return entity_name(c, snapshot_id, strbuf_str(&table), strbuf_str(&row), label, e);
}

int restores_link(struct restores *rs, size_t source, const char *target, const char *label,
		  const struct requester *who, struct waiter *w, struct err *e)
{
	const struct source_config *c = service_source(rs->service, source);
	_cleanup_free_ char *name = NULL;
	_cleanup_strbuf_ struct strbuf report = {0}, entity = {0}, full = {0};
	const char *path = NULL;
	int64_t id;

	if (!restores_parse_link(target, &name, &path))
		return err_set(e, EINVAL,
			       "restore/%s: only a link to ../snapshots/NAME, ../archives/NAME or "
			       "../entities/NAME/TYPE/... .json restores",
			       label);
	if (c->restore_confirm)
		return err_set(e, EPERM,
			       "restore/%s: restore_confirm is set: copy the snapshot in, read PLAN.txt, touch APPLY",
			       label);
	int r = restores_snapshot(rs, source, name, w, &id, e);
	if (r < 0)
		return r;
	strbuf_addf(&full, "restore/%s (snapshots/%s", label, name);
	if (path)
		r = restores_entity(rs, id, path, &entity, &full, e);
	if (r < 0)
		return r;
	strbuf_addch(&full, ')');
	struct restore_plan plan = {0};
	struct restore_request rq = {.snapshot_id = id,
				     .entity = path ? strbuf_str(&entity) : NULL,
				     .label = strbuf_str(&full),
				     .force = c->restore_force,
				     .policy = c->restore};
	r = service_restore(rs->service, source, &rq, who, w, &plan, &report, e);
	restore_plan_done(&plan);
	return r;
}
