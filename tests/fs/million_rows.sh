#!/bin/bash
# A table of 1,000,000 rows: listed fully, one row by name within 50 ms on a fresh mount, and the daemon's memory stays
# under 96 MiB (64 and the set cache of 32) through capture, listing, finding and reading the archive.
# TIMEOUT: 240
# shellcheck disable=SC2012 # ls -f is what is tested
. "$(dirname "$0")/../lib.sh"
requires python3
N=1000000
use_db postgresql
db_sql "CREATE TABLE big (id varchar(36) GENERATED ALWAYS AS (json ->> 'id') STORED NOT NULL PRIMARY KEY, json jsonb NOT NULL);
	INSERT INTO big (json) SELECT jsonb_build_object('id', md5(i::text), 'n', i, 'name', 'row ' || i, 'updatedAt', 1763000000000 + i, 'tag', md5((i * 7)::text)) FROM generate_series(1, $N) i;"
write_config
mount_fs
memory() { # WORDS
	local kb
	kb=$(awk '/^VmHWM/ { print $2 }' "/proc/$DAEMON_PID/status")
	echo "$1: the daemon's memory has been at most $((kb / 1024)) MiB"
	[ "$METASNAP_LIMITS" = no ] || [ "$kb" -lt $((96 * 1024)) ] || fail "$1: $kb kB"
}
METASNAP_LIMITS=${METASNAP_LIMITS:-yes} # sanitizers need memory of their own: the run with them says no
start=$(now_ms)
mkdir "$MNT/prod/snapshots/m"
ls "$MNT/prod/snapshots/m" >/dev/null
echo "captured in $(($(now_ms) - start)) ms"
memory capture
D=$MNT/prod/snapshots/m/tables/big
start=$(now_ms)
assert_eq $((N + 3)) "$(ls -f "$D" | wc -l)" "ls -f | wc -l" # . and .. and .table.json
echo "listed in $(($(now_ms) - start)) ms"
memory ls
timeout $((2 * SLOW)) sh -c "ls -f $D | head -n 1" >/dev/null || fail "the first names take more than 2 s"
start=$(now_ms)
assert_eq $((N + 1)) "$(find "$D" -type f | wc -l)" "find -type f | wc -l"
echo "found in $(($(now_ms) - start)) ms"
memory find
assert_distinct "names twice" ls -f "$D"
assert_eq "$N" "$(wc -l <"$MNT/prod/archives/m/tables/big.jsonl")" "lines of the archive"
memory archive

step "one row by name, cold"
remount_fs
python3 - "$D" "$SLOW" <<'PY'
import hashlib, os, sys, time
worst = 0
for i in (500000, 1, 999999, 123456):
    p = os.path.join(sys.argv[1], hashlib.md5(str(i).encode()).hexdigest() + ".json")
    start = time.monotonic()
    text = open(p).read()
    took = (time.monotonic() - start) * 1000
    worst = max(worst, took)
    print("%.1f ms" % took)
    assert '"n": %d' % i in text, text
sys.exit(worst > 50 * int(sys.argv[2]))
PY
start=$(now_ms)
[ ! -e "$D/none.json" ] || fail "a row that is not there"
[ $(($(now_ms) - start)) -lt $((50 * SLOW)) ] || fail "a missing name takes $(($(now_ms) - start)) ms"

step "four readers at once"
readers=()
for i in 1 2 3 4; do
	ls -f "$D" >"$CASE_DIR/n$i" &
	readers+=($!)
done
wait "${readers[@]}"
for i in 1 2 3 4; do assert_eq $((N + 3)) "$(wc -l <"$CASE_DIR/n$i")" "listing $i of four at once"; done
memory "four readers"
umount_fs

step "a server without room to sort the table: the same rows"
db_sql "ALTER DATABASE $DB_NAME SET temp_file_limit = '4MB';"
CATALOG=$CASE_DIR/second.db
write_config
METASNAP_TRACE=$CASE_DIR/trace ms snapshot prod again >/dev/null
grep -q 'no room to sort' "$CASE_DIR/trace" || fail "the server sorted 100 MB with 4 MB of files, or was not asked to"
assert_eq "$(sqlite3 "$CASE_DIR/catalog/catalog.db" "SELECT rows, hex(digest) FROM version")" \
	"$(sqlite3 "$CATALOG" "SELECT rows, hex(digest) FROM version")" "rows and digest"
