# shellcheck shell=bash
#
# tests/fs/objects.bash - restores by object on MySQL and MariaDB: what is equal stays, what differs is as it was by the
# server's own dump, and the next restore has nothing to do. Sourced by objects_ENGINE.sh.

# Tables and the server's numbers of them: a table that was made anew has another one.
tables() {
	local list=INNODB_TABLES
	[ "$DB_ENGINE" = mysql ] || list=INNODB_SYS_TABLES
	db_query "SELECT CONCAT(SUBSTRING_INDEX(NAME, '/', -1), ' ', TABLE_ID) FROM information_schema.$list WHERE NAME LIKE '$DB_NAME/%'" |
		sort
}

# Grants are no part of a dump
grants() { [ -z "${GRANTEE:-}" ] || db_query "SHOW GRANTS FOR $GRANTEE" | sort; }

nothing_left() {
	local left
	left=$(db_query "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '${DB_NAME//_/\\_}\\_\\_metasnap%'")
	assert_eq 0 "$left" "databases left beside"
}

# back NAME KEPT SETUP BREAK: after BREAK a restore brings all back; the tables KEPT (an extended regular expression) stay
# the same tables; afterwards there is nothing to do.
back() {
	local name=$1 kept=$2 setup=$3 break=$4
	step "$DB_ENGINE: $name"
	db_reset
	db_sql "$setup"
	ms snapshot prod "$name" >"$CASE_DIR/out.txt" || fail "snapshot: $(cat "$CASE_DIR/out.txt")"
	db_dump "$CASE_DIR/before"
	grants >"$CASE_DIR/grants_before"
	tables | grep -E "^($kept) " >"$CASE_DIR/kept_before" || true
	db_sql "$break"
	ms restore prod "$name" --dry-run >"$CASE_DIR/plan" || fail "plan: $(cat "$CASE_DIR/plan")"
	ms restore prod "$name" --yes >"$CASE_DIR/out.txt" 2>&1 || fail "restore: $(cat "$CASE_DIR/out.txt")"
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$name"
	grants >"$CASE_DIR/grants_after"
	assert_same "$CASE_DIR/grants_before" "$CASE_DIR/grants_after" "$name: grants"
	tables | grep -E "^($kept) " >"$CASE_DIR/kept_after" || true
	assert_same "$CASE_DIR/kept_before" "$CASE_DIR/kept_after" "$name: tables that are equal"
	nothing_left
	ms restore prod "$name" --dry-run >"$CASE_DIR/again"
	! grep -q '^deed' "$CASE_DIR/again" || fail "$name: the next restore would do: $(cat "$CASE_DIR/again")"
	ms verify prod "$name" --live >"$CASE_DIR/verify" || fail "$name: verify --live: $(cat "$CASE_DIR/verify")"
}

planned() { assert_has "$(cat "$CASE_DIR/plan")" "$1" "the plan"; }
not_planned() { ! grep -qE "$1" "$CASE_DIR/plan" || fail "the plan has /$1/: $(cat "$CASE_DIR/plan")"; }

five() {
	local i
	for i in 1 2 3 4 5; do
		echo "CREATE TABLE t$i (id int PRIMARY KEY, v varchar(20), KEY (v));"
		echo "INSERT INTO t$i VALUES (1, 'a'), (2, 'b'), (3, 'c');"
	done
}

objects() {
	use_db "$1"
	write_config restore=replace

	back column 't[2345]' "$(five)" "ALTER TABLE t1 ADD COLUMN w int"
	planned '^make anew +table +t1$'
	back rows_and_column 't[345]' "$(five)" "ALTER TABLE t1 ADD COLUMN w int; DELETE FROM t2 LIMIT 1"
	planned '^make anew +table +t2 +\(its rows differ'
	back table_gone_and_new 't[1234]' "$(five)" "DROP TABLE t5; CREATE TABLE t6 (id int PRIMARY KEY)"
	planned '^make +table +t5$'
	planned '^drop +table +t6$'
	back view_and_rows 't[12345]' "$(five) CREATE VIEW v AS SELECT id FROM t1; CREATE VIEW w AS SELECT id FROM v" \
		"CREATE OR REPLACE VIEW v AS SELECT 1 AS id; DELETE FROM t1 LIMIT 1; UPDATE t2 SET v = 'z'"
	planned '^make anew +view +v$'
	not_planned ' w$'
	back keys 't[345]' "$(five) ALTER TABLE t2 ADD FOREIGN KEY (id) REFERENCES t1 (id)" "ALTER TABLE t1 ADD COLUMN w int"
	planned '^make anew +table +t2 +\(it refers to table t1'
	back keys_up 't[345]' "$(five) ALTER TABLE t2 ADD FOREIGN KEY (id) REFERENCES t1 (id)" "ALTER TABLE t2 ADD COLUMN w int"
	back child_new 't[12345]' "$(five)" "CREATE TABLE c (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES t1 (id)); INSERT INTO c VALUES (1)"
	back parent_gone 't[345]' "$(five) ALTER TABLE t2 ADD FOREIGN KEY (id) REFERENCES t1 (id)" \
		"SET foreign_key_checks = 0; DROP TABLE t1"
	back routines 't[12345]' "$(five) CREATE FUNCTION f(a int) RETURNS int DETERMINISTIC RETURN a + 1;
		CREATE PROCEDURE p() SELECT 1; CREATE VIEW v AS SELECT f(id) AS i FROM t1;
		CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO SELECT 1;" \
		"DROP FUNCTION f; DROP PROCEDURE p; CREATE PROCEDURE q() SELECT 1; DROP EVENT ev; DELETE FROM t3"
	# The order of views, some of which stay.
	back view_order 't[12345]' "$(five) CREATE VIEW z AS SELECT id FROM t1; CREATE VIEW a AS SELECT z.id FROM z JOIN t2 USING (id);
		CREATE VIEW m AS SELECT a.id AS z FROM a; CREATE VIEW b AS SELECT m.z AS a FROM m" "DROP VIEW a; DROP VIEW b"
	back view_order_all 't[2345]' "$(five) CREATE VIEW z AS SELECT id FROM t1; CREATE VIEW a AS SELECT z.id FROM z JOIN t2 USING (id);
		CREATE VIEW m AS SELECT a.id AS z FROM a; CREATE VIEW b AS SELECT m.z AS a FROM m" \
		"DROP VIEW a; DROP VIEW b; DROP VIEW z; DROP VIEW m; ALTER TABLE t1 ADD COLUMN w int"
	# A column that takes its collation from the table, and one that says so itself.
	back collation 't[2345]' "$(five) DROP TABLE t1; CREATE TABLE t1 (id int PRIMARY KEY, a varchar(9), l varchar(9) CHARACTER SET latin1,
		u varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, e enum('a', 'COLLATE utf8mb4_bin') COMMENT ' COLLATE utf8mb4_bin')
		CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" "ALTER TABLE t1 ADD COLUMN w int"
	back triggers 't[2345]' "$(five) CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'tr';
		CREATE TRIGGER tr2 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '2');
		CREATE TRIGGER tr0 BEFORE INSERT ON t1 FOR EACH ROW FOLLOWS tr1 SET NEW.v = CONCAT(NEW.v, '0');
		CREATE TRIGGER tr5 AFTER DELETE ON t5 FOR EACH ROW SET @x = 1" \
		"ALTER TABLE t1 ADD COLUMN w int; DROP TRIGGER tr1; DROP TRIGGER tr5;
		CREATE TRIGGER tr9 BEFORE DELETE ON t2 FOR EACH ROW SET @x = 1"
	planned '^make +trigger +tr5$'
	planned '^drop +trigger +tr9$'

	# A row of a table with triggers costs that row.
	back one_row 't[12345]' "$(five) CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, s varchar(50));
		CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'tr';
		CREATE TRIGGER tr2 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '2') -- at the end
		;
		CREATE TRIGGER tr0 BEFORE INSERT ON t1 FOR EACH ROW FOLLOWS tr1 SET NEW.v = CONCAT(NEW.v, '0');
		CREATE TRIGGER tr3 AFTER DELETE ON t1 FOR EACH ROW INSERT INTO log (s) VALUES ('gone');
		CREATE TRIGGER tr4 AFTER INSERT ON t2 FOR EACH ROW INSERT INTO log (s) VALUES ('new');" \
		"DELETE FROM t1 LIMIT 1; TRUNCATE log; INSERT INTO t1 VALUES (9, 'x'); INSERT INTO t2 VALUES (10, 'x')"
	not_planned '^deed'
	assert_has "$(cat "$CASE_DIR/plan")" '^t1 +1 +0 +1$' "the plan of the rows"
	back row_and_trigger 't[12345]' "$(five) CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'tr';
		CREATE VIEW v AS SELECT 1 AS x" "DELETE FROM t1 LIMIT 1; DROP TRIGGER tr1; DROP VIEW v;
		CREATE TRIGGER tr2 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'wrong'"
	planned '^drop +trigger +tr2$'
	# Bodies remember the default of the database that they were made in.
	back defaults 't[12345]' "$(five) ALTER DATABASE CHARACTER SET latin1; CREATE PROCEDURE p1() SELECT 'é';
		CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'é';
		ALTER DATABASE COLLATE utf8mb4_bin; CREATE PROCEDURE p2() SELECT 'é'; CREATE FUNCTION f2() RETURNS int DETERMINISTIC RETURN 1" \
		"ALTER DATABASE COLLATE utf8mb3_bin; DROP PROCEDURE p1; DROP PROCEDURE p2; DELETE FROM t1 LIMIT 1"
	planned '^alter +database +defaults$'
	not_planned ' f2$'
	# What a session had to be told to permit.
	back permitted 't[2345]' "SET SESSION innodb_strict_mode = 0; $(five) DROP TABLE t1;
		CREATE TABLE t1 (id int PRIMARY KEY, a int) ROW_FORMAT = DYNAMIC KEY_BLOCK_SIZE = 4;
		CREATE TABLE wide (id int PRIMARY KEY$(printf ', c%s varchar(255)' {1..60})) CHARACTER SET latin1 ROW_FORMAT = COMPACT" \
		"DROP TABLE t1; DROP TABLE wide"
	if [ "$DB_ENGINE" = mysql ]; then
		back not_unique 't[12345]' "SET SESSION restrict_fk_on_non_standard_key = 0; $(five)
			CREATE TABLE p (id int PRIMARY KEY, cur char(3), KEY (cur)); CREATE TABLE ch (id int PRIMARY KEY, cur char(3),
			FOREIGN KEY (cur) REFERENCES p (cur)); INSERT INTO p VALUES (1, 'EUR'), (2, 'EUR'); INSERT INTO ch VALUES (1, 'EUR')" \
			"ALTER TABLE ch ADD COLUMN w int"
	else
		back packages 't[12345]' "$(five) SET sql_mode = oracle;
DELIMITER //
CREATE PACKAGE pk AS PROCEDURE p1; FUNCTION f1 RETURN int; END
//
CREATE PACKAGE BODY pk AS PROCEDURE p1 AS BEGIN SELECT 1; END; FUNCTION f1 RETURN int AS BEGIN RETURN 1; END; END
//
CREATE PACKAGE stays AS PROCEDURE p1; END
//
DELIMITER ;
" "SET sql_mode = oracle; DROP PACKAGE pk; DELETE FROM t1"
		planned '^make +package body +pk$'
	fi

	step "$DB_ENGINE: a view over two databases, and a DEFINER who may do nothing beside"
	db_sql "DROP DATABASE IF EXISTS ${DB_NAME}_other; CREATE DATABASE ${DB_NAME}_other; CREATE TABLE ${DB_NAME}_other.o (id int PRIMARY KEY);
		CREATE USER IF NOT EXISTS ${DB_NAME:0:20}_u@localhost; GRANT SELECT ON $DB_NAME.* TO ${DB_NAME:0:20}_u@localhost"
	back two_databases 't[2345]' "$(five) CREATE VIEW v AS SELECT t1.id, t1.v FROM t1 JOIN ${DB_NAME}_other.o USING (id);
		CREATE DEFINER = ${DB_NAME:0:20}_u@localhost VIEW x AS SELECT id FROM t2;
		CREATE DEFINER = ${DB_NAME:0:20}_u@localhost VIEW y AS SELECT id FROM x" \
		"DROP VIEW v; DROP VIEW x; DROP VIEW y; ALTER TABLE t1 DROP COLUMN v"
	db_sql "DROP DATABASE ${DB_NAME}_other; DROP USER ${DB_NAME:0:20}_u@localhost"

	# Rights on a routine go with it; a view that is not valid is still there.
	GRANTEE="'${DB_NAME:0:20}_g'@'%'"
	db_sql "DROP USER IF EXISTS $GRANTEE; CREATE USER $GRANTEE"
	back routine_grants 't[12345]' "$(five) CREATE PROCEDURE g() SELECT 1; GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE $DB_NAME.g TO $GRANTEE WITH GRANT OPTION;
		CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1; GRANT EXECUTE ON FUNCTION $DB_NAME.f TO $GRANTEE; CREATE VIEW v AS SELECT f() AS i FROM t1;
		GRANT SELECT ON $DB_NAME.v TO $GRANTEE; GRANT UPDATE (v) ON $DB_NAME.t1 TO $GRANTEE" \
		"ALTER PROCEDURE g COMMENT 'x'; ALTER FUNCTION f COMMENT 'y'; CREATE OR REPLACE VIEW v AS SELECT 2 AS i; DELETE FROM t1"
	db_sql "DROP USER $GRANTEE"
	GRANTEE=

	step "$DB_ENGINE: a view whose column is gone"
	db_reset
	db_sql "$(five) CREATE VIEW x AS SELECT id, v FROM t1; CREATE VIEW y AS SELECT v FROM x; CREATE VIEW ok AS SELECT id FROM t1; ALTER TABLE t1 DROP COLUMN v"
	ms snapshot prod invalid >/dev/null
	db_query "SHOW CREATE VIEW x" 2>/dev/null >"$CASE_DIR/x_before"
	db_sql "DELETE FROM t1; ALTER TABLE t2 ADD COLUMN w int; DROP VIEW ok"
	ms restore prod invalid --yes >"$CASE_DIR/out.txt" 2>&1 || fail "restore: $(cat "$CASE_DIR/out.txt")"
	db_query "SHOW CREATE VIEW x" 2>/dev/null >"$CASE_DIR/x_after"
	assert_same "$CASE_DIR/x_before" "$CASE_DIR/x_after" "the view is as it was"
	assert_eq 3 "$(db_query 'SELECT COUNT(*) FROM t1 JOIN ok USING (id)')" "rows, and the other view"
	db_sql "DROP VIEW x"
	ms restore prod invalid --yes >"$CASE_DIR/out.txt" 2>&1 || fail "restore: $(cat "$CASE_DIR/out.txt")"
	assert_has "$(cat "$CASE_DIR/out.txt")" 'view x: it uses' "what cannot be made is named"
	nothing_left
	step "$DB_ENGINE: one row, put into now/ and by --table, beside triggers"
	db_reset
	db_sql "$(five) CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'tr'; CREATE TRIGGER tr2 BEFORE DELETE ON t1 FOR EACH ROW DELETE FROM t2"
	ms snapshot prod one >/dev/null
	db_dump "$CASE_DIR/before"
	db_sql "UPDATE t1 SET v = 'x' WHERE id = 2"
	mount_fs
	cp "$MNT/prod/snapshots/one/tables/t1/2.json" "$MNT/prod/now/tables/t1/2.json"
	umount_fs
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "a row put into now/"
	db_sql "UPDATE t1 SET v = 'x'"
	ms restore prod one --table t1 --yes >/dev/null
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "one table"

	step "$DB_ENGINE: a trigger that the account could not put back is not touched"
	local few=${DB_NAME:0:20}_f
	db_sql "DROP USER IF EXISTS $few@'%'; CREATE USER $few@'%' IDENTIFIED BY 'few'; GRANT ALL ON $DB_NAME.* TO $few@'%';
		GRANT ALL ON \`${DB_NAME//_/\\_}\\_\\_metasnap\\_%\`.* TO $few@'%'; UPDATE t1 SET v = 'x'"
	db_dump "$CASE_DIR/before"
	cp "$CONF" "$CONF.all"
	sed -i "s,//[^@]*@,//$few:few@,; /password_file/d" "$CONF"
	assert_fails ms restore prod one --yes
	assert_has "$(cat "$CASE_DIR/fails.txt")" 'trigger tr2.*would not take it back' "the refusal"
	mv "$CONF.all" "$CONF"
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "refused"
	nothing_left
	db_sql "DROP USER $few@'%'"

	step "$DB_ENGINE: what the account does not see is left out, and a restore does not drop it"
	local poor=${DB_NAME:0:20}_p
	db_reset
	db_sql "$(five) CREATE TRIGGER tr5 BEFORE INSERT ON t5 FOR EACH ROW SET @x = 1; CREATE PROCEDURE p() SELECT 1;
		CREATE TRIGGER tr1 BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v = 'tr'; CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO SELECT 1;
		DROP USER IF EXISTS $poor@'%'; CREATE USER $poor@'%' IDENTIFIED BY 'poor'; GRANT SELECT, SHOW VIEW ON $DB_NAME.* TO $poor@'%'"
	cp "$CONF" "$CONF.all"
	write_config restore=replace
	sed -i "s,//[^@]*@,//$poor:poor@,; /password_file/d; s,source prod,source poor," "$CONF"
	ms snapshot poor seen >/dev/null
	ms export poor seen "$CASE_DIR/seen" >/dev/null
	assert_has "$(cat "$CASE_DIR/seen/schema.sql")" '^-- metasnap: left_out [0-9]+ event$' "the definitions say what is left out"
	ms preflight poor >"$CASE_DIR/preflight" || true
	assert_has "$(cat "$CASE_DIR/preflight")" 'GRANT .*EVENT' "preflight names the right"
	mv "$CONF.all" "$CONF"
	db_dump "$CASE_DIR/before"
	db_sql "ALTER TABLE t1 ADD COLUMN w int; DELETE FROM t2"
	mount_fs
	cp -a "$CASE_DIR/seen" "$MNT/prod/restore/"
	umount_fs
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "events, routines and triggers that the snapshot did not see"
	db_sql "DROP USER $poor@'%'"
}
