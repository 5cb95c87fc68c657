/*
 * drivers/objects.h - how the definitions of a database differ from others, object by object, and what is to be done
 * about each. Made by a driver (`compare`), shown and carried out by others. No state; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "drivers/schema.h"

/* All definitions: the tables as described, and the text that makes them (schema_sql). Borrowed. */
struct db_definitions {
	const struct db_schema *schema;
	const char *sql;
};

enum db_deed {
	DB_DEED_MAKE,   /* only the wanted definitions have it */
	DB_DEED_ALTER,  /* made equal where it stands; rows stay */
	DB_DEED_REMAKE, /* dropped and made anew */
	DB_DEED_DROP,   /* only the database has it */
};

struct db_object {
	char *kind; /* lower case: "table", "view", "foreign key", "grants of table" */
	char *name;
	char *because; /* NULL: it differs itself; else what it hangs on ("table t"), or another reason */
	enum db_deed deed;
};

struct db_objects {
	struct db_object *v; /* in the order of the deeds; none: the definitions are the same */
	size_t n;
	bool *remade; /* for each table of the wanted schema: it is made (anew), and all of its rows are to be loaded */
	struct err refusal; /* code 0: none. Why it cannot be done, naming what stands in the way */
};

/* Takes the texts over. */
void db_objects_add(struct db_objects *o, enum db_deed deed, char *kind, char *name, char *because);
void db_objects_done(struct db_objects *o);
const char *db_deed_word(enum db_deed deed); /* "make", "alter", "make anew", "drop" */
/* Every table is made anew: the comparison of who cannot tell objects apart. *ret is empty when the texts are equal. */
void db_objects_compare_whole(struct db_objects *ret, const struct db_definitions *live,
			      const struct db_definitions *want);
