#!/bin/bash
# mkdir, rmdir, mv, hold, release, latest: what the names of snapshots do, and that removing one leaves the others whole.
# TIMEOUT: 100
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_fill 1500
write_config
mount_fs
P=$MNT/prod
latest() { basename "$(readlink "$P/snapshots/latest")"; }
for i in 1 2 3 4; do
	mkdir "$P/snapshots/n$i"
	ls "$P/snapshots/n$i" >/dev/null
	db_sql "UPDATE entity_usage SET count1 = $i WHERE count1 % 7 = $i; DELETE FROM tag_usage WHERE rowid % 50 = $i; UPDATE table_entity SET json = json_set(json, '\$.description', 'v$i') WHERE rowid % 10 = $i;"
done
for i in 1 2 3 4; do cp -a "$P/archives/n$i" "$CASE_DIR/n$i"; done
assert_eq n4 "$(latest)" latest
assert_eq "$(stat -c %s "$P/snapshots/latest")" "$(readlink "$P/snapshots/latest" | tr -d '\n' | wc -c)" "size of the link"
assert_has "$(readlink "$P/snapshots/latest")" '^[^/]' "the link is relative"
step mv
times=$(stat -c '%Y %i' "$P/snapshots/n4" "$P/snapshots/n4/MANIFEST.json")
mv "$P/snapshots/n4" "$P/snapshots/before-1.4"
assert_eq before-1.4 "$(latest)" "latest after mv"
assert_eq "$times" "$(stat -c '%Y %i' "$P/snapshots/before-1.4" "$P/snapshots/before-1.4/MANIFEST.json")" "times and inode numbers after mv"
assert_gone "$P/snapshots/n4"
wait_for 2 "archives/ has not the old name any more" test ! -e "$P/archives/n4"
[ -d "$P/archives/before-1.4" ] || fail "archives/ has not the new name"
assert_fails mv -T "$P/snapshots/before-1.4" "$P/snapshots/n1"
assert_errno "subdirectory of itself" mv "$P/snapshots/before-1.4" "$P/snapshots/a:b" # mv's words for EINVAL
assert_fails mv "$P/snapshots/before-1.4" "$CASE_DIR/out-of-it"
[ -d "$P/snapshots/before-1.4" ] || fail "a refused mv has removed the snapshot"
assert_eq 0 "$(find "$CASE_DIR/out-of-it" 2>/dev/null | grep -c snapshots || true)" "left of a refused mv"
rm -rf "$CASE_DIR/out-of-it"
step "hold and rmdir"
ms hold prod n2
assert_errno "Device or resource busy" rmdir "$P/snapshots/n2"
assert_exit 1 ms remove prod n2
rmdir "$P/snapshots/n1" "$P/snapshots/n3"
assert_gone "$P/snapshots/n1" "$P/snapshots/n3"
wait_for 2 "archives/ has not the removed ones any more" test ! -e "$P/archives/n1" -a ! -e "$P/archives/n3"
ms release prod n2
assert_errno "Read-only file system" rmdir "$P/archives/n2"
step "the others are whole"
diff -r "$P/archives/n2" "$CASE_DIR/n2"
diff -r "$P/archives/before-1.4" "$CASE_DIR/n4"
ms check
rmdir "$P/snapshots/before-1.4"
assert_eq n2 "$(latest)" "latest after its snapshot was removed"
mkdir "$P/snapshots/n1"
ls "$P/snapshots/n1" >/dev/null
remount_fs
diff -r "$P/archives/n2" "$CASE_DIR/n2"
rmdir "$P/snapshots/n1" "$P/snapshots/n2"
assert_silent "an empty folder, without latest" ls "$P/snapshots"
for w in n1 n2 n3 before-1.4; do assert_has "$(cat "$P/journal.txt")" "$w" "the journal"; done
umount_fs
ms check
