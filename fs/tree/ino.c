/*
 * fs/tree/ino.c - see ino.h. Pure functions: any thread, no locks.
 */
#include "fs/tree/ino.h"

#define INO_KIND_SHIFT 57
#define INO_ORDINAL_BITS 17
#define INO_INDEX_BITS 16
#define INO_NAMES_ENTRY_BITS 27
#define INO_NAMES_DEPTH_BITS 6
#define INO_PAIR_BITS 20
#define INO_NOW_TAG (UINT64_C(3) << 61)

/* How the payload of a kind is laid out. */
enum ino_shape {
	INO_SHAPE_NONE,
	INO_SHAPE_ID,
	INO_SHAPE_SNAPSHOT,
	INO_SHAPE_TABLE,
	INO_SHAPE_ROW,
	INO_SHAPE_NAMES,
	INO_SHAPE_PAIR,
	INO_SHAPE_BAD
};

static enum ino_shape ino_shape_of(unsigned kind)
{
	switch (kind) {
	case INO_ROOT:
	case INO_README:
		return INO_SHAPE_NONE;
	case INO_SOURCE:
	case INO_NOW:
	case INO_SNAPSHOTS:
	case INO_ARCHIVES:
	case INO_SNAPSHOTS_LATEST:
	case INO_ARCHIVES_LATEST:
	case INO_ENTITIES:
	case INO_ENTITIES_LATEST:
	case INO_HISTORY:
	case INO_CHANGES:
	case INO_RESTORE:
	case INO_STATUS:
	case INO_JOURNAL:
	case INO_STAGED:
	case INO_EDIT:
	case INO_PREFLIGHT:
		return INO_SHAPE_ID;
	case INO_SNAPSHOT:
	case INO_MANIFEST:
	case INO_SCHEMA:
	case INO_TABLES:
	case INO_ARCHIVE:
	case INO_ARCHIVE_MANIFEST:
	case INO_ARCHIVE_SCHEMA:
	case INO_ARCHIVE_SUMS:
	case INO_ARCHIVE_TABLES:
	case INO_NOW_MANIFEST:
	case INO_NOW_SCHEMA:
	case INO_NOW_TABLES:
	case INO_ENTITIES_OF:
		return INO_SHAPE_SNAPSHOT;
	case INO_ENTITY_DIR:
	case INO_ENTITY_LINK:
	case INO_HISTORY_DIR:
		return INO_SHAPE_NAMES;
	case INO_CHANGE:
	case INO_CHANGE_ADDED:
	case INO_CHANGE_REMOVED:
	case INO_CHANGE_CHANGED:
		return INO_SHAPE_PAIR;
	case INO_TABLE:
	case INO_TABLE_JSON:
	case INO_ARCHIVE_TABLE:
	case INO_NOW_TABLE:
	case INO_NOW_TABLE_JSON:
		return INO_SHAPE_TABLE;
	case INO_ROW:
		return INO_SHAPE_ROW;
	default:
		return INO_SHAPE_BAD;
	}
}

uint64_t ino_encode(const struct ino *i)
{
	uint64_t kind = (uint64_t)i->kind << INO_KIND_SHIFT;

	if (i->kind == INO_ROOT)
		return 1;
	if (i->kind == INO_NOW_ROW) {
		if (i->id > INO_NOW_PACK_MAX || i->sub > INO_INDEX_MAX || i->source > INO_NOW_SOURCE_MAX)
			return 0;
		return INO_NOW_TAG | ((uint64_t)i->source << 51) | (i->id << INO_INDEX_BITS) | i->sub;
	}
	switch (ino_shape_of(i->kind)) {
	case INO_SHAPE_NONE:
		return kind;
	case INO_SHAPE_ID:
		return i->id <= INO_ID_MAX ? kind | i->id : 0;
	case INO_SHAPE_SNAPSHOT:
		return i->id <= INO_SNAPSHOT_MAX ? kind | (i->id << INO_ORDINAL_BITS) : 0;
	case INO_SHAPE_TABLE:
		if (i->id > INO_SNAPSHOT_MAX || i->sub > INO_ORDINAL_MAX)
			return 0;
		return kind | (i->id << INO_ORDINAL_BITS) | i->sub;
	case INO_SHAPE_ROW:
		if (i->id > INO_PACK_MAX || i->sub > INO_INDEX_MAX)
			return 0;
		return kind | (i->id << INO_INDEX_BITS) | i->sub;
	case INO_SHAPE_NAMES:
		if (i->id > INO_NAMES_SNAPSHOT_MAX || i->other > INO_NAMES_ENTRY_MAX || i->sub > INO_NAMES_DEPTH_MAX)
			return 0;
		return kind | (i->id << (INO_NAMES_ENTRY_BITS + INO_NAMES_DEPTH_BITS)) |
		       ((uint64_t)i->other << INO_NAMES_DEPTH_BITS) | i->sub;
	case INO_SHAPE_PAIR:
		if (i->id > INO_PAIR_MAX || i->other > INO_PAIR_MAX || i->sub > INO_ORDINAL_MAX)
			return 0;
		return kind | (i->id << (INO_PAIR_BITS + INO_ORDINAL_BITS)) | ((uint64_t)i->other << INO_ORDINAL_BITS) |
		       i->sub;
	case INO_SHAPE_BAD:
		break;
	}
	return 0;
}

bool ino_decode(uint64_t number, struct ino *ret)
{
	*ret = (struct ino){.kind = INO_BAD};
	if (number == 1) {
		ret->kind = INO_ROOT;
		return true;
	}
	if (number >> 63)
		return false;
	if ((number & INO_NOW_TAG) == INO_NOW_TAG) {
		*ret = (struct ino){.kind = INO_NOW_ROW,
				    .source = (uint32_t)(number >> 51) & INO_NOW_SOURCE_MAX,
				    .id = (number >> INO_INDEX_BITS) & INO_NOW_PACK_MAX,
				    .sub = (uint32_t)number & INO_INDEX_MAX};
		return true;
	}

	unsigned kind = (unsigned)(number >> INO_KIND_SHIFT);
	uint64_t payload = number & INO_ID_MAX;
	struct ino i = {.kind = (enum ino_kind)kind};

	switch (kind == INO_ROOT ? INO_SHAPE_BAD : ino_shape_of(kind)) {
	case INO_SHAPE_NONE:
		if (payload)
			return false;
		break;
	case INO_SHAPE_ID:
		i.id = payload;
		break;
	case INO_SHAPE_SNAPSHOT:
		if (payload & INO_ORDINAL_MAX)
			return false;
		i.id = payload >> INO_ORDINAL_BITS;
		break;
	case INO_SHAPE_TABLE:
		i.id = payload >> INO_ORDINAL_BITS;
		i.sub = (uint32_t)payload & INO_ORDINAL_MAX;
		break;
	case INO_SHAPE_ROW:
		i.id = payload >> INO_INDEX_BITS;
		i.sub = (uint32_t)payload & INO_INDEX_MAX;
		break;
	case INO_SHAPE_NAMES:
		i.id = payload >> (INO_NAMES_ENTRY_BITS + INO_NAMES_DEPTH_BITS);
		i.other = (uint32_t)(payload >> INO_NAMES_DEPTH_BITS) & INO_NAMES_ENTRY_MAX;
		i.sub = (uint32_t)payload & INO_NAMES_DEPTH_MAX;
		break;
	case INO_SHAPE_PAIR:
		i.id = payload >> (INO_PAIR_BITS + INO_ORDINAL_BITS);
		i.other = (uint32_t)(payload >> INO_ORDINAL_BITS) & INO_PAIR_MAX;
		i.sub = (uint32_t)payload & INO_ORDINAL_MAX;
		break;
	case INO_SHAPE_BAD:
		return false;
	}
	*ret = i;
	return true;
}
