/*
 * snapshot/cli/main.c - the program `metasnap`: its life from the first line to the exit status.
 *
 * Exit status 0 done, 1 failed, 2 usage; `diff` as diff(1): 0 same, 1 differs, 2 trouble. Errors are one line on
 * stderr, "metasnap: what: why (what to do)"; success is silent but for what was asked. The main thread runs the
 * command; watch.c has the only other thread of the program's own. No locks here.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* A file that is opened as descriptor 1 or 2 would get what is printed. */
static void cli_fill_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

static int cli_trouble(const struct cli *c)
{
	return c->command && c->command->trouble ? c->command->trouble : CLI_FAILED;
}

static int cli_run(struct cli *c)
{
	struct err e = ERR_INIT;
	requester_self(&c->who);
	if (cli_watch_start(&c->watch, c->verbose, &e) < 0 || cli_open(c, &e) < 0) {
		bool named = c->n_args && !strchr(c->args[0], ':'); /* a URL stays out of messages */
		(void)cli_fail(&e, "%s%s%s", c->command->name, named ? " " : "", named ? c->args[0] : "");
		return cli_trouble(c);
	}
	return c->command->run(c);
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	cli_fill_descriptors();
	(void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is seen when the output is flushed; sockets give EPIPE */
	(void)umask(077);
	int status = cli_parse(&c, argc, argv);
	if (status == CLI_GO_ON) {
		status = cli_run(&c);
		service_close(c.svc);
		cli_watch_stop(c.watch);
		config_done(&c.config);
	}
	free(c.tables);
	former_done(&c.former);
	if (fflush(stdout) || ferror(stdout)) {
		if (errno != EPIPE) /* who reads has gone and knows */
			log_error("writing the output: %s", strerror(errno));
		return cli_trouble(&c);
	}
	return status;
}
