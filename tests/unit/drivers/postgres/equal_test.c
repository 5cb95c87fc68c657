/*
 * tests/unit/drivers/postgres/equal_test.c - drivers/postgres/equal.c and clone.c against a real server: texts that the
 * server makes the same object of, and near misses.
 *
 * Wants SERVER_URL and SERVER_PASSWORD_FILE of a superuser, as tests/servers/postgres prints them. One database for all
 * tests, made and dropped here.
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

#define DATABASE "ms_equal"

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

static char *sql_value(PGconn *pg, const char *sql)
{
	PGresult *res = PQexec(pg, sql);
	if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1)
		fail_msg("%.200s: %s", sql, PQerrorMessage(pg));
	char *value = xstrdup(PQgetvalue(res, 0, 0));
	PQclear(res);
	return value;
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

#define T "CREATE TABLE public.t (\n    id integer NOT NULL,\n    status character varying(10)"
#define CHECK_A "(((status)::text = ANY ((ARRAY['open'::character varying, 'closed'::character varying])::text[])))"
#define CHECK_B                                                                                                        \
	"(((status)::text = ANY (ARRAY[('open'::character varying)::text, ('closed'::character varying)::text])))"
#define CHECK_C                                                                                                        \
	"(((status)::text = ANY (ARRAY[('open'::character varying)::text, ('close'::character varying)::text])))"
#define F(rest) "CREATE FUNCTION public.sq(a integer) RETURNS integer\n    LANGUAGE sql" rest "\n"
#define BODY "\n    BEGIN ATOMIC\n SELECT (a * 2);\nEND;"

static const struct {
	const char *type, *a, *b;
	bool same;
} cases[] = {
    /* tables */
    {"TABLE", T ",\n    CONSTRAINT c CHECK " CHECK_A "\n);", T ",\n    CONSTRAINT c CHECK " CHECK_B "\n);", true},
    {"TABLE", T ",\n    CONSTRAINT c CHECK " CHECK_A "\n);", T ",\n    CONSTRAINT c CHECK " CHECK_C "\n);", false},
    {"TABLE", T ",\n    CONSTRAINT c CHECK " CHECK_A "\n);", T ",\n    CONSTRAINT d CHECK " CHECK_B "\n);", false},
    {"TABLE", T ",\n    CONSTRAINT c CHECK " CHECK_A "\n);", T ",\n    CONSTRAINT c CHECK " CHECK_B " NO INHERIT\n);",
     false},
    {"TABLE", T ",\n    CONSTRAINT c CHECK " CHECK_A ",\n CONSTRAINT d CHECK ((id > 0))\n);",
     T ",\n    CONSTRAINT c CHECK " CHECK_B "\n);", false},
    {"TABLE", T "\n);", T ",\n    x integer\n);", false},
    {"TABLE", T "\n);", "CREATE TABLE public.t (\n    id integer,\n    status character varying(10)\n);", false},
    {"TABLE", T "\n);", "CREATE TABLE public.t (\n    id integer NOT NULL,\n    status character varying(11)\n);",
     false},
    {"TABLE", T "\n);", "CREATE TABLE public.t (id int4 NOT NULL, status varchar(10));", true},
    {"TABLE", T "\n);", "CREATE TABLE public.t (status varchar(10), id int4 NOT NULL);", false},
    {"TABLE", T "\n);", "CREATE TABLE public.t (id int8 NOT NULL, status varchar(10));", false},
    {"TABLE", T "\n);", T " COLLATE pg_catalog.\"C\"\n);", false},
    {"TABLE", T "\n);", T " COLLATE pg_catalog.\"default\"\n);", true},
    {"TABLE", T "\n);", T "\n)\nWITH (fillfactor='70');", false},
    {"TABLE", T "\n)\nWITH (fillfactor='70');", T "\n)\nWITH (fillfactor=70);", true},
    {"TABLE", T "\n)\nWITH (fillfactor='70');", T "\n)\nWITH (fillfactor=71);", false},
    {"TABLE", T ",\n x text\n)\nWITH (toast.autovacuum_enabled='false');", T ",\n x text\n);", false},
    {"TABLE", T "\n)\nWITH (toast.autovacuum_enabled='false');", T "\n)\nWITH (toast.autovacuum_enabled=false);", true},
    {"TABLE", T "\n);", "CREATE UNLOGGED TABLE public.t (\n id integer NOT NULL,\n status varchar(10)\n);", false},
    {"TABLE", "CREATE UNLOGGED TABLE public.t (id int4);", "CREATE UNLOGGED TABLE public.t (id integer);", true},
    {"TABLE", T " DEFAULT 'open'::character varying\n);", T " DEFAULT ('open'::varchar)::character varying\n);", true},
    {"TABLE", T " DEFAULT 'open'::character varying\n);", T " DEFAULT 'shut'::character varying\n);", false},
    {"TABLE", T " DEFAULT 'open'::character varying NOT NULL\n);", T " DEFAULT 'open'::character varying\n);", false},
    {"TABLE", T " DEFAULT 'open'::varchar NOT NULL\n);", T " DEFAULT 'open'::character varying NOT NULL\n);", true},
    {"TABLE", T "\n);", T "\n);\n\n\nALTER TABLE public.t ALTER COLUMN id SET STATISTICS 17;", false},
    {"TABLE", T "\n);\nALTER TABLE ONLY public.t ALTER COLUMN status SET STATISTICS 17;",
     "CREATE TABLE public.t (id int4 NOT NULL, status varchar(10));\nALTER TABLE public.t ALTER COLUMN status SET "
     "STATISTICS 17;",
     true},
    {"TABLE", T "\n);\nALTER TABLE public.t ALTER COLUMN status SET STATISTICS 17;",
     "CREATE TABLE public.t (id int4 NOT NULL, status varchar(10));\nALTER TABLE public.t ALTER COLUMN status SET "
     "STATISTICS 18;",
     false},
    {"TABLE", T "\n);\nALTER TABLE ONLY public.t ALTER COLUMN status SET STORAGE EXTERNAL;", T "\n);", false},
    {"TABLE", T "\n);\nALTER TABLE ONLY public.t ALTER COLUMN status SET STORAGE EXTERNAL;",
     T "\n);\nALTER TABLE ONLY public.t ALTER COLUMN status SET STORAGE MAIN;", false},
    {"TABLE", T "\n);\nALTER TABLE ONLY public.t ALTER COLUMN status SET STORAGE EXTENDED;", T "\n);", true},
    {"TABLE", T "\n);\nALTER TABLE ONLY public.t REPLICA IDENTITY FULL;", T "\n);", false},
    {"TABLE", T "\n);\nALTER TABLE public.t OWNER TO metasnap;", T "\n);\nALTER TABLE public.t OWNER TO other;", false},
    {"TABLE", "CREATE TABLE public.g (\n a integer,\n b integer GENERATED ALWAYS AS ((a + 1)) STORED\n);",
     "CREATE TABLE public.g (\n a integer,\n b integer GENERATED ALWAYS AS (a + 1) STORED\n);", true},
    {"TABLE", "CREATE TABLE public.g (\n a integer,\n b integer GENERATED ALWAYS AS ((a + 1)) STORED\n);",
     "CREATE TABLE public.g (\n a integer,\n b integer GENERATED ALWAYS AS ((a + 2)) STORED\n);", false},
    {"TABLE", "CREATE TABLE public.g (\n a integer,\n b integer GENERATED ALWAYS AS ((a + 1)) STORED\n);",
     "CREATE TABLE public.g (\n a integer,\n b integer DEFAULT 1\n);", false},
    {"TABLE", "CREATE TABLE public.kid (\n x integer\n)\nINHERITS (public.t);",
     "CREATE TABLE public.kid (x int4) INHERITS (public.t);", true},
    {"TABLE", "CREATE TABLE public.kid (\n x integer\n)\nINHERITS (public.t);",
     "CREATE TABLE public.kid (x int4) INHERITS (public.g);", false},
    {"TABLE", "CREATE TABLE public.pt (\n a integer,\n b integer\n)\nPARTITION BY RANGE (a);",
     "CREATE TABLE public.pt (a int4, b int4) PARTITION BY RANGE (a);", true},
    {"TABLE", "CREATE TABLE public.pt (\n a integer,\n b integer\n)\nPARTITION BY RANGE (a);",
     "CREATE TABLE public.pt (a int4, b int4) PARTITION BY RANGE (b);", false},
    {"TABLE", "CREATE TABLE public.pt (\n a integer,\n b integer\n)\nPARTITION BY RANGE (a);",
     "CREATE TABLE public.pt (a int4, b int4) PARTITION BY LIST (a);", false},
    {"TABLE", T "\n);", "CREATE TABLE public.t AS SELECT 1;", false},
    {"TABLE", T "\n);", T "\n); DROP TABLE public.t;", false},
    {"TABLE", T "\n);", T, false},
    /* defaults, constraints */
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.s'::regclass);",
     "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT pg_catalog.nextval('public.s'::pg_catalog.regclass);",
     true},
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.s'::regclass);",
     "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.s2'::regclass);", false},
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT 1;",
     "ALTER TABLE ONLY public.t ALTER COLUMN status SET DEFAULT 1;", false},
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT NULL::int;",
     "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT NULL::integer;", true},
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN status SET DEFAULT 'now';",
     "ALTER TABLE ONLY public.t ALTER COLUMN status SET DEFAULT 'now'::text;", false},
    {"DEFAULT", "ALTER TABLE ONLY public.t ALTER COLUMN status SET DEFAULT ('now');",
     "ALTER TABLE ONLY public.t ALTER COLUMN status SET DEFAULT ('now'::text);", false},
    {"TABLE", T " DEFAULT 'now'\n);", T " DEFAULT 'now'::text\n);", false},
    {"CHECK CONSTRAINT", "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_A " NOT VALID;",
     "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_B " NOT VALID;", true},
    {"CHECK CONSTRAINT", "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_A " NOT VALID;",
     "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_B ";", false},
    {"CHECK CONSTRAINT", "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_A " NOT VALID;",
     "ALTER TABLE public.t\n    ADD CONSTRAINT c CHECK " CHECK_C " NOT VALID;", false},
    {"CHECK CONSTRAINT",
     "ALTER DOMAIN public.d ADD CONSTRAINT dc CHECK "
     "((VALUE > 0)) NOT VALID;",
     "ALTER DOMAIN public.d ADD CONSTRAINT dc CHECK (VALUE > 0) NOT VALID;", true},
    {"CHECK CONSTRAINT", "ALTER DOMAIN public.d ADD CONSTRAINT dc CHECK ((VALUE > 0)) NOT VALID;",
     "ALTER DOMAIN public.d ADD CONSTRAINT dc CHECK ((VALUE > 1)) NOT VALID;", false},
    {"CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id) DEFERRABLE;", false},
    {"CONSTRAINT", "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);", true},
    {"CONSTRAINT", "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE (id);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (id);", false},
    {"CONSTRAINT", "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE (id) DEFERRABLE INITIALLY DEFERRED;",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE (id) DEFERRABLE;", false},
    {"CONSTRAINT", "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE (id) INCLUDE (status);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT u UNIQUE (id);", false},
    {"CONSTRAINT",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (int4range(id, id, '[]'::text) WITH &&) WHERE "
     "(" CHECK_A ");",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (pg_catalog.int4range(id, id, '[]'::text) WITH "
     "&&) WHERE (" CHECK_B ");",
     true},
    {"CONSTRAINT",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (int4range(id, id, '[]'::text) WITH &&);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (int4range(id, id, '[)'::text) WITH &&);", false},
    {"CONSTRAINT",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (int4range(id, id, '[]'::text) WITH &&);",
     "ALTER TABLE ONLY public.t ADD CONSTRAINT x EXCLUDE USING gist (int4range(id, id, '[]'::text) WITH =);", false},
    {"FK CONSTRAINT", "ALTER TABLE ONLY public.g ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.t(id);",
     "ALTER TABLE ONLY public.g ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.t(id) ON DELETE CASCADE;", false},
    {"FK CONSTRAINT", "ALTER TABLE ONLY public.g ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.t(id);",
     "ALTER TABLE ONLY public.g ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.t(id) NOT VALID;", false},
    /* indexes, statistics */
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id) WHERE (" CHECK_A ");",
     "CREATE INDEX i ON public.t USING btree (id) WHERE (" CHECK_B ");", true},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id) WHERE (" CHECK_A ");",
     "CREATE INDEX i ON public.t USING btree (id) WHERE (" CHECK_C ");", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (lower((status)::text), ((id + 1)));",
     "CREATE INDEX i ON public.t USING btree (pg_catalog.lower((status)::text), ((id) + 1));", true},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (((id + 1)));",
     "CREATE INDEX i ON public.t USING btree (((id + 2)));", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id);", "CREATE INDEX i ON public.t USING btree (id DESC);",
     false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id);", "CREATE UNIQUE INDEX i ON public.t USING btree (id);",
     false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (status);",
     "CREATE INDEX i ON public.t USING btree (status text_pattern_ops);", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (status) INCLUDE (id);",
     "CREATE INDEX i ON public.t USING btree (status, id);", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (status) WITH (fillfactor='70');",
     "CREATE INDEX i ON public.t USING btree (status) WITH (fillfactor='71');", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id);",
     "CREATE INDEX i ON public.t USING btree (id);\nALTER TABLE public.t CLUSTER ON i;", false},
    {"INDEX", "CREATE INDEX i ON public.t USING btree (id);", "CREATE INDEX i ON public.t USING hash (id);", false},
    {"STATISTICS", "CREATE STATISTICS public.st ON ((id + 1)), lower((status)::text) FROM public.t;",
     "CREATE STATISTICS public.st ON (id + 1), pg_catalog.lower((status)::text) FROM public.t;", true},
    {"STATISTICS", "CREATE STATISTICS public.st ON ((id + 1)), status FROM public.t;",
     "CREATE STATISTICS public.st ON ((id + 2)), status FROM public.t;", false},
    {"STATISTICS", "CREATE STATISTICS public.st (ndistinct) ON id, status FROM public.t;",
     "CREATE STATISTICS public.st (dependencies) ON id, status FROM public.t;", false},
    /* policies, triggers, rules */
    {"POLICY", "CREATE POLICY p ON public.t USING (" CHECK_A ");", "CREATE POLICY p ON public.t USING (" CHECK_B ");",
     true},
    {"POLICY", "CREATE POLICY p ON public.t USING (" CHECK_A ");", "CREATE POLICY p ON public.t USING (" CHECK_C ");",
     false},
    {"POLICY", "CREATE POLICY p ON public.t USING ((id > 0)) WITH CHECK ((id > 0));",
     "CREATE POLICY p ON public.t USING ((id > 0)) WITH CHECK ((id > 1));", false},
    {"POLICY", "CREATE POLICY p ON public.t USING ((id > 0));",
     "CREATE POLICY p ON public.t AS RESTRICTIVE USING ((id > 0));", false},
    {"POLICY", "CREATE POLICY p ON public.t FOR SELECT TO metasnap USING ((id > 0));",
     "CREATE POLICY p ON public.t FOR SELECT USING ((id > 0));", false},
    {"POLICY", "CREATE POLICY p ON public.t USING ((EXISTS ( SELECT 1\n   FROM public.g\n  WHERE (g.a = t.id))));",
     "CREATE POLICY p ON public.t USING ((EXISTS ( SELECT 1 FROM public.g WHERE g.a = t.id)));", true},
    {"TRIGGER",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN (((old.status)::text = ANY "
     "((ARRAY['open'::character varying, 'closed'::character varying])::text[]))) EXECUTE FUNCTION public.tf();",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN (((old.status)::text = ANY "
     "(ARRAY[('open'::character varying)::text, ('closed'::character varying)::text]))) EXECUTE FUNCTION "
     "public.tf();",
     true},
    {"TRIGGER",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE "
     "FUNCTION public.tf();",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION "
     "public.tf();",
     true},
    {"TRIGGER",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN ((old.id < new.id)) EXECUTE FUNCTION "
     "public.tf();",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW WHEN ((new.id < old.id)) EXECUTE FUNCTION "
     "public.tf();",
     false},
    {"TRIGGER", "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.tf('a');",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.tf('b');", false},
    {"TRIGGER", "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.tf();",
     "CREATE TRIGGER tr BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.tf();\n\nALTER TABLE public.t "
     "DISABLE TRIGGER tr;",
     false},
    {"RULE",
     "CREATE RULE r AS\n    ON UPDATE TO public.v DO INSTEAD  UPDATE public.t SET id = new.id\n  WHERE (t.id = "
     "old.id);",
     "CREATE RULE r AS ON UPDATE TO public.v DO INSTEAD UPDATE public.t SET id = NEW.id WHERE t.id = OLD.id;", true},
    {"RULE", "CREATE RULE r AS ON UPDATE TO public.t DO INSTEAD NOTHING;",
     "CREATE RULE r AS ON UPDATE TO public.t DO NOTHING;", false},
    {"RULE", "CREATE RULE r AS ON UPDATE TO public.t WHERE (old.id > 0) DO INSTEAD NOTHING;",
     "CREATE RULE r AS ON UPDATE TO public.t WHERE (old.id > 1) DO INSTEAD NOTHING;", false},
    {"RULE", "CREATE RULE r AS ON UPDATE TO public.t DO INSTEAD (DELETE FROM public.g; DELETE FROM public.t;);",
     "CREATE RULE r AS ON UPDATE TO public.t DO INSTEAD (DELETE FROM public.t; DELETE FROM public.g;);", false},
    /* views */
    {"VIEW", "CREATE VIEW public.v AS\n SELECT t.id\n   FROM public.t\n  WHERE " CHECK_A ";",
     "CREATE VIEW public.v AS\n SELECT id FROM public.t\n  WHERE " CHECK_B ";", true},
    {"VIEW", "CREATE VIEW public.v AS\n SELECT t.id\n   FROM public.t\n  WHERE " CHECK_A ";",
     "CREATE VIEW public.v AS\n SELECT id FROM public.t\n  WHERE " CHECK_C ";", false},
    {"VIEW", "CREATE VIEW public.v AS SELECT NULL::integer AS x;", "CREATE VIEW public.v AS SELECT null::int AS x;",
     true},
    {"VIEW", "CREATE VIEW public.v AS SELECT null::int;", "CREATE VIEW public.v AS SELECT NULL::integer AS int4;",
     true},
    {"VIEW", "CREATE VIEW public.v AS SELECT NULL::integer AS x;", "CREATE VIEW public.v AS SELECT NULL::integer AS y;",
     false},
    {"VIEW", "CREATE VIEW public.v AS SELECT t.status FROM public.t;",
     "CREATE VIEW public.v AS SELECT (t.status)::character varying(9) AS status FROM public.t;", false},
    {"VIEW", "CREATE VIEW public.v AS SELECT t.status FROM public.t;",
     "CREATE VIEW public.v AS SELECT (t.status COLLATE \"C\") AS status FROM public.t;", false},
    {"VIEW", "CREATE VIEW public.v WITH (security_barrier='true') AS SELECT 1 AS x;",
     "CREATE VIEW public.v AS SELECT 1 AS x;", false},
    {"VIEW", "CREATE VIEW public.v AS SELECT t.id FROM public.t\n  WITH CASCADED CHECK OPTION;",
     "CREATE VIEW public.v AS SELECT t.id FROM public.t\n  WITH LOCAL CHECK OPTION;", false},
    {"VIEW", "CREATE VIEW public.v AS SELECT t.id FROM public.t\n  WITH CASCADED CHECK OPTION;",
     "CREATE VIEW public.v AS SELECT id FROM public.t\n  WITH CASCADED CHECK OPTION;", true},
    {"MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW public.m AS\n SELECT t.id FROM public.t\n  WITH NO DATA;",
     "CREATE MATERIALIZED VIEW public.m AS SELECT id FROM public.t WITH NO DATA;", true},
    {"MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW public.m AS\n SELECT t.id FROM public.t\n  WITH NO DATA;",
     "CREATE MATERIALIZED VIEW public.m AS SELECT id + 1 AS id FROM public.t WITH NO DATA;", false},
    {"MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW public.m WITH (fillfactor='70') AS SELECT 1 AS x WITH NO DATA;",
     "CREATE MATERIALIZED VIEW public.m WITH (fillfactor='71') AS SELECT 1 AS x WITH NO DATA;", false},
    /* functions */
    {"FUNCTION", F(BODY), F("\n    BEGIN ATOMIC\n SELECT a * 2 AS \"?column?\";\nEND;"), true},
    {"FUNCTION", F(BODY), F("\n    BEGIN ATOMIC\n SELECT a * 3;\nEND;"), false},
    {"FUNCTION", F(" IMMUTABLE" BODY), F(" STABLE" BODY), false},
    {"FUNCTION", F(" COST 10" BODY), F(" COST 11" BODY), false},
    {"FUNCTION", F(" PARALLEL SAFE" BODY), F(BODY), false},
    {"FUNCTION", F(" STRICT" BODY), F(BODY), false},
    {"FUNCTION", F(" STRICT" BODY), F(" RETURNS NULL ON NULL INPUT" BODY), true},
    {"FUNCTION", F(" SECURITY DEFINER" BODY), F(BODY), false},
    {"FUNCTION", F(" SET search_path TO 'a'" BODY), F(" SET search_path TO 'b'" BODY), false},
    {"FUNCTION", F(" AS $$ SELECT 1 $$;"), F(" AS $_$ SELECT 1 $_$;"), true},
    {"FUNCTION", F(" AS $$ SELECT 1 $$;"), F(" AS $$ SELECT 2 $$;"), false},
    {"FUNCTION", "CREATE FUNCTION public.df(a integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$;",
     "CREATE FUNCTION public.df(a integer DEFAULT 2) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$;", false},
    {"FUNCTION", "CREATE FUNCTION public.df(a integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$;",
     "CREATE FUNCTION public.df(b integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$;", false},
    {"FUNCTION", "CREATE FUNCTION public.c(internal) RETURNS integer LANGUAGE c AS 'evil', 'f';",
     "CREATE FUNCTION public.c(internal) RETURNS int4 LANGUAGE c AS 'evil', 'f';", false},
    {"PROCEDURE",
     "CREATE PROCEDURE public.pr(IN a integer) LANGUAGE sql BEGIN ATOMIC DELETE FROM public.g WHERE (g.a = "
     "pr.a); END;",
     "CREATE PROCEDURE public.pr(IN a integer) LANGUAGE sql BEGIN ATOMIC DELETE FROM public.g WHERE g.a = pr.a; END;",
     true},
    {"AGGREGATE", "CREATE AGGREGATE public.ag(integer) (\n SFUNC = int4pl,\n STYPE = integer,\n INITCOND = '0'\n);",
     "CREATE AGGREGATE public.ag(integer) (SFUNC = int4pl, STYPE = int4, INITCOND = '0');", true},
    {"AGGREGATE", "CREATE AGGREGATE public.ag(integer) (\n SFUNC = int4pl,\n STYPE = integer,\n INITCOND = '0'\n);",
     "CREATE AGGREGATE public.ag(integer) (SFUNC = int4pl, STYPE = int4, INITCOND = '1');", false},
    /* types */
    {"DOMAIN",
     "CREATE DOMAIN public.d2 AS character varying(10)\n\tCONSTRAINT c CHECK (((VALUE)::text = ANY "
     "((ARRAY['a'::character varying, 'b'::character varying])::text[])));",
     "CREATE DOMAIN public.d2 AS character varying(10)\n\tCONSTRAINT c CHECK (((VALUE)::text = ANY (ARRAY[("
     "'a'::character varying)::text, ('b'::character varying)::text])));",
     true},
    {"DOMAIN", "CREATE DOMAIN public.d2 AS integer\n\tCONSTRAINT c CHECK ((VALUE > 0));",
     "CREATE DOMAIN public.d2 AS integer\n\tCONSTRAINT c CHECK ((VALUE > 1));", false},
    {"DOMAIN", "CREATE DOMAIN public.d2 AS character varying(10) DEFAULT 'a'::character varying;",
     "CREATE DOMAIN public.d2 AS character varying(10) DEFAULT 'b'::character varying;", false},
    {"DOMAIN", "CREATE DOMAIN public.d2 AS integer NOT NULL;", "CREATE DOMAIN public.d2 AS integer;", false},
    {"DOMAIN", "CREATE DOMAIN public.d2 AS text COLLATE pg_catalog.\"C\";", "CREATE DOMAIN public.d2 AS text;", false},
    {"TYPE", "CREATE TYPE public.e AS ENUM (\n    'a',\n    'b'\n);", "CREATE TYPE public.e AS ENUM ('a', 'b');", true},
    {"TYPE", "CREATE TYPE public.e AS ENUM ('a', 'b');", "CREATE TYPE public.e AS ENUM ('b', 'a');", false},
    {"TYPE", "CREATE TYPE public.e AS ENUM ('a', 'b');", "CREATE TYPE public.e AS ENUM ('a', 'b', 'c');", false},
    {"TYPE", "CREATE TYPE public.ct AS (\n\ta integer,\n\tb text\n);", "CREATE TYPE public.ct AS (a int4, b text);",
     true},
    {"TYPE", "CREATE TYPE public.ct AS (a integer, b text);", "CREATE TYPE public.ct AS (b text, a integer);", false},
    {"TYPE", "CREATE TYPE public.ct AS (a integer, b text);",
     "CREATE TYPE public.ct AS (a integer, b text COLLATE pg_catalog.\"C\");", false},
    {"TYPE", "CREATE TYPE public.ra AS RANGE (subtype = integer, multirange_type_name = public.ra_multirange);",
     "CREATE TYPE public.ra AS RANGE (\n    subtype = int4\n);", true},
    {"TYPE", "CREATE TYPE public.ra AS RANGE (subtype = integer, multirange_type_name = public.mr);",
     "CREATE TYPE public.ra AS RANGE (subtype = integer, multirange_type_name = other.mr);", false},
    {"TYPE", "CREATE TYPE public.ra AS RANGE (subtype = integer, multirange_type_name = public.mr);",
     "CREATE TYPE public.ra AS RANGE (subtype = integer, multirange_type_name = public.ms);", false},
    {"TYPE", "CREATE TYPE public.ra AS RANGE (subtype = double precision, subtype_diff = float8mi);",
     "CREATE TYPE public.ra AS RANGE (subtype = double precision);", false},
    {"SEQUENCE",
     "CREATE SEQUENCE public.s3\n    START WITH 1\n    INCREMENT BY 1\n    NO MINVALUE\n    NO MAXVALUE\n  CACHE 1;",
     "CREATE SEQUENCE public.s3;", true},
    {"SEQUENCE", "CREATE SEQUENCE public.s3 CACHE 1;", "CREATE SEQUENCE public.s3 CACHE 2;", false},
    {"SEQUENCE", "CREATE SEQUENCE public.s3 CYCLE;", "CREATE SEQUENCE public.s3;", false},
    {"SEQUENCE", "CREATE SEQUENCE public.s3 AS integer;", "CREATE SEQUENCE public.s3;", false},
    {"COLLATION", "CREATE COLLATION public.co (provider = libc, locale = 'C');",
     "CREATE COLLATION public.co (provider = libc, lc_collate = 'C', lc_ctype = 'C');", true},
    {"COLLATION", "CREATE COLLATION public.co (provider = libc, locale = 'C');",
     "CREATE COLLATION public.co (provider = libc, locale = 'POSIX');", false},
    /* what the server does not take */
    {"VIEW", "CREATE VIEW public.v AS SELECT 1 AS x;", "CREATE VIEW public.v AS SELECT 1 1 AS x;", false},
    {"TABLE", "CREATE TABLE public.x (a integer);", "CREATE TABLE public.x (a integer integer);", false},
    {"TABLE", "CREATE TABLE public.x (a integer);", "CREATE TABLE public.x (a nowhere.integer);", false},
    {"FUNCTION", F(BODY), "CREATE FUNCTION public.sq(a integer) RETURNS integer LANGUAGE sql RETURN;", false},
    /* what is compared by its tokens alone */
    {"COMMENT", "COMMENT ON TABLE public.t IS 'a';", "COMMENT ON TABLE public.t IS 'b';", false},
    {"COMMENT", "COMMENT ON TABLE public.t IS 'a';", "COMMENT  ON TABLE public.t\nIS 'a' ;", true},
    {"COMMENT", "COMMENT ON TABLE public.t IS 'a  b';", "COMMENT ON TABLE public.t IS 'a b';", false},
    {"ACL", "GRANT SELECT ON TABLE public.t TO a;", "GRANT SELECT ON TABLE public.t TO b;", false},
    {"TABLE ATTACH", "ALTER TABLE ONLY public.p ATTACH PARTITION public.p1 FOR VALUES FROM (1) TO (2);",
     "ALTER TABLE ONLY public.p ATTACH PARTITION public.p1 FOR VALUES FROM (1) TO (3);", false},
    {"PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY public.t WHERE ((id > 0));",
     "ALTER PUBLICATION p ADD TABLE ONLY public.t WHERE (id > 0);", true},
    {"PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY public.t WHERE ((id > 0));",
     "ALTER PUBLICATION p ADD TABLE ONLY public.t WHERE ((id > 1));", false},
};

static const char world[] =
    "CREATE SEQUENCE s; CREATE SEQUENCE s2; CREATE DOMAIN d AS integer;"
    "CREATE TABLE t (id integer NOT NULL, status varchar(10));"
    "CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a + 1) STORED);"
    "CREATE VIEW v AS SELECT id FROM t;"
    "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
    /* writes down that it was run */
    "CREATE TABLE ran (who text);"
    "CREATE FUNCTION evil() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS"
    " $$ BEGIN PERFORM pg_catalog.pg_notify('evil', 'x'); PERFORM pg_catalog.set_config('evil.ran', 'yes', false);"
    " RAISE EXCEPTION 'evil was run' USING ERRCODE = '57014'; END $$;";

/* Everything that the catalogs of a definition hold, and how many rows. */
static char *catalogs(PGconn *pg)
{
	return sql_value(
	    pg, "SELECT concat_ws(',', (SELECT md5(string_agg(concat(oid, relname, relfilenode,"
		" relhasindex, relhastriggers, relhasrules, relhassubclass), '' ORDER BY oid)) FROM pg_class c),"
		" (SELECT md5(string_agg(c::text, '' ORDER BY oid)) FROM pg_type c),"
		" (SELECT md5(string_agg(c::text, '' ORDER BY oid)) FROM pg_proc c),"
		" (SELECT md5(string_agg(c::text, '' ORDER BY oid)) FROM pg_namespace c),"
		" (SELECT count(*) FROM pg_depend))");
}

static void run_cases(struct pg_conn *c)
{
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (int turn = 0; turn < 2; turn++) {
			bool same = !cases[i].same;
			ok(pg_same_text(c, cases[i].type, turn ? cases[i].b : cases[i].a,
					turn ? cases[i].a : cases[i].b, &same, &e));
			if (same == cases[i].same)
				continue;
			print_error("%s\n%s\n", cases[i].a, cases[i].b);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

static void test_beside_a_reading_transaction(void **state)
{
	PGconn *pg = *state;
	_cleanup_free_ char *before = catalogs(pg);
	struct pg_conn *c = open_driver();
	run_cases(c);
	pg_connection_free(c);
	_cleanup_free_ char *after = catalogs(pg);
	assert_string_equal(before, after);
}

static void test_inside_a_writing_transaction(void **state)
{
	PGconn *pg = *state;
	_cleanup_free_ char *before = catalogs(pg);
	struct pg_conn *c = open_driver();
	ok(pg_query(c, NULL, "begin", "BEGIN ISOLATION LEVEL REPEATABLE READ", 0, NULL, &e));
	c->active = true;
	c->access = DB_WRITE;
	run_cases(c);
	/* what only this transaction has is known */
	bool same = false;
	ok(pg_query(c, NULL, "make", "CREATE TABLE public.mine (id integer)", 0, NULL, &e));
	ok(pg_same_text(c, "INDEX", "CREATE INDEX i ON public.mine USING btree (((id + 1)));",
			"CREATE INDEX i ON public.mine USING btree ((id + 1));", &same, &e));
	assert_true(same);
	ok(pg_query(c, NULL, "unmake", "DROP TABLE public.mine", 0, NULL, &e));
	ok(pg_query(c, NULL, "commit", "COMMIT", 0, NULL, &e));
	pg_connection_free(c);
	_cleanup_free_ char *after = catalogs(pg);
	assert_string_equal(before, after);
}

/* An error with this code would be told as trouble. */
static void test_nobodys_code_is_run(void **state)
{
	static const char *const texts[][2] = {
	    {"CREATE INDEX i ON public.t USING btree ((id + public.evil()));",
	     "CREATE INDEX i ON public.t USING btree (((id + public.evil())));"},
	    {"CREATE INDEX i ON public.t USING btree (id) WHERE (id > public.evil());",
	     "CREATE INDEX i ON public.t USING btree (id) WHERE ((id > public.evil()));"},
	    {"CREATE TABLE public.g (a integer DEFAULT public.evil(), b int4 GENERATED ALWAYS AS ((a + public.evil())) "
	     "STORED);",
	     "CREATE TABLE public.g (a integer DEFAULT (public.evil()), b int4 GENERATED ALWAYS AS (a + public.evil()) "
	     "STORED);"},
	    {"CREATE TABLE public.g (a integer, b int4 GENERATED ALWAYS AS ((a + public.evil())) STORED);",
	     "CREATE TABLE public.g (a integer, b integer GENERATED ALWAYS AS (a + public.evil()) STORED);"},
	    {"CREATE TABLE public.g (a integer) PARTITION BY RANGE ((a + public.evil()));",
	     "CREATE TABLE public.g (a int4) PARTITION BY RANGE ((a + public.evil()));"},
	    {"CREATE TABLE public.g (a integer);", "CREATE TABLE public.g AS SELECT public.evil();"},
	    {"CREATE TABLE public.g (a integer);", "CREATE TABLE public.g (a) AS SELECT public.evil();"},
	    {"CREATE TABLE public.g (a integer);", "SELECT public.evil();"},
	    {"CREATE TABLE public.g (a integer);", "CREATE TABLE public.g (a int4); SELECT public.evil();"},
	    {"CREATE VIEW public.v AS SELECT public.evil() AS x;",
	     "CREATE VIEW public.v AS SELECT (public.evil()) AS x;"},
	    {"CREATE DOMAIN public.d AS integer DEFAULT public.evil() CONSTRAINT c CHECK ((VALUE > public.evil()));",
	     "CREATE DOMAIN public.d AS int4 DEFAULT public.evil() CONSTRAINT c CHECK (VALUE > public.evil());"},
	    {"CREATE STATISTICS public.st ON (id + public.evil()), status FROM public.t;",
	     "CREATE STATISTICS public.st ON ((id + public.evil())), status FROM public.t;"},
	    {"CREATE FUNCTION public.f(a integer DEFAULT public.evil()) RETURNS integer LANGUAGE sql BEGIN ATOMIC "
	     "SELECT "
	     "public.evil(); END;",
	     "CREATE FUNCTION public.f(a int4 DEFAULT public.evil()) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT "
	     "public.evil(); END;"},
	};
	static const bool same[] = {true, true, true, false, false, false, false, false, false, true, true, true, true};
	(void)state;
	struct pg_conn *c = open_driver();
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		bool is = !same[i];
		ok(pg_same_text(c, "X", texts[i][0], texts[i][1], &is, &e));
		if (is != same[i])
			fail_msg("%s", texts[i][0]);
	}
	pg_connection_free(c);
}

/* Who waits for the table waits no longer for us, and we say so instead of guessing. */
static void test_a_lock_is_an_error(void **state)
{
	PGconn *pg = *state;
	struct err e = ERR_INIT;
	bool same = false;
	struct pg_conn *c = open_driver();
	sql_on(pg, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
	int r = pg_same_text(c, "VIEW", "CREATE VIEW public.v AS SELECT id FROM public.t;",
			     "CREATE VIEW public.v AS SELECT t.id FROM public.t;", &same, &e);
	sql_on(pg, "ROLLBACK");
	assert_int_equal(r, -EBUSY);
	assert_string_equal(e.sqlstate, "55P03");
	pg_connection_free(c);
}

static int set_up(void **state)
{
	PGconn *pg = sql_connect("postgres");
	sql_on(pg, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
	sql_on(pg, "CREATE DATABASE " DATABASE);
	PQfinish(pg);
	pg = sql_connect(DATABASE);
	sql_on(pg, world);
	*state = pg;
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
	    cmocka_unit_test(test_beside_a_reading_transaction),
	    cmocka_unit_test(test_inside_a_writing_transaction),
	    cmocka_unit_test(test_nobodys_code_is_run),
	    cmocka_unit_test(test_a_lock_is_an_error),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
