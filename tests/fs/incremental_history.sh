#!/bin/bash
# A PostgreSQL server with another past than the last snapshot's: started again, promoted, put back to an older state, copied,
# with transaction ids moved by pg_resetwal. No row is taken over from the last snapshot then. And one whose transaction ids
# begin again at 3 between two snapshots: there they are.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
mkdir -p "$CASE_DIR/pg"
"$TESTS_DIR/servers/postgres" start "$CASE_DIR/pg" >"$CASE_DIR/pg.env"
case_ends() { "$TESTS_DIR/servers/postgres" stop "$CASE_DIR/pg"; }
# shellcheck source=/dev/null
. "$CASE_DIR/pg.env"
PGPASSWORD=$(cat "$SERVER_PASSWORD_FILE")
export PGPASSWORD
DB_ENGINE=postgresql DB_URL=$SERVER_URL DB_PASSWORD_FILE=$SERVER_PASSWORD_FILE DATA=$CASE_DIR/pg/data
write_config
WHOLE=$CASE_DIR/whole.conf
sed "s#^path=.*#path=$CASE_DIR/whole/catalog.db#" "$CONF" >"$WHOLE"
chmod 600 "$WHOLE"

as_server() { (cd / && setpriv --reuid postgres --regid postgres --init-groups env LC_ALL=C "$@"); }
start() { as_server "$SERVER_BINDIR/pg_ctl" -D "$DATA" -l "$CASE_DIR/pg/server.log" -w -o "-p $SERVER_PORT" start >/dev/null; }
stop() { as_server "$SERVER_BINDIR/pg_ctl" -D "$DATA" -w -m fast stop >/dev/null; }
[ "$(id -u)" = 0 ] || as_server() { "$@"; }

n=0
# after changes|stale WORDS...: a snapshot now is right, and has (changes) or has not (stale) taken rows over
after() {
	local want=$1 got=stale
	shift
	n=$((n + 1))
	rm -rf "$CASE_DIR/trace" "$CASE_DIR/whole" "$CASE_DIR/a" "$CASE_DIR/b"
	mkdir "$CASE_DIR/whole"
	METASNAP_TRACE=$CASE_DIR/trace ms snapshot prod "s$n" >/dev/null
	"$METASNAP" -c "$WHOLE" snapshot prod w >/dev/null
	ms export prod "s$n" "$CASE_DIR/a" >/dev/null
	"$METASNAP" -c "$WHOLE" export prod w "$CASE_DIR/b" >/dev/null
	diff -rq "$CASE_DIR/a/tables" "$CASE_DIR/b/tables" || fail "after $*: not what a whole read gives"
	grep -q ' scan_changed "t" .* = 0 ' "$CASE_DIR/trace" && ! grep -qE ' scan_open "t" (un)?ordered' "$CASE_DIR/trace" && got=changes
	assert_eq "$want" "$got" "after $*: $(grep -E ' scan_(changed|open) "t"' "$CASE_DIR/trace")"
}
why() { assert_has "$(grep ' scan_changed "t"' "$CASE_DIR/trace")" "$1" "why the rows were not taken over"; }

# n transactions, each of which changes a row of its own
work() { for _ in $(seq "$1"); do echo "UPDATE t SET v = v + 1 WHERE id = (SELECT min(id) FROM t WHERE v = (SELECT min(v) FROM t));"; done | db_sql; }

db_sql "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 3000) i;"
after stale "the first"
work 5
after changes "some work"

step "started again"
stop
start
after stale "a start"
why "start"
after changes "nothing"

step "a copy of the data directory, which then is used for it"
stop
as_server cp -a "$DATA" "$CASE_DIR/pg/old"
start
after stale "a start"
work 20
after changes "what is going to be lost"
stop
as_server rm -rf "$DATA"
as_server mv "$CASE_DIR/pg/old" "$DATA"
start
# Other transactions with the ids of the lost ones, and more of them: neither ids nor positions in the log are behind.
db_sql "UPDATE t SET v = -7 WHERE id > 2900;"
work 60
after stale "an older state"
why "start"

step "transaction ids moved back"
xid=$(db_query "SELECT txid_current()")
after changes "nothing"
stop
as_server "$SERVER_BINDIR/pg_resetwal" -x $((xid - 30)) "$DATA" >/dev/null
start
db_sql "DELETE FROM t WHERE id BETWEEN 100 AND 120; INSERT INTO t SELECT i, 9 FROM generate_series(100, 120) i;"
work 60
after stale "pg_resetwal"
why "start"

step "promoted"
stop
as_server touch "$DATA/standby.signal"
start
after stale "on a standby"
after stale "on a standby again" # which makes no marks
as_server "$SERVER_BINDIR/pg_ctl" -D "$DATA" -w promote >/dev/null
after stale "a promotion"
work 5
after changes "some work on the new timeline"
assert_has "$(grep ' mark "t"' "$CASE_DIR/trace")" ':00000002:' "the mark's timeline"

step "transaction ids begin again"
db_sql "VACUUM FREEZE; CHECKPOINT;"
psql -X -q -d "${SERVER_URL%/*}/template1" -c 'VACUUM FREEZE'
psql -X -q -d "${SERVER_URL%/*}/postgres" -c 'VACUUM FREEZE'
psql -X -q -v ON_ERROR_STOP=1 "$SERVER_URL" -c "UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'"
psql -X -q -d "${SERVER_URL%/*}/template0" -c 'VACUUM FREEZE'
stop
far=4294967200
as_server "$SERVER_BINDIR/pg_resetwal" -x $far -u $((far - 1000)) "$DATA" >/dev/null
for dir in pg_xact:1048576 pg_subtrans:65536; do
	as_server dd if=/dev/zero of="$DATA/${dir%:*}/$(printf '%04X' $((far / ${dir#*:})))" bs=262144 count=1 status=none
done
start
# What the server noted as frozen up to now lies in the future of these ids: it mends that.
db_sql "SET client_min_messages = error; VACUUM FREEZE;"
after stale "ids moved forward"
db_sql "INSERT INTO t SELECT i, 0 FROM generate_series(5001, 5200) i;"
after changes "before the end of the circle"
work 60
after changes "close before it"
work 60
xid=$(db_query "SELECT txid_current()")
[ "$xid" -gt 4294967296 ] || fail "the transaction ids have not begun again: $xid"
after changes "across it"
db_sql "DELETE FROM t WHERE id % 100 = 0; VACUUM t; INSERT INTO t SELECT i, 1 FROM generate_series(6001, 6050) i;"
after changes "behind it"
db_sql "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t;"
after changes "frozen"

step "the catalog"
ms check >/dev/null
