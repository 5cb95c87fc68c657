#!/bin/bash
# Two snapshots with one row changed: diff -rq names that row, its table's and the snapshot's manifest and nothing else;
# rsync -ai from a copy of the first sends just these.
. "$(dirname "$0")/../lib.sh"
requires rsync
for engine in postgresql mysql; do
	step "$engine"
	use_db "$engine"
	db_fill 3000
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config
	mount_fs
	mkdir "$MNT/prod/snapshots/a"
	cp -a "$MNT/prod/snapshots/a" "$CASE_DIR/copy_$engine"
	mkdir "$MNT/prod/snapshots/same"
	assert_exit 1 diff -rq "$MNT/prod/snapshots/a" "$MNT/prod/snapshots/same"
	assert_eq "Files $MNT/prod/snapshots/a/MANIFEST.json and $MNT/prod/snapshots/same/MANIFEST.json differ" "$(cat "$CASE_DIR/exit.txt")" \
		"differences without a change"
	assert_exit 0 ms diff prod a same
	id=$(db_query "SELECT min(fromId) FROM entity_relationship")
	to=$(db_query "SELECT min(toId) FROM entity_relationship WHERE fromId = '$id'")
	db_sql "UPDATE entity_relationship SET toEntity = 'dashboarf' WHERE fromId = '$id' AND toId = '$to' AND relation =
		$(db_query "SELECT min(relation) FROM entity_relationship WHERE fromId = '$id' AND toId = '$to'");"
	sleep 1.1 # so that the moment differs in whole seconds
	mkdir "$MNT/prod/snapshots/b"
	A=$MNT/prod/snapshots/a B=$MNT/prod/snapshots/b
	assert_exit 1 diff -rq "$A" "$B"
	mv "$CASE_DIR/exit.txt" "$CASE_DIR/diff"
	assert_eq 3 "$(wc -l <"$CASE_DIR/diff")" "lines of diff -rq ($(cat "$CASE_DIR/diff"))"
	assert_has "$(cat "$CASE_DIR/diff")" "$A/tables/entity_relationship/$id,$to,[0-9]+\.json " "the row"
	assert_has "$(cat "$CASE_DIR/diff")" "$A/tables/entity_relationship/.table.json " "the table"
	assert_has "$(cat "$CASE_DIR/diff")" "$A/MANIFEST.json " "the manifest"
	rsync -ai "$B/" "$CASE_DIR/copy_$engine/" | grep '^>f' >"$CASE_DIR/sent" || true
	assert_eq 3 "$(wc -l <"$CASE_DIR/sent")" "files that rsync sends ($(cat "$CASE_DIR/sent"))"
	diff -r "$B" "$CASE_DIR/copy_$engine"
	assert_silent "a second rsync" rsync -ai --delete "$B/" "$CASE_DIR/copy_$engine/"
	assert_exit 1 ms diff prod a b
	assert_has "$(cat "$CASE_DIR/exit.txt")" "entity_relationship" "metasnap diff names the table"
	assert_has "$(cat "$CASE_DIR/exit.txt")" "$id,$to" "metasnap diff names the row"
	umount_fs
done
