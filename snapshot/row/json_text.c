/*
 * snapshot/row/json_text.c - the scanner over JSON text. Two ways: `check` and `compact` walk token by token and are
 * strict; `skip`, `pretty` and `member` trust the text's grammar and look at 64 bytes at a time as bit masks (which
 * bytes are in strings, which are brackets), so that most bytes cost no branch. SSE2 where there is, else plain C.
 *
 * No state, no locks; any thread.
 */
#include "snapshot/row/json_text.h"

#include <errno.h>
#include <stdint.h>

#include "base/text.h"
#include "base/utf8.h"

#if defined(__SSE2__) && !defined(JSON_TEXT_PORTABLE)
#define JSON_TEXT_SSE2 1
#include <emmintrin.h>
#else
#define JSON_TEXT_SSE2 0
#endif

#define JSON_INLINE static inline __attribute__((always_inline))

/* Room behind the end of an output that copies of whole 16 or 32 bytes may spill into. */
#define JSON_SLACK 32

/* ---- bytes ---- */

const char *json_text_plain(const char *p, const char *end)
{
#if JSON_TEXT_SSE2
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)),
					   _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);
		if (mask)
			return p + __builtin_ctz(mask);
	}
#else
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	for (; end - p >= 8; p += 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		uint64_t quote = v ^ ones * '"', backslash = v ^ ones * '\\';
		if ((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((v - ones * 0x20) & ~v)) & high)
			break;
	}
#endif
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
		p++;
	return p;
}

/* Copies n bytes; may read up to 16 bytes of the source (not past src_end) and write up to JSON_SLACK. */
JSON_INLINE char *json_copy(char *o, const char *src, size_t n, const char *src_end)
{
	if (n <= 16 && src_end - src >= 16)
		memcpy(o, src, 16);
	else
		memcpy(o, src, n);
	return o + n;
}

enum json_kind json_text_kind(char first)
{
	switch (first) {
	case '{':
		return JSON_KIND_OBJECT;
	case '[':
		return JSON_KIND_ARRAY;
	case '"':
		return JSON_KIND_STRING;
	case 't':
		return JSON_KIND_TRUE;
	case 'f':
		return JSON_KIND_FALSE;
	case 'n':
		return JSON_KIND_NULL;
	default:
		return first == '-' || (first >= '0' && first <= '9') ? JSON_KIND_NUMBER : JSON_KIND_NONE;
	}
}

JSON_INLINE bool json_is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

JSON_INLINE const char *json_digits(const char *p, const char *end)
{
	if (!json_is_digit(p, end))
		return NULL;
	do
		p++;
	while (json_is_digit(p, end));
	return p;
}

/* End of the number at p, or NULL. */
JSON_INLINE const char *json_number(const char *p, const char *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else if (!(p = json_digits(p, end)))
		return NULL;
	if (p < end && *p == '.' && !(p = json_digits(p + 1, end)))
		return NULL;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = json_digits(p, end);
	}
	return p;
}

bool json_text_is_number(const char *text, size_t len)
{
	return json_number(text, text + len) == text + len && len;
}

static int json_hex4(const char *p, const char *end)
{
	if (end - p < 4)
		return -1;
	int code = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(p[i]);
		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/* ---- strict ---- */

enum json_scan_mode { JSON_SCAN_CHECK, JSON_SCAN_COPY };

struct json_scan {
	const char *end;
	const char *run; /* first byte not yet copied to o */
	char *o;
	const char *what; /* why the scan stopped */
};

/* Past white space; what was before it goes out. */
JSON_INLINE const char *json_space(struct json_scan *s, const char *p, enum json_scan_mode mode)
{
	if (p >= s->end || (unsigned char)*p > ' ' || mode == JSON_SCAN_CHECK)
		return p;
	s->o = json_copy(s->o, s->run, (size_t)(p - s->run), s->end);
	while (p < s->end && json_text_is_space(*p))
		p++;
	s->run = p;
	return p;
}

/* Past the closing quote of the string whose body starts at p; NULL when broken. */
JSON_INLINE const char *json_string(struct json_scan *s, const char *p)
{
	for (;;) {
		p = json_text_plain(p, s->end);
		if (p >= s->end) {
			s->what = "a string without end";
			return NULL;
		}
		if (*p == '"')
			return p + 1;
		if (*p != '\\') {
			s->what = "a control character in a string";
			return NULL;
		}
		if (s->end - p < 2 || !memchr("\"\\/bfnrtu", p[1], 9) ||
		    (p[1] == 'u' && json_hex4(p + 2, s->end) < 0)) {
			s->what = "an unknown escape in a string";
			return NULL;
		}
		p += p[1] == 'u' ? 6 : 2;
	}
}

/* true, false or null, by its first byte. */
JSON_INLINE const char *json_literal(struct json_scan *s, const char *p)
{
	if (*p == 'f')
		return s->end - p >= 5 && !memcmp(p, "false", 5) ? p + 5 : NULL;
	return s->end - p >= 4 && (!memcmp(p, "true", 4) || !memcmp(p, "null", 4)) ? p + 4 : NULL;
}

/* End of the value that starts at p (behind white space), or NULL with *at where it broke. */
JSON_INLINE const char *json_scan_value(struct json_scan *s, const char *p, size_t depth_max, enum json_scan_mode mode,
					const char **at)
{
	uint64_t objects[JSON_TEXT_DEPTH_MAX / 64]; /* a bit for each level around this one: it is an object */
	size_t depth = 0;
	bool object = false;
	const char *const end = s->end, *q;

	s->what = "a value is missing";
value:
	p = json_space(s, p, mode);
	if (p >= end)
		goto broken;
	switch (*p) {
	case '"':
		if (!(q = json_string(s, p + 1)))
			goto broken;
		p = q;
		break;
	case '{':
	case '[':
		if (depth >= depth_max) {
			s->what = "nested too deep";
			goto broken;
		}
		if (!(depth % 64))
			objects[depth / 64] = 0;
		objects[depth / 64] = (objects[depth / 64] & ~((uint64_t)1 << depth % 64)) | (uint64_t)object
												 << depth % 64;
		depth++;
		object = *p == '{';
		p = json_space(s, p + 1, mode);
		if (p >= end)
			goto broken;
		if (*p == (object ? '}' : ']'))
			goto close;
		if (object)
			goto member;
		goto value;
	case 't':
	case 'f':
	case 'n':
		if (!(q = json_literal(s, p)))
			goto unknown;
		p = q;
		break;
	default:
		if (!(q = json_number(p, end)))
			goto unknown;
		p = q;
	}
after:
	if (!depth)
		return p;
	p = json_space(s, p, mode);
	if (p >= end) {
		s->what = "the end is missing";
		goto broken;
	}
	if (*p == ',') {
		p++;
		if (!object)
			goto value;
		p = json_space(s, p, mode);
		goto member;
	}
	if (*p != (object ? '}' : ']')) {
		s->what = object ? "',' or '}' expected" : "',' or ']' expected";
		goto broken;
	}
close:
	p++;
	depth--;
	object = objects[depth / 64] >> depth % 64 & 1;
	goto after;
member:
	if (p >= end || *p != '"') {
		s->what = "a member's name expected";
		goto broken;
	}
	if (!(q = json_string(s, p + 1)))
		goto broken;
	p = json_space(s, q, mode);
	if (p >= end || *p != ':') {
		s->what = "':' expected";
		goto broken;
	}
	p++;
	s->what = "a value is missing";
	goto value;
unknown:
	s->what = "not a value";
broken:
	*at = p;
	return NULL;
}

const char *json_text_check(const char *p, const char *end, size_t depth_max)
{
	struct json_scan s = {.end = end};
	const char *at;
	return json_scan_value(&s, p, depth_max < JSON_TEXT_DEPTH_MAX ? depth_max : JSON_TEXT_DEPTH_MAX,
			       JSON_SCAN_CHECK, &at);
}

int json_text_compact(const char *text, size_t len, size_t depth_max, struct strbuf *out, enum json_kind *kind,
		      struct err *e)
{
	const char *end = text + len, *at = text, *p = text;
	while (p < end && json_text_is_space(*p))
		p++;
	*kind = p < end ? json_text_kind(*p) : JSON_KIND_NONE;
	strbuf_reserve(out, (size_t)(end - p) + JSON_SLACK);
	struct json_scan s = {.end = end, .run = p, .o = out->data + out->len};
	p = json_scan_value(&s, p, depth_max < JSON_TEXT_DEPTH_MAX ? depth_max : JSON_TEXT_DEPTH_MAX, JSON_SCAN_COPY,
			    &at);
	if (p) {
		s.o = json_copy(s.o, s.run, (size_t)(p - s.run), end);
		while (p < end && json_text_is_space(*p))
			p++;
		if (p < end) {
			s.what = "more text behind the value";
			at = p;
		}
	}
	if (!p || p < end) {
		out->data[out->len] = '\0';
		return err_set(e, EBADMSG, "not JSON at byte %zu: %s", (size_t)(at - text), s.what);
	}
	out->len = (size_t)(s.o - out->data);
	out->data[out->len] = '\0';
	return 0;
}

/* ---- strings ---- */

void json_text_quote(const char *text, size_t len, struct strbuf *out)
{
	static const char hex[] = "0123456789abcdef";
	const char *end = text + len;
	strbuf_reserve(out, len + 2);
	out->data[out->len++] = '"';
	for (;;) {
		const char *stop = json_text_plain(text, end);
		size_t n = (size_t)(stop - text);
		memcpy(out->data + out->len, text, n);
		out->len += n;
		if (stop >= end)
			break;
		text = stop + 1;
		strbuf_reserve(out, (size_t)(end - text) + 7); /* this escape and the final quote */
		char *o = out->data + out->len;
		unsigned char c = (unsigned char)*stop;
		*o++ = '\\';
		switch (c) {
		case '"':
		case '\\':
			*o++ = (char)c;
			break;
		case '\b':
			*o++ = 'b';
			break;
		case '\f':
			*o++ = 'f';
			break;
		case '\n':
			*o++ = 'n';
			break;
		case '\r':
			*o++ = 'r';
			break;
		case '\t':
			*o++ = 't';
			break;
		default:
			memcpy(o, "u00", 3);
			o[3] = hex[c >> 4];
			o[4] = hex[c & 15];
			o += 5;
		}
		out->len = (size_t)(o - out->data);
	}
	out->data[out->len++] = '"';
	out->data[out->len] = '\0';
}

/* Decodes the escape at p (a backslash) into at most 4 bytes; its length, or 0 when it is not valid. */
static size_t json_unescape(const char *p, const char *end, char *o, size_t *n)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	if (end - p < 2)
		return 0;
	*n = 1;
	if (p[1] != 'u') {
		const char *name = memchr(names, p[1], sizeof names - 1);
		if (!name)
			return 0;
		*o = bytes[name - names];
		return 2;
	}
	int high = json_hex4(p + 2, end);
	if (high < 0 || (high >= 0xdc00 && high < 0xe000))
		return 0;
	if (high < 0xd800 || high >= 0xe000) {
		*n = utf8_encode((uint32_t)high, o);
		return 6;
	}
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	int low = json_hex4(p + 8, end);
	if (low < 0xdc00 || low >= 0xe000)
		return 0;
	*n = utf8_encode(0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00), o);
	return 12;
}

bool json_text_unquote(const char *body, size_t len, struct strbuf *out)
{
	const char *end = body + len;
	strbuf_reserve(out, len + 4); /* an escape is longer than what it stands for */
	for (;;) {
		const char *stop = json_text_plain(body, end);
		size_t n = (size_t)(stop - body);
		if (n)
			memcpy(out->data + out->len, body, n);
		out->len += n;
		body = stop;
		if (stop >= end)
			break;
		size_t taken = *stop == '\\' ? json_unescape(stop, end, out->data + out->len, &n) : 0;
		if (!taken)
			break;
		out->len += n;
		body += taken;
	}
	out->data[out->len] = '\0';
	return body >= end;
}

bool json_text_string_is(const char *body, size_t len, const char *name, size_t name_len)
{
	const char *end = body + len;
	if (!memchr(body, '\\', len))
		return len == name_len && !memcmp(body, name, len);
	while (body < end) {
		char decoded[4];
		size_t n = 1, taken = 1;
		if (*body == '\\')
			taken = json_unescape(body, end, decoded, &n);
		else
			decoded[0] = *body;
		if (!taken || name_len < n || memcmp(decoded, name, n))
			return false;
		body += taken;
		name += n;
		name_len -= n;
	}
	return !name_len;
}

/* ---- 64 bytes at a time ---- */

struct json_block {
	uint64_t quote;
	uint64_t backslash;
	uint64_t open;
	uint64_t close;
	uint64_t comma;
	uint64_t colon;
};

struct json_state {
	uint64_t string;  /* all ones when the block before ended inside a string */
	uint64_t escaped; /* 1 when it ended in a backslash that escapes */
};

#if JSON_TEXT_SSE2
JSON_INLINE uint64_t json_mask(const __m128i v[4], char c)
{
	const __m128i with = _mm_set1_epi8(c);
	uint64_t mask = 0;
	for (int i = 0; i < 4; i++)
		mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], with)) << 16 * i;
	return mask;
}

/* `pretty`: commas and colons are wanted as well. */
JSON_INLINE void json_block_load(struct json_block *b, const char *p, bool pretty)
{
	__m128i v[4], folded[4];
	for (int i = 0; i < 4; i++) {
		v[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
		/* '[' | 0x20 is '{', ']' | 0x20 is '}', and no other byte becomes one of them */
		folded[i] = _mm_or_si128(v[i], _mm_set1_epi8(0x20));
	}
	b->quote = json_mask(v, '"');
	b->backslash = json_mask(v, '\\');
	b->open = json_mask(folded, '{');
	b->close = json_mask(folded, '}');
	b->comma = pretty ? json_mask(v, ',') : 0;
	b->colon = pretty ? json_mask(v, ':') : 0;
}
#else
JSON_INLINE void json_block_load(struct json_block *b, const char *p, bool pretty)
{
	*b = (struct json_block){0};
	for (int i = 0; i < 64; i++) {
		uint64_t bit = (uint64_t)1 << i;
		switch (p[i]) {
		case '"':
			b->quote |= bit;
			break;
		case '\\':
			b->backslash |= bit;
			break;
		case '{':
		case '[':
			b->open |= bit;
			break;
		case '}':
		case ']':
			b->close |= bit;
			break;
		case ',':
			b->comma |= pretty ? bit : 0;
			break;
		case ':':
			b->colon |= pretty ? bit : 0;
			break;
		default:
			break;
		}
	}
}
#endif

/* Loads the block at p (less than 64 bytes at the end) and takes out of it what is inside strings. */
JSON_INLINE void json_block_next(struct json_block *b, struct json_state *s, const char *p, const char *end,
				 bool pretty)
{
	char last[64];
	if (end - p < 64) {
		memset(last, ' ', sizeof last);
		memcpy(last, p, (size_t)(end - p));
		p = last;
	}
	json_block_load(b, p, pretty);

	uint64_t escaped = s->escaped, backslash = b->backslash & ~escaped;
	s->escaped = 0;
	while (backslash) {
		uint64_t bit = backslash & -backslash;
		escaped |= bit << 1;
		s->escaped = bit >> 63;
		backslash &= ~(bit | bit << 1);
	}
	uint64_t string = b->quote & ~escaped;
	for (unsigned i = 1; i < 64; i *= 2) /* each bit becomes the parity of the quotes up to it */
		string ^= string << i;
	string ^= s->string;
	s->string = (uint64_t)((int64_t)string >> 63);
	b->open &= ~string;
	b->close &= ~string;
	b->comma &= ~string;
	b->colon &= ~string;
}

static const char *json_skip_container(const char *p, const char *end)
{
	struct json_state s = {0};
	struct json_block b;
	size_t depth = 0;
	for (; p < end; p += 64) {
		json_block_next(&b, &s, p, end, false);
		size_t closes = (size_t)__builtin_popcountll(b.close);
		if (closes < depth) { /* it cannot end here */
			depth += (size_t)__builtin_popcountll(b.open) - closes;
			continue;
		}
		for (uint64_t bits = b.open | b.close; bits; bits &= bits - 1) {
			if (b.open & bits & -bits)
				depth++;
			else if (!--depth)
				return p + __builtin_ctzll(bits) + 1;
		}
	}
	return NULL;
}

const char *json_text_skip_string(const char *p, const char *end)
{
	for (;;) {
		p = json_text_plain(p, end);
		if (p >= end)
			return NULL;
		if (*p == '"')
			return p;
		p += *p == '\\' && end - p > 1 ? 2 : 1;
	}
}

const char *json_text_skip(const char *p, const char *end)
{
	if (p >= end)
		return NULL;
	if (*p == '"') {
		p = json_text_skip_string(p + 1, end);
		return p ? p + 1 : NULL;
	}
	if (*p == '{' || *p == '[')
		return json_skip_container(p, end);
	const char *start = p;
	while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ':' && *p != '"' && !json_text_is_space(*p))
		p++;
	return p > start ? p : NULL;
}

static const char *json_skip_space(const char *p, const char *end)
{
	while (p < end && json_text_is_space(*p))
		p++;
	return p;
}

int json_text_member(const char *text, size_t len, const char *name, size_t name_len, const char **value,
		     size_t *value_len)
{
	const char *end = text + len, *p = json_skip_space(text, end);
	if (p >= end || *p != '{')
		return p < end && json_text_kind(*p) != JSON_KIND_NONE ? 0 : -1;
	p = json_skip_space(p + 1, end);
	if (p < end && *p == '}')
		return 0;
	for (;;) {
		if (p >= end || *p != '"')
			return -1;
		const char *body = p + 1, *quote = json_text_skip_string(body, end);
		if (!quote)
			return -1;
		p = json_skip_space(quote + 1, end);
		if (p >= end || *p != ':')
			return -1;
		p = json_skip_space(p + 1, end);
		const char *next = json_text_skip(p, end);
		if (!next)
			return -1;
		if (json_text_string_is(body, (size_t)(quote - body), name, name_len)) {
			*value = p;
			*value_len = (size_t)(next - p);
			return 1;
		}
		p = json_skip_space(next, end);
		if (p < end && *p == '}')
			return 0;
		if (p >= end || *p != ',')
			return -1;
		p = json_skip_space(p + 1, end);
	}
}

/* ---- pretty ---- */

JSON_INLINE char *json_indent(char *o, size_t depth)
{
	*o++ = '\n';
	if (depth <= 8)
		memcpy(o, "                ", 16);
	else
		memset(o, ' ', depth * 2);
	return o + depth * 2;
}

/* Writes to o (which has room for the size and JSON_SLACK) or only counts: one walk for both, so that they agree
 * whatever the text is. Returns the size. */
JSON_INLINE size_t json_pretty_walk(const char *text, size_t len, char *o, bool write)
{
	const char *end = text + len, *run = text;
	struct json_state s = {0};
	struct json_block b;
	size_t depth = 0, size = len + 1;
	bool empty = false; /* the next close belongs to the open just before it */
	for (const char *p = text; p < end; p += 64) {
		json_block_next(&b, &s, p, end, true);
		if (!write) {
			size += (size_t)__builtin_popcountll(b.colon);
			b.colon = 0;
		}
		for (uint64_t bits = b.open | b.close | b.comma | b.colon; bits; bits &= bits - 1) {
			uint64_t bit = bits & -bits;
			const char *at = p + __builtin_ctzll(bits);
			if (b.colon & bit) {
				o = json_copy(o, run, (size_t)(at + 1 - run), end);
				*o++ = ' ';
				run = at + 1;
				continue;
			}
			if (b.close & bit) {
				if (empty) {
					empty = false;
					continue;
				}
				depth -= depth > 0;
				size += 1 + depth * 2;
				if (write) {
					o = json_copy(o, run, (size_t)(at - run), end);
					o = json_indent(o, depth);
					run = at;
				}
				continue;
			}
			if (b.open & bit) {
				empty = at + 1 < end && (at[1] == '}' || at[1] == ']');
				if (empty)
					continue;
				depth++;
			}
			size += 1 + depth * 2;
			if (write) {
				o = json_copy(o, run, (size_t)(at + 1 - run), end);
				o = json_indent(o, depth);
				run = at + 1;
			}
		}
	}
	if (write) {
		o = json_copy(o, run, (size_t)(end - run), end);
		*o = '\n';
	}
	return size;
}

size_t json_text_pretty_size(const char *text, size_t len)
{
	return json_pretty_walk(text, len, NULL, false);
}

void json_text_pretty(const char *text, size_t len, struct strbuf *out)
{
	size_t size = json_text_pretty_size(text, len);
	strbuf_reserve(out, size + JSON_SLACK);
	(void)json_pretty_walk(text, len, out->data + out->len, true);
	out->len += size;
	out->data[out->len] = '\0';
}
