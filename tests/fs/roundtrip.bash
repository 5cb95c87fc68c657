# shellcheck shell=bash
#
# tests/fs/roundtrip.bash - the main job, for one engine: snapshot -> copy out -> the tables are gone -> copy in -> the dump of
# the server's own tool is the same. By row tree and by archive, with cp -a, rsync -a and tar. Sourced by roundtrip_ENGINE.sh.

# roundtrip ENGINE ROWS
roundtrip() {
	local engine=$1 rows=$2 got n
	requires rsync tar python3
	use_db "$engine"
	db_fill "$rows"
	write_config
	mount_fs
	db_dump "$CASE_DIR/before"

	step "snapshot"
	mkdir "$MNT/prod/snapshots/s1"
	n=$(find "$MNT/prod/snapshots/s1/tables" -name '*.json' ! -name .table.json | wc -l)
	[ "$n" -ge "$rows" ] || fail "only $n rows of at least $rows are there"
	db_dump "$CASE_DIR/after_snapshot"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after_snapshot" "a snapshot changes nothing"

	step "copies out"
	mkdir "$CASE_DIR/out"
	cp -a "$MNT/prod/snapshots/s1" "$CASE_DIR/out/rows"
	rsync -a "$MNT/prod/archives/s1/" "$CASE_DIR/out/archive/"
	tar -C "$MNT/prod/archives" -cf "$CASE_DIR/out/archive.tar" s1
	assert_eq "$n" "$(find "$CASE_DIR/out/rows/tables" -name '*.json' ! -name .table.json | wc -l)" "rows in the copy"
	assert_eq "$n" "$(cat "$CASE_DIR"/out/archive/tables/*.jsonl | wc -l)" "lines in the archive"
	(cd "$CASE_DIR/out/archive" && sha256sum --quiet -c SHA256SUMS)

	step "row tree, cp -a, after all tables were dropped"
	db_drop_tables
	cp -a "$CASE_DIR/out/rows" "$MNT/prod/restore/"
	db_dump "$CASE_DIR/after_rows"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after_rows" "row tree by cp -a"

	step "archive, rsync -a, into a new database"
	db_reset
	rsync -a "$CASE_DIR/out/archive" "$MNT/prod/restore/"
	db_dump "$CASE_DIR/after_archive"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after_archive" "archive by rsync -a"

	step "archive, tar -x, into a new database"
	db_reset
	tar -C "$MNT/prod/restore" -xf "$CASE_DIR/out/archive.tar"
	db_dump "$CASE_DIR/after_tar"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after_tar" "archive by tar -x"

	step "a snapshot of what was restored is the first one"
	mkdir "$MNT/prod/snapshots/s2"
	diff -rq --exclude MANIFEST.json "$MNT/prod/archives/s1" "$MNT/prod/archives/s2" >"$CASE_DIR/diff" || {
		got=$(grep -v SHA256SUMS "$CASE_DIR/diff" || true)
		[ -z "$got" ] || fail "differences of the archives before and after: $got"
	}
	assert_has "$(cat "$MNT/prod/journal.txt")" 'restore' "the journal tells of the restores"
	assert_has "$(grep 'snapshot s1:' "$MNT/prod/journal.txt")" " $n rows, " "the journal tells how many rows there are"
	umount_fs
	ms check
}
