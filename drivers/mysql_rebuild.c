/*
 * drivers/mysql_rebuild.c - the swap of a whole schema.
 */
#include <errno.h>

#include "drivers/mysql_internal.h"

#define MY_NOT_YET return err_set(e, ENOTSUP, "not written yet")

int my_rebuild_begin(struct db_conn *c, const struct db_schema *s, const char *sql, struct strbuf *warnings, struct err *e) { MY_NOT_YET; }
int my_rebuild_end(struct db_conn *c, struct strbuf *warnings, struct err *e) { MY_NOT_YET; }
int my_rebuild_commit(struct my_conn *c, struct err *e) { MY_NOT_YET; }
void my_rebuild_rollback(struct my_conn *c) { (void)c; }
int my_settle(struct db_conn *c, struct err *e) { return 0; }
