/*
 * fs/main.c - the program metasnapfs: command line, configuration, detaching, exit status.
 *
 * The process that the user started only returns when the mount answers (or failed, with words): the daemon, its child,
 * tells it through a pipe. The child is made before the catalog is opened and before any thread starts, since neither
 * SQLite's locks nor threads survive fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "fs/session.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct main_options {
	char *source;
	char *mountpoint;
	char *catalog;
	char *name;
	char *restore;
	int foreground;
	int debug;
	int help;
	int version;
	bool unknown;
};

#define MAIN_OPT(t, p)                                                                                                 \
	{                                                                                                              \
		t, offsetof(struct main_options, p), 1                                                                 \
	}

static const struct fuse_opt main_opts[] = {
    MAIN_OPT("catalog=%s", catalog),
    MAIN_OPT("name=%s", name),
    MAIN_OPT("restore=%s", restore),
    MAIN_OPT("-f", foreground),
    MAIN_OPT("-d", debug),
    MAIN_OPT("debug", debug),
    MAIN_OPT("-h", help),
    MAIN_OPT("--help", help),
    MAIN_OPT("-V", version),
    MAIN_OPT("--version", version),
    FUSE_OPT_END,
};

static const char main_help[] =
    "usage: metasnapfs SOURCE MOUNTPOINT [-o OPTION,...] [-f] [-d]\n"
    "\n"
    "Shows snapshots of databases as files, takes them and restores them. README.txt in the mount tells how.\n"
    "\n"
    "SOURCE  a configuration file, or the URL of one database:\n"
    "        postgresql://user@host:5432/db?schema=public   mysql://user@host:3306/db   sqlite:PATH\n"
    "\n"
    "  -o catalog=FILE    where snapshots are kept (default: as configured, else\n"
    "                     $METASNAP_CATALOG or ~/.local/state/metasnap/catalog.db)\n"
    "  -o name=NAME       name of the source, when it is a URL\n"
    "  -o restore=POLICY  off | empty | replace: what a restore may overwrite\n"
    "  -o allow_other     other users may enter (what they may read is set by modes and owner: nothing)\n"
    "  -o ...             any other mount option, as for mount(8)\n"
    "  -f                 stay in the foreground\n"
    "  -d                 the same, printing every request\n"
    "  --help, --version\n"
    "\n"
    "Unmount with `fusermount3 -u MOUNTPOINT`. Passwords come from password_file, PGPASSFILE, ~/.my.cnf.\n"
    "Exit status: 0 mounted (with -f: unmounted), 1 failed, 2 wrong usage.\n";

/* Words of fstab that are for other programs. */
static bool main_is_fstab_word(const char *arg)
{
	static const char *const words[] = {"auto",  "noauto", "user",   "users",   "nouser",
					    "owner", "group",  "nofail", "_netdev", "defaults"};
	for (size_t k = 0; k < sizeof words / sizeof *words; k++)
		if (!strcmp(arg, words[k]))
			return true;
	return !strncmp(arg, "x-", 2) || !strncmp(arg, "comment=", 8);
}

static int main_opt(void *data, const char *arg, int key, struct fuse_args *out)
{
	struct main_options *o = data;
	(void)out;
	if (key == FUSE_OPT_KEY_NONOPT) {
		char **to = !o->source ? &o->source : !o->mountpoint ? &o->mountpoint : NULL;
		if (!to) {
			(void)fprintf(stderr, "metasnapfs: %s: one argument too many (try --help)\n", arg);
			o->unknown = true;
			return 0;
		}
		*to = xstrdup(arg);
		return 0;
	}
	if (*arg == '-') {
		(void)fprintf(stderr, "metasnapfs: %s: unknown option (try --help)\n", arg);
		o->unknown = true;
		return 0;
	}
	return main_is_fstab_word(arg) ? 0 : 1;
}

static int main_fail(const struct err *e)
{
	(void)fprintf(stderr, "metasnapfs: %s\n", *e->msg ? e->msg : strerror(e->code));
	return EXIT_FAILED;
}

static void main_make_absolute(char **path, const char *cwd)
{
	if (!*path || **path == '/')
		return;
	char *full = xasprintf("%s/%s", cwd, *path);
	free(*path);
	*path = full;
}

static bool main_is_url(const char *source)
{
	size_t scheme = strspn(source, "abcdefghijklmnopqrstuvwxyz");
	return scheme > 0 && source[scheme] == ':' && access(source, F_OK) != 0;
}

static int main_load(struct config *config, const struct main_options *o, struct err *e)
{
	int r =
	    main_is_url(o->source) ? config_from_url(config, o->source, o->name, e) : config_load(config, o->source, e);
	if (r < 0)
		return r;
	if (o->name && config->path)
		return err_set(e, EINVAL, "-o name=%s: the sources have their names in %s", o->name, o->source);
	if (o->catalog) {
		free(config->catalog_path);
		config->catalog_path = xstrdup(o->catalog);
	}
	if (!config->catalog_path)
		config->catalog_path = config_default_catalog();
	for (size_t k = 0; o->restore && k < config->n_sources; k++)
		if (restore_policy_parse(o->restore, &config->sources[k].restore) < 0)
			return err_set(e, EINVAL, "-o restore=%s: not a policy (off, empty or replace)", o->restore);

	/* the daemon works in / */
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_sys(e, errno, "the current directory");
	main_make_absolute(&config->catalog_path, cwd);
	for (size_t k = 0; k < config->n_sources; k++) {
		struct source_config *s = &config->sources[k];
		main_make_absolute(&s->password_file, cwd);
		/* the databases that are files: sqlite, and fake of test builds */
		if (s->params.engine && (!strcmp(s->params.engine, "sqlite") || !strcmp(s->params.engine, "fake")))
			main_make_absolute(&s->params.database, cwd);
	}
	return 0;
}

/* Whatever was started without standard descriptors must not get the catalog as its standard error. */
static void main_fill_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		(void)close(fd);
}

struct main_daemon {
	int pipe; /* to the process that the user started; -1: foreground */
};

/* On a thread of libfuse, once. */
static void main_ready(void *arg)
{
	struct main_daemon *d = arg;
	if (d->pipe < 0)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		log_to_syslog("metasnapfs");
		for (int fd = 0; fd <= 2; fd++)
			(void)dup2(null, fd);
		(void)close(null);
	}
	char done = EXIT_DONE;
	ssize_t n = write(d->pipe, &done, 1);
	(void)n;
	(void)close(d->pipe);
	d->pipe = -1;
}

static int main_run(const struct main_options *o, const struct config *config, const char *mountpoint,
		    struct fuse_args *args, struct main_daemon *daemon)
{
	struct err e = ERR_INIT;
	sigset_t block;

	/* before the first thread: they all inherit it, see session.c */
	(void)sigemptyset(&block);
	(void)sigaddset(&block, SIGTERM);
	(void)sigaddset(&block, SIGINT);
	(void)sigaddset(&block, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &block, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	if (chdir("/") < 0) {
		(void)err_sys(&e, errno, "/");
		return main_fail(&e);
	}
	struct session_options session = {.config = config,
					  .mountpoint = mountpoint,
					  .args = args,
					  .debug = o->debug,
					  .ready = main_ready,
					  .ready_arg = daemon};
	return session_run(&session, &e) < 0 ? main_fail(&e) : EXIT_DONE;
}

/* The daemon's parent: its exit status is that of the mount. */
static int main_wait_for(pid_t child, int fd)
{
	char code;
	ssize_t n;
	do
		n = read(fd, &code, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return code;
	int status; /* it ended without a word to us; to the user it has said why */
	if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
		(void)fprintf(stderr, "metasnapfs: ended by signal %d before the mount was ready\n", WTERMSIG(status));
	return EXIT_FAILED;
}

static int main_detach(const struct main_options *o, const struct config *config, const char *mountpoint,
		       struct fuse_args *args)
{
	struct err e = ERR_INIT;
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) {
		(void)err_sys(&e, errno, "a pipe");
		return main_fail(&e);
	}
	pid_t child = fork();
	if (child < 0) {
		(void)err_sys(&e, errno, "fork");
		return main_fail(&e);
	}
	if (child > 0) {
		(void)close(fds[1]);
		return main_wait_for(child, fds[0]);
	}
	(void)close(fds[0]);
	(void)setsid();
	struct main_daemon daemon = {.pipe = fds[1]};
	return main_run(o, config, mountpoint, args, &daemon);
}

static int main_mount(const struct main_options *o, struct fuse_args *args)
{
	struct err e = ERR_INIT;
	_cleanup_(config_done) struct config config = {0};
	_cleanup_free_ char *mountpoint = NULL;

	if (main_load(&config, o, &e) < 0 || session_mountpoint(o->mountpoint, &mountpoint, &e) < 0 ||
	    session_check_overlap(mountpoint, &config, &e) < 0 || config_make_default_folder(&config, &e) < 0)
		return main_fail(&e);
	if (o->foreground || o->debug) {
		struct main_daemon none = {.pipe = -1};
		return main_run(o, &config, mountpoint, args, &none);
	}
	return main_detach(o, &config, mountpoint, args);
}

int main(int argc, char **argv)
{
	struct main_options o = {0};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int code = EXIT_USAGE;

	/* glibc: with an arena for each of many threads, and large blocks kept for later, a walk through 10^6 rows
	 * leaves three times the memory it uses at a time */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	(void)mallopt(M_TRIM_THRESHOLD, 512 << 10);
	main_fill_descriptors();
	if (fuse_opt_parse(&args, &o, main_opts, main_opt) < 0 || o.unknown) {
		code = EXIT_USAGE;
	} else if (o.help) {
		(void)fputs(main_help, stdout);
		code = EXIT_DONE;
	} else if (o.version) {
		(void)printf("metasnapfs %s (libfuse %s)\n", METASNAP_VERSION, fuse_pkgversion());
		code = EXIT_DONE;
	} else if (!o.source || !o.mountpoint) {
		(void)fputs(
		    "metasnapfs: a source and a mount point are needed: metasnapfs SOURCE MOUNTPOINT (try --help)\n",
		    stderr);
	} else {
		for (int k = 1; k < argc; k++) /* `o` and `args` have copies */
			db_params_hide_password(argv[k]);
		code = main_mount(&o, &args);
	}
	free(o.source);
	free(o.mountpoint);
	free(o.catalog);
	free(o.name);
	free(o.restore);
	fuse_opt_free_args(&args);
	return code;
}
