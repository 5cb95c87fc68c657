#!/bin/bash
# changes/A..B: counts are those of SQL on both databases, rows are the snapshots' own files (content, inode, time), all
# that differs is there and nothing else; any two names in either order, `latest`, names with dots, renamed and removed
# snapshots; tables that came, went or were altered; neighbours by moment; read-only; rsync twice; the same after a
# remount; listing changes/ or a pair counts nothing.
# shellcheck disable=SC2012 # ls is what is tested
. "$(dirname "$0")/../lib.sh"
requires rsync
use_db postgresql
db_fill 3000
db_sql "CREATE TABLE gone_entity (id int PRIMARY KEY, v text); INSERT INTO gone_entity SELECT i, md5(i::text) FROM generate_series(1, 70) i;
	CREATE TABLE void_gone (id int PRIMARY KEY);
	CREATE TABLE bag (a text, b int); INSERT INTO bag SELECT 'b' || i % 50, i % 3 FROM generate_series(1, 400) i;
	CREATE SCHEMA before;
	DO \$\$ DECLARE t text; BEGIN
	  FOR t IN SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
	  LOOP EXECUTE 'CREATE TABLE before.' || t || ' AS TABLE public.' || t; END LOOP;
	END \$\$;"
write_config restore=empty
mount_fs
P=$MNT/prod C=$MNT/prod/changes
[ -z "$(ls "$C")" ] || fail "pairs without snapshots"
mkdir "$P/snapshots/a"
ls "$P/snapshots/a" >/dev/null
[ -z "$(ls "$C")" ] || fail "a pair of one snapshot"
db_sql "UPDATE table_entity SET json = jsonb_set(json, '{description}', '\"other\"') WHERE abs(hashtext(id)) % 20 = 0;
	UPDATE tag_usage SET state = state + 1 WHERE abs(hashtext(targetFQNHash)) % 30 = 0;
	DELETE FROM field_relationship WHERE abs(hashtext(fromFQNHash)) % 9 = 0;
	INSERT INTO tag_usage SELECT source, tagFQN, tagFQNHash || 'x', targetFQNHash, labelType, state FROM tag_usage WHERE abs(hashtext(targetFQNHash)) % 40 = 0;
	DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE a = 'b7' LIMIT 2); UPDATE bag SET b = 9 WHERE a = 'b3'; INSERT INTO bag VALUES ('b1', 1), (NULL, NULL);
	DROP TABLE gone_entity, void_gone; CREATE TABLE \"new/entity %\" (id int PRIMARY KEY, v text); CREATE TABLE void_new (id int PRIMARY KEY);
	INSERT INTO \"new/entity %\" SELECT i, 'v' FROM generate_series(1, 30) i;
	ALTER TABLE openmetadata_settings ADD COLUMN note text;"
sleep 1.1
mkdir "$P/snapshots/b"
ls "$P/snapshots/b" >/dev/null
S=$C/a..b

# What the daemon has read from files so far
read_bytes() { awk '/^rchar/ { print $2 }' "/proc/$DAEMON_PID/io"; }

step "listing reads no rows"
assert_eq a..b "$(ls "$C")" "ls changes/"
before=$(read_bytes)
assert_eq "added changed removed summary.txt" "$(ls "$S" | tr '\n' ' ' | sed 's/ $//')" "ls changes/a..b"
ls -f "$C" >/dev/null
[ $(($(read_bytes) - before)) -lt 100000 ] || fail "listing a pair reads $(($(read_bytes) - before)) bytes"

step "counts by SQL"
cat "$S/summary.txt"
assert_eq "$(stat -c %s "$S/summary.txt")" "$(wc -c <"$S/summary.txt")" "the summary's size"
rc=0
ms diff --stat prod a b >"$CASE_DIR/stat" || rc=$?
assert_eq 1 "$rc" "status of metasnap diff --stat"
assert_same "$S/summary.txt" "$CASE_DIR/stat" "metasnap diff --stat"
number() { awk -v t="$1" -v c="$2" 'NR > 1 && $7 == t { print $c; n++ } END { if (!n) print "none" }' "$S/summary.txt"; } # TABLE COLUMN
# Tables without a key: equal rows count as often as they are there.
q() { db_query "$1" | tr '\t' ' '; }
keyed() { # TABLE KEYS
	q "WITH k AS (SELECT o.r AS o, n.r AS n FROM (SELECT row($2)::text AS k, t::text AS r FROM before.$1 t) o
		FULL JOIN (SELECT row($2)::text AS k, t::text AS r FROM public.$1 t) n USING (k))
		SELECT count(*) FILTER (WHERE o IS NULL), count(*) FILTER (WHERE n IS NULL), count(*) FILTER (WHERE o <> n),
		count(o), count(n) FROM k"
}
for t in "table_entity id" "tag_usage source,tagFQNHash,targetFQNHash" "field_relationship fromFQNHash,toFQNHash,relation"; do
	name=${t% *}
	assert_eq "$(keyed "$name" "${t#* }")" "$(number "$name" 1) $(number "$name" 2) $(number "$name" 3) $(number "$name" 4) $(number "$name" 5)" "$name"
done
assert_eq "$(q "SELECT (SELECT count(*) FROM (TABLE public.bag EXCEPT ALL TABLE before.bag) x), (SELECT count(*) FROM (TABLE before.bag EXCEPT ALL TABLE public.bag) x),
	0, (SELECT count(*) FROM before.bag), (SELECT count(*) FROM public.bag)")" \
	"$(number bag 1) $(number bag 2) $(number bag 3) $(number bag 4) $(number bag 5)" "bag"
assert_eq "0 70 0 70 0 dropped" "$(awk '$7 == "gone_entity" { print $1, $2, $3, $4, $5, $6 }' "$S/summary.txt")" gone_entity
assert_eq "30 0 0 0 30 new" "$(awk '$7 == "new%2Fentity" { print $1, $2, $3, $4, $5, $6 }' "$S/summary.txt")" "new/entity %"
assert_eq "0 0 5 5 5 altered" "$(awk '$7 == "openmetadata_settings" { print $1, $2, $3, $4, $5, $6 }' "$S/summary.txt")" "the altered table"
assert_has "$(cat "$S/summary.txt")" '^schema.sql changed$' "the schema"
awk 'NR > 1 && NF > 6 && $6 != "total" { for (i = 1; i < 6; i++) s[i] += $i; n += $6 == "same" ? $7 : 1 }
	$6 == "total" { for (i = 1; i < 6; i++) if ($i != s[i]) exit 1; if ($7 != n) exit 1; ok = 1 } END { exit !ok }' "$S/summary.txt" ||
	fail "the totals are not the sums"
tables=$(q "SELECT count(*) FROM (SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'before'::regnamespace) GROUP BY 1) t")
assert_eq "$tables" "$(awk '$6 == "total" { print $7 }' "$S/summary.txt")" "tables in all"

step "rows are the snapshots' files"
read -r added removed changed <<<"$(awk '$6 == "total" { print $1, $2, $3 }' "$S/summary.txt")"
assert_eq $((added + removed + 2 * changed)) "$(find "$S/added" "$S/removed" "$S/changed" -type f | wc -l)" "files"
assert_eq $((added + removed + 2 * changed + 1)) "$(find "$S" -type f | wc -l)" "files and the summary"
assert_eq "$S/added/void_new" "$(find "$S" -type d -name 'void*new')" "an empty new table has a folder"
assert_eq "$S/removed/void_gone" "$(find "$S" -type d -name 'void*gone')" "an empty table that is gone has one"
[ ! -e "$S/changed/gone_entity" ] || fail "a table without changed rows in changed/"
same_files() { # KIND SIDE-of-snapshot SUFFIX
	(cd "$S/$1" && find . -type f -name "*.json$3" -printf "%P\t%i\t%s\t%T@\n" | sed "s/\.json$3\t/.json\t/" | sort) >"$CASE_DIR/there"
	while IFS=$'\t' read -r f _; do
		printf '%s\t%s\n' "$f" "$(stat -c '%i	%s	%.10Y' "$P/snapshots/$2/tables/$f")"
		cmp -s "$S/$1/$f$3" "$P/snapshots/$2/tables/$f" || fail "$1/$f$3 differs from the snapshot's"
	done <"$CASE_DIR/there" >"$CASE_DIR/want"
	assert_same "$CASE_DIR/want" "$CASE_DIR/there" "$1 $3 and snapshots/$2"
}
same_files added b ''
same_files removed a ''
same_files changed a .before
same_files changed b .after
d=$(cd "$S/changed/table_entity" && ls | head -n 1)
d=${d%.*}
assert_eq "$(diff "$P/snapshots/a/tables/table_entity/$d" "$P/snapshots/b/tables/table_entity/$d")" \
	"$(diff "$S/changed/table_entity/$d.before" "$S/changed/table_entity/$d.after")" "diff of .before and .after"
for wrong in "changed/table_entity/$d" "added/table_entity/$d" "removed/table_entity/$d" "changed/table_entity/$d.after.before" added/bag/x added/none changed/table_entity/x.before nothing; do
	[ ! -e "$S/$wrong" ] || fail "$wrong is there"
done

step "nothing else differs"
(cd "$S" && {
	find added removed -type f -printf '%P\n'
	find changed -type f -name '*.after' -printf '%P\n' | sed 's/\.after$//'
}) | sort >"$CASE_DIR/mine"
(
	cd "$P/snapshots" || exit
	diff -rq a/tables b/tables || true
) | awk '/^Files/ { sub("a/tables/", "", $2); print $2 }
	/^Only in/ { sub("Only in [ab]/tables/?", ""); i = index($0, ": "); print substr($0, 1, i - 1) "/" substr($0, i + 2) }' >"$CASE_DIR/differ"
grep -v '/\.table\.json$' "$CASE_DIR/differ" | grep -vE '^/' | sort >"$CASE_DIR/theirs"
grep -vE '^(gone_entity|new%2Fentity %25|void_gone|void_new)/' "$CASE_DIR/mine" >"$CASE_DIR/mine_common"
assert_same "$CASE_DIR/theirs" "$CASE_DIR/mine_common" "what diff -r finds"

step "the other way round, the same, latest"
assert_eq "$removed $added $changed" "$(awk '$6 == "total" { print $1, $2, $3 }' "$C/b..a/summary.txt")" "b..a"
assert_eq "0 0 0" "$(awk '$6 == "total" { print $1, $2, $3 }' "$C/a..a/summary.txt")" "a..a"
assert_silent "files in a..a" find "$C/a..a" -mindepth 2
assert_same "$S/summary.txt" "$C/a..latest/summary.txt" "a..latest"
assert_same "$C/b..a/summary.txt" "$C/latest..a/summary.txt" "latest..a"
for wrong in a..c c..a a..b.. a. a.b ..a a.. ..; do
	[ "$wrong" = .. ] || [ ! -e "$C/$wrong" ] || fail "changes/$wrong is there"
done

step "read-only"
assert_errno "Read-only file system" touch "$C/x"
assert_errno "Read-only file system" mkdir "$C/x..y"
assert_errno "Read-only file system" rm "$S/summary.txt"
assert_errno "Read-only file system" mv "$S/added" "$S/other"
assert_errno "Read-only file system" rmdir "$S"

step "copies"
rsync -a "$S/" "$CASE_DIR/off/"
diff -r "$S" "$CASE_DIR/off"
assert_silent "a second rsync" rsync -ai --delete "$S/" "$CASE_DIR/off/"

step "names: dots, renames, removal"
state() { (cd "$1" && find . -printf '%P %y %i %s %T@\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2); }
state "$S" >"$CASE_DIR/state"
mkdir "$P/snapshots/a..b" # the pair stays what it was; this is another snapshot
ls "$P/snapshots/a..b" >/dev/null
assert_eq "0 0 0" "$(awk '$6 == "total" { print $1, $2, $3 }' "$C/b..a..b/summary.txt")" "b..a..b"
assert_eq "$added $removed $changed" "$(awk '$6 == "total" { print $1, $2, $3 }' "$C/a..a..b/summary.txt")" "a..a..b"
assert_eq "a..b b..a..b" "$(ls "$C" | tr '\n' ' ' | sed 's/ $//')" "neighbours"
mv "$P/snapshots/b" "$P/snapshots/x."
[ ! -e "$S" ] || fail "a..b outlives a renamed b"
state "$C/a..x." >"$CASE_DIR/renamed"
assert_same "$CASE_DIR/state" "$CASE_DIR/renamed" "a renamed pair"
mv "$P/snapshots/x." "$P/snapshots/b"
long=$(printf 'n%.0s' $(seq 200))
mv "$P/snapshots/a..b" "$P/snapshots/$long"
assert_eq "0 0 0" "$(awk '$6 == "total" { print $1, $2, $3 }' "$C/b..$long/summary.txt")" "a long name"
assert_eq "a..b b..$long" "$(ls "$C" | tr '\n' ' ' | sed 's/ $//')" "a long name is listed"
remount_fs
state "$S" >"$CASE_DIR/again"
assert_same "$CASE_DIR/state" "$CASE_DIR/again" "after a remount"

step "neighbours are those by moment"
ms export prod a "$CASE_DIR/export"
rmdir "$P/snapshots/a"
[ ! -e "$S" ] || fail "a..b outlives a"
assert_eq "b..$long" "$(ls "$C")" "without a"
ms import prod "$CASE_DIR/export" old >/dev/null
assert_eq "b..$long old..b" "$(ls "$C" | tr '\n' ' ' | sed 's/ $//')" "an older one that came last"
assert_same "$CASE_DIR/off/summary.txt" "$C/old..b/summary.txt" "of the imported one"
for dir in snapshots archives entities; do
	assert_eq "b latest $long old" "$(ls "$P/$dir" | tr '\n' ' ' | sed 's/ $//')" "$dir/ lists all of them"
done

step "a removed snapshot, from inside"
(
	cd "$C/old..b/changed/table_entity" || exit
	ls >/dev/null
	rmdir "$P/snapshots/old"
	assert_errno "No such file or directory" ls "$C/old..b"
	assert_errno "No such file or directory" cat ./none.json.before
)

step "several at once count once each"
mkdir "$P/snapshots/z"
ls "$P/snapshots/z" >/dev/null
remount_fs
readers=()
for i in 1 2 3 4 5 6; do
	cat "$C/b..z/summary.txt" >"$CASE_DIR/at_once$i" &
	readers+=($!)
done
wait "${readers[@]}"
for i in 2 3 4 5 6; do assert_same "$CASE_DIR/at_once1" "$CASE_DIR/at_once$i" "read at once"; done

step "a damaged table is an error, the others are read"
db_sql "UPDATE table_entity SET json = jsonb_set(json, '{description}', '\"once more\"') WHERE id = (SELECT min(id) FROM table_entity);
	UPDATE tag_usage SET state = state + 1;"
mkdir "$P/snapshots/w"
ls "$P/snapshots/w" >/dev/null
W=$C/z..w
tags=$(find "$W/changed/tag_usage" -type f | wc -l)
[ "$tags" -gt 100 ] || fail "tags changed: $tags"
inode=$(stat -c %i "$W"/changed/table_entity/*.after)
umount_fs
sqlite3 "$CATALOG" "UPDATE pack SET data = substr(data, 1, length(data) / 2) WHERE id = ($inode & ((1 << 57) - 1)) >> 16"
mount_fs
assert_errno "Input/output error" cat "$W/summary.txt"
assert_errno "Input/output error" find "$W/changed/table_entity" -name 'x*'
assert_eq "$tags" "$(find "$W/changed/tag_usage" -type f -exec cat {} + | grep -c '^{')" "rows of another table"
assert_has "$(tail -n 5 "$CASE_DIR/daemon.log")" 'table table_entity: pack [0-9]+ is damaged' "the daemon's words"
assert_exit 2 ms diff --stat prod z w
umount_fs
