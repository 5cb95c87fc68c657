/*
 * fs/session.c - see session.h.
 *
 * Threads: the main thread runs libfuse's loop; one thread waits for signals. Every other thread of the program has the
 * signals blocked (they are blocked before the first one starts). With libfuse 3.14, fuse_session_exit from another
 * thread does not end fuse_session_loop_mt by itself (libfuse #997): the signal thread also pokes the main thread
 * with SIGUSR1 until the loop has returned.
 */
#include "fs/session.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "fs/internal.h"
#include "fs/ops.h"
#include "fs/staging/commit.h"

#define SESSION_TYPE "fuse.metasnapfs"
#define SESSION_THREADS 16
#define SESSION_QUIESCE_MS 1500 /* for requests under way to be answered */
#define SESSION_END_MS 3000     /* from the end of the loop to the end of the process, whatever hangs */

/* ---- before the mount ---- */

/* Undoes \040 and the like, in place. */
static void session_unescape(char *s)
{
	char *to = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Type of what is mounted at exactly this path (the topmost); false: nothing. */
static bool session_mounted_type(const char *path, char type[64])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (f && getline(&line, &cap, f) > 0) {
		char at[PATH_MAX], what[64];
		const char *dash = strstr(line, " - ");
		if (!dash || sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1 || sscanf(dash + 3, "%63s", what) != 1)
			continue;
		session_unescape(at);
		if (!strcmp(at, path)) {
			(void)snprintf(type, 64, "%s", what);
			found = true;
		}
	}
	return found;
}

static int session_detach(const char *path)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		(void)execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *)NULL);
		_exit(127);
	}
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* As realpath, but the last parts need not exist (or not answer). */
static char *session_resolve(const char *path)
{
	_cleanup_free_ char *head = xstrdup(path);
	_cleanup_free_ char *tail = xstrdup("");

	for (size_t len = strlen(head); len > 1 && head[len - 1] == '/'; len--)
		head[len - 1] = '\0';
	for (;;) {
		_cleanup_free_ char *real = realpath(*head ? head : ".", NULL);
		if (real)
			return xasprintf("%s%s%s", !strcmp(real, "/") ? "" : real,
					 *tail || !strcmp(real, "/") ? "/" : "", tail);
		char *slash = strrchr(head, '/');
		const char *name = slash ? slash + 1 : head;
		char *longer = *tail ? xasprintf("%s/%s", name, tail) : xstrdup(name);
		free(tail);
		tail = longer;
		if (!slash)
			*head = '\0';
		else if (slash == head)
			slash[1] = '\0';
		else
			*slash = '\0';
	}
}

int session_mountpoint(const char *path, char **ret, struct err *e)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	char type[64];
	struct stat st;

	if (!real && errno != ENOTCONN && errno != ECONNABORTED)
		return err_sys(e, errno, "%s", path);
	/* A crash left a mount: what the kernel does not have cached says ENOTCONN until it is detached; statfs never
	 * is cached. */
	struct statvfs v;
	if (!real || stat(real, &st) < 0 || statvfs(real, &v) < 0) {
		free(real);
		real = session_resolve(path);
		if (!session_mounted_type(real, type) || strcmp(type, SESSION_TYPE))
			return err_set(e, ENOTCONN, "%s: a dead mount of another program is there (umount it)", path);
		int r = session_detach(real);
		if (r < 0)
			return err_sys(e, -r, "%s: a dead mount is there and cannot be detached (fusermount3 -u -z %s)",
				       path, real);
		if (stat(real, &st) < 0)
			return err_sys(e, errno, "%s", path);
	}
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "%s", path);
	if (session_mounted_type(real, type) && !strcmp(type, SESSION_TYPE))
		return err_set(e, EBUSY, "%s: a metasnapfs is mounted there (fusermount3 -u %s)", path, real);
	*ret = TAKE_PTR(real);
	return 0;
}

static bool session_is_inside(const char *inner, const char *outer)
{
	size_t len = strlen(outer);
	if (!strcmp(outer, "/"))
		return true;
	return !strncmp(inner, outer, len) && (inner[len] == '/' || inner[len] == '\0');
}

int session_check_overlap(const char *mountpoint, const struct config *config, struct err *e)
{
	_cleanup_free_ char *catalog = session_resolve(config->catalog_path);
	char *slash = strrchr(catalog, '/');
	if (slash)
		slash[slash == catalog] = '\0';
	if (session_is_inside(mountpoint, catalog) || session_is_inside(catalog, mountpoint))
		return err_set(
		    e, EINVAL,
		    "%s: the catalog's folder %s is at, around or below it (mount elsewhere, or move the catalog)",
		    mountpoint, catalog);
	for (size_t k = 0; k < config->n_sources; k++) {
		const struct db_params *p = &config->sources[k].params;
		if (!p->engine || strcmp(p->engine, "sqlite") || !p->database)
			continue;
		_cleanup_free_ char *db = session_resolve(p->database);
		if (session_is_inside(db, mountpoint))
			return err_set(e, EINVAL, "%s: the database %s is below it (mount elsewhere)", mountpoint, db);
	}
	return 0;
}

/* ---- signals ---- */

struct session_signals {
	struct fs *fs;
	struct fuse_session *se;
	pthread_t main_thread;
	pthread_t thread;
	atomic_bool loop_ended;
};

static void session_poked(int sig)
{
	(void)sig;
}

/* Everything that answers requests besides libfuse's workers ends; true when it has. A descriptor that is closed under
 * a thread which still writes to it could be another file's by then, so this comes before the session's is closed. */
static bool session_quiesce(struct fs *fs, unsigned timeout_ms)
{
	fs_interrupt_all(fs);
	bool quiet = slow_drain(fs->slow, timeout_ms);
	return notify_stop(fs->notify, timeout_ms) && quiet;
}

static void *session_signal_thread(void *arg)
{
	struct session_signals *s = arg;
	sigset_t set;
	bool ending = false;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	while (!atomic_load(&s->loop_ended)) {
		struct timespec wait = {.tv_nsec = ending ? 20000000 : 200000000};
		if (sigtimedwait(&set, NULL, &wait) > 0 && !ending) {
			ending = true;
			/* while requests are served, so that nothing waits for an answer that does not come */
			(void)session_quiesce(s->fs, SESSION_QUIESCE_MS);
			fuse_session_exit(s->se);
		}
		if (ending && !atomic_load(&s->loop_ended))
			(void)pthread_kill(s->main_thread, SIGUSR1);
	}
	return NULL;
}

static void *session_watchdog(void *arg)
{
	(void)arg;
	struct timespec t = {.tv_sec = SESSION_END_MS / 1000, .tv_nsec = SESSION_END_MS % 1000 * 1000000L};
	(void)nanosleep(&t, NULL);
	log_warning("ending with work that did not stop in time (it is settled at the next start)");
	_exit(0);
}

static void session_start_watchdog(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, session_watchdog, NULL) == 0)
		(void)pthread_detach(t);
}

/* ---- serving ---- */

static void session_cleanup_fs(struct fs *fs)
{
	restores_free(fs->restores);
	edits_free(fs->edits);
	tree_close(fs->tree);
	slow_free(fs->slow);
	staging_close(fs->staging);
	service_close(fs->service);
	(void)pthread_mutex_destroy(&fs->mutex);
}

static int session_open(struct fs *fs, const struct config *config, struct err *e)
{
	int r = service_open(&fs->service, config, e);
	if (r == 0) /* the staging file has one owner, too, and no words for a second one */
		r = catalog_lock_daemon(service_catalog(fs->service), e);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%s-staging", catalog_path(service_catalog(fs->service)));
	r = staging_open(&fs->staging, path, e);
	if (r < 0)
		return r;
	r = tree_open(&fs->tree, fs->service, fs->staging, getuid(), getgid(), e);
	if (r < 0)
		return r;
	fs->slow = slow_new();
	fs->edits = edits_new(fs->service, fs->tree);
	fs->restores = restores_new(fs->service, fs->staging);
	return 0;
}

static int session_serve(struct fs *fs, struct fuse_session *se, const char *mountpoint, struct err *e)
{
	struct session_signals signals = {.fs = fs, .se = se, .main_thread = pthread_self()};
	struct sigaction poked = {.sa_handler = session_poked}; /* no SA_RESTART: it must end sem_wait */
	sigset_t unblock;

	(void)sigaction(SIGUSR1, &poked, NULL);
	(void)sigemptyset(&unblock);
	(void)sigaddset(&unblock, SIGUSR1);
	(void)pthread_sigmask(SIG_UNBLOCK, &unblock, NULL);
	fs->notify = notify_new(se); /* before the thread that will stop it */
	int r = pthread_create(&signals.thread, NULL, session_signal_thread, &signals);
	if (r != 0) {
		(void)notify_stop(fs->notify, SESSION_QUIESCE_MS);
		notify_free(TAKE_PTR(fs->notify));
		return err_sys(e, r, "cannot start a thread");
	}
	service_on_change(fs->service, fs_changed, fs);
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(
	    loop, SESSION_THREADS); /* max_idle is left alone: threads that come and go cost 4 times as much */
	fuse_loop_cfg_set_clone_fd(loop, 0);
	r = fuse_session_loop_mt(se, loop);
	fuse_loop_cfg_destroy(loop);
	bool asked = fuse_session_exited(se);

	session_start_watchdog();
	(void)staging_commit(fs->staging);
	atomic_store(&signals.loop_ended, true);
	(void)pthread_join(signals.thread, NULL);
	if (!session_quiesce(fs, SESSION_QUIESCE_MS)) {
		log_warning("ending with work that did not stop in time (it is settled at the next start)");
		(void)session_detach(mountpoint);
		_exit(0);
	}
	service_on_change(fs->service, NULL, NULL);
	fuse_session_unmount(se); /* closes the device: whoever still waits in the mount gets ENOTCONN */
	notify_free(TAKE_PTR(fs->notify));
	return r < 0 && !asked ? err_sys(e, -r, "serving requests") : 0;
}

int session_run(const struct session_options *o, struct err *e)
{
	struct fs fs = {.ready = o->ready, .ready_arg = o->ready_arg};
	_cleanup_free_ char *options = NULL;

	(void)pthread_mutex_init(&fs.mutex, NULL);
	int r = session_open(&fs, o->config, e);
	if (r < 0) {
		if (fs.slow && !slow_drain(fs.slow, 1000))
			return r;
		session_cleanup_fs(&fs);
		return r;
	}
	/* Backups hold credentials: the kernel checks modes always, whoever else may enter. */
	options = xasprintf("-odefault_permissions,noatime,subtype=metasnapfs,fsname=metasnap:%s",
			    catalog_uuid(service_catalog(fs.service)));
	(void)fuse_opt_add_arg(o->args, options);
	if (o->debug)
		(void)fuse_opt_add_arg(o->args, "-d");
	struct fuse_session *se = fuse_session_new(o->args, &fs_ops, sizeof fs_ops, &fs);
	if (!se)
		r = err_set(e, EINVAL, "%s: libfuse does not take these options", o->mountpoint);
	if (r == 0 && fuse_session_mount(se, o->mountpoint) != 0)
		r = err_set(e, EPERM,
			    "%s: cannot be mounted (is /dev/fuse there, is allow_other allowed in /etc/fuse.conf?)",
			    o->mountpoint);
	if (r == 0)
		r = session_serve(&fs, se, o->mountpoint, e);
	else
		(void)slow_drain(fs.slow, 1000);
	session_cleanup_fs(&fs);
	if (se)
		fuse_session_destroy(se);
	return r;
}
