/*
 * snapshot/openmetadata/internal.h - what the files about one entity share (entity.h), and the checks of a preflight.
 */
#pragma once

#include "base/strset.h"
#include "snapshot/stream/stream.h"

/* ---- entity_place.c ---- */

/* Where a value stands in a table's lines. */
struct entity_place {
	const char *column; /* NULL: nowhere */
	const char *member; /* of the document that the column is; NULL: the column itself */
};

/* Whatever the case of its name; NULL: there is none. */
const struct db_column *entity_find_column(const struct db_table *t, const char *name);
struct entity_place entity_find_place(const struct db_table *t, const char *name);
/* Of the document of an entity's row. */
struct entity_place entity_find_member(const struct db_table *t, const char *member);
/* 1: a string or number, in *out; 0: there is none. */
int entity_read_place(const struct entity_place *at, const struct db_table *t, const char *line, size_t len,
		      struct strbuf *out, struct err *e);

/* ---- entity_columns.c ---- */

/* The tables that have entities; what tells one. */
struct entity_columns {
	const struct db_table *table;
	struct entity_place id, hash, fqn, name;
};

struct entity_columns entity_columns_of(const struct db_table *t);
/* Full name of the entity of a line; users and some others have only a name. 1; 0: it has none. */
int entity_read_fqn(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e);
int entity_read_hash(const struct entity_columns *c, const char *line, size_t len, struct strbuf *out, struct err *e);

/* ---- entity_rules.c ---- */

/* The tables beside the entities' own. */
enum entity_beside { BESIDE_RELATIONS, BESIDE_TAGS, BESIDE_FIELDS, BESIDE_EXTENSION, BESIDE_USAGE, BESIDE_N };
/* What a column names an entity by. */
enum entity_by { BY_ID, BY_HASH, BY_NAME };

struct entity_rule {
	enum entity_beside beside; /* BESIDE_N: the entity's own table */
	enum entity_by by;
	const struct db_table *table;
	struct entity_place at[2];
	struct entity_place tag; /* tag_usage: the tag's own hash */
};

struct entity_part;
/* BESIDE_N: the table is none of them. */
enum entity_beside entity_beside_of(const char *table);
const char *entity_beside_glob(enum entity_beside k);

const struct db_table *entity_target_table(struct entity_part *p, size_t i, struct err *e);
int entity_add_rules(struct entity_part *p, struct err *e);
/* One of the first n names is what `name` begins with, up to a dot: its length in *ret_len. */
bool entity_names_begin(const struct strset *s, size_t n, const char *name, size_t *ret_len);
/* 1: a row of the rule's table is the entity's, by the names it has in the snapshot or (live) on either side; 0: it is
 * not. */
int entity_rule_has(struct entity_part *p, const struct entity_rule *rule, bool live, const struct stream_row *row,
		    struct err *e);

/* ---- what is known of an entity; entity.c makes it, the others fill it ---- */

struct entity_related {
	char *id;
	char *name; /* its full name in the snapshot; NULL: it is not there either */
	bool found; /* in the database */
};

struct entity_part {
	struct catalog *catalog;
	const struct version_list *target;
	size_t own;              /* its table, of target */
	struct strset names[3];  /* by enum entity_by: first the snapshot's, then what else it is on the live side */
	struct strset fields[3]; /* sorted: names of other entities that begin with one of those */
	struct entity_related *relation; /* by id */
	size_t n_relations;
	struct entity_rule *rules;
	size_t n_rules;
	char **tables;  /* NULL-terminated, as rules */
	uint64_t uses;  /* by others, of the snapshot, that the database does not have: when it is a tag */
	char *replaced; /* id of another entity of its name */
	char *renamed;  /* its name in the database, when that is another one */
	struct strbuf value;
};

/* ---- preflight_check_*.c: each fills one line from the facts ---- */

struct preflight_facts;
struct preflight_line;
void preflight_check_server(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_version(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_target(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_sort_memory(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_query_entity(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_snapshot(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_restore_proven(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_privileges_snapshot(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_privileges_restore(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_airflow_mssql(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_bots_jwt(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_search_reindex(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_custom_connectors(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_secrets_manager(const struct preflight_facts *f, struct preflight_line *l);
void preflight_check_airflow_lineage(const struct preflight_facts *f, struct preflight_line *l);
