/*
 * drivers/registry.h - which drivers and dialects there are.
 */
#pragma once

#include "drivers/driver.h"
#include "drivers/sql_text.h"

/* The driver of p->engine, opened through the tracing driver when METASNAP_TRACE names a file. */
int db_open(struct db_conn **ret, const struct db_params *p, struct err *e);

/* The dialect of struct db_schema's engine; NULL: no such engine. */
const struct sql_dialect *sql_dialect_of(const char *engine);
