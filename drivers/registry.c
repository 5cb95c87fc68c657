/*
 * drivers/registry.c - which drivers there are, and opening a connection by its parameters. No state, no locks.
 */
#include "drivers/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fake.h"
#include "drivers/trace.h"

static const struct db_driver *const registry_drivers[] = {
    &db_driver_postgres,
    &db_driver_mysql,
    &db_driver_sqlite,
#ifdef METASNAP_FAKE_DRIVER
    &db_driver_fake,
#endif
};

const struct sql_dialect *sql_dialect_of(const char *engine)
{
	if (!strcmp(engine, "postgresql"))
		return &sql_dialect_postgres;
	if (!strcmp(engine, "mysql") || !strcmp(engine, "mariadb"))
		return &sql_dialect_mysql;
	return !strcmp(engine, "sqlite") ? &sql_dialect_sqlite : NULL;
}

int db_open(struct db_conn **ret, const struct db_params *p, struct err *e)
{
	const struct db_driver *driver = NULL;
	for (size_t i = 0; i < sizeof registry_drivers / sizeof registry_drivers[0] && !driver; i++)
		if (p->engine && !strcmp(registry_drivers[i]->scheme, p->engine))
			driver = registry_drivers[i];
	*ret = NULL;
	if (!driver)
		return err_set(e, EINVAL, "this metasnap has no driver for %s", p->engine ? p->engine : "(nothing)");
	/* secure_getenv: a set-uid mount helper must not be made to append to a file of the caller's choice. */
	const char *trace = secure_getenv("METASNAP_TRACE");
	if (trace && *trace)
		return db_trace_open(ret, driver, p, trace, e);
	return driver->open(ret, p, e);
}
