#!/bin/bash
# kill -9 at moments (25 with METASNAP_LONG) of restores by object on MySQL and MariaDB: tables made anew beside some that stay, and changed rows
# of a table with triggers beside a view. The next start settles what was left: the database is all old or all new by the
# server's own dump, and nothing is left beside it.
# TIMEOUT: 500
. "$(dirname "$0")/../lib.sh"

KILLS=$([ "${METASNAP_LONG:-0}" = 1 ] && echo 13 || echo 4) # of each of the two

prepare() {
	cat <<-'SQL'
		CREATE TABLE t1 (id int PRIMARY KEY, v varchar(20), KEY (v));
		CREATE TABLE t2 (id int PRIMARY KEY, v varchar(20), CONSTRAINT fk FOREIGN KEY (id) REFERENCES t1 (id));
		CREATE TABLE t3 (id int AUTO_INCREMENT PRIMARY KEY, v varchar(20));
		INSERT INTO t1 VALUES (1, 'a'), (2, 'b'), (3, 'c');
		INSERT INTO t2 SELECT * FROM t1;
		INSERT INTO t3 SELECT * FROM t1;
		CREATE VIEW v AS SELECT id FROM t1;
		CREATE PROCEDURE p() SELECT 1;
		CREATE TRIGGER tr1 BEFORE INSERT ON t3 FOR EACH ROW SET NEW.v = CONCAT(NEW.v, 'x');
		CREATE TRIGGER tr2 BEFORE INSERT ON t3 FOR EACH ROW SET NEW.v = CONCAT(NEW.v, 'y');
		CREATE TRIGGER tr3 AFTER INSERT ON t1 FOR EACH ROW SET @a = 1;
	SQL
}

# The databases beside are gone, too
found() {
	db_dump "$1"
	db_query "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '${DB_NAME//_/\\_}\\_\\_meta%'" >>"$1"
}


# kills NAME BREAK
kills() {
	local name=$1 break=$2 i n_old=0 n_new=0 pid took
	step "$DB_ENGINE: $name"
	db_reset
	prepare | db_sql
	rm -rf "$(dirname "$CATALOG")"
	write_config restore=replace
	ms snapshot prod good >/dev/null
	found "$CASE_DIR/good"
	db_sql "$break"
	found "$CASE_DIR/bad"
	cmp -s "$CASE_DIR/good" "$CASE_DIR/bad" && fail "the test changed nothing"
	took=$(now_ms)
	ms restore prod good --yes >/dev/null
	took=$(($(now_ms) - took))
	found "$CASE_DIR/now"
	assert_same "$CASE_DIR/good" "$CASE_DIR/now" "not killed"
	for ((i = 1; i <= KILLS; i++)); do
		if cmp -s "$CASE_DIR/good" "$CASE_DIR/now"; then
			db_sql "$break"
			found "$CASE_DIR/bad"
		fi
		"$METASNAP" -c "$CONF" restore prod good --yes >/dev/null 2>&1 &
		pid=$!
		sleep "$(awk "BEGIN { print $took * $i / ($KILLS + 1) / 1000 }")"
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		wait_for 60 "settled" settle
		found "$CASE_DIR/now"
		if cmp -s "$CASE_DIR/now" "$CASE_DIR/good"; then
			n_new=$((n_new + 1))
		else
			assert_same "$CASE_DIR/bad" "$CASE_DIR/now" "killed at moment $i"
			n_old=$((n_old + 1))
		fi
	done
	echo "killed $KILLS times: $n_old times not restored, $n_new times restored"
	[ "$n_old" -gt 0 ] || fail "no kill came before the end"
}

# A mount settles, and so does the start of any command that writes
settle() {
	mount_fs
	umount_fs
	! grep -q metasnap <(db_query "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '${DB_NAME//_/\\_}\\_\\_meta%'")
}

for engine in mysql mariadb; do
	use_db "$engine"
	kills tables "ALTER TABLE t1 ADD COLUMN w int; DELETE FROM t3 WHERE id = 2; CREATE OR REPLACE VIEW v AS SELECT 1 AS id"
	kills rows "DELETE FROM t3 WHERE id = 2; DELETE FROM t2 WHERE id = 1; CREATE OR REPLACE VIEW v AS SELECT 1 AS id; DROP PROCEDURE IF EXISTS p"
done
