/*
 * drivers/mysql_load.c - row changes.
 */
#include <errno.h>

#include "drivers/mysql_internal.h"

#define MY_NOT_YET return err_set(e, ENOTSUP, "not written yet")

void my_load_done(struct my_load *l)
{
	free(l->columns);
	strbuf_done(&l->head);
	strbuf_done(&l->sql);
	*l = (struct my_load){ 0 };
}
int my_change_begin(struct db_conn *c, const struct db_schema *s, struct err *e) { MY_NOT_YET; }
int my_change_end(struct db_conn *c, struct err *e) { MY_NOT_YET; }
int my_delete_keys(struct db_conn *c, const struct db_table *t, const struct db_value *keys, size_t n_rows, struct err *e) { MY_NOT_YET; }
int my_delete_all(struct db_conn *c, const struct db_table *t, struct err *e) { MY_NOT_YET; }
int my_load_begin(struct db_conn *c, const struct db_table *t, struct err *e) { MY_NOT_YET; }
int my_load_row(struct db_conn *c, const struct db_value *values, struct err *e) { MY_NOT_YET; }
int my_load_end(struct db_conn *c, bool ok, struct err *e) { MY_NOT_YET; }
int my_set_sequences(struct db_conn *c, const struct db_schema *s, struct err *e) { MY_NOT_YET; }
