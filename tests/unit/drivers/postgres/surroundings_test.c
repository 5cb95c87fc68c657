/*
 * tests/unit/drivers/postgres/surroundings_test.c - drivers/postgres/surroundings.c against a real server: what would
 * forget a table that is made anew is named.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them. One database, made and
 * dropped here.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/postgres/internal.h"
#include "tests/unit/world.h"

#define DATABASE "ms_surroundings"

static struct db_params admin;

static PGconn *sql_connect(const char *database)
{
	char port[16];
	(void)snprintf(port, sizeof port, "%u", admin.port);
	const char *keys[] = {"host", "port", "user", "password", "dbname", NULL};
	const char *values[] = {admin.host, port, admin.user, admin.password, database, NULL};
	PGconn *pg = PQconnectdbParams(keys, values, 0);
	if (PQstatus(pg) != CONNECTION_OK)
		fail_msg("cannot connect to %s: %s", database, PQerrorMessage(pg));
	PQclear(PQexec(pg, "SET client_min_messages = error"));
	return pg;
}

static void sql_on(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);
	ExecStatusType status = PQresultStatus(res);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	PQclear(res);
}

static struct pg_conn *open_driver(void)
{
	struct db_params p = admin;
	struct pg_conn *c = NULL;
	p.database = (char *)DATABASE;
	ok(pg_connection_open(&c, &p, &e));
	c->head.driver = &db_driver_postgres;
	return c;
}

static void test_subscriptions(void **state)
{
	PGconn *pg = *state;
	sql_on(pg,
	       "CREATE TABLE t (a integer PRIMARY KEY); CREATE TABLE \"T u\" (a integer); CREATE TABLE v (a integer)");
	sql_on(pg,
	       "CREATE SUBSCRIPTION su CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)");
	/* as REFRESH PUBLICATION does, which needs a publisher */
	sql_on(pg,
	       "INSERT INTO pg_subscription_rel SELECT s.oid, '\"T u\"'::regclass, 'r', NULL FROM pg_subscription s");
	PGresult *res = PQexec(pg, "SELECT ARRAY['t'::regclass, 'v'::regclass]::oid[], ARRAY['t'::regclass,"
				   " '\"T u\"'::regclass]::oid[]");
	assert_int_equal(PQntuples(res), 1);
	struct pg_conn *c = open_driver();
	struct err refusal = ERR_INIT;
	ok(pg_refuse_lost(c, PQgetvalue(res, 0, 0), &refusal, &e));
	assert_int_equal(refusal.code, 0);
	ok(pg_refuse_lost(c, PQgetvalue(res, 0, 1), &refusal, &e));
	assert_int_equal(refusal.code, EXDEV);
	assert_non_null(strstr(refusal.msg, "public.\"T u\" receives rows by subscription su: "));
	/* the server says nothing, which is why we do */
	sql_on(pg, "DROP TABLE \"T u\" RESTRICT; DROP SUBSCRIPTION su");
	pg_connection_free(c);
	PQclear(res);
}

static int set_up(void **state)
{
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
	sql_on(pg, "CREATE DATABASE " DATABASE);
	PQfinish(pg);
	*state = sql_connect(DATABASE);
	return 0;
}

static int tear_down(void **state)
{
	PQfinish(*state);
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE " DATABASE " WITH (FORCE)");
	PQfinish(pg);
	db_params_done(&admin);
	return 0;
}

int main(void)
{
	char password[512];
	struct err e = ERR_INIT;
	const char *url = getenv("SERVER_URL"), *file = getenv("SERVER_PASSWORD_FILE");
	_cleanup_fclose_ FILE *f = file ? fopen(file, "re") : NULL;
	if (!url || !f || !fgets(password, sizeof password, f)) {
		(void)fprintf(stderr, "SERVER_URL and SERVER_PASSWORD_FILE of a PostgreSQL server are not set\n");
		return 77;
	}
	if (db_params_parse(&admin, url, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	password[strcspn(password, "\n")] = '\0';
	free(admin.password);
	admin.password = xstrdup(password);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_subscriptions),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
