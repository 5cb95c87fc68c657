/*
 * snapshot/cli/watch.c - the watcher of the program `metasnap`: signals and progress.
 *
 * One thread of its own waits for signals (signalfd) and ticks. What it looks at (service, source, waiter) stands under
 * watch.mutex, which it holds while it draws or interrupts: after cli_watch_idle nothing of the job is touched and the
 * terminal's line is free. service.mutex may be taken below watch.mutex, never the other way round.
 */
#include "snapshot/cli/internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define WATCH_TICK_MS 200
#define WATCH_FIRST_MS 500  /* what is done sooner is not worth a bar */
#define WATCH_LINE_MS 10000 /* between lines where there is no terminal */
#define WATCH_BAR_WIDTH 24

struct cli_watch {
	pthread_t thread;
	pthread_mutex_t mutex;
	int signal_fd;
	int stop_fd;
	bool leave_signals;
	bool terminal; /* stderr */
	bool verbose;
	bool drawn;
	struct service *svc; /* NULL: no job */
	size_t source;
	struct waiter *waiter;
	struct db_conn *conn; /* NULL: none */
	bool interrupted;
	int64_t begun_ms;
	int64_t said_ms;
	int64_t phase_ms; /* a job counts its rows anew for each phase (safety snapshot, restore) */
	uint64_t last_rows;
};

static void watch_wipe(struct cli_watch *w)
{
	if (w->drawn)
		(void)fputs("\r\033[K", stderr);
	w->drawn = false;
}

static void watch_add_duration(struct strbuf *out, int64_t seconds)
{
	if (seconds >= 3600)
		strbuf_addf(out, "%lld:%02lld:%02lld", (long long)seconds / 3600, (long long)seconds / 60 % 60,
			    (long long)seconds % 60);
	else
		strbuf_addf(out, "%lld:%02lld", (long long)seconds / 60, (long long)seconds % 60);
}

static void watch_add_count(struct strbuf *out, double n)
{
	static const char units[] = " kMG";
	size_t unit = 0;
	for (; n >= 9999.5 && unit + 2 < sizeof units; unit++)
		n /= 1000;
	strbuf_addf(out, "%.0f", n);
	if (unit)
		strbuf_addch(out, units[unit]);
}

/* "12k of 448k rows, 25k/s, ETA 0:17" */
static void watch_add_figures(struct strbuf *out, const struct progress *p, int64_t elapsed_ms)
{
	double rate = elapsed_ms > 0 ? (double)p->rows_done * 1000 / (double)elapsed_ms : 0;
	watch_add_count(out, (double)p->rows_done);
	if (p->rows_total) {
		strbuf_adds(out, " of ");
		watch_add_count(out, (double)p->rows_total);
	}
	strbuf_adds(out, " rows, ");
	watch_add_count(out, rate);
	strbuf_adds(out, "/s");
	if (p->rows_total > p->rows_done && rate >= 1) {
		strbuf_adds(out, ", ETA ");
		watch_add_duration(out, (int64_t)((double)(p->rows_total - p->rows_done) / rate + 0.5));
	}
}

/* Cuts the text to the terminal's width, without cutting a character of several bytes in two. */
static void watch_draw(struct cli_watch *w, struct strbuf *line)
{
	struct winsize size;
	size_t columns = !ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col > 1 ? size.ws_col - 1U : 79;
	if (line->len > columns) {
		while (columns && (line->data[columns] & 0xc0) == 0x80)
			columns--;
		line->len = columns;
		line->data[columns] = '\0';
	}
	(void)fprintf(stderr, "\r%s\033[K", line->data);
	w->drawn = true;
}

/* Called with the mutex held. */
static void watch_tick(struct cli_watch *w)
{
	if (!w->svc || (!w->terminal && !w->verbose))
		return;
	int64_t now = clock_mono_ms();
	if (w->terminal ? now - w->begun_ms < WATCH_FIRST_MS : now - w->said_ms < WATCH_LINE_MS)
		return;
	struct progress p = {0};
	service_progress(w->svc, w->source, &p);
	if (!p.what[0])
		return;
	if (p.rows_done < w->last_rows)
		w->phase_ms = now;
	w->last_rows = p.rows_done;
	_cleanup_strbuf_ struct strbuf line = {0};
	if (w->terminal && p.rows_total) {
		uint64_t done = p.rows_done < p.rows_total ? p.rows_done : p.rows_total;
		double share = (double)done / (double)p.rows_total;
		strbuf_addch(&line, '[');
		for (int i = 0; i < WATCH_BAR_WIDTH; i++)
			strbuf_addch(&line, i < share * WATCH_BAR_WIDTH ? '#' : '.');
		strbuf_addf(&line, "] %3d%%  ", (int)(share * 100));
	}
	watch_add_figures(&line, &p, now - w->phase_ms);
	if (w->terminal) {
		strbuf_addf(&line, "  %s", p.what);
		watch_draw(w, &line);
	} else {
		log_warning("%s: %s", p.what, line.data);
		w->said_ms = now;
	}
}

/* Called with the mutex held. A second signal does not wait for anything: the catalog and the databases settle what
 * is left, as after a crash. */
static void watch_signal(struct cli_watch *w)
{
	watch_wipe(w);
	if (w->conn && !w->interrupted) {
		w->interrupted = true;
		db_driver_of(w->conn)->cancel(w->conn);
		return;
	}
	if (w->svc && w->waiter && !w->interrupted) {
		w->interrupted = true;
		service_interrupt(w->svc, w->waiter);
		return;
	}
	log_error("interrupted");
	_exit(CLI_FAILED);
}

static void *watch_main(void *arg)
{
	struct cli_watch *w = arg;
	for (;;) {
		pthread_mutex_lock(&w->mutex);
		bool leave = w->leave_signals;
		pthread_mutex_unlock(&w->mutex);
		struct pollfd fds[2] = {{.fd = w->stop_fd, .events = POLLIN},
					{.fd = leave ? -1 : w->signal_fd, .events = POLLIN}};
		int n = poll(fds, 2, WATCH_TICK_MS);
		if (n < 0 && errno != EINTR)
			return NULL;
		if (n > 0 && fds[0].revents)
			return NULL;
		struct signalfd_siginfo info;
		MUTEX_GUARD(&w->mutex);
		if (n > 0 && fds[1].revents && !w->leave_signals &&
		    read(w->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
			watch_signal(w);
		watch_tick(w);
	}
}

int cli_watch_start(struct cli_watch **ret, bool verbose, struct err *e)
{
	sigset_t set;
	(void)sigemptyset(&set);
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		struct sigaction now;
		/* One that is ignored stays so (nohup); blocked, it would reach the watcher all the same. */
		if (!sigaction(signals[i], NULL, &now) && now.sa_handler != SIG_IGN)
			(void)sigaddset(&set, signals[i]);
	}
	struct cli_watch *w = xcalloc(1, sizeof *w);
	(void)pthread_mutex_init(&w->mutex, NULL);
	w->terminal = isatty(STDERR_FILENO);
	w->verbose = verbose;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int code = w->stop_fd < 0 || w->signal_fd < 0 ? errno : pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (!code)
		code = pthread_create(&w->thread, NULL, watch_main, w);
	if (code) {
		cleanup_close(&w->stop_fd);
		cleanup_close(&w->signal_fd);
		free(w);
		return err_sys(e, code, "watching signals");
	}
	*ret = w;
	return 0;
}

void cli_watch_job(struct cli_watch *w, struct service *svc, size_t source, struct waiter *waiter)
{
	MUTEX_GUARD(&w->mutex);
	w->svc = svc;
	w->source = source;
	w->waiter = waiter;
	w->begun_ms = clock_mono_ms();
	w->said_ms = w->begun_ms;
	w->phase_ms = w->begun_ms;
	w->last_rows = 0;
}

void cli_watch_idle(struct cli_watch *w)
{
	MUTEX_GUARD(&w->mutex);
	watch_wipe(w);
	w->svc = NULL;
	w->waiter = NULL;
}

void cli_watch_conn(struct cli_watch *w, struct db_conn *conn)
{
	MUTEX_GUARD(&w->mutex);
	w->conn = conn;
}

void cli_watch_leave_signals(struct cli_watch *w)
{
	pthread_mutex_lock(&w->mutex);
	w->leave_signals = true;
	pthread_mutex_unlock(&w->mutex);
}

void cli_watch_stop(struct cli_watch *w)
{
	if (!w)
		return;
	cli_watch_idle(w);
	uint64_t one = 1;
	(void)!write(w->stop_fd, &one, sizeof one);
	(void)pthread_join(w->thread, NULL);
	cleanup_close(&w->stop_fd);
	cleanup_close(&w->signal_fd);
	(void)pthread_mutex_destroy(&w->mutex);
	free(w);
}
