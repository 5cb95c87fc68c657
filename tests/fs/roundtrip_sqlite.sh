#!/bin/bash
# Snapshot, copy out, lose everything, copy in: on SQLite. Also the row tree by rsync and by tar.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/roundtrip.bash"
roundtrip sqlite 10000

step "row tree by rsync -a and by tar"
mount_fs
db_reset
rsync -a "$CASE_DIR/out/rows/" "$MNT/prod/restore/by_rsync/"
db_dump "$CASE_DIR/after_rsync"
assert_same "$CASE_DIR/before" "$CASE_DIR/after_rsync" "row tree by rsync -a"
db_reset
mkdir "$MNT/prod/restore/by_tar"
tar -C "$CASE_DIR/out/rows" -cf - . | tar -C "$MNT/prod/restore/by_tar" -xf -
db_dump "$CASE_DIR/after_row_tar"
assert_same "$CASE_DIR/before" "$CASE_DIR/after_row_tar" "row tree by tar -x"
umount_fs
