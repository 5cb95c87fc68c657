/*
 * snapshot/restore/internal.h - what the files of snapshot/restore/ share. For them only.
 */
#pragma once

#include "snapshot/openmetadata/entity.h"
#include "snapshot/restore/plan.h"
#include "snapshot/restore/target.h"
#include "snapshot/restore/transaction.h"

/* ---- target.c ---- */

/* tables NULL: all. */
bool restore_wants(char *const *tables, const char *name);
const struct version_info *restore_version_of(const struct version_list *l, const char *table); /* NULL: none */
/* The same description; a derived key that had to be given up makes no difference. */
bool restore_same_table(const struct db_table *a, const struct db_table *b);
/* ENOENT, EXDEV: the database has not the table that the target describes. */
int target_check_tables(char *const *tables, const struct db_schema *live, const struct target *t, struct err *e);
/* EXDEV: of another engine or application version, and nobody forces it. */
int target_check_engine(const struct db_schema *live, const struct db_schema *target, bool force, struct err *e);

/* ---- part.c ---- */

/* A restore of some of the rows of its tables. */
struct part {
	struct entity_part *rows;
	struct digest *want; /* what each of the target's tables must then hold */
};
/* The rows of one entity; *tables becomes those that can have any. */
int restore_part_init(struct part *p, struct catalog *c, const struct target *t, const char *entity, char ***tables,
		      struct err *e);
void restore_part_done(struct part *p);
/* What table i of the target must hold in the end; part NULL: all of its rows. Borrows from t. */
struct version_info restore_goal(const struct target *t, const struct part *part, size_t i);

/* ---- plan.c ---- */

/* No row changes. */
bool restore_plan_is_empty(const struct restore_plan *p);
/* All tables of either side. live_versions NULL: from the live tables. part NULL: all of their rows. */
int plan_tables(struct catalog *c, struct db_conn *conn, const struct db_schema *live,
		const struct version_list *live_versions, const struct target *target, char *const *tables,
		const struct part *part, struct job_ctl *job, struct restore_plan *plan, struct err *e);
/* What of rs's tables is to be changed. safety NULL: nothing is stored, the tables themselves are read. */
int plan_rows(struct restore *rs, const struct db_schema *live, const struct version_list *safety,
	      const struct target *t, const struct part *part, struct restore_plan *plan, struct err *e);
/* What set_sequences will change. live: after `finish`. */
void plan_counters(const struct db_schema *live, const struct db_schema *target, struct strbuf *out);
/* Which of the target's tables the plan changes rows of; one for each of t->versions. */
bool *plan_touched(const struct restore_plan *p, const struct target *t);
/* plan->objects, when it is a restore of everything; live_sql is the live schema's text. */
int plan_definitions(struct db_conn *conn, const struct db_schema *live, const struct strbuf *live_sql,
		     const struct target *t, const bool *touched, struct restore_plan *plan, struct err *e);

/* ---- apply.c ---- */

/* What a difference did to one table: what must then be found in it. */
struct change {
	struct digest deleted, loaded;
	bool whole; /* all rows were replaced */
};

struct apply {
	struct restore *rs;
	struct db_conn *conn;
	const struct db_driver *driver;
	const struct db_table *table;
	const struct row_codec *codec;
	struct row_values values;
	struct strbuf keys; /* bytes of the keys that wait */
	struct db_value *key;
	size_t *key_at;
	size_t n_keys;
	const struct part *part; /* NULL: all rows */
	struct change *change;   /* NULL: nobody asks */
	struct hasher *hasher;
};
int apply_init(struct apply *a, struct restore *rs, struct db_conn *conn, const struct db_table *t, int64_t codec_id,
	       const struct part *part, struct change *change, struct err *e);
void apply_done(struct apply *a);
/* In a loop over rows: arg is a struct apply. Deleted keys wait until there are many of them, or for the flush. */
int apply_delete(void *arg, const struct stream_row *row, struct err *e);
int apply_flush_keys(struct apply *a, struct err *e);
int apply_load(void *arg, const struct stream_row *row, struct err *e);
/* Loads what the target version has and the live one (0: none) has not. */
int apply_loads(struct apply *a, int64_t live_version, int64_t target_version, struct err *e);
/* Makes the live table t (as the safety snapshot has it in `live`) the target version. */
int apply_table(struct restore *rs, const struct db_table *t, const struct version_info *live,
		const struct version_info *target, const struct part *part, struct change *change, struct err *e);

/* ---- verify.c ---- */

/* The digest of what the table holds, read through the code that captures. */
int verify_scan_table(struct restore *rs, struct db_conn *conn, const struct db_table *t, const struct row_codec *codec,
		      struct digest *ret, struct err *e);
/* Of the scan that is open on conn. */
int verify_scan(struct restore *rs, struct db_conn *conn, const struct row_codec *codec, struct digest *ret,
		struct err *e);
/* The table holds the target. change, was: NULL when it was made anew. */
int restore_verify_table(struct restore *rs, struct db_conn *conn, const struct db_table *t,
			 const struct change *change, const struct version_info *was, const struct version_info *target,
			 struct err *e);

/* ---- aside.c ---- */

/* Makes those of the tables to be made anew that are worth it; *set_aside: table i of the target is loaded and has been
 * read back. */
int apply_aside(struct restore *rs, const struct target *t, const bool *remade, bool *set_aside, struct err *e);

/* ---- rebuild.c ---- */

/* Tables made anew; one flag for each of t->versions. */
struct rebuild {
	const struct db_objects *objects;
	bool *aside; /* loaded and read back already */
	struct strbuf warnings;
};
void rebuild_done(struct rebuild *b);
/* The definitions up to the rows, and the rows of the tables that are made anew. */
int rebuild_begin(struct rebuild *b, struct restore *rs, const struct target *t, const struct db_objects *o,
		  struct err *e);
/* The rest of the definitions, after all rows. */
int rebuild_end(struct rebuild *b, struct restore *rs, struct strbuf *outside, struct err *e);
int rebuild_verify(const struct rebuild *b, struct restore *rs, const struct target *t, struct err *e);

/* ---- difference.c ---- */

/* Which of the target's tables differ from the safety snapshot's; one for each of t->versions. */
bool *difference_tables(const struct restore *rs, const struct version_list *safety, const struct target *t,
			const struct part *part);

/* Tables that stay and whose rows are changed. */
struct difference {
	const struct version_list *safety;
	const struct part *part;
	const bool *kept;       /* one for each of t->versions */
	struct change *changes; /* likewise */
};
void difference_done(struct difference *d);
/* Their rows as the target has them. Only they are announced: what another table has (a trigger that cannot be kept
 * still) is no hindrance. */
int difference_rows(struct difference *d, struct restore *rs, const struct target *t, struct err *e);
/* The constraints hold again. */
int difference_end(struct difference *d, struct restore *rs, struct strbuf *outside, struct err *e);
/* Of a restore of some tables: their counters as the target has them, but never behind what the rows hold. */
int difference_counters(struct restore *rs, const struct target *t, struct err *e);
int difference_verify(const struct difference *d, struct restore *rs, const struct target *t, struct err *e);
