/*
 * fs/call.c - one request that is being answered, and how it goes on elsewhere when it has to wait.
 *
 * A request that would have to wait (TREE_MUST_WAIT, a job) hands its struct call to a slow-path thread, which runs the
 * same function again with leave to wait and replies from there. An interrupt of such a request ends its wait.
 * Lock: fs.mutex guards the list of such calls; at the unmount it is held while their waits are ended, so it comes before
 * service.mutex.
 * Kernel side (seen with 6.18): a reply must be the last thing that touches the request; libfuse 3.14 may run the
 * interrupt function on another worker until fuse_req_interrupt_func(req, NULL, NULL) has returned.
 */
#include <errno.h>

#include "fs/internal.h"

struct fs *ops_fs(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct call call_of(fuse_req_t req, void (*run)(struct call *c))
{
	return (struct call){.fs = ops_fs(req), .req = req, .run = run};
}

const struct tree_wait *call_wait(const struct call *c)
{
	return c->slow ? &c->wait : NULL;
}

static void call_unref(struct call *c)
{
	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	free(c->name);
	free(c->new_name);
	free(c);
}

static void call_end(struct call *c)
{
	if (!c->slow)
		return;
	{
		MUTEX_GUARD(&c->fs->mutex);
		*c->prev = c->next;
		if (c->next)
			c->next->prev = c->prev;
	}
	call_unref(c);
}

/* The request, to be answered now; NULL when an interrupt has answered it. No interrupt function runs afterwards. */
fuse_req_t call_take(struct call *c)
{
	if (!c->slow)
		return c->req;
	if (c->early && atomic_exchange(&c->answered, true))
		return NULL;
	fuse_req_interrupt_func(c->req, NULL, NULL);
	return c->req;
}

static void call_answer_early(void *arg)
{
	struct call *c = arg;
	if (!atomic_exchange(&c->answered, true)) {
		fuse_req_interrupt_func(c->req, NULL, NULL);
		(void)fuse_reply_err(c->req, EINTR);
	}
	call_unref(c);
}

static void call_interrupted(fuse_req_t req, void *data)
{
	struct call *c = data;
	(void)req;
	service_interrupt(c->fs->service, &c->waiter);
	if (c->early) {
		/* not from here: libfuse holds the request's lock */
		(void)atomic_fetch_add(&c->refs, 1);
		slow_run(c->fs->slow, call_answer_early, c);
	}
}

static void call_thread(void *arg)
{
	struct call *c = arg;
	requester_of_pid(&c->who, c->who.uid, c->who.pid);
	c->run(c);
	call_end(c);
}

/* Goes on with the request on a slow-path thread. *c is copied, its strings too. */
void call_defer(const struct call *from)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(from->req);
	struct call *c = xmalloc(sizeof *c);
	*c = *from;
	c->slow = true;
	c->name = xstrdup(from->name);
	c->new_name = xstrdup(from->new_name);
	c->who = (struct requester){.uid = ctx->uid, .pid = ctx->pid};
	c->wait = (struct tree_wait){.waiter = &c->waiter, .who = &c->who};
	atomic_init(&c->refs, 1);
	atomic_init(&c->answered, false);
	{
		MUTEX_GUARD(&c->fs->mutex);
		c->next = c->fs->calls;
		c->prev = &c->fs->calls;
		if (c->next)
			c->next->prev = &c->next;
		c->fs->calls = c;
		if (c->fs->stopping)
			atomic_store(&c->waiter.interrupted, true);
	}
	fuse_req_interrupt_func(c->req, call_interrupted, c);
	slow_run(c->fs->slow, call_thread, c);
}

void fs_interrupt_all(struct fs *fs)
{
	MUTEX_GUARD(&fs->mutex);
	fs->stopping = true;
	for (struct call *c = fs->calls; c; c = c->next)
		service_interrupt(fs->service, &c->waiter);
}
