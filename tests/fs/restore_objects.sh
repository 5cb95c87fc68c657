#!/bin/bash
# A restore over a database in which 3 of 80 tables got a column makes these three equal and leaves the other 77 alone: they
# are the same tables for the server, a reader of them holds nothing up and is not held up, and it takes a fraction of
# a restore into an empty database. What else differs costs only itself: an index, a view, a grant, a comment, a setting of a
# column, a check that the server prints otherwise once it has read it back.
# METASNAP_ENGINES: which (all four).
# TIMEOUT: 600
. "$(dirname "$0")/../lib.sh"
requires python3

# tables [ROWS]: 80 tables, every fourth with a foreign key to the one before
tables() {
	python3 - "$DB_ENGINE" "${1:-400}" <<-'PY'
		import sys
		engine, rows = sys.argv[1], int(sys.argv[2])
		print("BEGIN;" if engine != "mysql" and engine != "mariadb" else "SET autocommit = 0;")
		for i in range(1, 81):
		    up = ", FOREIGN KEY (up) REFERENCES t%02d (id)" % (i - 1) if i % 4 == 2 else ""
		    print("CREATE TABLE t%02d (id integer PRIMARY KEY, up integer, status varchar(10), body varchar(200), "
		          "CONSTRAINT c%02d CHECK (status IN ('open', 'closed'))%s);" % (i, i, up))
		    print("CREATE INDEX i%02d ON t%02d (status, up);" % (i, i))
		    for first in range(0, rows, 200):
		        print("INSERT INTO t%02d VALUES %s;" % (i, ",".join(
		            "(%d, %d, '%s', '%s')" % (k, k // 2, ("open", "closed")[k % 2], "row %d of %d " % (k, i) * 5)
		            for k in range(first, min(first + 200, rows)))))
		print("CREATE VIEW v1 AS SELECT id, body FROM t01 WHERE status IN ('open', 'closed');")
		print("CREATE VIEW a_view AS SELECT id FROM v1;")
		print("COMMIT;")
	PY
}

# One line for each table but those named: what tells whether it is the same table, never rewritten
identities() {
	local without=$1
	case $DB_ENGINE in
	postgresql) db_query "SELECT relname, oid, relfilenode FROM pg_class WHERE relkind IN ('r', 'i', 'v') AND relnamespace = 'public'::regnamespace ORDER BY 1" ;;
	mysql) eval "$SERVER_CLIENT -N -B -e \"SELECT NAME, TABLE_ID FROM information_schema.INNODB_TABLES WHERE NAME LIKE '$DB_NAME/%' ORDER BY 1\"" ;;
	mariadb) eval "$SERVER_CLIENT -N -B -e \"SELECT NAME, TABLE_ID FROM information_schema.INNODB_SYS_TABLES WHERE NAME LIKE '$DB_NAME/%' ORDER BY 1\"" ;;
	sqlite) db_query "SELECT name, rootpage FROM sqlite_schema ORDER BY 1" ;;
	esac | grep -vE "$without"
}

restore() {
	local start
	start=$(now_ms)
	ms restore prod "$@" --yes >"$CASE_DIR/restore.txt" 2>&1 || fail "restore $*: $(cat "$CASE_DIR/restore.txt")"
	TOOK=$(($(now_ms) - start))
}

same_as() {
	db_dump "$CASE_DIR/found"
	assert_same "$1" "$CASE_DIR/found" "$2"
	assert_exit 0 ms verify prod good --live
}

three_of_eighty() {
	step "$DB_ENGINE: 3 of 80 tables have one more column, two others other rows"
	tables | db_sql
	db_dump "$CASE_DIR/good"
	ms snapshot prod good
	identities '(^|/)(t|i)(20|41|60)' >"$CASE_DIR/before"
	assert_eq 77 "$(awk '$1 ~ /(^|\/)t[0-9]+$/' "$CASE_DIR/before" | wc -l)" "tables that are to stay"
	local t
	for t in t20 t41 t60; do db_sql "ALTER TABLE $t ADD COLUMN more integer DEFAULT 5;"; done
	db_sql "UPDATE t03 SET body = 'other' WHERE id = 7; DELETE FROM t79 WHERE id = 9;"
	ms restore prod good --dry-run >"$CASE_DIR/plan.txt" || fail "the plan: $(cat "$CASE_DIR/plan.txt")"
	for t in t20 t41 t60; do assert_has "$(cat "$CASE_DIR/plan.txt")" "(make anew|alter|drop) .*$t" "the plan names $t"; done
	if grep -E '^(make|alter|drop).* (t[01358]|v1|a_view)' "$CASE_DIR/plan.txt" | grep -vE '\b(t|i|c)(20|41|60)\b|\(.*(rows differ|refers to)'; then
		fail "the plan names more than differs: $(cat "$CASE_DIR/plan.txt")"
	fi
	assert_has "$(cat "$CASE_DIR/plan.txt")" '^t03 +0 +1 +0' "the plan's rows of t03"
	restore good
	identities '(^|/)(t|i)(20|41|60)' >"$CASE_DIR/after"
	# two tables whose rows changed in a restore that makes others anew are made anew, too, where that is one RENAME
	case $DB_ENGINE in
	mysql | mariadb) for t in before after; do sed -i -E '/(t|i)(03|79|42)/d' "$CASE_DIR/$t"; done ;;
	esac
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "the other tables are the same tables"
	same_as "$CASE_DIR/good" "restored"
	part=$TOOK
	db_reset
	restore good
	# PostgreSQL prints these checks otherwise once it has read them back: the same objects all the same.
	db_dump "$CASE_DIR/found"
	assert_same <(grep -vE 'IN|ANY' "$CASE_DIR/good") <(grep -vE 'IN|ANY' "$CASE_DIR/found") "restored into an empty database"
	mv "$CASE_DIR/found" "$CASE_DIR/good"
	same_as "$CASE_DIR/good" "restored into an empty database"
	echo "$DB_ENGINE: 3 of 80 tables $part ms, all of them $TOOK ms"
}

alone() {
	local what=$1 sql=$2
	step "$DB_ENGINE: $what"
	identities '^$' >"$CASE_DIR/before"
	db_sql "$sql"
	db_sql "UPDATE t03 SET body = 'other' WHERE id = 7; DELETE FROM t79 WHERE id = 9;"
	assert_exit 1 ms verify prod good --live
	restore good
	same_as "$CASE_DIR/good" "$what"
	assert_has "$(ms restore prod good --dry-run)" '^total +0 +0 +0' "nothing is left to do"
	identities '^$' >"$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "no table was made anew"
}

for engine in ${METASNAP_ENGINES:-postgresql mysql mariadb sqlite}; do
	use_db "$engine"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	three_of_eighty
	# On MySQL an index is in its table's definition.
	case $engine in
	postgresql | sqlite) alone "one more index" "CREATE INDEX extra ON t05 (body);" ;;
	esac
	alone "one more view" "CREATE VIEW extra AS SELECT id FROM a_view;"
	case $engine in
	postgresql)
		alone "a grant" "GRANT SELECT ON t05 TO PUBLIC; GRANT UPDATE (body) ON t06 TO PUBLIC;"
		alone "a comment" "COMMENT ON TABLE t05 IS 'x'; COMMENT ON COLUMN t06.body IS 'y';"
		alone "statistics" "ALTER TABLE t05 ALTER body SET STATISTICS 99;"
		alone "storage" "ALTER TABLE t05 ALTER body SET STORAGE external;"
		;;
	esac
	ms check
done
