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
/* Definitions and descriptions: live_sql is the live schema's text. */
bool target_schema_differs(const struct db_schema *live, const struct strbuf *live_sql, const struct target *t);
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
/* What a restore changes beside rows, when it is one of everything. */
void plan_whole(const struct restore *rs, const struct db_schema *live, const struct strbuf *live_sql,
		const struct target *t, struct restore_plan *plan);

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

/* The digest of the scan that is open on conn, read through the code that captures. */
int verify_scan(struct restore *rs, struct db_conn *conn, const struct row_codec *codec, struct digest *ret,
		struct err *e);
/* The table holds the target. change, was: NULL when it was made anew. */
int restore_verify_table(struct restore *rs, struct db_conn *conn, const struct db_table *t,
			 const struct change *change, const struct version_info *was, const struct version_info *target,
			 struct err *e);

/* ---- aside.c ---- */

/* Makes the tables that are worth it; *set_aside: table i of the target is loaded and has been read back. */
int apply_aside(struct restore *rs, const struct target *t, bool *set_aside, struct err *e);

/* ---- rebuild.c ---- */

/* The schema, all rows and counters of the target, read back. */
int apply_rebuild(struct restore *rs, const struct target *t, struct err *e);

/* ---- difference.c ---- */

/* Which of the target's tables differ from the safety snapshot's; one for each of t->versions. */
bool *difference_tables(const struct restore *rs, const struct version_list *safety, const struct target *t,
			const struct part *part);
/* Announces these tables only: what another one has (a trigger that cannot be kept still) is no hindrance. */
int difference_begin(struct restore *rs, const struct target *t, const bool *touched, struct err *e);
/* Their rows as the target has them, and its counters, read back. */
int apply_difference(struct restore *rs, const struct version_list *safety, const struct target *t,
		     const struct part *part, const bool *touched, struct err *e);
