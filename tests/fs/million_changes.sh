#!/bin/bash
# changes/ at 1,000,000 rows with 1 % of them changed: the summary of a fresh mount within 1 s, and exactly what SQL says;
# the cost of ten changes is that of ten changes, whatever else is there; every row of a million changed: listed as a
# stream, with bounded memory.
# TIMEOUT: 240
# shellcheck disable=SC2012 # ls -f is what is tested
. "$(dirname "$0")/../lib.sh"
N=1000000
make() { # ROWS: four tables of them, one without a key
	db_sql "CREATE TABLE entity (id varchar(36) GENERATED ALWAYS AS (json ->> 'id') STORED NOT NULL PRIMARY KEY, json jsonb NOT NULL);
		CREATE TABLE pairs (a varchar(40), b varchar(40), n int, PRIMARY KEY (a, b));
		CREATE TABLE numbers (id int PRIMARY KEY, v text);
		CREATE TABLE bag (n int, v text);
		INSERT INTO entity (json) SELECT jsonb_build_object('id', md5(i::text), 'n', i, 'name', 'row ' || i, 'updatedAt', 1763000000000 + i, 'tag', md5((i * 7)::text)) FROM generate_series(1, $1 / 2) i;
		INSERT INTO pairs SELECT md5(i::text), md5((i / 3)::text), i FROM generate_series(1, $1 * 3 / 10) i;
		INSERT INTO numbers SELECT i, md5(i::text) || md5((i + 1)::text) FROM generate_series(1, $1 * 15 / 100) i;
		INSERT INTO bag SELECT i % 1000, md5((i % 40000)::text) FROM generate_series(1, $1 * 5 / 100) i;"
}
# What the daemon has read from files so far
read_bytes() { awk '/^rchar/ { print $2 }' "/proc/$DAEMON_PID/io"; }
# For how long (ms) its threads have run, and how long they could have and did not because others had the processors
threads_ms() { awk '{ run += $1; queued += $2 } END { printf "%d %d\n", run / 1000000, queued / 1000000 }' "/proc/$DAEMON_PID"/task/*/schedstat; }
# summary PAIR: on a fresh mount; its time in TOOK (ms, less what others took from it, but not less than it computed), what was read
# for it in READ
summary() {
	local start bytes ran ran2 queued queued2
	remount_fs
	bytes=$(read_bytes)
	read -r ran queued <<<"$(threads_ms)"
	start=$(now_ms)
	cat "$MNT/prod/changes/$1/summary.txt" >"$CASE_DIR/summary"
	TOOK=$(($(now_ms) - start))
	read -r ran2 queued2 <<<"$(threads_ms)"
	ran=$((ran2 - ran)) queued=$((queued2 - queued))
	echo "summary.txt: $TOOK ms; all threads ran $ran ms and waited $queued ms for a processor"
	TOOK=$((TOOK - queued > ran ? TOOK - queued : ran))
	READ=$(($(read_bytes) - bytes))
}

use_db postgresql
make $N
db_sql "CREATE SCHEMA before; CREATE TABLE before.entity AS TABLE entity; CREATE TABLE before.pairs AS TABLE pairs;
	CREATE TABLE before.numbers AS TABLE numbers; CREATE TABLE before.bag AS TABLE bag;"
write_config
mount_fs
P=$MNT/prod
ms snapshot prod a >/dev/null
db_sql "UPDATE entity SET json = jsonb_set(json, '{name}', '\"other\"') WHERE abs(hashtext(id)) % 110 = 0;
	DELETE FROM entity WHERE abs(hashtext(id)) % 1000 = 1; INSERT INTO entity (json) SELECT jsonb_build_object('id', 'new' || i, 'n', i) FROM generate_series(1, 600) i;
	UPDATE pairs SET n = -n WHERE abs(hashtext(a)) % 100 = 0; UPDATE numbers SET v = 'x' WHERE id % 100 = 7;
	UPDATE bag SET v = 'y' WHERE n % 100 = 3; DELETE FROM bag WHERE n = 5; INSERT INTO bag SELECT 1, md5('1') FROM generate_series(1, 20);"
ms snapshot prod b >/dev/null

step "a fresh mount: the catalog in the page cache, then not"
summary a..b
echo "$READ bytes read"
cat "$CASE_DIR/summary"
[ "$TOOK" -lt $((1000 * SLOW)) ] || fail "the summary takes $TOOK ms"
umount_fs
sync "$CATALOG"
dd if="$CATALOG" iflag=nocache count=0 status=none
mount_fs
summary a..b
echo "that was not in the page cache"
[ "$TOOK" -lt $((1000 * SLOW)) ] || fail "the summary of a cold catalog takes $TOOK ms"

step "counts by SQL"
counts() { awk -v t="$1" '$7 == t { print $1, $2, $3, $4, $5 }' "$CASE_DIR/summary"; }
keyed() { # TABLE KEYS VALUE
	assert_eq "$(db_query "SELECT count(*) FILTER (WHERE o IS NULL), count(*) FILTER (WHERE n IS NULL), count(*) FILTER (WHERE o <> n), count(o), count(n)
		FROM (SELECT $2, $3::text AS o FROM before.$1) o FULL JOIN (SELECT $2, $3::text AS n FROM $1) n USING ($2)" | tr '\t' ' ')" "$(counts "$1")" "$1"
}
keyed entity id json
keyed pairs a,b n
keyed numbers id v
assert_eq "$(db_query "SELECT (SELECT count(*) FROM (TABLE bag EXCEPT ALL TABLE before.bag) x), (SELECT count(*) FROM (TABLE before.bag EXCEPT ALL TABLE bag) x),
	0, (SELECT count(*) FROM before.bag), (SELECT count(*) FROM bag)" | tr '\t' ' ')" "$(counts bag)" bag
read -r added removed changed <<<"$(awk '$6 == "total" { print $1, $2, $3 }' "$CASE_DIR/summary")"
[ $((added + removed + changed)) -ge $((N / 100)) ] || fail "less than 1 % changed"
start=$(now_ms)
assert_eq $((added + removed + 2 * changed + 1)) "$(find "$P/changes/a..b" -type f | wc -l)" "files"
echo "found in $(($(now_ms) - start)) ms"

step "ten changes cost ten changes: among $N rows and among a tenth"
db_sql "UPDATE numbers SET v = 'ten' WHERE id % ($N * 15 / 1000) = 1;"
ms snapshot prod ten >/dev/null
summary b..ten
assert_eq "0 0 10" "$(awk '$6 == "total" { print $1, $2, $3 }' "$CASE_DIR/summary")" "ten changes"
large=$READ
umount_fs
db_reset
CATALOG=$CASE_DIR/small/catalog.db
write_config
make $((N / 10))
ms snapshot prod b >/dev/null
db_sql "UPDATE numbers SET v = 'ten' WHERE id % ($N * 15 / 10000) = 1;"
ms snapshot prod ten >/dev/null
mount_fs
summary b..ten
assert_eq "0 0 10" "$(awk '$6 == "total" { print $1, $2, $3 }' "$CASE_DIR/summary")" "ten changes of the small one"
echo "bytes read: $large among $N rows, $READ among $((N / 10))"
[ "$large" -lt $((READ * 2)) ] || fail "$large bytes are read for ten changes among $N rows, $READ among $((N / 10))"

step "every row changed"
db_sql "DROP TABLE entity, pairs, bag; TRUNCATE numbers; INSERT INTO numbers SELECT i, 'a' FROM generate_series(1, $N) i;"
ms snapshot prod c >/dev/null
db_sql "UPDATE numbers SET v = 'b';"
ms snapshot prod d >/dev/null
remount_fs
D=$P/changes/c..d/changed/numbers
timeout $((3 * SLOW)) sh -c "ls -f $D | head -n 1" >/dev/null || fail "the first names take more than 3 s"
start=$(now_ms)
assert_eq $((2 * N + 2)) "$(ls -f "$D" | wc -l)" "ls -f | wc -l"
echo "listed in $(($(now_ms) - start)) ms"
assert_eq $((N / 2)).json.after "$(ls -f "$D" | sed -n "$((N + 2))p")" "the entry in the middle"
cat "$P/changes/d..c/summary.txt" >"$CASE_DIR/summary" &
reader=$!
wait_for 5 "the changes are being counted" in_request $reader
ls "$P/changes" "$P/changes/d..c" "$P/snapshots/d/tables" >/dev/null
kill -0 $reader 2>/dev/null || fail "ls of the pair waited until its $N changes were counted"
wait $reader
assert_eq "0 0 $N" "$(awk '$6 == "total" { print $1, $2, $3 }' "$CASE_DIR/summary")" "d..c"
kb=$(awk '/^VmHWM/ { print $2 }' "/proc/$DAEMON_PID/status")
echo "the daemon's memory has been at most $((kb / 1024)) MiB"
[ "$kb" -lt $((96 * 1024)) ] || fail "$kb kB of memory"
umount_fs
