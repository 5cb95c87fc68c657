/*
 * fs/notify.c - see notify.h. Thread: its own. Lock: notify.mutex, never held over a notification.
 */
#include "fs/notify.h"

#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define NOTIFY_QUEUE 4096

struct notify_item {
	struct notify_item *next;
	uint64_t ino;
	char name[]; /* "": the inode itself */
};

struct notify {
	struct fuse_session *se;
	pthread_t thread;
	bool started;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool stopping;
	struct notify_item *first;
	struct notify_item **last;
	unsigned waiting;
};

static void *notify_thread(void *arg)
{
	struct notify *n = arg;
	(void)pthread_mutex_lock(&n->mutex);
	while (!n->stopping) {
		struct notify_item *i = n->first;
		if (!i) {
			(void)pthread_cond_wait(&n->wake, &n->mutex);
			continue;
		}
		n->first = i->next;
		if (!n->first)
			n->last = &n->first;
		n->waiting--;
		(void)pthread_mutex_unlock(&n->mutex);
		/* ENOENT: the kernel did not know it */
		if (*i->name)
			(void)fuse_lowlevel_notify_inval_entry(n->se, i->ino, i->name, strlen(i->name));
		else
			(void)fuse_lowlevel_notify_inval_inode(n->se, i->ino, 0, 0);
		free(i);
		(void)pthread_mutex_lock(&n->mutex);
	}
	(void)pthread_mutex_unlock(&n->mutex);
	return NULL;
}

struct notify *notify_new(struct fuse_session *se)
{
	struct notify *n = xcalloc(1, sizeof *n);
	n->se = se;
	n->last = &n->first;
	(void)pthread_mutex_init(&n->mutex, NULL);
	(void)pthread_cond_init(&n->wake, NULL);
	n->started = pthread_create(&n->thread, NULL, notify_thread, n) == 0;
	return n;
}

static void notify_add(struct notify *n, uint64_t ino, const char *name)
{
	if (!n)
		return;
	size_t len = strlen(name) + 1;
	struct notify_item *i = xmalloc(sizeof *i + len);
	i->next = NULL;
	i->ino = ino;
	memcpy(i->name, name, len);
	MUTEX_GUARD(&n->mutex);
	if (n->waiting >= NOTIFY_QUEUE || n->stopping || !n->started) {
		free(i);
		return;
	}
	*n->last = i;
	n->last = &i->next;
	n->waiting++;
	(void)pthread_cond_signal(&n->wake);
}

void notify_entry(struct notify *n, uint64_t parent, const char *name)
{
	if (name && *name)
		notify_add(n, parent, name);
}

void notify_entry_now(struct notify *n, uint64_t parent, const char *name)
{
	(void)fuse_lowlevel_notify_inval_entry(n->se, parent, name, strlen(name));
}

void notify_inode(struct notify *n, uint64_t ino)
{
	notify_add(n, ino, "");
}

bool notify_stop(struct notify *n, unsigned timeout_ms)
{
	if (!n || !n->started)
		return true;
	{
		MUTEX_GUARD(&n->mutex);
		n->stopping = true;
		(void)pthread_cond_broadcast(&n->wake);
	}
	struct timespec until = clock_after(CLOCK_REALTIME, timeout_ms);
	/* It can hang in the kernel, behind an inode lock whose holder waits for a request that nobody reads. */
	if (pthread_timedjoin_np(n->thread, NULL, &until) != 0)
		return false;
	n->started = false;
	return true;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	(void)notify_stop(n, 0);
	while (n->first) {
		struct notify_item *i = n->first;
		n->first = i->next;
		free(i);
	}
	(void)pthread_cond_destroy(&n->wake);
	(void)pthread_mutex_destroy(&n->mutex);
	free(n);
}
