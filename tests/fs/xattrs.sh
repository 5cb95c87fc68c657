#!/bin/bash
# Extended attributes of rows and tables; times of row files; what statfs says; modes.
# TIMEOUT: 60
. "$(dirname "$0")/../lib.sh"
requires getfattr python3
use_db sqlite
db_fill 600
write_config
mount_fs
mkdir "$MNT/prod/snapshots/s"
T=$MNT/prod/snapshots/s/tables/table_entity
f=$(find "$T" -name '[0-9a-f]*.json' | sort | sed -n 1p)
get() { getfattr --only-values --absolute-names -n "user.metasnap.$1" "$2"; }
assert_eq "$(sha256sum <"$f" | cut -d' ' -f1)" "$(get sha256 "$f")" sha256
assert_eq "$(basename "$f" .json)" "$(get key "$f")" key
assert_eq table_entity "$(get table "$f")" table
assert_has "$(get first_seen "$f")" '[0-9]' first_seen
# computed ones are not listed: cp -a would hash every row, and its copy carry a sum that no edit changes
assert_silent "listxattr of a row" getfattr --absolute-names "$f"
cp -a "$f" "$CASE_DIR/copy.json"
assert_silent "xattrs of a copy" getfattr --absolute-names "$CASE_DIR/copy.json"
assert_has "$(getfattr --absolute-names "$T")" user.metasnap.digest "listxattr of a table"
assert_errno "No such attribute" getfattr -n user.none "$f"
assert_errno "Read-only file system" setfattr -n user.x -v 1 "$f"
assert_eq table_entity "$(get table "$T")" "table of the directory"
assert_eq "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["json"]["updatedAt"] // 1000)' "$f")" "$(stat -c %Y "$f")" "mtime is updatedAt"
assert_eq "400 1" "$(stat -c '%a %h' "$f")" "mode and links"
assert_eq "500" "$(stat -c %a "$T")" "mode of a directory"
assert_eq "700" "$(stat -c %a "$MNT/prod/restore")" "mode of restore/"
assert_eq "$(id -u)" "$(stat -c %u "$f")" owner
[ "$(stat -f -c %a "$MNT")" -gt 0 ] || fail "no free space is told"
assert_eq 255 "$(stat -f -c %l "$MNT")" "longest name"
assert_eq 600 "$(stat -c %a "$CATALOG")" "mode of the catalog"
step "the file is the archive's line, indented"
python3 - "$f" "$MNT/prod/archives/s/tables/table_entity.jsonl" <<'PY'
import json, sys
text = open(sys.argv[1]).read()
assert text.startswith("{\n  \"") and text.endswith("\n}\n"), text[:40]
row = json.loads(text)
lines = [json.loads(l) for l in open(sys.argv[2])]
assert row in lines
assert "id" not in row, "a generated column is in the row"
PY
umount_fs
