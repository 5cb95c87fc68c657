#!/bin/bash
# A database without tables but with views or routines is a database: snapshot, archive, export, import, verify, diff and restore
# work, and what is there is kept before it is replaced.
# TIMEOUT: 400
. "$(dirname "$0")/../lib.sh"
definitions() {
	case $DB_ENGINE in
	sqlite) db_query "SELECT sql FROM sqlite_schema ORDER BY 1" ;;
	postgresql) "$SERVER_BINDIR/pg_dump" "$DB_URL" | grep -vE '^(--|SET |SELECT |\\(un)?restrict |$)' ;;
	*)
		db_query "SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = database() ORDER BY 1"
		db_query "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = database() ORDER BY 1"
		;;
	esac
}
for engine in sqlite postgresql mariadb mysql; do
	step "$engine"
	use_db "$engine"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	db_sql "CREATE VIEW v AS SELECT 1 AS x;"
	[ "$engine" = sqlite ] || db_sql "CREATE FUNCTION f() RETURNS int $([ "$engine" = postgresql ] && echo "LANGUAGE sql AS 'SELECT 7'" || echo "DETERMINISTIC RETURN 7");"
	definitions >"$CASE_DIR/want"
	ms snapshot prod one
	ms verify prod one || fail "$engine: verify"
	ms verify prod one --live || fail "$engine: verify --live"
	ms export prod one "$CASE_DIR/out_$engine"
	ms export prod one "$CASE_DIR/out_$engine.sql"
	step "$engine: other definitions, and back"
	db_sql "DROP VIEW v; CREATE VIEW w AS SELECT 2 AS y;"
	definitions >"$CASE_DIR/other"
	ms snapshot prod two
	ms diff prod one two >/dev/null || [ $? = 1 ] || fail "$engine: diff"
	ms restore prod one --dry-run >"$CASE_DIR/said" 2>&1 || fail "$engine: dry run: $(cat "$CASE_DIR/said")"
	ms restore prod one --yes >"$CASE_DIR/said" 2>&1 || fail "$engine: restore: $(cat "$CASE_DIR/said")"
	definitions >"$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "$engine: after a restore"
	safety=$(ms list prod | grep -oE '[^ ]*-before-restore' | tail -n 1)
	assert_has "$safety" before-restore "$engine: what was there is kept"
	ms restore prod "$safety" --yes >"$CASE_DIR/said" 2>&1 || fail "$engine: back: $(cat "$CASE_DIR/said")"
	definitions >"$CASE_DIR/got"
	assert_same "$CASE_DIR/other" "$CASE_DIR/got" "$engine: the safety snapshot restored"
	step "$engine: by the tree, an archive, an import, into an empty database"
	mount_fs
	find "$MNT/prod" -type f -exec cat {} + >/dev/null
	cp -a "$MNT/prod/archives/one" "$CASE_DIR/archive_$engine"
	db_reset
	cp -a "$CASE_DIR/archive_$engine" "$MNT/prod/restore/one"
	umount_fs
	definitions >"$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "$engine: copied in"
	ms import prod "$CASE_DIR/out_$engine" again
	db_reset
	ms restore prod again --yes >"$CASE_DIR/said" 2>&1 || fail "$engine: an import restored: $(cat "$CASE_DIR/said")"
	definitions >"$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "$engine: imported and restored"
	db_reset
	db_sql <"$CASE_DIR/out_$engine.sql"
	definitions >"$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "$engine: export .sql"
done
