#!/bin/bash
# SHA256SUMS holds in archives/ and in a copy. A changed byte, a missing row, an additional row: copying it in fails with
# EBADMSG, ERROR.txt names the table and the row, and the database is as it was.
# TIMEOUT: 240
. "$(dirname "$0")/../lib.sh"
requires rsync sqlite3
prepare() {
	use_db "$1"
	db_fill 2500
	CATALOG=$CASE_DIR/catalog_$1/catalog.db
	write_config restore=replace
	mount_fs
	mkdir "$MNT/prod/snapshots/s"
	(cd "$MNT/prod/archives/s" && sha256sum --quiet -c SHA256SUMS)
	OUT=$CASE_DIR/out_$1
	mkdir "$OUT"
	cp -a "$MNT/prod/archives/s" "$OUT/archive"
	cp -a "$MNT/prod/snapshots/s" "$OUT/rows"
	chmod -R u+w "$OUT"
	(cd "$OUT/archive" && sha256sum --quiet -c SHA256SUMS)
	assert_eq "$(find "$OUT/archive" -type f ! -name SHA256SUMS | wc -l)" "$(wc -l <"$OUT/archive/SHA256SUMS")" "lines of SHA256SUMS"
	db_dump "$CASE_DIR/taken_$1"
	# The database goes on: what is refused must not bring the old state back.
	db_sql "DELETE FROM tag_usage WHERE labelType = 0 AND state = 1;"
	db_dump "$CASE_DIR/live_$1"
	if cmp -s "$CASE_DIR/taken_$1" "$CASE_DIR/live_$1"; then
		fail "the database did not go on"
	fi
}
N=0
# refused FROM TABLE ROW-PATTERN WORDS: a copy in of the directory FROM
refused() {
	local how
	for how in cp rsync; do
		N=$((N + 1))
		if [ $how = cp ]; then
			assert_exit 1 cp -a "$1" "$MNT/prod/restore/t$N"
		else
			assert_exit 23 rsync -a "$1/" "$MNT/prod/restore/t$N/"
		fi
		assert_has "$(cat "$CASE_DIR/exit.txt")" 'Bad message' "$4 ($how): the errno"
		[ -f "$MNT/prod/restore/t$N/ERROR.txt" ] || fail "$4 ($how): no ERROR.txt; the copier said: $(cat "$CASE_DIR/exit.txt")"
		assert_has "$(cat "$MNT/prod/restore/t$N/ERROR.txt")" "$2" "$4 ($how): ERROR.txt names the table"
		[ -z "$3" ] || assert_has "$(cat "$MNT/prod/restore/t$N/ERROR.txt")" "$3" "$4 ($how): ERROR.txt names the row"
		assert_distinct "$4 ($how): said twice in ERROR.txt" grep . "$MNT/prod/restore/t$N/ERROR.txt"
		assert_has "$(cat "$MNT/prod/status.txt")" "last error: .*restore/t$N: " "$4 ($how): status.txt"
		db_dump "$CASE_DIR/now"
		assert_same "$CASE_DIR/live_$DB_ENGINE" "$CASE_DIR/now" "$4 ($how): the database"
	done
}
for engine in sqlite postgresql; do
	step "$engine: archives"
	prepare "$engine"
	row=$(db_query "SELECT min(id) FROM table_entity")
	cp -a "$OUT/archive" "$OUT/byte"
	sed -i "/$row/s/Regular/Regulas/" "$OUT/byte/tables/table_entity.jsonl"
	cmp -s "$OUT/archive/tables/table_entity.jsonl" "$OUT/byte/tables/table_entity.jsonl" && fail "the test changed nothing"
	assert_exit 1 sh -c "cd $OUT/byte && sha256sum --quiet -c SHA256SUMS"
	assert_eq "tables/table_entity.jsonl: FAILED" "$(grep FAILED "$CASE_DIR/exit.txt")" "what sha256sum finds"
	refused "$OUT/byte" table_entity "$row" "a changed byte in an archive"
	cp -a "$OUT/archive" "$OUT/less"
	sed -i "/$row/d" "$OUT/less/tables/table_entity.jsonl"
	refused "$OUT/less" table_entity "$row" "a missing line"
	cp -a "$OUT/archive" "$OUT/more"
	more=$(head -n 1 "$OUT/more/tables/tag.jsonl" | sed 's/"[0-9a-f]\{8\}-/"00000000-/g')
	printf '%s\n' "$more" >>"$OUT/more/tables/tag.jsonl"
	refused "$OUT/more" tag "" "an additional line"
	cp -a "$OUT/archive" "$OUT/schema"
	sed -i 's/CREATE TABLE/CREATE  TABLE/' "$OUT/schema/schema.sql"
	refused "$OUT/schema" "schema.sql" "" "a changed schema.sql"

	step "$engine: row trees"
	cp -a "$OUT/rows" "$OUT/rbyte"
	sed -i 's/Regular/Regulas/' "$OUT/rbyte/tables/table_entity/$row.json"
	refused "$OUT/rbyte" table_entity "$row" "a changed byte in a row"
	cp -a "$OUT/rows" "$OUT/rless"
	rm "$OUT/rless/tables/table_entity/$row.json"
	refused "$OUT/rless" table_entity "$row" "a missing row"
	cp -a "$OUT/rows" "$OUT/rmore"
	for t in "$OUT"/rmore/tables/*_entity; do # in several tables: the order of arrival is the copier's
		f=$(find "$t" -name '[0-9a-f]*.json' | sort | sed -n 1p)
		[ -z "$f" ] || sed 's/"[0-9a-f]\{8\}-/"00000000-/g' "$f" >"$t/00000000-${f##*/????????-}"
	done
	refused "$OUT/rmore" _entity "00000000-" "additional rows"
	cp -a "$OUT/rows" "$OUT/rswap"
	other=$(db_query "SELECT max(id) FROM table_entity")
	mv "$OUT/rswap/tables/table_entity/$row.json" "$OUT/rswap/x"
	mv "$OUT/rswap/tables/table_entity/$other.json" "$OUT/rswap/tables/table_entity/$row.json"
	mv "$OUT/rswap/x" "$OUT/rswap/tables/table_entity/$other.json"
	refused "$OUT/rswap" table_entity "" "two rows under each other's names"

	step "$engine: and the untouched copy is welcome"
	cp -a "$OUT/archive" "$MNT/prod/restore/good"
	db_dump "$CASE_DIR/now"
	assert_same "$CASE_DIR/taken_$engine" "$CASE_DIR/now" "the good copy restored"
	umount_fs
done

step "a damaged catalog: an error for that row, the neighbours still read"
# Found by its own check, and the rest of the tree goes on.
use_db sqlite damage
db_fill 3000
CATALOG=$CASE_DIR/catalog_damage/catalog.db
write_config
mount_fs
mkdir "$MNT/prod/snapshots/s"
find "$MNT/prod/snapshots/s/tables" -type f >"$CASE_DIR/files"
umount_fs
python3 - "$CATALOG" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
# the largest blob of the largest table of blobs: a pack
best = None
for (t,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    for c in db.execute("PRAGMA table_info(%s)" % t).fetchall():
        try:
            n, s = db.execute("SELECT count(*), sum(length(%s)) FROM %s WHERE typeof(%s) = 'blob'" % (c[1], t, c[1])).fetchone()
        except sqlite3.Error:
            continue
        if n and (best is None or s > best[0]):
            best = (s, t, c[1])
s, t, c = best
rowid, blob = db.execute("SELECT rowid, %s FROM %s WHERE typeof(%s) = 'blob' ORDER BY length(%s) DESC LIMIT 1" % (c, t, c, c)).fetchone()
blob = bytearray(blob)
for i in range(len(blob) // 2, len(blob) // 2 + 8):
    blob[i] ^= 0x55
db.execute("UPDATE %s SET %s = ? WHERE rowid = ?" % (t, c), (bytes(blob), rowid))
db.commit()
PY
assert_exit 1 ms check
assert_has "$(cat "$CASE_DIR/exit.txt")" 'damaged' "what check finds"
assert_exit 1 ms verify prod s
assert_has "$(cat "$CASE_DIR/exit.txt")" 'damaged' "what verify finds"
mount_fs
bad=0
while read -r f; do
	cat "$f" >/dev/null 2>"$CASE_DIR/err" || {
		assert_has "$(cat "$CASE_DIR/err")" "Input/output error" "a damaged row"
		bad=$((bad + 1))
	}
done <"$CASE_DIR/files"
echo "$bad of $(wc -l <"$CASE_DIR/files") files do not read"
[ "$bad" -gt 0 ] || fail "the damage is not seen when reading"
[ "$bad" -lt 500 ] || fail "$bad files do not read: the neighbours are lost, too"
# All names, or the listing says that it is not whole
if find "$MNT/prod/snapshots/s/tables" -type f >"$CASE_DIR/listed" 2>"$CASE_DIR/err"; then
	assert_same "$CASE_DIR/files" "$CASE_DIR/listed" "a listing that reports no error"
else
	assert_has "$(cat "$CASE_DIR/err")" "Input/output error" "a listing that is not whole"
fi
umount_fs
