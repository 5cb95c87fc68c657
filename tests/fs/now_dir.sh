#!/bin/bash
# now/: looking inside shows a snapshot younger than now_max_age or takes one; stat now and ls of the source take none; a
# copy is one moment, whoever writes meanwhile; a reader keeps its moment; rows copied into now/ are upserted under policy replace only.
# TIMEOUT: 120
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_fill 600
db_sql "CREATE TABLE moment_a (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE moment_b (id INTEGER PRIMARY KEY, n INTEGER);
	WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300) INSERT INTO moment_a SELECT i, 0 FROM c;
	INSERT INTO moment_b SELECT * FROM moment_a; PRAGMA journal_mode = wal;" >/dev/null
write_config now_max_age=2 restore=replace
mount_fs
P=$MNT/prod
count() { find "$P/snapshots" -mindepth 1 -maxdepth 1 -type d | wc -l; }
stat "$P/now" >/dev/null
ls -l "$P" >/dev/null
assert_eq 0 "$(count)" "snapshots after stat now and ls"
# Changes two tables, always both, until $CASE_DIR/stop is there; the number it has written last is in $CASE_DIR/written.
python3 - "$DB_FILE" "$CASE_DIR/stop" "$CASE_DIR/written" <<'PY' &
import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
n = 0
while not os.path.exists(sys.argv[2]):
    n += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE moment_a SET n = ?", (n,))
    time.sleep(0.005)
    db.execute("UPDATE moment_b SET n = ?", (n,))
    db.execute("COMMIT")
    with open(sys.argv[3] + ".new", "w") as f: f.write("%d\n" % n)
    os.rename(sys.argv[3] + ".new", sys.argv[3])
    time.sleep(0.002)
PY
writer=$!
wait_for 10 "the writer writes" test -e "$CASE_DIR/written"
first=$(cat "$CASE_DIR/written")
ls "$P/now" >/dev/null
assert_eq 1 "$(count)" "snapshots after a look inside"
assert_has "$(ls "$P/snapshots")" '^[0-9]{8}T[0-9]{6}Z' "its name is the moment, in UTC"
ls "$P/now/tables" >/dev/null
assert_eq 1 "$(count)" "a second look at once"
step "a copy is one moment"
# moment COPY FROM: what all rows of both tables say; not before the number FROM
moment() {
	local got
	got=$(grep -rhoE '"n": [0-9]+' "$1/tables/moment_a" "$1/tables/moment_b" | sort | uniq -c | awk '{ print $1, $3 }')
	assert_has "$got" '^600 [0-9]+$' "rows, and the number in all of them"
	got=${got#* }
	[ "$got" -ge "$2" ] || fail "the copy shows $got; $2 was there before"
	echo "$got"
}
cp -a "$P/now" "$CASE_DIR/copy"
diff -r "$P/snapshots/latest" "$CASE_DIR/copy"
shown=$(moment "$CASE_DIR/copy" "$first")
written() { [ "$(cat "$CASE_DIR/written")" -gt "$1" ]; }
wait_for 10 "the writer wrote while the copy was made" written "$((shown + 1))"
step "older than now_max_age: a new one"
db_sql "PRAGMA busy_timeout = 20000; UPDATE tag_usage SET state = 7;" >/dev/null
later=$(cat "$CASE_DIR/written")
sleep 11 # a reader counts for ten seconds after its last look
grep -rl '"state": 7' "$P/now/tables/tag_usage" >"$CASE_DIR/new" || fail "now/ shows the old state"
[ "$(count)" -ge 2 ] || fail "no new snapshot was taken"
cp -a "$P/now" "$CASE_DIR/copy2"
diff -r "$P/snapshots/latest" "$CASE_DIR/copy2"
moment "$CASE_DIR/copy2" "$later"
touch "$CASE_DIR/stop"
wait "$writer"
step "a reader keeps its moment"
exec 7<"$P/now/tables"
db_sql "DELETE FROM tag_usage;"
sleep 11
n=$(find "/proc/self/fd/7/tag_usage/" -type f 2>/dev/null | wc -l)
[ "$n" -gt 1 ] || fail "the directory that is held open changed to a later moment ($n files)"
exec 7<&-
step "a row copied into now/ is written to the database"
f=$(find "$CASE_DIR/copy/tables/tag" -name '[0-9a-f]*.json' | sort | sed -n 1p)
id=$(basename "$f" .json)
sed 's/"deleted": [a-z]*/"deleted": true/; s/"updatedBy": "[^"]*"/"updatedBy": "hand"/' "$f" >"$CASE_DIR/$id.json"
cp "$CASE_DIR/$id.json" "$P/now/tables/tag/"
assert_eq hand "$(db_query "SELECT updatedBy FROM tag WHERE id = '$id'")" "the row in the database"
db_sql "DELETE FROM tag WHERE id = '$id';"
cp "$f" "$P/now/tables/tag/"
assert_eq 1 "$(db_query "SELECT count(*) FROM tag WHERE id = '$id'")" "a row that had gone"
echo '{"not": "a row"' >"$CASE_DIR/$id.json"
assert_fails cp "$CASE_DIR/$id.json" "$P/now/tables/tag/"
assert_fails rm "$P/now/tables/tag/$id.json"
umount_fs
step "not under policy empty"
write_config restore=empty now_max_age=2
mount_fs
assert_fails cp "$f" "$P/now/tables/tag/"
umount_fs
