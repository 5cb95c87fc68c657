/*
 * drivers/mysql/typed.c - members of MySQL's JSON documents whose types the server's text does not tell: a DECIMAL
 * prints 1.5 as a DOUBLE does, an UNSIGNED 5 as a signed one, a DATE as a string. Pure functions; no locks.
 *
 * In rows such a member has a spelling of its own, which every reader of JSON takes for the same value and no server
 * prints: 1.5E-0 is a DECIMAL, 5E-00 an UNSIGNED INTEGER below 2^32, 5000000000E-000 a signed one from 2^32 on (those
 * that text makes of these digits are the other way round); a string whose first character is an escape that it does
 * not need ("\u0032024-01-31") is a DATE, TIME, DATETIME or binary value, as its form says; one with two of them a
 * TIMESTAMP. Digits that no DOUBLE and no integer prints (1.10, 3.00, more than 17 of them) say DECIMAL as they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/text.h"
#include "drivers/mysql/internal.h"

#define MY_TWO_32 UINT64_C(4294967296)
#define MY_DECIMAL_DIGITS ((size_t)65)
#define MY_DECIMAL_FRACTION ((size_t)30)
#define MY_DOUBLE_DIGITS ((size_t)17)

/* ---- a document, value by value ---- */

void my_walk_begin(struct my_walk *w, const char *text, size_t len)
{
	w->p = text;
	w->end = text + len;
	w->depth = 0;
}

/* Behind the string's closing quote. */
static const char *my_string_end(const char *p, const char *end)
{
	for (const char *q = p + 1; q < end && (q = memchr(q, '"', (size_t)(end - q))); q++) {
		const char *b = q;

		while (b[-1] == '\\')
			b--;
		if ((q - b) % 2 == 0)
			return q + 1;
	}
	return end;
}

static bool my_walk_open(struct my_walk *w, bool array)
{
	if (w->depth == MY_WALK_DEPTH)
		return false;
	w->steps[w->depth++] = (struct my_step){.array = array, .name_next = !array};
	return true;
}

bool my_walk_next(struct my_walk *w, struct my_scalar *ret)
{
	while (w->p < w->end) {
		struct my_step *top = w->depth ? &w->steps[w->depth - 1] : NULL;
		const char *p = w->p;

		switch (*p) {
		case '{':
		case '[':
			w->p++;
			*ret = (struct my_scalar){.at = p, .len = 1, .depth = w->depth};
			return my_walk_open(w, *p == '[');
		case '}':
		case ']':
			w->depth -= w->depth > 0;
			w->p++;
			continue;
		case ',':
			if (top) {
				top->index++;
				top->name_next = !top->array;
			}
			w->p++;
			continue;
		case ':':
		case ' ':
		case '\t':
		case '\r':
		case '\n':
			w->p++;
			continue;
		case '"':
			w->p = my_string_end(p, w->end);
			if (top && top->name_next) {
				top->name = p;
				top->name_len = (size_t)(w->p - p);
				top->name_next = top->hashed = false;
				continue;
			}
			break;
		default:
			while (w->p < w->end && !memchr(",]}: \t\r\n", *w->p, 8))
				w->p++;
		}
		*ret = (struct my_scalar){.at = p, .len = (size_t)(w->p - p), .depth = w->depth};
		return true;
	}
	return false;
}

/* ---- what a value's text says of its type ---- */

static bool my_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The number's digits in front of an exponent. */
static size_t my_plain_digits(const struct my_scalar *v)
{
	size_t n = 0;

	while (n < v->len && v->at[n] != 'e' && v->at[n] != 'E')
		n++;
	return n;
}

struct my_digits {
	size_t whole, fraction; /* leading zeros not counted in whole */
	size_t significant;
	bool point;
};

static struct my_digits my_count_digits(const char *p, size_t len)
{
	struct my_digits d = {0};

	for (const char *end = p + len; p < end; p++) {
		if (*p == '.') {
			d.point = true;
			continue;
		}
		if (!my_is_digit(*p))
			continue;
		if (d.significant || *p != '0')
			d.significant++;
		if (d.point)
			d.fraction++;
		else if (d.whole || *p != '0')
			d.whole++;
	}
	return d;
}

/* Digits without an exponent that neither a DOUBLE nor an integer prints, and that a DECIMAL can. */
static bool my_sure_decimal(const char *p, size_t len)
{
	struct my_digits d = my_count_digits(p, len);

	if (d.whole + d.fraction > MY_DECIMAL_DIGITS || d.fraction > MY_DECIMAL_FRACTION)
		return false;
	if (d.point)
		return d.significant > MY_DOUBLE_DIGITS || (d.fraction > 1 && p[len - 1] == '0');
	uint64_t n;
	return d.whole > 20 || (d.whole > 18 && !my_whole_number(p, len, &n));
}

bool my_whole_number(const char *p, size_t len, uint64_t *ret)
{
	bool negative = len > 0 && *p == '-';
	uint64_t n = 0;

	for (size_t i = negative; i < len; i++) {
		uint64_t digit = (uint64_t)(p[i] - '0');

		if (!my_is_digit(p[i]) || __builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*ret = n;
	return len > negative && (!negative || n <= UINT64_C(1) << 63);
}

/* The exponents that are spellings: -0, -00, -000. */
static enum my_typed my_spelled_number(const struct my_scalar *v, size_t digits)
{
	static const enum my_typed types[] = {MY_TYPED_DECIMAL, MY_TYPED_UNSIGNED, MY_TYPED_SIGNED};
	size_t zeros = v->len - digits - 2;

	if (v->len < digits + 3 || zeros > 3 || memcmp(v->at + digits, "E-000", zeros + 2) != 0)
		return MY_TYPED_NOT;
	return types[zeros - 1];
}

/* An escape \u00XX of a character that needs none. */
static bool my_needless_escape(const char *p, size_t len)
{
	if (len < 6 || memcmp(p, "\\u00", 4) != 0)
		return false;
	int high = hex_value(p[4]), low = hex_value(p[5]);
	return high >= 2 && high < 8 && low >= 0 && !memchr("\"\\", high << 4 | low, 2);
}

static bool my_is_text_of(const char *s, size_t len, const char *form)
{
	size_t i = 0;

	for (; *form && i < len; form++, i++)
		if (*form == '9' ? !my_is_digit(s[i]) : *form != s[i])
			return false;
	return !*form && i == len;
}

/* Of a string's content, escapes taken away: what it can be the text of. */
static enum my_typed my_form_of(const char *s, size_t len)
{
	static const char opaque[] = "base64:type";

	if (len > sizeof opaque && !memcmp(s, opaque, sizeof opaque - 1))
		return MY_TYPED_BINARY;
	if (my_is_text_of(s, len, "9999-99-99"))
		return MY_TYPED_DATE;
	if (my_is_text_of(s, len, "9999-99-99 99:99:99.999999"))
		return MY_TYPED_DATETIME;
	size_t sign = len > 0 && *s == '-';
	if (my_is_text_of(s + sign, len - sign, "99:99:99.999999") ||
	    my_is_text_of(s + sign, len - sign, "999:99:99.999999"))
		return MY_TYPED_TIME;
	return MY_TYPED_NOT;
}

/* Takes the spelling's escapes away: the content of the string, in a buffer of the caller's. */
static enum my_typed my_spelled_string(const struct my_scalar *v, struct strbuf *content)
{
	const char *p = v->at + 1;
	size_t len = v->len - 2, n = 0;

	strbuf_clear(content);
	for (; n < 2 && my_needless_escape(p, len); n++, p += 6, len -= 6)
		strbuf_addch(content, (char)(hex_value(p[4]) << 4 | hex_value(p[5])));
	if (n == 0)
		return MY_TYPED_NOT;
	strbuf_add(content, p, len);
	enum my_typed form = my_form_of(content->data, content->len);
	return n == 1 ? form : form == MY_TYPED_DATETIME ? MY_TYPED_TIMESTAMP : MY_TYPED_NOT;
}

unsigned my_may_be(const struct my_scalar *v)
{
	uint64_t n;

	if (*v->at == '"')
		return v->len > 10 && my_form_of(v->at + 1, v->len - 2) != MY_TYPED_NOT ? MY_MAY_STRING : 0;
	if (*v->at != '-' && !my_is_digit(*v->at))
		return 0;
	if (my_plain_digits(v) != v->len || my_sure_decimal(v->at, v->len))
		return 0; /* a DOUBLE, a DECIMAL */
	if (!my_whole_number(v->at, v->len, &n))
		return MY_MAY_FRACTION;
	return *v->at == '-' || n < MY_TWO_32 ? MY_MAY_SMALL : MY_MAY_LARGE;
}

bool my_spell(struct strbuf *out, const struct my_scalar *v, const char *type, size_t type_len)
{
	static const struct {
		const char *word;
		enum my_typed typed;
	} words[] = {
	    {"DECIMAL", MY_TYPED_DECIMAL},     {"UNSIGNED INTEGER", MY_TYPED_UNSIGNED},
	    {"INTEGER", MY_TYPED_SIGNED},      {"DATE", MY_TYPED_DATE},
	    {"TIME", MY_TYPED_TIME},           {"DATETIME", MY_TYPED_DATETIME},
	    {"TIMESTAMP", MY_TYPED_TIMESTAMP}, {"BLOB", MY_TYPED_BINARY},
	    {"BIT", MY_TYPED_BINARY},          {"OPAQUE", MY_TYPED_BINARY},
	};
	enum my_typed typed = MY_TYPED_NOT;
	uint64_t n = 0;
	size_t escapes = 1;

	for (size_t i = 0; i < sizeof words / sizeof *words && typed == MY_TYPED_NOT; i++)
		if (strlen(words[i].word) == type_len && !memcmp(words[i].word, type, type_len))
			typed = words[i].typed;
	bool whole = my_whole_number(v->at, v->len, &n), small = whole && (*v->at == '-' || n < MY_TWO_32);
	switch (typed) {
	case MY_TYPED_DECIMAL:
		strbuf_add(out, v->at, v->len);
		strbuf_adds(out, my_sure_decimal(v->at, v->len) ? "" : "E-0");
		return *v->at == '-' || my_is_digit(*v->at);
	case MY_TYPED_UNSIGNED:
		strbuf_add(out, v->at, v->len);
		strbuf_adds(out, small ? "E-00" : "");
		return whole && *v->at != '-';
	case MY_TYPED_SIGNED:
		strbuf_add(out, v->at, v->len);
		strbuf_adds(out, small ? "" : "E-000");
		return whole;
	case MY_TYPED_NOT:
		strbuf_add(out, v->at, v->len);
		return true;
	case MY_TYPED_TIMESTAMP:
		escapes = 2;
		break;
	case MY_TYPED_DATE:
	case MY_TYPED_TIME:
	case MY_TYPED_DATETIME:
	case MY_TYPED_BINARY:
		break;
	}
	if (*v->at != '"' || v->len < 4)
		return false;
	strbuf_addch(out, '"');
	for (size_t i = 0; i < escapes; i++)
		strbuf_addf(out, "\\u%04x", (unsigned)(unsigned char)v->at[1 + i]);
	strbuf_add(out, v->at + 1 + escapes, v->len - 1 - escapes);
	enum my_typed form = my_form_of(v->at + 1, v->len - 2);
	return form == (typed == MY_TYPED_TIMESTAMP ? MY_TYPED_DATETIME : typed) &&
	       (form != MY_TYPED_BINARY || my_binary_literal(NULL, v->at + 1, v->len - 2));
}

/* ---- as SQL ---- */

/* "base64:type15:AAE=" as an expression of that type; false: there is none. */
bool my_binary_literal(struct strbuf *sql, const char *s, size_t len)
{
	_cleanup_strbuf_ struct strbuf bytes = {0};
	static const char start[] = "base64:type";
	const char *end = s + len, *colon = memchr(s + sizeof start - 1, ':', len - (sizeof start - 1));

	if (!colon || !base64_decode(&bytes, colon + 1, (size_t)(end - colon - 1)))
		return false;
	size_t type = strtoul(s + sizeof start - 1, NULL, 10);
	if (type != 15 && type != 252 && !(type == 16 && bytes.len >= 1 && bytes.len <= 8))
		return false;
	if (!sql)
		return true;
	if (type == 16) {
		uint64_t bits = 0;

		for (size_t i = 0; i < bytes.len; i++)
			bits = bits << 8 | (unsigned char)bytes.data[i];
		my_sql(sql, "(SELECT x FROM JSON_TABLE('[%l]','$[*]' COLUMNS(x BIT(%z) PATH '$')) z)", bits,
		       8 * bytes.len);
		return true;
	}
	strbuf_adds(sql, type == 252 ? "(SELECT COALESCE(x," : "");
	my_sql_hex(sql, bytes.len ? bytes.data : "", bytes.len);
	strbuf_adds(sql, type == 252 ? ") FROM JSON_TABLE('[0]','$[*]' COLUMNS(x BLOB PATH '$.x')) z)" : "");
	return true;
}

/* The type of a value that has one which plain text would lose; a string's content is in *content then. */
static enum my_typed my_typed_of(const struct my_scalar *v, struct strbuf *content)
{
	if (*v->at == '"')
		return v->len > 8 ? my_spelled_string(v, content) : MY_TYPED_NOT;
	if (*v->at != '-' && !my_is_digit(*v->at))
		return MY_TYPED_NOT;
	size_t digits = my_plain_digits(v);
	struct my_digits d = my_count_digits(v->at, digits);
	if (d.whole + d.fraction > MY_DECIMAL_DIGITS || d.fraction > MY_DECIMAL_FRACTION)
		return MY_TYPED_NOT;
	if (digits < v->len) {
		enum my_typed typed = my_spelled_number(v, digits);
		uint64_t n;

		return typed == MY_TYPED_DECIMAL || my_whole_number(v->at, digits, &n) ? typed : MY_TYPED_NOT;
	}
	return my_sure_decimal(v->at, v->len) ? MY_TYPED_DECIMAL : MY_TYPED_NOT;
}

static void my_typed_literal(struct strbuf *sql, const struct my_scalar *v, enum my_typed typed,
			     const struct strbuf *content)
{
	size_t digits = my_plain_digits(v);
	struct my_digits d = my_count_digits(v->at, digits);

	switch (typed) {
	case MY_TYPED_DECIMAL:
		strbuf_adds(sql, "CAST(");
		strbuf_add(sql, v->at, digits);
		my_sql(sql, " AS DECIMAL(%z,%z))", d.whole + d.fraction ? d.whole + d.fraction : (size_t)1, d.fraction);
		break;
	case MY_TYPED_UNSIGNED:
		strbuf_adds(sql, "CAST(");
		strbuf_add(sql, v->at, digits);
		strbuf_adds(sql, " AS UNSIGNED)");
		break;
	case MY_TYPED_SIGNED:
		strbuf_add(sql, v->at, digits);
		break;
	case MY_TYPED_DATE:
		my_sql(sql, "CAST('%s' AS DATE)", content->data);
		break;
	case MY_TYPED_TIME:
		my_sql(sql, "CAST('%s' AS TIME(6))", content->data);
		break;
	case MY_TYPED_DATETIME:
		my_sql(sql, "CAST('%s' AS DATETIME(6))", content->data);
		break;
	case MY_TYPED_TIMESTAMP:
		my_sql(sql, "(SELECT x FROM JSON_TABLE('[\"%s\"]','$[*]' COLUMNS(x TIMESTAMP(6) PATH '$')) z)",
		       content->data);
		break;
	case MY_TYPED_BINARY:
		(void)my_binary_literal(sql, content->data, content->len);
		break;
	case MY_TYPED_NOT:
		break;
	}
}

void my_walk_step(const struct my_walk *w, size_t i, bool exact, struct strbuf *out)
{
	const struct my_step *step = &w->steps[i];

	if (!step->array) {
		strbuf_addch(out, '.');
		strbuf_add(out, step->name, step->name_len);
	} else if (exact) {
		strbuf_addf(out, "[%zu]", step->index);
	} else {
		strbuf_adds(out, "[*]");
	}
}

bool my_is_typed(const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf content = {0};
	struct my_walk w;
	struct my_scalar v;

	my_walk_begin(&w, text, len);
	while (my_walk_next(&w, &v))
		if (my_typed_of(&v, &content) != MY_TYPED_NOT)
			return true;
	return false;
}

bool my_sql_document(struct strbuf *sql, const char *text, size_t len)
{
	_cleanup_strbuf_ struct strbuf content = {0}, members = {0}, path = {0};
	struct my_walk w;
	struct my_scalar v;

	my_walk_begin(&w, text, len);
	while (my_walk_next(&w, &v)) {
		enum my_typed typed = my_typed_of(&v, &content);

		if (typed == MY_TYPED_NOT)
			continue;
		strbuf_clear(&path);
		strbuf_addch(&path, '$');
		for (size_t i = 0; i < v.depth; i++)
			my_walk_step(&w, i, true, &path);
		strbuf_addch(&members, ',');
		my_sql_quote(&members, path.data, path.len);
		strbuf_addch(&members, ',');
		my_typed_literal(&members, &v, typed, &content);
	}
	if (!members.len)
		return false;
	/* The text has the spellings: a reader of metasnap's own needs nothing else (snapshot/sqlfile/value.c). */
	strbuf_adds(sql, "JSON_REPLACE(CAST(");
	my_sql_quote(sql, text, len);
	strbuf_adds(sql, " AS JSON)");
	strbuf_add(sql, members.data, members.len);
	strbuf_addch(sql, ')');
	return true;
}
