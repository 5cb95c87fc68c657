#!/bin/bash
# What snapshots cost, counted: rows read, bytes stored, bytes added by a change. Counts do not depend on the machine's mood.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
requires python3
use_db postgresql
write_config
db_fill "${METASNAP_ROWS:-50000}"
db_sql <<<'VACUUM ANALYZE;'

# rows_read FILE: the rows that all scans of a trace gave, after the last of SQLite's own
rows_read() { sed -nE 's/.* scan_close ".*" ([0-9]+) rows,.*/\1/p' "$1" | awk '{ n += $1 } END { print n + 0 }'; }

# traced NAME: a snapshot; its trace is in $CASE_DIR/NAME
traced() { METASNAP_TRACE=$CASE_DIR/$1 ms snapshot prod "$1" >/dev/null; }

# at_most WORDS GOT LIMIT
at_most() {
	echo "$1: $2 (at most $3)"
	[ "$2" -le "$3" ] || fail "$1: $2, more than $3"
}

step "the first one: every row once, and no more space than pg_dump's own compressed form needs"
traced first
# listed N MEMBER: a number of the Nth snapshot
listed() { ms list prod --json | python3 -c 'import json, sys; print(int(json.load(sys.stdin)[int(sys.argv[1])][sys.argv[2]]))' "$@"; }
rows=$(listed 0 rows)
read=$(rows_read "$CASE_DIR/first")
at_least=$((rows * 99 / 100))
[ "$read" -ge "$at_least" ] || fail "the trace tells of $read rows, the snapshot of $rows"
size=$(stat -c %s "$CATALOG")
"$SERVER_BINDIR/pg_dump" -Fc -f "$CASE_DIR/dump" "$DB_URL"
dump=$(stat -c %s "$CASE_DIR/dump")
# Descriptions, and dictionaries that pay only later, are a larger part of a small catalog (200 MB of rows: 101 %).
at_most "catalog in % of pg_dump -Fc" $((size * 100 / dump)) 125

step "nothing changed: no row of a table that has marks, and nothing stored"
traced same
at_most "rows read" "$(rows_read "$CASE_DIR/same")" $((rows / 50))
at_most "bytes stored" "$(listed 1 stored_bytes)" 0
at_most "catalog grows by" $(($(stat -c %s "$CATALOG") - size)) 32768

step "one row in a hundred changed"
size=$(stat -c %s "$CATALOG")
changed=$(db_query "WITH a AS (UPDATE table_entity SET json = jsonb_set(json, '{description}', to_jsonb(md5(id))) WHERE abs(hashtext(id)) % 100 = 0 RETURNING 1),
	b AS (UPDATE entity_relationship SET json = '{\"c\": 1}' WHERE abs(hashtext(fromid || toid)) % 100 = 0 RETURNING 1),
	c AS (UPDATE tag_usage SET state = state + 1 WHERE abs(hashtext(tagfqnhash || targetfqnhash)) % 100 = 0 RETURNING 1)
	SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)")
traced some
at_most "rows read, $changed changed" "$(rows_read "$CASE_DIR/some")" $((changed + rows / 50))
at_most "catalog grows by, in 1/1000" $((($(stat -c %s "$CATALOG") - size) * 1000 / size)) 40
ms verify --live prod some >/dev/null
