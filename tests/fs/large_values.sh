#!/bin/bash
# Large values come back exactly, or are refused in words: rows of 300 MB on PostgreSQL, SQLite and MariaDB; a bytea of more than
# PostgreSQL's text form holds is refused by the name of its table, and no half snapshot stays.
# TIMEOUT: 1500
# LONG: needs minutes, 6 GB of disk and 4 GB of memory
. "$(dirname "$0")/../lib.sh"
sum() { # of the one value, as the server sees it
	case $DB_ENGINE in
	postgresql) db_query "SELECT md5(v) || ' ' || length(v) FROM large WHERE id = 1" ;;
	sqlite) sqlite3 "$DB_FILE" "SELECT writefile('$CASE_DIR/value', v) FROM large WHERE id = 1" >/dev/null && md5sum <"$CASE_DIR/value" ;;
	*) db_query "SELECT concat(md5(v), ' ', length(v)) FROM large WHERE id = 1" ;;
	esac
}
make() { # MEGABYTES
	case $DB_ENGINE in
	postgresql)
		db_sql "CREATE TABLE large (id int PRIMARY KEY, v bytea); ALTER TABLE large ALTER v SET STORAGE external;
			INSERT INTO large SELECT 1, decode(repeat(md5('x') || md5('y'), $1 * 32768), 'hex');"
		;;
	sqlite)
		head -c $(($1 * 1048576)) /dev/urandom >"$CASE_DIR/value"
		db_sql "CREATE TABLE large (id INTEGER PRIMARY KEY, v BLOB); INSERT INTO large VALUES (1, readfile('$CASE_DIR/value'));"
		;;
	*)
		db_sql "SET GLOBAL max_allowed_packet = 1073741824;"
		db_sql "CREATE TABLE large (id int PRIMARY KEY, v longblob); INSERT INTO large SELECT 1, repeat(unhex(concat(md5('x'), md5('y'))), $1 * 32768);"
		;;
	esac
	db_sql "INSERT INTO large VALUES (2, 'small');"
}
for engine in sqlite postgresql mariadb; do
	step "$engine: a row of 300 MB"
	use_db "$engine"
	make 300
	want=$(sum)
	assert_has "$want" '^[0-9a-f]{32} ' "the value"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	rc=0
	ms snapshot prod s >"$CASE_DIR/said" 2>&1 || rc=$?
	cat "$CASE_DIR/said"
	if [ "$rc" != 0 ]; then
		assert_eq 1 "$rc" "exit code of a refusal"
		assert_has "$(cat "$CASE_DIR/said")" '^metasnap: .*large' "the words name the table"
		assert_eq "[]" "$(ms list prod --json | tr -d ' \n')" "snapshots after a refusal"
		echo "$engine: refused"
		continue
	fi
	step "$engine: out by the mount"
	mount_fs
	cp -a "$MNT/prod/archives/s" "$CASE_DIR/out"
	umount_fs
	(cd "$CASE_DIR/out" && sha256sum --quiet -c SHA256SUMS)
	step "$engine: and in again"
	db_reset
	mount_fs
	cp -a "$CASE_DIR/out" "$MNT/prod/restore/s"
	umount_fs
	assert_eq "$want" "$(sum)" "the value after a restore"
	assert_eq small "$(db_query 'SELECT v FROM large WHERE id = 2' | sed 's/^\\x736d616c6c$/small/')" "its neighbour"
	step "$engine: only it changed"
	case $engine in
	sqlite) db_sql "UPDATE large SET v = zeroblob(1000) WHERE id = 1;" ;;
	*) db_sql "UPDATE large SET v = 'x' WHERE id = 1;" ;;
	esac
	ms restore prod s --yes
	assert_eq "$want" "$(sum)" "the value after a restore over another"
	rm -rf "$CASE_DIR/out" "$(dirname "$CATALOG")"
	db_reset
done

step "postgresql: a bytea of 600 MB"
use_db postgresql
make 400
db_sql "UPDATE large SET v = v || substr(v, 1, 200 * 1048576) WHERE id = 1;"
CATALOG=$CASE_DIR/catalog_over/catalog.db
write_config
assert_exit 1 ms snapshot prod s
cat "$CASE_DIR/exit.txt"
assert_has "$(cat "$CASE_DIR/exit.txt")" '^metasnap: .*large' "the words name the table"
assert_eq "[]" "$(ms list prod --json | tr -d ' \n')" "snapshots after the refusal"
ms check
