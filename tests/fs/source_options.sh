#!/bin/bash
# `exclude =` end to end: the tables are in no snapshot, no archive, no comparison, and a restore leaves them as they are; a glob that
# names nothing changes nothing. `connections =` end to end: a snapshot takes so many, and is the same whatever their number.
# TIMEOUT: 150
. "$(dirname "$0")/../lib.sh"
for engine in sqlite postgresql mysql; do
	step "$engine: exclude"
	use_db "$engine"
	db_fill 600
	db_sql "CREATE TABLE left_out_a (id int PRIMARY KEY, v varchar(20)); INSERT INTO left_out_a VALUES (1, 'one'), (2, 'two');
		CREATE TABLE left_out_b (id int PRIMARY KEY, v varchar(20)); INSERT INTO left_out_b VALUES (1, 'one');
		CREATE TABLE left_in (id int PRIMARY KEY, v varchar(20)); INSERT INTO left_in VALUES (1, 'one');"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace 'exclude = left_out_*, none_*' now_max_age=0
	mount_fs
	P=$MNT/prod
	mkdir "$P/snapshots/s"
	ls "$P/snapshots/s/tables" >"$CASE_DIR/tables"
	assert_has "$(cat "$CASE_DIR/tables")" '^left_in$' "a table that is not left out"
	assert_eq 0 "$(grep -c left_out "$CASE_DIR/tables" || true)" "tables that are left out, in snapshots/"
	assert_eq 0 "$(find "$P/archives/s" "$P/now/tables" -name '*left_out*' | wc -l)" "tables that are left out, in archives/ and now/"
	assert_eq 0 "$(grep -c 'left_out' "$P/archives/s/SHA256SUMS" || true)" "tables that are left out, in SHA256SUMS"
	cp -a "$P/archives/s" "$CASE_DIR/out_$engine"
	db_sql "UPDATE left_out_a SET v = 'later'; DELETE FROM left_out_b; INSERT INTO left_out_b VALUES (7, 'later'); UPDATE left_in SET v = 'later';"
	mkdir "$P/snapshots/t"
	ls "$P/snapshots/t" >/dev/null
	assert_exit 1 ms diff prod s t
	assert_has "$(cat "$CASE_DIR/exit.txt")" left_in "diff"
	if grep left_out "$CASE_DIR/exit.txt"; then
		fail "diff names what is left out"
	fi
	cp -a "$CASE_DIR/out_$engine" "$P/restore/s"
	assert_eq one "$(db_query 'SELECT v FROM left_in')" "the table that is in the snapshot"
	assert_eq "later later" "$(db_query 'SELECT v FROM left_out_a ORDER BY id' | xargs)" "a table that is left out, after a restore"
	assert_eq 7 "$(db_query 'SELECT id FROM left_out_b')" "a table that is left out, after a restore"
	assert_exit 0 ms verify prod s --live
	umount_fs
	write_config
	ms snapshot prod whole >/dev/null
	assert_has "$(ms diff prod t whole || true)" left_out_a "without exclude it is there"
done
for wrong in '' ' , '; do
	write_config "exclude = $wrong"
	assert_exit 1 ms list
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'exclude' "exclude names nothing"
done

step "postgresql: connections"
use_db postgresql
db_fill 60000
for n in 1 2 4; do
	CATALOG=$CASE_DIR/catalog_c$n/catalog.db
	write_config "connections = $n"
	METASNAP_TRACE=$CASE_DIR/trace$n ms snapshot prod s >/dev/null
	ms export prod s "$CASE_DIR/c$n"
	assert_eq "$n" "$(grep -c ' open ' "$CASE_DIR/trace$n")" "connections"
	diff -r -x MANIFEST.json -x SHA256SUMS "$CASE_DIR/c1" "$CASE_DIR/c$n"
	assert_exit 0 ms verify prod s --live
done
for wrong in -1 1000 x; do
	write_config "connections = $wrong"
	assert_exit 1 ms list
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'connections' "connections = $wrong"
done
