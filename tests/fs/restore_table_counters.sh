#!/bin/bash
# A restore of one table, and a row that is put into it, leave no counter behind: AUTO_INCREMENT, serial and identity of that table are
# as in the snapshot, never below what its rows hold; those of other tables stay.
# TIMEOUT: 400
. "$(dirname "$0")/../lib.sh"
next() { # the number that the next row of t gets; the row goes again
	db_sql "INSERT INTO t (v) VALUES ('next');"
	db_query "SELECT max(id) FROM t WHERE v = 'next'"
}
for engine in sqlite postgresql mariadb mysql; do
	step "$engine"
	use_db "$engine"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	case $engine in
	sqlite) id="id INTEGER PRIMARY KEY AUTOINCREMENT" ;;
	postgresql) id="id serial PRIMARY KEY" ;;
	*) id="id int AUTO_INCREMENT PRIMARY KEY" ;;
	esac
	db_sql "CREATE TABLE t ($id, v varchar(20)); CREATE TABLE other ($id, v varchar(20)); INSERT INTO t (v) VALUES ('a'), ('b'), ('c'); INSERT INTO other (v) VALUES ('a');"
	ms snapshot prod three
	db_sql "INSERT INTO t (v) VALUES ('d'), ('e'), ('f'); DELETE FROM t WHERE v = 'a'; INSERT INTO other (v) VALUES ('b'), ('c');"
	ms restore prod three --table t --yes >/dev/null 2>&1
	assert_eq 4 "$(next)" "$engine: the next number after a restore of the table"
	db_sql "INSERT INTO other (v) VALUES ('next');"
	assert_eq 4 "$(db_query "SELECT max(id) FROM other")" "$engine: the next number of another table"
	# Rows that the counter does not know: given by hand.
	db_sql "INSERT INTO t (id, v) VALUES (5, 'by hand'), (50, 'by hand');"
	ms snapshot prod hand
	db_sql "DELETE FROM t WHERE id > 1;"
	[ "$engine" != postgresql ] || db_sql "ALTER SEQUENCE t_id_seq RESTART WITH 2;"
	ms restore prod hand --table t --yes >/dev/null 2>&1
	assert_eq 51 "$(next)" "$engine: the next number behind a row by hand"
	# A row that is put into now/.
	mount_fs
	db_sql "DELETE FROM t WHERE id > 49;"
	[ "$engine" != postgresql ] || db_sql "ALTER SEQUENCE t_id_seq RESTART WITH 45;"
	sed 's/"id": *[0-9]*/"id": 60/' "$MNT/prod/snapshots/hand/tables/t/50.json" >"$CASE_DIR/60.json"
	cp "$CASE_DIR/60.json" "$MNT/prod/now/tables/t/60.json"
	umount_fs
	assert_eq 61 "$(next)" "$engine: the next number behind a row that was put in"
done

step "identity columns, sequences that count down, names that need quotes"
use_db postgresql
CATALOG=$CASE_DIR/catalog_more/catalog.db
write_config restore=replace
db_sql 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, "D own" int DEFAULT 0, v text);
	CREATE SEQUENCE "S q" INCREMENT -1 OWNED BY t."D own"; ALTER TABLE t ALTER "D own" SET DEFAULT nextval($$"S q"$$); INSERT INTO t (v) VALUES (1), (2);'
ms snapshot prod one
db_sql "INSERT INTO t (v) VALUES (3), (4);"
ms restore prod one --table t --yes >/dev/null 2>&1
db_sql "INSERT INTO t (v) VALUES ('next');"
assert_eq "3 -3" "$(db_query "SELECT id || ' ' || \"D own\" FROM t WHERE v = 'next'")" "the next numbers"
