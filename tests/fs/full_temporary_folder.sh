#!/bin/bash
# A temporary folder that is full while the names of entities are sorted costs the index of names, which is made later, and not the
# snapshot: it is whole, and what is missing is said.
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_sql "PRAGMA journal_mode = WAL;
	CREATE TABLE table_entity (id INTEGER PRIMARY KEY, json JSON NOT NULL);
	WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 60000)
	INSERT INTO table_entity SELECT n, json_object('name', 't' || n, 'fullyQualifiedName', 'service.database.schema.t' || n) FROM i;"
write_config
mkdir "$CASE_DIR/small"
mount -t tmpfs -o size=256k tmpfs "$CASE_DIR/small"

step "the first snapshot has nearly no room to sort names in"
SQLITE_TMPDIR=$CASE_DIR/small ms snapshot prod first 2>"$CASE_DIR/said" >"$CASE_DIR/name" || fail "no snapshot: $(cat "$CASE_DIR/said")"
assert_eq first "$(cat "$CASE_DIR/name")" "the name of the snapshot"
assert_has "$(cat "$CASE_DIR/said")" 'index of entities has to be made later: .*temporary folder' "what is missing"

step "a second one, of which every name has changed"
db_sql "UPDATE table_entity SET json = json_set(json, '\$.fullyQualifiedName', 'other.database.schema.t' || id);"
SQLITE_TMPDIR=$CASE_DIR/small ms snapshot prod second 2>/dev/null

step "both are whole, and their names are there when there is room"
ms check >"$CASE_DIR/check" 2>&1 || fail "check: $(cat "$CASE_DIR/check")"
assert_exit 0 ms verify prod second
mount_fs
assert_has "$(cat "$MNT/prod/journal.txt")" 'snapshot first: done.*index of entities has to be made later' "the journal"
assert_has "$(cat "$MNT/prod/entities/first/table/service/database/schema/t59999.json")" '"service.database.schema.t59999"' "an entity by its name"
assert_has "$(cat "$MNT/prod/entities/second/table/other/database/schema/t7.json")" '"other.database.schema.t7"' "an entity by its name"
umount_fs
