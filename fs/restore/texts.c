/*
 * fs/restore/texts.c - see texts.h. Any thread; no locks.
 */
#include "fs/restore/texts.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fs/restore/internal.h"
#include "fs/staging/nodes.h"

#define RESTORES_REPORT_MAX (1u << 20)

int restores_text_name(struct staging *s, int64_t top, const char *text, int64_t *ret_dir,
		       char name[STAGING_NAME_MAX + 1])
{
	struct staged_node n;
	char file[STAGING_NAME_MAX + 1];
	int r = staging_get(s, top, &n);
	if (r == 0 && S_ISREG(n.mode))
		r = staging_name(s, top, file);
	if (r < 0)
		return r;
	*ret_dir = S_ISREG(n.mode) ? n.parent : top;
	int len = S_ISREG(n.mode) ? snprintf(name, STAGING_NAME_MAX + 1, "%s.%s", file, text)
				  : snprintf(name, STAGING_NAME_MAX + 1, "%s", text);
	return len > STAGING_NAME_MAX ? -ENAMETOOLONG : 0;
}

int64_t restores_applied_by(struct restores *rs, int64_t dir, const char *name)
{
	static const char ending[] = "." RESTORES_APPLY_NAME;
	struct staged_node n;
	if (dir > 0)
		return !strcmp(name, RESTORES_APPLY_NAME) && staging_get(rs->staging, dir, &n) == 0 && n.top == dir
			   ? dir
			   : 0;
	size_t len = strlen(name), tail = sizeof ending - 1;
	if (len <= tail || len > STAGING_NAME_MAX || strcmp(name + len - tail, ending))
		return 0;
	_cleanup_free_ char *file = xmemdup0(name, len - tail);
	return staging_lookup(rs->staging, dir, file, &n) == 0 && S_ISREG(n.mode) && n.top == n.id ? n.id : 0;
}

void restores_write_text(struct restores *rs, int64_t top, const char *text_name, const struct strbuf *text)
{
	int64_t dir = 0;
	char name[STAGING_NAME_MAX + 1] = "";
	int r = restores_text_name(rs->staging, top, text_name, &dir, name);
	if (r == 0)
		r = staging_write_text(rs->staging, dir, name, text ? strbuf_str(text) : NULL, text ? text->len : 0);
	if (r < 0)
		log_error("restore/: %s cannot be written: %s", text_name, strerror(-r));
}

bool restores_is_sql(struct restores *rs, int64_t top)
{
	struct staged_node n;
	return staging_get(rs->staging, top, &n) == 0 && S_ISREG(n.mode);
}

/* The report's lines that the error itself does not say. */
static void restores_add_report(struct strbuf *text, const struct strbuf *report, const struct err *e)
{
	const char *line = report->data,
		   *end = line + (report->len < RESTORES_REPORT_MAX ? report->len : RESTORES_REPORT_MAX);
	bool first = true;
	while (line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		size_t n = (size_t)((next ? next : end) - line);
		if (n && !memmem(e->msg, strlen(e->msg), line, n)) {
			strbuf_adds(text, first ? "\n" : "");
			strbuf_add(text, line, n);
			strbuf_addch(text, '\n');
			first = false;
		}
		line += n + 1;
	}
}

void restores_write_error(struct restores *rs, int64_t top, const char *label, const struct err *e,
			  const struct strbuf *report)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	strbuf_addf(&text, "%s was not restored: %s\n", label, strerror(e->code));
	if (*e->msg)
		strbuf_addf(&text, "%s\n", e->msg);
	if (report && report->len)
		restores_add_report(&text, report, e);
	strbuf_addf(&text, "\nWhen the cause is gone: touch %s%c" RESTORES_APPLY_NAME ", or copy it in again.\n", label,
		    restores_is_sql(rs, top) ? '.' : '/');
	restores_write_text(rs, top, "ERROR.txt", &text);
}
