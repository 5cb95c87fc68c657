#!/bin/bash
# PostgreSQL's own regression database comes back: after changes in every table, after changes to a tenth of all objects, into
# a new database, as .sql; by pg_dump before and after. Where pg_dump's own text does not load, what it loses is the measure.
# LONG: two minutes for the suite, and its source from the archive
# TIMEOUT: 1800
. "$(dirname "$0")/../lib.sh"
chmod 755 "$CASE_DIR"
DB_ENGINE=postgresql
eval "$(METASNAP_PG_CONF='max_locks_per_transaction = 256' "$TESTS_DIR/servers/postgres" start "$CASE_DIR/pg")"
case_ends() { "$TESTS_DIR/servers/postgres" stop "$CASE_DIR/pg"; }
PGPASSWORD=$(cat "$SERVER_PASSWORD_FILE")
export PGPASSWORD
DB_PASSWORD_FILE=$SERVER_PASSWORD_FILE

use_database() {
	DB_NAME=$1
	DB_URL=${SERVER_URL%/*}/$1
	write_config restore=replace
}

# The schema that is kept, sorted
schema_dump() { "$SERVER_BINDIR/pg_dump" -n public "${2:-$DB_URL}" | grep -vE '^(\\(un)?restrict |-- Dumped )' | sort >"$1"; }

same() {
	local lines
	schema_dump "$CASE_DIR/found"
	lines=$(diff "$1" "$CASE_DIR/found" | grep -c '^[<>]' || true)
	echo "$2: $(wc -l <"$1") lines, $lines differ"
	[ "$lines" = 0 ] || diff "$1" "$CASE_DIR/found" | cut -c1-160 | head -n 40
	assert_eq 0 "$lines" "$2: lines that differ"
}

step "the suite"
mkdir -m 755 "$CASE_DIR/suite"
"$TESTS_DIR/servers/pg-regression" "$CASE_DIR/suite" "$SERVER_PORT" "$SERVER_BINDIR"
use_database regression
# What is refused by name: large objects; foreign tables; tables of columns that nobody can write.
db_sql "SELECT lo_unlink(oid) FROM pg_largeobject_metadata;"
ms snapshot prod try >"$CASE_DIR/refused" 2>&1 || true
cat "$CASE_DIR/refused"
schema_dump "$CASE_DIR/good"

step "snapshot"
ms snapshot prod one
assert_exit 0 ms verify prod one --live

step "changes in every table"
db_sql <<-'SQL'
	SET session_replication_role = replica;
	DO $$ DECLARE t regclass; BEGIN
	  FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
	    BEGIN
	      EXECUTE format('DELETE FROM ONLY %s WHERE ctid IN (SELECT ctid FROM ONLY %1$s LIMIT 3)', t);
	    EXCEPTION WHEN OTHERS THEN RAISE NOTICE '%: %', t, SQLERRM; END;
	  END LOOP;
	END $$;
SQL
ms restore prod one --yes
same "$CASE_DIR/good" "rows of every table"
assert_exit 0 ms verify prod one --live

step "changes to a tenth of the objects"
db_sql <<-'SQL'
	SET client_min_messages = warning;
	DO $$ DECLARE c text; BEGIN
	  FOR c IN
	    SELECT format('ALTER TABLE %s ADD COLUMN metasnap_more integer DEFAULT 1', oid::regclass) FROM pg_class
	     WHERE relkind = 'r' AND NOT relispartition AND relnamespace = 'public'::regnamespace AND oid::bigint % 10 = 0
	    UNION ALL SELECT format('DROP INDEX %s', oid::regclass) FROM pg_class
	     WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace AND oid::bigint % 10 = 1
	    UNION ALL SELECT format('DROP VIEW %s', oid::regclass) FROM pg_class
	     WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace AND oid::bigint % 10 < 2
	    UNION ALL SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM pg_proc
	     WHERE prokind = 'f' AND pronamespace = 'public'::regnamespace AND oid::bigint % 10 = 2
	    UNION ALL SELECT format('COMMENT ON TABLE %s IS %L', oid::regclass, 'spoilt') FROM pg_class
	     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND oid::bigint % 10 = 3
	    UNION ALL SELECT format('GRANT SELECT ON %s TO PUBLIC', oid::regclass) FROM pg_class
	     WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace AND oid::bigint % 10 = 4
	    UNION ALL SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
	     WHERE conrelid <> 0 AND conparentid = 0 AND connamespace = 'public'::regnamespace AND oid::bigint % 10 = 5
	  LOOP
	    BEGIN EXECUTE c; EXCEPTION WHEN OTHERS THEN NULL; END;
	  END LOOP;
	END $$;
	SELECT 1 / (count(*) > 20)::int FROM pg_attribute WHERE attname = 'metasnap_more';
SQL
ms restore prod one --dry-run >"$CASE_DIR/plan.txt" || fail "the plan: $(tail -n 3 "$CASE_DIR/plan.txt")"
echo "objects: $(grep -cE '^(make|alter|drop) ' "$CASE_DIR/plan.txt")"
ms restore prod one --yes
same "$CASE_DIR/good" "a tenth of the objects"
assert_exit 0 ms verify prod one --live

step "into a new database, beside what pg_dump | psql makes of it"
psql -X -q "$SERVER_URL" -c "CREATE DATABASE by_pg_dump TEMPLATE template0" -c "CREATE DATABASE by_metasnap TEMPLATE template0" \
	-c "CREATE DATABASE by_sql TEMPLATE template0"
"$SERVER_BINDIR/pg_dump" -n public "$DB_URL" | psql -X -q "${SERVER_URL%/*}/by_pg_dump" >/dev/null 2>"$CASE_DIR/lost"
echo "pg_dump | psql: $(grep -c ERROR "$CASE_DIR/lost" || true) errors"
grep ERROR "$CASE_DIR/lost" | sed 's/^psql[^:]*:[^:]*:[0-9]*: //; s/^/    /' | cut -c1-160 | head -n 30 || true
schema_dump "$CASE_DIR/measure" "${SERVER_URL%/*}/by_pg_dump"
ms export prod one "$CASE_DIR/one.sql"
psql -X -q "${SERVER_URL%/*}/by_sql" -f "$CASE_DIR/one.sql" >/dev/null 2>"$CASE_DIR/lost_sql" || true
ms export prod one "$CASE_DIR/one"
use_database by_sql
same "$CASE_DIR/measure" "by .sql"
use_database by_metasnap
ms restore prod "$CASE_DIR/one" --yes
same "$CASE_DIR/measure" "into a new database"
assert_exit 0 ms verify prod one --live
ms check
