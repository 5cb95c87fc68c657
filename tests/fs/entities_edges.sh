#!/bin/bash
# entities/ and history/ where it is tight: several entities of one name, names that no server would have, a catalog of
# before there were indexes that many read at once, an index that is damaged.
# TIMEOUT: 120
. "$(dirname "$0")/../lib.sh"
requires python3 sqlite3
use_db sqlite
python3 - "$DB_FILE" <<'PY'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("CREATE TABLE tag (id TEXT PRIMARY KEY NOT NULL, json JSON NOT NULL)")
def add(ident, fqn):
    db.execute("INSERT INTO tag VALUES (?, ?)", (ident, '{"id":"%s","fullyQualifiedName":%s}' % (ident, fqn)))
for i in range(3):
    add("same%d" % i, '"Tier.same"')
add("nul", '"Tier.a\\u0000b"')
add("half", '"Tier.h\\ud800"')
add("long", json.dumps("x" * 1000000))
add("deep", json.dumps(".".join(["d"] * 10000)))
for i in range(5000):
    add("n%d" % i, '"Many.n%d"' % i)
db.commit()
PY
write_config
mount_fs
P=$MNT/prod
mkdir "$P/snapshots/one"
: "$(cat "$P/snapshots/one/MANIFEST.json")"
E=$P/entities/one/tag

step "names that no server would have"
assert_eq 5007 "$(find "$E" -type l | wc -l)" "entities"
assert_eq 0 "$(find "$E" -xtype l | wc -l)" "links that lead nowhere"
assert_has "$(cat "$E/Tier/a%00b.json")" '"nul"' "a name with a NUL in it"
assert_has "$(cat "$E"/Tier/h*.json)" '"half"' "a name with half a character in it"
assert_has "$(cat "$E"/xxxxx*~*.json)" '"long"' "a name of a million bytes"
assert_eq 5005 "$(find "$P/history/tag" -name one.json | wc -l)" "entities in history/, where those that share a name are one"

step "several of one name: one history, that of the first"
again=$(cd "$E/Tier" && ls -d same~*.json | sed -n '1s/\.json$//p')
assert_eq same "$(cd "$P/history/tag/Tier" && ls -d same*)" "folders in history/"
assert_errno "No such file" ls "$P/history/tag/Tier/$again"
umount_fs

step "a catalog of before there were indexes: many ask at once, and what they were given stays"
for i in two three four; do
	db_sql "UPDATE tag SET json = json_set(json, '\$.fullyQualifiedName', 'Many.$i') WHERE id = 'n1';"
	ms snapshot prod "$i" >"$CASE_DIR/out"
done
sqlite3 "$CATALOG" "DROP TABLE snapshot_names; PRAGMA user_version = 2"
mount_fs
readers=()
for i in 1 2 3 4 5 6 7 8; do
	find "$P/entities/two" -type l -printf '%P %l\n' | sort >"$CASE_DIR/two.$i" &
	readers+=($!)
	find "$P/history/tag/Tier" -name '*.json' | sort >"$CASE_DIR/history.$i" &
	readers+=($!)
done
ms verify prod two >"$CASE_DIR/out" &
readers+=($!)
for i in "${readers[@]}"; do wait "$i"; done
for i in 2 3 4 5 6 7 8; do
	assert_same "$CASE_DIR/two.1" "$CASE_DIR/two.$i" "two readers"
	assert_same "$CASE_DIR/history.1" "$CASE_DIR/history.$i" "two readers of history/"
done
assert_eq 5007 "$(wc -l <"$CASE_DIR/two.1")" "entities"
assert_eq 4 "$(sqlite3 "$CATALOG" "SELECT count(DISTINCT version_id) FROM snapshot_names")" "indexes"
rmdir "$P/snapshots/three" # frees what nothing uses
find "$P/entities/two" -type l -printf '%P %l\n' | sort >"$CASE_DIR/two.2"
assert_same "$CASE_DIR/two.1" "$CASE_DIR/two.2" "after something was freed"
assert_eq "four.json" "$(ls "$P/history/tag/Many/four")" "history of a name"

step "an index that is damaged: check says so, and it is made anew, also where a mount has read it"
sqlite3 "$CATALOG" "UPDATE pack SET data = zeroblob(50) WHERE codec_id IN (SELECT codec_id FROM version JOIN snapshot_names ON version_id = version.id)"
assert_exit 1 ms check
assert_has "$(cat "$CASE_DIR/exit.txt")" "snapshot two: the index of entities: .*made anew" "what check says"
assert_eq 0 "$(sqlite3 "$CATALOG" "SELECT count(*) FROM snapshot_names")" "indexes that are left"
ms check # the damage went with them
remount_fs
find "$P/entities/two" -type l -printf '%P %l\n' | sort >"$CASE_DIR/two.2"
assert_same "$CASE_DIR/two.1" "$CASE_DIR/two.2" "after it was damaged"
ms remove prod one >"$CASE_DIR/out"
umount_fs
ms check
