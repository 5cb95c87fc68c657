#!/bin/bash
# Two tables are changed together in every transaction by a writer that never pauses: they are equal in every snapshot,
# and in a cp -a of now/ that runs meanwhile. Between them (by name) stands a table that takes a while to read.
# TIMEOUT: 240
. "$(dirname "$0")/../lib.sh"
requires python3
same() { # DIR WORDS
	local a z
	a=$(find "$1/tables/a_first" -name '[0-9]*.json' -exec grep -ho '"n": [0-9-]*' {} + | sort | sha256sum)
	z=$(find "$1/tables/z_last" -name '[0-9]*.json' -exec grep -ho '"n": [0-9-]*' {} + | sort | sha256sum)
	assert_eq "$a" "$z" "$2: the two tables"
	grep -ho '"n": [0-9]*' "$1/tables/a_first/1.json" | tr -dc 0-9
}
written() { db_query 'SELECT n FROM a_first WHERE id = 1'; }
moved() { [ "$(written)" -gt "$1" ]; }
for engine in postgresql mysql mariadb; do
	step "$engine"
	use_db "$engine"
	db_sql "CREATE TABLE a_first (id integer PRIMARY KEY, n bigint NOT NULL);
		CREATE TABLE m_filler (id integer PRIMARY KEY, t text);
		CREATE TABLE z_last (id integer PRIMARY KEY, n bigint NOT NULL);
		INSERT INTO a_first VALUES (1, 0), (2, 0); INSERT INTO z_last VALUES (1, 0), (2, 0);"
	python3 -c '
for first in range(0, 4000, 100):
    print("INSERT INTO m_filler VALUES " + ",".join("(%d,\x27%s\x27)" % (i, "x" * 2500) for i in range(first, first + 100)) + ";")' | db_sql
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config now_max_age=0
	mount_fs
	: >"$CASE_DIR/write"
	python3 -u -c '
import os, sys
i = 0
while os.path.exists(sys.argv[1]):
    i += 1
    more = ("INSERT INTO a_first VALUES (%d, %d);" % (i + 2, i), "INSERT INTO z_last VALUES (%d, %d);" % (i + 2, i)) if i % 10 == 0 else ("", "")
    print("BEGIN; UPDATE a_first SET n = n + 1 WHERE id = 1; %s UPDATE z_last SET n = n + 1 WHERE id = 1; %s COMMIT;" % more, flush=True)' "$CASE_DIR/write" | db_sql >"$CASE_DIR/writer.log" 2>&1 &
	writer=$!
	seen=0
	for i in 1 2 3 4 5 6; do
		wait_for 20 "the writer goes on" moved "$seen"
		seen=$(written)
		mkdir "$MNT/prod/snapshots/w$i"
		cat "$MNT/prod/snapshots/w$i/MANIFEST.json" >/dev/null
	done
	for i in 1 2; do
		cp -a "$MNT/prod/now" "$CASE_DIR/now_$engine$i"
	done
	mkdir "$MNT/prod/snapshots/last"
	cat "$MNT/prod/snapshots/last/MANIFEST.json" >/dev/null
	kill -0 "$writer" || fail "the writer has stopped by itself"
	before=-1
	for i in w1 w2 w3 w4 w5 w6; do
		n=$(same "$MNT/prod/snapshots/$i" "snapshot $i")
		[ "$n" -gt "$before" ] || fail "the writer stood still: $n after $before"
		before=$n
	done
	for i in 1 2; do
		same "$CASE_DIR/now_$engine$i" "copy $i of now/" >/dev/null
	done
	last=$(same "$MNT/prod/snapshots/last" "the last")
	[ "$last" -gt "$before" ] || fail "the writer stood still"
	umount_fs
	rm "$CASE_DIR/write"
	wait "$writer" || fail "the writer failed"
done
