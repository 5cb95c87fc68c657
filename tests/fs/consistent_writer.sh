#!/bin/bash
# Two tables are changed together in every transaction by a writer that never pauses: they are equal in every snapshot,
# and in a cp -a of now/ that runs meanwhile. Between them (by name) stands a table that takes a while to read.
# TIMEOUT: 240
. "$(dirname "$0")/../lib.sh"
requires python3
same() { # DIR WORDS
	local a z
	a=$(grep -ho '"n": [0-9-]*' "$1"/tables/a_first/*.json | sort | sha256sum)
	z=$(grep -ho '"n": [0-9-]*' "$1"/tables/z_last/*.json | sort | sha256sum)
	assert_eq "$a" "$z" "$2: the two tables"
	grep -ho '"n": [0-9]*' "$1/tables/a_first/1.json" | tr -dc 0-9
}
for engine in postgresql mysql mariadb; do
	step "$engine"
	use_db "$engine"
	db_sql "CREATE TABLE a_first (id integer PRIMARY KEY, n bigint NOT NULL);
		CREATE TABLE m_filler (id integer PRIMARY KEY, t text);
		CREATE TABLE z_last (id integer PRIMARY KEY, n bigint NOT NULL);
		INSERT INTO a_first VALUES (1, 0), (2, 0); INSERT INTO z_last VALUES (1, 0), (2, 0);"
	python3 -c '
for first in range(0, 20000, 500):
    print("INSERT INTO m_filler VALUES " + ",".join("(%d,\x27%s\x27)" % (i, "x" * 400) for i in range(first, first + 500)) + ";")' | db_sql
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config now_max_age=0
	mount_fs
	: >"$CASE_DIR/write"
	python3 -u -c '
import os, sys
i = 0
while os.path.exists(sys.argv[1]):
    i += 1
    print("BEGIN; UPDATE a_first SET n = n + 1 WHERE id = 1; INSERT INTO a_first VALUES (%d, %d); UPDATE z_last SET n = n + 1 WHERE id = 1; INSERT INTO z_last VALUES (%d, %d); COMMIT;"
          % (i + 2, i, i + 2, i), flush=True)' "$CASE_DIR/write" | db_sql >"$CASE_DIR/writer.log" 2>&1 &
	writer=$!
	for i in 1 2 3 4 5 6; do
		mkdir "$MNT/prod/snapshots/w$i"
		cat "$MNT/prod/snapshots/w$i/MANIFEST.json" >/dev/null
	done
	for i in 1 2 3; do
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
	for i in 1 2 3; do
		same "$CASE_DIR/now_$engine$i" "copy $i of now/" >/dev/null
	done
	last=$(same "$MNT/prod/snapshots/last" "the last")
	[ "$last" -gt "$before" ] || fail "the writer stood still"
	umount_fs
	rm "$CASE_DIR/write"
	wait "$writer" || fail "the writer failed"
done
