#!/bin/bash
# prune beside a mount: what is kept stays the same to the last inode number, open files included; what is removed is gone
# from the tree; the catalog's file shrinks; held, newest, imported and just restored-over snapshots stay.
# TIMEOUT: 150
. "$(dirname "$0")/../lib.sh"
requires python3
use_db sqlite
db_fill 6000
write_config "restore=replace" "keep=last=2 daily=1"
mount_fs
P=$MNT/prod
for i in 1 2 3 4 5 6 7; do
	mkdir "$P/snapshots/n$i"
	ls "$P/snapshots/n$i" >/dev/null
	db_sql "UPDATE entity_usage SET count1 = count1 + 1 WHERE count1 % 3 = $((i % 3)); DELETE FROM tag_usage WHERE rowid % 50 = $i;
		UPDATE table_entity SET json = json_set(json, '\$.description', 'v$i') WHERE rowid % 4 = $((i % 4));"
done
ms hold prod n2
listing() { (cd "$1" && find . -printf '%P %s %T@ %i %m %n\n' | sort); }
bytes() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum); }
state() {
	local s
	for s in n2 n6 n7; do
		listing "$P/snapshots/$s"
		listing "$P/archives/$s"
		bytes "$P/snapshots/$s"
		bytes "$P/archives/$s"
	done
}
state >"$CASE_DIR/before"
for i in n2 n3 n6; do cp -a "$P/snapshots/$i" "$CASE_DIR/$i"; done

step "a dry run says it and does nothing"
ms prune prod --dry-run >"$CASE_DIR/dry"
assert_eq "n1 n3 n4 n5" "$(awk '/^would remove/ { print $3 }' "$CASE_DIR/dry" | tr '\n' ' ' | sed 's/ $//')" "what would go"
assert_has "$(cat "$CASE_DIR/dry")" '^keep *n2 *held' "why n2 stays"
assert_has "$(cat "$CASE_DIR/dry")" '^keep *n7 *last, daily' "why n7 stays"
assert_eq 7 "$(find "$P/snapshots" -mindepth 1 -maxdepth 1 -type d | wc -l)" "snapshots after a dry run"
state >"$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "the tree after a dry run"

step "files and folders stay open across it, readers go on"
row=$(find "$CASE_DIR/n3/tables/table_entity" -name '*.json' ! -name .table.json -printf '%f\n' | sort | sed -n 5p)
exec 3<"$P/snapshots/n3/tables/table_entity/$row" 4<"$P/snapshots/n6/tables/table_entity/$row" 5<"$P/archives/n6/tables/table_entity.jsonl"
head -c 1000 <&5 >"$CASE_DIR/lines"
cat "$P/archives/n6/tables/table_entity.jsonl" >"$CASE_DIR/lines.want"
python3 - "$P/snapshots/n6/tables/table_entity" "$CASE_DIR/go" >"$CASE_DIR/scan" <<'PY' &
import os, sys, time
with os.scandir(sys.argv[1]) as d:
    names = [next(d).name]
    open(sys.argv[2] + ".ready", "w").close()
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.05)
    names += [e.name for e in d]
print("\n".join(sorted(names)))
PY
scan=$!
wait_for 5 "the folder is open" test -e "$CASE_DIR/go.ready"
(while [ ! -e "$CASE_DIR/go" ]; do
	diff -r "$P/snapshots/n6" "$CASE_DIR/n6" || echo "n6 differs"
	diff -r "$P/snapshots/n2" "$CASE_DIR/n2" || echo "n2 differs"
done) >"$CASE_DIR/readers" 2>&1 &
readers=$!
size=$(stat -c %s "$CATALOG")
ms prune prod >"$CASE_DIR/said"
touch "$CASE_DIR/go"
wait "$readers"
assert_silent "what readers saw meanwhile" cat "$CASE_DIR/readers"
wait "$scan"
assert_eq "$(find "$CASE_DIR/n6/tables/table_entity" -type f -printf '%f\n' | LC_ALL=C sort)" "$(LC_ALL=C sort "$CASE_DIR/scan")" "the folder that was open"
cat <&4 | cmp - "$CASE_DIR/n6/tables/table_entity/$row"
cat <&5 >>"$CASE_DIR/lines"
cmp "$CASE_DIR/lines" "$CASE_DIR/lines.want"
# of a snapshot that is gone: its own bytes or none
if cat <&3 >"$CASE_DIR/open3" 2>/dev/null; then
	cmp "$CASE_DIR/open3" "$CASE_DIR/n3/tables/table_entity/$row"
fi
exec 3<&- 4<&- 5<&-

step "the removed are gone, the others the same"
assert_eq "n2 n6 n7" "$(find "$P/snapshots" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')" "what is left"
wait_for 2 "archives/ has not the removed ones any more" test ! -e "$P/archives/n1" -a ! -e "$P/archives/n5"
wait_for 3 "the kernel forgets what was looked at" test ! -e "$P/snapshots/n3"
assert_gone "$P/snapshots/n3"
assert_eq n7 "$(basename "$(readlink "$P/snapshots/latest")")" latest
state >"$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "the tree after a prune"
[ "$(stat -c %s "$CATALOG")" -lt "$size" ] || fail "the catalog's file did not shrink ($size bytes)"
for i in n1 n3 n4 n5; do assert_has "$(cat "$P/journal.txt")" "remove $i: done" "the journal"; done
remount_fs
state >"$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "the tree after a remount"
ms check
(cd "$P/archives/n2" && sha256sum --quiet -c SHA256SUMS)

step "a snapshot after it shares with what is left"
mkdir "$P/snapshots/n8"
ls "$P/snapshots/n8" >/dev/null
ms prune prod >"$CASE_DIR/said"
assert_eq "n2 n7 n8" "$(find "$P/snapshots" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')" "what is left"
ms check

step "an imported one and the state before a restore stay"
ms import prod "$CASE_DIR/n3" imported
ms restore prod n2 --yes >/dev/null
before=$(ms list prod --json | python3 -c 'import json, sys; print([s["name"] for s in json.load(sys.stdin) if "before-restore" in s["name"]][0])')
mkdir "$P/snapshots/n9"
ls "$P/snapshots/n9" >/dev/null
ms release prod n2
ms prune prod --keep-last 1 >"$CASE_DIR/said"
assert_has "$(cat "$CASE_DIR/said")" "^keep *imported *imported" "the imported one"
assert_has "$(cat "$CASE_DIR/said")" "^keep *$before *before a restore" "the way back"
assert_eq "$(printf '%s\n' imported n9 "$before" | sort)" "$(find "$P/snapshots" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)" "what is left"
diff -r "$P/snapshots/imported/tables" "$CASE_DIR/n3/tables"

step "words"
assert_exit 2 ms prune prod --keep-last 0
assert_exit 2 ms prune prod --keep-daily many
assert_exit 2 ms prune prod --keep-within 3
assert_exit 2 ms list prod --keep-last 1
assert_exit 0 ms prune
assert_exit 1 ms prune nobody --keep-last 1
umount_fs
write_config
assert_exit 2 ms prune prod
assert_exit 2 ms prune
write_config "keep=last=x"
assert_exit 1 ms prune prod
write_config
ms check
