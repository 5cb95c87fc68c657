#!/bin/bash
# Every usual way to copy a backup in works and restores once, with the result as the copier's own: cp -a, cp -r, mv, rsync
# with --inplace, --partial-dir, --delay-updates, tar -x, ln -s; names that are no part of it are inert; an interrupted
# rsync goes on after the daemon was restarted; staged files read back as written.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires rsync
use_db sqlite
db_fill 1200
write_config restore=replace
mount_fs
R=$MNT/prod/restore
mkdir "$MNT/prod/snapshots/s"
cp -a "$MNT/prod/archives/s" "$CASE_DIR/archive"
cp -a "$MNT/prod/snapshots/s" "$CASE_DIR/rows"
db_dump "$CASE_DIR/old"
damage() { db_sql "UPDATE tag_usage SET state = 9 WHERE labelType = 0; DELETE FROM entity_usage; INSERT INTO ACT_PARENT VALUES ('n' || random(), 'x');"; }
restored() { # WORDS
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/old" "$CASE_DIR/found" "$1"
}
way() { # NAME COMMAND...
	local name=$1 before after
	shift
	step "$name: $*"
	damage
	before=$(grep -c restore "$MNT/prod/journal.txt" || true)
	"$@" || fail "$name: exit status $?: $(cat "$R"/*/ERROR.txt 2>/dev/null | tail -n 3)"
	restored "$name"
	after=$(grep -c restore "$MNT/prod/journal.txt" || true)
	assert_eq 1 $((after - before)) "$name: restores in the journal"
}
way cp_a cp -a "$CASE_DIR/archive" "$R/cp_a"
way cp_r cp -r "$CASE_DIR/archive" "$R/cp_r"
way cp_rows cp -a "$CASE_DIR/rows" "$R/cp_rows"
way rsync rsync -a "$CASE_DIR/archive/" "$R/rsync/"
way rsync_rows rsync -a "$CASE_DIR/rows/" "$R/rsync_rows/"
way inplace rsync -a --inplace "$CASE_DIR/archive/" "$R/inplace/"
way partial_dir rsync -a --partial-dir=.rsync-partial "$CASE_DIR/archive/" "$R/partial/"
way delay_updates rsync -a --delay-updates "$CASE_DIR/archive/" "$R/delayed/"
way delay_updates_rows rsync -a --delay-updates "$CASE_DIR/rows/" "$R/delayed_rows/"
way sparse rsync -a -S --fsync "$CASE_DIR/archive/" "$R/sparse/"
mkdir "$R/tar"
way tar sh -c "tar -C $CASE_DIR/archive -cf - . | tar -C $R/tar -xf -"
mkdir "$R/tar_rows"
way tar_rows sh -c "tar -C $CASE_DIR/rows -cf - . | tar -C $R/tar_rows -xpf -"
cp -a "$CASE_DIR/archive" "$CASE_DIR/moved"
# One restore, whatever comes last: the sums, the manifest, a table.
for last in SHA256SUMS MANIFEST.json tables/tag_usage.jsonl; do
	way "last_${last##*/}" sh -c "cd '$CASE_DIR/archive' && mkdir -p '$R/last_${last##*/}/tables' &&
		find . -type f ! -path './$last' -exec cp {} '$R/last_${last##*/}/{}' \\; && cp '$last' '$R/last_${last##*/}/$last'"
done
way mv mv "$CASE_DIR/moved" "$R/moved"
way symlink ln -s ../snapshots/s "$R/link"
way symlink_archive ln -s ../archives/s "$R/alink"
way backwards sh -c "mkdir -p $R/back/tables && (cd $CASE_DIR/archive && find . -type f | sort -r) |
	while read -r f; do cp \"$CASE_DIR/archive/\$f\" \"$R/back/\$f\" || exit 1; done"

step "one table by its directory, one table's lines with the manifest"
damage
cp -a "$CASE_DIR/rows/tables/tag_usage" "$R/"
assert_eq 0 "$(db_query 'SELECT count(*) FROM tag_usage WHERE state = 9')" "rows of tag_usage after its directory was copied in"
assert_eq 0 "$(db_query 'SELECT count(*) FROM entity_usage')" "rows of another table"
cp -a "$CASE_DIR/archive" "$R/all_again"
restored "all again"

step "what is no part of a backup is inert and read back"
mkdir "$R/inert"
damage
db_dump "$CASE_DIR/damaged"
for f in .DS_Store ._x a.swp 'b~' .nfs0001 notes.txt Thumbs.db; do echo "text of $f" >"$R/inert/$f"; done
for f in .DS_Store a.swp notes.txt; do assert_eq "text of $f" "$(cat "$R/inert/$f")" "$f"; done
(cd "$R/inert" && dd if=/dev/zero of=x bs=1k count=4 status=none && printf middle | dd of=x bs=1 seek=2000 conv=notrunc status=none &&
	truncate -s 3000 x && chmod 640 x && touch -d 2020-01-01 x && mv x y && cp -p y z && : >empty && rm z)
assert_eq "3000 1577836800" "$(stat -c '%s %Y' "$R/inert/y")" "size and time of a staged file"
assert_eq middle "$(dd if="$R/inert/y" bs=1 skip=2000 count=6 status=none)" "bytes at an offset"
assert_eq 0 "$(stat -c %s "$R/inert/empty")" "an empty file"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/damaged" "$CASE_DIR/found" "nothing was restored by inert files"
mkdir "$R/withinert"
echo x >"$R/withinert/.DS_Store"
cp -a "$CASE_DIR/archive/." "$R/withinert/"
restored "a backup beside inert files"
rm -r "$R/inert" "$R/withinert"
[ ! -e "$R/inert" ] || fail "rm -r of a staging directory"

step "an incomplete set never restores, and an interrupted rsync goes on after a restart of the daemon"
damage
db_dump "$CASE_DIR/damaged"
mkdir "$R/part"
cp "$CASE_DIR/archive/MANIFEST.json" "$R/part/"
mkdir "$R/part/tables"
head -c 100000 "$CASE_DIR/archive/tables/table_entity.jsonl" >"$R/part/tables/.table_entity.jsonl.Ab12Cd"
cp -p "$CASE_DIR/archive/tables/tag.jsonl" "$R/part/tables/"
kill9_fs
mount_fs
assert_eq 100000 "$(stat -c %s "$R/part/tables/.table_entity.jsonl.Ab12Cd")" "the part that was there"
cmp "$R/part/tables/tag.jsonl" "$CASE_DIR/archive/tables/tag.jsonl"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/damaged" "$CASE_DIR/found" "nothing was restored by a part"
rsync -ai --delete "$CASE_DIR/archive/" "$R/part/" >"$CASE_DIR/sent"
if grep -q 'tables/tag.jsonl' "$CASE_DIR/sent"; then
	fail "rsync sent again what had arrived"
fi
restored "resumed"
umount_fs
