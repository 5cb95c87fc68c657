#!/bin/bash
# A rebuild on PostgreSQL makes its large tables on several connections. One of these is lost at each stage, the job is cancelled,
# or killed: the database stays empty, nothing is left beside it, and the same restore then works.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
use_db postgresql
db_fill 120000
write_config restore=replace
db_dump "$CASE_DIR/before"
ms snapshot prod s1

# Ends connections that run what matches, as soon as there is one. The server looks for them: a client would be too slow.
end_sessions() {
	db_sql <<-SQL || fail "no session ran $1"
		DO \$\$ BEGIN
		  FOR i IN 1 .. 10000 LOOP
		    PERFORM pg_stat_clear_snapshot();
		    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
		      WHERE state = 'active' AND pid <> pg_backend_pid() AND datname = current_database() AND query LIKE '$1';
		    IF FOUND THEN RETURN; END IF;
		    PERFORM pg_sleep(0.002);
		  END LOOP;
		  RAISE 'none';
		END \$\$;
	SQL
}
beside() { db_query "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'metasnap%'"; }
is_beside() { [ "$(beside)" = 1 ]; }
is_loading() { is_beside && [ "$(db_query "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY \"metasnap%FROM STDIN%'")" != 0 ]; }
assert_empty() {
	assert_eq 0 "$(db_query "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")" "relations after $1"
	assert_eq 0 "$(beside)" "schemas left after $1"
}

for statement in 'COPY "metasnap%FROM STDIN%' 'CREATE INDEX%metasnap%' '%COPY%metasnap%TO STDOUT%'; do
	step "the connection is lost at $statement"
	db_reset
	ms restore prod s1 --yes >"$CASE_DIR/out.txt" 2>&1 &
	job=$!
	end_sessions "$statement"
	rc=0
	wait "$job" || rc=$?
	assert_eq 1 "$rc" "exit code"
	assert_has "$(cat "$CASE_DIR/out.txt")" 'table [a-z_]+: ' "the words name the table"
	assert_empty "$statement"
done

step "cancelled"
db_reset
"$METASNAP" -c "$CONF" restore prod s1 --yes >"$CASE_DIR/out.txt" 2>&1 &
job=$!
wait_for 20 "tables are made beside" is_beside
kill -TERM "$job"
rc=0
wait "$job" || rc=$?
assert_eq 1 "$rc" "exit code of a cancelled restore"
assert_empty "the end by a signal"

step "kill -9, then the same restore"
db_reset
"$METASNAP" -c "$CONF" restore prod s1 --yes >"$CASE_DIR/out.txt" 2>&1 &
job=$!
wait_for 20 "rows are written beside" is_loading
kill -9 "$job"
rc=0
wait "$job" || rc=$?
assert_eq 137 "$rc" "exit status: the kill came before the end"
assert_eq 0 "$(db_query "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")" "relations after kill -9"
ms restore prod s1 --yes
assert_eq 0 "$(beside)" "schemas left after the second restore"
db_dump "$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "restored after the crash"
ms check
