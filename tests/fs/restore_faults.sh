#!/bin/bash
# A restore whose database fails at any call (the fake driver: at begin, in the middle of the rows, at the end, at commit)
# exits non-zero, leaves the database as it was, says why in ERROR.txt, and works when tried again.
# TIMEOUT: 150
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_fill 800
write_config restore=replace
mount_fs
mkdir "$MNT/prod/snapshots/s"
cp -a "$MNT/prod/archives/s" "$CASE_DIR/out"
umount_fs
db_dump "$CASE_DIR/old"
db_sql "DELETE FROM tag_usage WHERE labelType = 0 AND state = 1; UPDATE change_event SET userName = 'x'; INSERT INTO ACT_PARENT VALUES ('new', 'x');"
db_touch_json table_entity '1 = 1'
db_dump "$CASE_DIR/changed"
n=0
for fault in fail=begin fail=change_begin 'fail=load_row&after=5' 'fail=load_row&errno=28&after=50' fail=load_end fail=change_end \
	'fail=scan_next&after=300' fail=set_sequences fail=commit; do
	n=$((n + 1))
	step "$fault"
	DB_URL="fake:$DB_FILE?$fault"
	write_config restore=replace
	mount_fs
	call=${fault#fail=}
	call=${call%%&*}
	assert_exit 1 cp -a "$CASE_DIR/out" "$MNT/prod/restore/f$n"
	case $fault in
	*errno=28*) words='No space left on device' ;;
	*) words='Input/output error' ;;
	esac
	assert_has "$(cat "$CASE_DIR/exit.txt")" "$words" "the errno"
	assert_has "$(cat "$MNT/prod/restore/f$n/ERROR.txt")" "$call failed as asked for" "ERROR.txt"
	assert_has "$(cat "$MNT/prod/status.txt")" "last error: .*restore/f$n: .*$call failed as asked for" "status.txt"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/changed" "$CASE_DIR/found" "the database after $fault"
	umount_fs
done
step "without the fault, APPLY tries what is staged again"
DB_URL=sqlite:$DB_FILE
write_config restore=replace
mount_fs
touch "$MNT/prod/restore/f$n/APPLY"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/old" "$CASE_DIR/found" "restored"
step "a capture that fails in the middle leaves no name"
umount_fs
# slow enough that cat waits when it fails: afterwards the name is gone
DB_URL="fake:$DB_FILE?fail=scan_next&after=200&slow_ms_per_row=10"
write_config
mount_fs
# shellcheck disable=SC2016
assert_exit 1 sh -c 'mkdir "$1" && cat "$1/MANIFEST.json"' sh "$MNT/prod/snapshots/half"
assert_has "$(cat "$CASE_DIR/exit.txt")" 'Input/output error' "the errno"
assert_gone "$MNT/prod/snapshots/half"
assert_has "$(cat "$MNT/prod/status.txt")" 'last error: .*half: .*scan_next failed as asked for' "status.txt"
umount_fs
ms check
