/*
 * snapshot/openmetadata/entity_columns.c - what tells an entity in its own row: id, hash of its name, name. No state;
 * any thread.
 *
 * The hash of an entity's name is taken from its own row where the table has it (fqnHash, nameHash); only schemas
 * without such a column have it computed.
 */
#include "snapshot/openmetadata/internal.h"

#include <errno.h>
#include <openssl/evp.h>

#include "base/text.h"

struct entity_columns entity_columns_of(const struct db_table *t)
{
	struct entity_columns c = {
	    .table = t, .id = entity_find_place(t, "id"), .hash = entity_find_place(t, "fqnHash")};
	if (!c.id.column)
		c.id = entity_find_member(t, "id");
	if (!c.hash.column)
		c.hash = entity_find_place(t, "nameHash");
	c.fqn = entity_find_member(t, "fullyQualifiedName");
	c.name = entity_find_member(t, "name");
	return c;
}

static int add_md5(struct strbuf *out, const struct strbuf *part, struct err *e)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	if (!EVP_Digest(strbuf_str(part), part->len, md, &n, EVP_md5(), NULL))
		return err_set(e, ENOTSUP, "MD5, which the hashes of names are made with, is not to be had here");
	hex_encode(md, n, hex);
	strbuf_addf(out, "%s%s", out->len ? "." : "", hex);
	return 0;
}

/* MD5 of each part, as the server makes it. A part in quotes has its quotes doubled, in older data with a backslash. */
static int hash_name(const char *fqn, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf part = {0};
	int r = 0;
	strbuf_clear(out);
	for (const char *p = fqn; r == 0; p++) {
		bool quoted = *p == '"';
		strbuf_clear(&part);
		for (p += quoted; *p && (quoted || *p != '.'); p++) {
			if (quoted && *p == '"' && p[1] != '"') {
				p++;
				break;
			}
			if (quoted && (*p == '"' || (*p == '\\' && p[1] == '"')))
				p++;
			strbuf_addch(&part, *p);
		}
		r = add_md5(out, &part, e);
		if (*p != '.')
			break;
	}
	return r;
}

int entity_read_fqn(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e)
{
	int r = entity_read_place(&c->fqn, c->table, line, len, out, e);
	return r ? r : entity_read_place(&c->name, c->table, line, len, out, e);
}

int entity_read_hash(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e)
{
	if (c->hash.column)
		return entity_read_place(&c->hash, c->table, line, len, out, e);
	_cleanup_strbuf_ struct strbuf fqn = {0};
	int r = entity_read_fqn(c, line, len, &fqn, e);
	if (r == 1) {
		r = hash_name(strbuf_str(&fqn), out, e);
		r = r < 0 ? r : 1;
	}
	return r;
}
