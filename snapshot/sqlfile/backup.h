/*
 * snapshot/sqlfile/backup.h - a live database written in the form of OpenMetadata's former `metadata backup`: one
 * statement a line, TRUNCATE TABLE t; and INSERT INTO t ... VALUES (...); for each row. docs/sql.md has the form.
 */
#pragma once

#include "base/out_file.h"
#include "drivers/driver.h"

/* Writes all tables at one moment; begins and ends a transaction on conn. The caller publishes the file. ENOTSUP: not
 * of this engine. */
int sql_backup_write(struct db_conn *conn, struct out_file *f, struct err *e);
