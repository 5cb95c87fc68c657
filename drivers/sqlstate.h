/*
 * drivers/sqlstate.h - the errno of a server's refusal by its SQLSTATE; drivers/driver.h lists the classes.
 */
#pragma once

/* errno for an SQLSTATE (the classes above); EIO when unknown. */
int db_errno_of_sqlstate(const char *sqlstate);
