/*
 * drivers/postgres/text.c - names and values as SQL has them, and rows as COPY's text format has them, both ways.
 *
 * The text format's escapes are those of CopyAttributeOutText (PostgreSQL 12-18): \b \f \n \r \t \v and \\, and \N for
 * NULL. libpq's own functions for names, literals and bytea want a connection, which psql's text has not, or allocate
 * for each value. Any thread; no state, no locks.
 */
#include "drivers/postgres/internal.h"

#include <errno.h>

#include "base/text.h"

/* ---- quoting ---- */

void pg_add_ident(struct strbuf *sb, const char *name)
{
	strbuf_addch(sb, '"');
	for (; *name; name++) {
		if (*name == '"')
			strbuf_addch(sb, '"');
		strbuf_addch(sb, *name);
	}
	strbuf_addch(sb, '"');
}

void pg_add_literal(struct strbuf *sb, const char *text)
{
	/* standard_conforming_strings is on in every session of ours: only the quote is special. */
	strbuf_addch(sb, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			strbuf_addch(sb, '\'');
		strbuf_addch(sb, *text);
	}
	strbuf_addch(sb, '\'');
}

void pg_add_relation(struct strbuf *sb, const struct pg_conn *c, const char *name)
{
	pg_add_ident(sb, c->schema);
	strbuf_addch(sb, '.');
	pg_add_ident(sb, name);
}

void pg_add_oid_array(struct strbuf *sb, char *const *oids, size_t n)
{
	strbuf_adds(sb, "{");
	for (size_t i = 0; i < n; i++)
		strbuf_addf(sb, "%s%s", i ? "," : "", oids[i]);
	strbuf_adds(sb, "}");
}

void pg_add_element(struct strbuf *sb, const struct db_value *v, bool binary)
{
	strbuf_addch(sb, '"');
	if (binary) {
		strbuf_adds(sb, "\\\\x");
		hex_add(sb, v->data, v->len);
	} else {
		for (size_t i = 0; i < v->len; i++) {
			if (v->data[i] == '"' || v->data[i] == '\\')
				strbuf_addch(sb, '\\');
			strbuf_addch(sb, v->data[i]);
		}
	}
	strbuf_addch(sb, '"');
}

/* ---- rows of COPY ---- */

static void pg_add_escaped(struct strbuf *sb, const char *p, size_t n)
{
	static const char special[256] = {
	    ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\v'] = 'v', ['\\'] = '\\'};
	size_t start = 0;
	for (size_t i = 0; i < n; i++) {
		char letter = special[(unsigned char)p[i]];
		if (!letter)
			continue;
		strbuf_add(sb, p + start, i - start);
		strbuf_addch(sb, '\\');
		strbuf_addch(sb, letter);
		start = i + 1;
	}
	strbuf_add(sb, p + start, n - start);
}

void pg_add_copy_row(struct strbuf *sb, const struct db_value *values, const bool *binary, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			strbuf_addch(sb, '\t');
		if (!values[i].data) {
			strbuf_add(sb, "\\N", 2);
		} else if (binary[i]) {
			strbuf_add(sb, "\\\\x", 3);
			hex_add(sb, values[i].data, values[i].len);
		} else {
			pg_add_escaped(sb, values[i].data, values[i].len);
		}
	}
	strbuf_addch(sb, '\n');
}

/* Replaces field[0..len) by what it stands for; returns the new length. */
static size_t pg_unescape(char *field, size_t len)
{
	char *out = memchr(field, '\\', len);
	if (!out)
		return len;
	for (const char *in = out, *end = field + len; in < end;) {
		char c = *in++;
		if (c == '\\' && in < end) {
			c = *in++;
			switch (c) {
			case 'b':
				c = '\b';
				break;
			case 'f':
				c = '\f';
				break;
			case 'n':
				c = '\n';
				break;
			case 'r':
				c = '\r';
				break;
			case 't':
				c = '\t';
				break;
			case 'v':
				c = '\v';
				break;
			default:
				break;
			}
		}
		*out++ = c;
		/* The next stretch without an escape moves as a whole. */
		const char *next = memchr(in, '\\', (size_t)(end - in));
		size_t n = (size_t)((next ? next : end) - in);
		memmove(out, in, n);
		out += n;
		in += n;
		len = (size_t)(out - field);
	}
	return len;
}

/* v is at the start of `field`. The byte behind it, which has been looked at, becomes the NUL that hex_decode wants. */
static int pg_decode_hex(struct db_value *v, char *field)
{
	if (v->len < 2 || v->len % 2 || field[0] != '\\' || field[1] != 'x')
		return -EIO;
	size_t n = v->len / 2 - 1;
	field[v->len] = '\0';
	if (hex_decode(field + 2, (uint8_t *)field, n) < 0)
		return -EIO;
	v->len = n;
	return 0;
}

int pg_read_copy_row(char *line, size_t len, struct db_value *values, const bool *binary, size_t n, struct err *e)
{
	if (!len || line[len - 1] != '\n')
		return err_set(e, EIO, "a row from the server without its end");
	char *end = line + len - 1;
	for (size_t i = 0; i < n; i++) {
		char *tab = i + 1 < n ? memchr(line, '\t', (size_t)(end - line)) : end;
		struct db_value *v = &values[i];
		if (!tab)
			return err_set(e, EIO, "a row from the server with fewer columns than asked for");
		*v = (struct db_value){.data = line, .len = (size_t)(tab - line)};
		if (v->len == 2 && line[0] == '\\' && line[1] == 'N') {
			v->data = NULL;
			v->len = 0;
		} else {
			v->len = pg_unescape(line, v->len);
			if (binary[i] && pg_decode_hex(v, line) < 0)
				return err_set(e, EIO, "bytea from the server that is not in hex");
		}
		line = tab + 1;
	}
	return 0;
}
