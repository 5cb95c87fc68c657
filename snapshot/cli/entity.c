/*
 * snapshot/cli/entity.c - `metasnap restore ... --entity TYPE FQN`: which row of the snapshot that is, and what there
 * is instead when it is none. On the main thread; no locks.
 */
#include "snapshot/cli/cli.h"

#include <errno.h>

#include "snapshot/openmetadata/entity.h"
#include "snapshot/openmetadata/names.h"

/* The types there are, one of each. */
static int cli_list_types(struct catalog *c, int64_t index, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf after = {0};
	for (;;) {
		_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
		struct names_entry n;
		int r = names_cursor_seek(&nc, c, index, strbuf_str(&after), after.len, e);
		if (r == 0)
			r = names_cursor_next(nc, &n, e);
		if (r <= 0)
			return r;
		size_t len = strcspn(n.path, "/");
		strbuf_addf(out, "%s%.*s", out->len ? ", " : "", (int)len, n.path);
		strbuf_clear(&after);
		strbuf_add(&after, n.path, len);
		strbuf_addch(&after, '/' + 1);
	}
}

/* Counts the entities of a type; the first whose name differs in case only is named in *like. */
static int cli_look_like(struct catalog *c, int64_t snapshot_id, int64_t index, const char *type, const char *path,
			 uint64_t *ret_n, struct strbuf *like, struct err *e)
{
	_cleanup_(cleanup_names_cursor) struct names_cursor *nc = NULL;
	struct names_entry n;
	size_t len = strlen(type);
	int r = names_cursor_seek(&nc, c, index, type, len, e);
	*ret_n = 0;
	while (r == 0 && (r = names_cursor_next(nc, &n, e)) == 1) {
		r = 0;
		if (strncmp(n.path, type, len) || n.path[len] != '/') {
			if (strncmp(n.path, type, len))
				break;
			continue;
		}
		++*ret_n;
		if (!like->len && !strcasecmp(n.path, path))
			r = entity_name(c, snapshot_id, n.table, n.row, like, e);
	}
	return r;
}

/* Words on an entity that the snapshot does not have. */
static int cli_no_entity(struct cli *c, int64_t snapshot_id, struct err *e)
{
	struct catalog *catalog = service_catalog(c->svc);
	_cleanup_strbuf_ struct strbuf path = {0}, like = {0}, types = {0};
	struct version_info index = {0};
	uint64_t n = 0;
	names_path(c->entity_type, c->entity_name, strlen(c->entity_name), false, &path);
	int r = names_version(catalog, snapshot_id, &index, e);
	if (r == 0)
		r = cli_look_like(catalog, snapshot_id, index.id, c->entity_type, strbuf_str(&path), &n, &like, e);
	if (r == 0 && !n)
		r = cli_list_types(catalog, index.id, &types, e);
	version_info_done(&index);
	if (r < 0)
		return r;
	if (like.len)
		return err_set(e, ENOENT, "there is no %.40s \"%.150s\" in the snapshot (there is \"%.150s\")",
			       c->entity_type, c->entity_name, strbuf_str(&like));
	if (n)
		return err_set(e, ENOENT, "there is no %.40s \"%.200s\" in the snapshot (there are %llu others)",
			       c->entity_type, c->entity_name, (unsigned long long)n);
	return err_set(e, ENOENT, "the snapshot has no entity of type %.40s (it has %.400s)", c->entity_type,
		       types.len ? strbuf_str(&types) : "none at all");
}

int cli_find_entity(struct cli *c, int64_t snapshot_id, struct strbuf *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf table = {0}, row = {0};
	int r = names_find(service_catalog(c->svc), snapshot_id, c->entity_type, c->entity_name, &table, &row, e);
	if (r == -ENOENT)
		return cli_no_entity(c, snapshot_id, e);
	if (r == 0)
		strbuf_addf(ret, "%s/%s", strbuf_str(&table), strbuf_str(&row));
	return r;
}
