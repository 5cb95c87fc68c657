/*
 * fs/staging/handle.c - see handle.h. Any thread. Lock: staging.mutex.
 */
#include "fs/staging/handle.h"

#include "fs/staging/internal.h"

int staging_hold(struct staging *s, int64_t id)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node *o = staging_find_open(s, id);
	if (!o) {
		struct staged_node n;
		int r = staging_get_locked(s, id, &n);
		if (r < 0)
			return r;
		o = xcalloc(1, sizeof *o);
		o->id = id;
		o->top = n.top;
		o->next = s->opens[staging_bucket(id)];
		s->opens[staging_bucket(id)] = o;
	}
	o->opens++;
	return 0;
}

void staging_release(struct staging *s, int64_t id)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node **p = &s->opens[staging_bucket(id)];
	while (*p && (*p)->id != id)
		p = &(*p)->next;
	struct staging_open_node *o = *p;
	if (!o || --o->opens)
		return;
	bool orphan = o->orphan;
	*p = o->next;
	free(o);
	struct staged_node n;
	if (orphan && staging_get_locked(s, id, &n) == 0 && staging_begin(s) == 0)
		(void)staging_drop(s, &n, true);
}

void staging_dirty(struct staging *s, int64_t id, int change)
{
	MUTEX_GUARD(&s->mutex);
	struct staging_open_node *o = staging_find_open(s, id);
	if (!o)
		return;
	o->dirty += (unsigned)change;
	s->dirty += (unsigned)change;
	/* whoever was writing when data was lost has been told by now; new copies may try again */
	if (!s->dirty)
		s->lost = 0;
}
