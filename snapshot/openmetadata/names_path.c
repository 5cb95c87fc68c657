/*
 * snapshot/openmetadata/names_path.c - how an entity's fully-qualified name is spelled as a path.
 *
 * Every part of the name is a folder, the last one a file with ".json" behind. Bytes that a path cannot hold or that
 * other systems choke on are percent-encoded, as are '%' and '~'; text in UTF-8 stays readable. A folder never ends in
 * ".json", an encoded part never holds '~': so a file, a folder and a cut name never meet. Pure; any thread.
 */
#include "snapshot/openmetadata/names_path.h"

#include <ctype.h>

#include "base/text.h"
#include "base/utf8.h"
#include "snapshot/row/manifest.h"

#define PATH_CUT 150U /* bytes that are left of a part that is too long */

void names_type(const char *table, struct strbuf *out)
{
	size_t len = strlen(table);
	if (len > 7 && !strcasecmp(table + len - 7, "_entity"))
		len -= 7;
	bool upper = false;
	for (size_t i = 0; i < len; i++) {
		bool joint = table[i] == '_' && i > 0 && i + 1 < len && islower((unsigned char)table[i + 1]);
		char c = upper ? (char)toupper((unsigned char)table[i]) : table[i];
		upper = joint;
		if (joint)
			continue;
		if (isalnum((unsigned char)c) || c == '_' || c == '-')
			strbuf_addch(out, c);
		else
			percent_add(out, (unsigned char)c);
	}
}

static void path_encode(const char *part, size_t len, bool folder, struct strbuf *out)
{
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)part[i];
		uint32_t code;
		size_t n = utf8_decode(part + i, len - i, &code);
		bool suffix = folder && i + 5 == len && !memcmp(part + i, ".json", 5);
		if (n > 1 || (n == 1 && c >= 0x20 && c != 0x7f && !strchr("%~/\\:*?\"<>|", c) &&
			      !(c == '.' && i == 0) && !suffix)) {
			strbuf_add(out, part + i, n);
			i += n;
		} else {
			percent_add(out, c);
			i++;
		}
	}
	if (!len)
		strbuf_addch(out, '%');
}

static void path_part(const char *part, size_t len, bool folder, struct strbuf *out)
{
	size_t start = out->len;
	path_encode(part, len, folder, out);
	if (out->len - start <= NAMES_PART_MAX)
		return;
	size_t cut = start + PATH_CUT;
	while (((unsigned char)out->data[cut] & 0xc0) == 0x80) /* not inside of a character */
		cut--;
	for (size_t back = 1; back <= 2; back++) /* nor of %XX */
		if (out->data[cut - back] == '%')
			cut -= back;
	uint8_t sha[ROW_SHA_LEN];
	char hex[2 * ROW_SHA_LEN + 1];
	_cleanup_(cleanup_hasher) struct hasher *h = hasher_new();
	hasher_sha256(h, part, len, sha);
	hex_encode(sha, sizeof sha, hex);
	out->data[out->len = cut] = '\0';
	strbuf_addch(out, '~');
	strbuf_add(out, hex, 32);
}

/* One part of a name from *p on, without its quotes; *p goes behind the dot after it. False: it is not well quoted. */
static bool path_next_part(const char **p, const char *end, struct strbuf *part)
{
	const char *q = *p;
	strbuf_clear(part);
	if (q == end || *q != '"') {
		const char *dot = memchr(q, '.', (size_t)(end - q));
		strbuf_add(part, q, (size_t)((dot ? dot : end) - q));
		*p = dot ? dot + 1 : NULL;
		return !memchr(strbuf_str(part), '"', part->len);
	}
	for (q++; q < end; q++) {
		/* Newer versions double an inner quote, some old data have a backslash before it. */
		if (q + 1 < end && q[1] == '"' && (*q == '"' || (*q == '\\' && q + 2 < end && q[2] != '.')))
			q++;
		else if (*q == '"')
			break;
		strbuf_addch(part, *q);
	}
	if (q == end || (q + 1 < end && q[1] != '.'))
		return false;
	*p = q + 1 < end ? q + 2 : NULL;
	return true;
}

void names_path(const char *type, const char *fqn, size_t len, bool one_part, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf part = {0};
	const char *p = fqn, *end = fqn + len;
	strbuf_adds(out, type);
	for (unsigned depth = 1; p; depth++) {
		const char *start = p;
		if (one_part || depth == NAMES_DEPTH_MAX || !path_next_part(&p, end, &part)) {
			strbuf_clear(&part);
			strbuf_add(&part, start, (size_t)(end - start));
			p = NULL;
		}
		strbuf_addch(out, '/');
		path_part(strbuf_str(&part), part.len, p != NULL, out);
	}
	strbuf_adds(out, ".json");
}
