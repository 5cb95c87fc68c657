#!/bin/bash
# kill -9 of a prune, at every stage of it: the catalog is sound, the kept snapshots are the same to the last inode
# number, the others are all there or all gone; the next prune does the rest.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
requires python3
use_db sqlite
db_fill 20000
write_config
for i in 1 2 3 4 5 6; do
	ms snapshot prod "n$i" >/dev/null
	db_sql "UPDATE entity_usage SET count1 = count1 + 1 WHERE rowid % 3 = $((i % 3)); DELETE FROM tag_usage WHERE rowid % 50 = $i;
		UPDATE table_entity SET json = json_set(json, '\$.description', 'v$i') WHERE rowid % 3 = $((i % 3));
		UPDATE entity_relationship SET fromentity = 'v$i' WHERE rowid % 10 = $i;"
done
state() {
	mount_fs
	for s in n1 n6; do
		(cd "$MNT/prod/snapshots/$s" && find . -printf '%P %s %T@ %i %m %n\n' | sort)
		cat "$MNT/prod/archives/$s/SHA256SUMS"
		(cd "$MNT/prod/archives/$s" && sha256sum --quiet -c SHA256SUMS)
	done
	umount_fs
}
ms hold prod n1
state >"$CASE_DIR/want"
cp "$CATALOG" "$CASE_DIR/full.db"
[ ! -s "$CATALOG-wal" ] || fail "the catalog has a log after its last user ended"
start=$(now_ms)
ms prune prod --keep-last 1 >"$CASE_DIR/said"
took=$(($(now_ms) - start))
small=$(stat -c %s "$CATALOG")
state >"$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "the tree after a whole prune"
stages='' killed=0
for ((k = 1; k <= 14; k++)); do
	rm -f "$CATALOG" "$CATALOG-wal" "$CATALOG-shm"
	cp "$CASE_DIR/full.db" "$CATALOG"
	"$METASNAP" -c "$CONF" prune prod --keep-last 1 >/dev/null 2>&1 &
	pid=$!
	sleep "$(printf '%d.%03d' $((took * k / 14 / 1000)) $((took * k / 14 % 1000)))"
	kill -9 "$pid" 2>/dev/null || true
	rc=0
	wait "$pid" 2>/dev/null || rc=$?
	case $rc in
	137) killed=$((killed + 1)) ;;
	0) ;; # it was faster
	*) fail "the prune ended with status $rc" ;;
	esac
	ms check
	names=$(ms list prod --json | python3 -c 'import json, sys; print(*[s["name"] for s in json.load(sys.stdin)])')
	case $names in
	"n1 n2 n3 n4 n5 n6") stages+=" before:$rc" ;;
	"n1 n6") stages+=" after:$rc" ;;
	*) fail "half a removal: $names" ;;
	esac
	state >"$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "the tree after kill -9 at $k/14"
	ms prune prod --keep-last 1 >/dev/null
	ms check
	[ "$(stat -c %s "$CATALOG")" -le $((small + small / 20)) ] || fail "the next prune did not do the rest"
done
echo "killed $killed times:$stages"
[ "$killed" -ge 4 ] || fail "$killed of 14 kills came before the end: too few to prove anything"
assert_has "$stages" before:137 "a kill before the removal"
assert_has "$stages" after:137 "a kill between the removal and the end"
state >"$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "the tree at the end"
