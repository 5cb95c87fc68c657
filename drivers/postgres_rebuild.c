/* stub */
#include "drivers/postgres.h"

#include <errno.h>

int pg_rebuild_begin(struct db_conn *conn, const struct db_schema *s, const char *sql, struct strbuf *warnings,
		     struct err *e)
{
	(void)conn;
	(void)s;
	(void)sql;
	(void)warnings;
	return err_set(e, ENOTSUP, "not yet");
}
int pg_rebuild_end(struct db_conn *conn, struct strbuf *warnings, struct err *e)
{
	(void)conn;
	(void)warnings;
	return err_set(e, ENOTSUP, "not yet");
}
