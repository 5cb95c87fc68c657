/*
 * fs/ops_restore.c - requests that end in a restore: a close(), rename() or utimens() that waits for its result.
 *
 * Threads: slow-path threads run ops_run_restore.
 */
#include "base/log.h"
#include "fs/internal.h"
#include "fs/staging/nodes.h"

/* The set's ERROR.txt and PLAN.txt came or went. */
void ops_notify_texts(struct fs *fs, int64_t top)
{
	static const char *const texts[] = {"ERROR.txt", "PLAN.txt"};
	for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
		char name[STAGING_NAME_MAX + 1];
		int64_t dir;
		if (restores_text_name(fs->staging, top, texts[k], &dir, name) < 0)
			return;
		notify_inode(fs->notify, tree_ino_of_staged(dir, -dir));
		notify_entry(fs->notify, tree_ino_of_staged(dir, -dir), name);
	}
}

/* Runs c->top and answers with its result: what the copier's close(), rename() or utimens() returns. */
static void ops_run_restore(struct call *c)
{
	struct err e = ERR_INIT;
	int r = restores_run(c->fs->restores, c->top, c->why, &c->who, &c->waiter, &e);
	if (r < 0 && *e.msg)
		log_warning("%s", e.msg);
	ops_notify_texts(c->fs, c->top);

	if (r < 0 && c->new_name) {
		/* A rename that is refused has happened all the same, so that the set can be tried again; but the file
		 * gets another time, so that rsync sends it once more instead of finding nothing to do. */
		struct staged_node n, old = {.mtime_ns = 0};
		int64_t dir = tree_staged_of(c->new_ino);
		if (staging_lookup(c->fs->staging, dir, c->new_name, &n) == 0 && S_ISREG(n.mode))
			(void)staging_setattr(c->fs->staging, n.id, &old, STAGING_MTIME, NULL);
		reply_code(c, r);
		notify_entry(c->fs->notify, c->ino, c->name);
		notify_entry(c->fs->notify, c->new_ino, c->new_name);
		return;
	}
	if (r == 0 && c->node.ino) /* of setattr */
		reply_attr(c, &c->node);
	else
		reply_code(c, r);
}

void ops_defer_restore(struct call *c, int64_t top, enum restores_why why)
{
	c->run = ops_run_restore;
	c->top = top;
	c->why = why;
	call_defer(c);
}
