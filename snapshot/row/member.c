/*
 * snapshot/row/member.c - the members of MANIFEST.json and .table.json, one by one, out and in.
 *
 * The texts are written by hand (a few lines) so that their bytes do not hang on a library's version; jansson reads
 * them, strictly: names twice and wrong types are EBADMSG. No state; any thread.
 */
#include "snapshot/row/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"

/* ---- out ---- */

void manifest_add_string(struct strbuf *out, const char *s)
{
	if (!s) {
		strbuf_adds(out, "null");
		return;
	}
	strbuf_addch(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addch(out, '\\');
		if ((unsigned char)*s < 0x20)
			strbuf_addf(out, "\\u%04x", (unsigned)*s);
		else
			strbuf_addch(out, *s);
	}
	strbuf_addch(out, '"');
}

void manifest_add_member(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "  \"%s\": ", name);
	manifest_add_string(out, value);
	strbuf_adds(out, ",\n");
}

void manifest_add_unsigned(struct strbuf *out, uint64_t v)
{
	const char *quote = v > INT64_MAX ? "\"" : "";
	strbuf_addf(out, "%s%llu%s", quote, (unsigned long long)v, quote);
}

void manifest_add_time(struct strbuf *out, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	int rest = (int)(ms % 1000);
	if (rest < 0) {
		rest += 1000;
		seconds--;
	}
	struct tm tm = {0};
	char text[64] = "";
	(void)gmtime_r(&seconds, &tm);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_addf(out, "%s.%03dZ", text, rest);
}

/* ---- in: members of one object; `where` names it in the words ---- */

int manifest_get_string(json_t *o, const char *where, const char *name, bool optional, char **ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = NULL;
	if (optional && (!v || json_is_null(v)))
		return 0;
	if (!json_is_string(v))
		return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not a string" : "missing");
	*ret = xstrdup(json_string_value(v));
	return 0;
}

int manifest_get_bool(json_t *o, const char *where, const char *name, bool optional, bool *ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = false;
	if (!v && optional)
		return 0;
	if (!json_is_boolean(v))
		return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not true or false" : "missing");
	*ret = json_is_true(v);
	return 0;
}

int manifest_get_unsigned(json_t *o, const char *where, const char *name, uint64_t *ret, struct err *e)
{
	json_t *v = json_object_get(o, name);
	*ret = 0;
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return 0;
	}
	const char *digits = json_string_value(v);
	if (digits && strspn(digits, "0123456789") == strlen(digits) && *digits) {
		errno = 0;
		*ret = strtoull(digits, NULL, 10);
		if (!errno)
			return 0;
	}
	return err_set(e, EBADMSG, "%s: \"%s\" is %s", where, name, v ? "not a whole number" : "missing");
}

int manifest_get_sha(json_t *o, const char *where, const char *name, uint8_t ret[ROW_SHA_LEN], struct err *e)
{
	const char *hex = json_string_value(json_object_get(o, name));
	if (!hex || hex_decode(hex, ret, ROW_SHA_LEN) < 0)
		return err_set(e, EBADMSG, "%s: \"%s\" is missing or not %d hex digits", where, name, 2 * ROW_SHA_LEN);
	return 0;
}

int manifest_get_time(json_t *o, const char *where, const char *name, int64_t *ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(o, name));
	struct tm tm = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (rest && strlen(rest) == 5 && rest[0] == '.' && strspn(rest + 1, "0123456789") == 3 && rest[4] == 'Z') {
		_cleanup_strbuf_ struct strbuf again = {0};
		*ret = (int64_t)timegm(&tm) * 1000 + strtol(rest + 1, NULL, 10);
		/* strptime takes " 7" for "07" and 31 February; only what comes out the same is a moment. */
		manifest_add_time(&again, *ret);
		if (!strcmp(text, again.data))
			return 0;
	}
	return err_set(e, EBADMSG, "%s: \"%s\" is missing or not a time like 2026-11-22T08:15:30.123Z", where, name);
}

int manifest_load(json_t **ret, const char *text, size_t len, const char *ours, struct err *e)
{
	json_error_t why;
	json_auto_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	*ret = NULL;
	if (!o)
		return err_set(e, EBADMSG, "not JSON: line %d: %s", why.line, why.text);
	json_t *format = json_object_get(o, "format");
	if (!json_is_object(o) || !json_is_integer(format) || !json_object_get(o, ours))
		return err_set(e, EBADMSG, "not written by metasnap: no \"format\" or no \"%s\" in it", ours);
	if (json_integer_value(format) > MANIFEST_FORMAT)
		return err_set(e, ENOTSUP,
			       "format %lld is newer than this metasnap, which knows format %d (use a newer one)",
			       (long long)json_integer_value(format), MANIFEST_FORMAT);
	if (json_integer_value(format) != MANIFEST_FORMAT)
		return err_set(e, EBADMSG, "format %lld does not exist", (long long)json_integer_value(format));
	*ret = TAKE_PTR(o);
	return 0;
}

void manifest_where(char where[128], const char *kind, const char *name)
{
	(void)snprintf(where, 128, "%s \"%.100s\"", kind, name);
}
