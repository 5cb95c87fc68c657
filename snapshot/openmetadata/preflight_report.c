/*
 * snapshot/openmetadata/preflight_report.c - the report as text and as JSON. No state.
 */
#include "snapshot/openmetadata/preflight_report.h"

#include <jansson.h>

#include "base/clock.h"

void preflight_report_done(struct preflight_report *r)
{
	for (size_t i = 0; i < r->n_lines; i++) {
		strbuf_done(&r->lines[i].found);
		strbuf_done(&r->lines[i].todo);
	}
	free(r->lines);
	free(r->source);
	free(r->from);
	free(r->to);
	free(r->server);
	*r = (struct preflight_report){0};
}

static size_t count_status(const struct preflight_report *r, enum preflight_status status)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_lines; i++)
		n += r->lines[i].status == status;
	return n;
}

void preflight_text(const struct preflight_report *r, struct strbuf *out)
{
	static const char *const words[] = {"OK", "INFO", "WARN", "FAIL"};
	size_t failed = count_status(r, PREFLIGHT_FAIL), warned = count_status(r, PREFLIGHT_WARN);
	char when[CLOCK_TEXT];
	clock_text(r->checked_ms, when);
	strbuf_addf(out, "%s: %zu failed, %zu to look at, of %zu checks\n", r->ready ? "ready" : "not ready", failed,
		    warned, r->n_lines);
	strbuf_addf(out, "source %s, from OpenMetadata %s to %s, checked %s\n\n", r->source,
		    r->from ? r->from : "(not known)", r->to ? r->to : "any newer version", when);
	for (size_t i = 0; i < r->n_lines; i++) {
		const struct preflight_line *l = &r->lines[i];
		strbuf_addf(out, "%-4s  %s: ", words[l->status], l->id);
		preflight_add_text(out, strbuf_str(&l->found), l->found.len);
		strbuf_addch(out, '\n');
		for (const char *line = strbuf_str(&l->todo); *line;) {
			size_t n = strcspn(line, "\n");
			strbuf_adds(out, "      ");
			preflight_add_text(out, line, n);
			strbuf_addch(out, '\n');
			line += n + (line[n] == '\n');
		}
	}
}

/* The server's own words may hold bytes that are not UTF-8. */
static json_t *json_text(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf all = {0};
	for (size_t i = 0; i < len; i++) {
		size_t n = strcspn(text + i, "\n");
		preflight_add_text(&all, text + i, n);
		i += n;
		if (i < len)
			strbuf_addch(&all, '\n');
	}
	return json_stringn(strbuf_str(&all), all.len);
}

void preflight_json(const struct preflight_report *r, struct strbuf *out)
{
	static const char *const words[] = {"ok", "info", "warn", "fail"};
	char when[CLOCK_TEXT];
	clock_text(r->checked_ms, when);
	json_t *list = json_array();
	for (size_t i = 0; i < r->n_lines; i++) {
		const struct preflight_line *l = &r->lines[i];
		size_t todo = l->todo.len && l->todo.data[l->todo.len - 1] == '\n' ? l->todo.len - 1 : l->todo.len;
		json_t *o = json_pack("{ss ss so so}", "id", l->id, "status", words[l->status], "found",
				      json_text(strbuf_str(&l->found), l->found.len), "do",
				      todo ? json_text(l->todo.data, todo) : json_null());
		(void)json_array_append_new(list, o);
	}
	json_auto_t *all = json_pack("{ss ss? sb ss? ss? ss so}", "source", r->source, "server", r->server, "ready",
				     r->ready, "from", r->from, "to", r->to, "checked", when, "checks", list);
	_cleanup_free_ char *text = json_dumps(all, JSON_INDENT(2));
	strbuf_adds(out, text ? text : "{}");
	strbuf_addch(out, '\n');
}
