#!/bin/bash
# restore = off | empty | replace, restore_confirm with PLAN.txt and APPLY, other OpenMetadata version and other engine
# without and with force.
# TIMEOUT: 120
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_fill 600
write_config
mount_fs
mkdir "$MNT/prod/snapshots/s"
cp -a "$MNT/prod/archives/s" "$CASE_DIR/out"
umount_fs
db_dump "$CASE_DIR/old"
R=$MNT/prod/restore
unchanged() {
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/live" "$CASE_DIR/found" "$1"
}
db_sql "UPDATE tag_usage SET state = 9; DELETE FROM bot_entity; INSERT INTO ACT_PARENT VALUES ('new', 'x');"
db_dump "$CASE_DIR/live"

step "off"
write_config restore=off
mount_fs
assert_errno "Operation not permitted" cp -a "$CASE_DIR/out" "$R/off"
unchanged "policy off"
umount_fs
assert_exit 1 ms restore prod s --yes
unchanged "policy off, by command"
ms restore prod s --dry-run >"$CASE_DIR/plan" 2>"$CASE_DIR/words"
assert_has "$(cat "$CASE_DIR/plan")" bot_entity "a plan all the same"
assert_has "$(cat "$CASE_DIR/words")" 'would be refused: .*restore=off' "what comes of it"

step "empty is the default: a database with rows is refused, one without tables or rows is not"
write_config
mount_fs
assert_errno "Directory not empty" cp -a "$CASE_DIR/out" "$R/empty"
assert_has "$(cat "$R/empty/ERROR.txt")" 'empty' "ERROR.txt"
unchanged "policy empty"
db_reset
touch "$R/empty/APPLY" # the cause has gone
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/old" "$CASE_DIR/found" "tried again with an empty database"
umount_fs

step "replace with confirm: the plan first, nothing is applied before APPLY"
db_sql "UPDATE tag_usage SET state = 9; DELETE FROM bot_entity; INSERT INTO ACT_PARENT VALUES ('new', 'x');"
db_dump "$CASE_DIR/live"
write_config restore=replace restore_confirm=yes
mount_fs
cp -a "$CASE_DIR/out" "$R/plan"
unchanged "not confirmed"
cat "$R/plan/PLAN.txt"
used=$(db_query "SELECT count(*) FROM tag_usage")
assert_eq "ACT_PARENT 0 0 1|bot_entity 3 0 0|tag_usage 0 $used 0|total 3 $used 1|" \
	"$(awk 'NR > 1 && NF == 4 { print $1, $2, $3, $4 }' "$R/plan/PLAN.txt" | tr '\n' '|')" "the plan: what differs, and nothing else"
touch "$R/plan/APPLY"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/old" "$CASE_DIR/found" "confirmed"
umount_fs

step "another OpenMetadata version is refused without force, naming both"
db_sql "UPDATE tag_usage SET state = 9;
	INSERT INTO SERVER_CHANGE_LOG (installed_rank, version, migrationFileName, checksum, installed_on) VALUES (9, '1.4.0', 'x', 'x', '2026-09-09 10:00:00');"
db_dump "$CASE_DIR/live"
write_config restore=replace
mount_fs
assert_errno "cross-device" cp -a "$CASE_DIR/out" "$R/version"
assert_has "$(cat "$R/version/ERROR.txt")" '1\.4\.0' "ERROR.txt names the live version"
assert_has "$(cat "$R/version/ERROR.txt")" '1\.3\.1' "ERROR.txt names the backup's version"
unchanged "another version"
umount_fs
write_config restore=replace restore_force=yes
mount_fs
touch "$R/version/APPLY"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/old" "$CASE_DIR/found" "another version with force"
umount_fs

step "another engine is refused"
use_db postgresql
db_sql "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1);"
db_dump "$CASE_DIR/live"
write_config restore=replace
mount_fs
assert_errno "cross-device" cp -a "$CASE_DIR/out" "$R/engine"
assert_has "$(cat "$R/engine/ERROR.txt")" 'sqlite' "ERROR.txt names the backup's engine"
unchanged "another engine"
umount_fs
