#!/bin/bash
# Keys that break naive file names ('a/b', 'a%2Fb', '..', '.hidden', '', 'x.json', 400 bytes, 'A' and 'a', trailing blanks,
# every byte): each row has exactly one file, whose key reads back, and all survive a round trip by the row tree.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires python3 getfattr
for engine in postgresql mysql mariadb sqlite; do
	step "$engine"
	use_db "$engine"
	"$TESTS_DIR/servers/make-data" "$engine" 10 --only special_keys,special_pairs,special_order,special_bytes,special_dates,change_event,entity_usage,tag_usage | db_sql
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config
	mount_fs
	mkdir "$MNT/prod/snapshots/s"
	S=$MNT/prod/snapshots/s/tables
	for t in "$S"/*; do
		t=${t##*/}
		assert_eq "$(db_query "SELECT count(*) FROM $t")" "$(find "$S/$t" -name '*.json' ! -name .table.json | wc -l)" "rows and files of $t"
	done
	python3 - "$S" <<'PY'
import json, os, re, sys, urllib.parse
ok = re.compile(r"[A-Za-z0-9_@+=%.,~-]{1,205}\.json$")
for t in sorted(os.listdir(sys.argv[1])):
    d = os.path.join(sys.argv[1], t)
    keys = json.load(open(d + "/.table.json"))["key"]
    for f in sorted(os.listdir(d)):
        if f == ".table.json":
            continue
        row = json.load(open(os.path.join(d, f)), parse_float=str)
        if f == ".json":  # the name of the empty key
            assert [row[c] for c in keys["columns"]] == [""], (t, f)
            continue
        assert ok.match(f) and not f.startswith("."), (t, f)
        if keys["kind"] != "unique" or "~" in f or t == "special_bytes":
            continue
        parts = f[:-5].split(",")
        assert len(parts) == len(keys["columns"]), (t, f)
        for c, p in zip(keys["columns"], parts):
            got, want = urllib.parse.unquote(p), row[c]
            assert got == str(want), (t, f, c, got, want)
    print(t, "ok")
d = os.path.join(sys.argv[1], "special_keys")
rows = {json.load(open(os.path.join(d, f)))["k"]: f for f in os.listdir(d) if f != ".table.json"}
for k in ("a/b", "a%2Fb", "..", ".", ".hidden", "", "x.json", "A", "a", "a ", "k" * 400, "k" * 399 + "j"):
    assert k in rows, repr(k)
assert rows["a/b"] == "a%2Fb.json" and rows["a%2Fb"] == "a%252Fb.json", rows
assert re.match("k{150}~[0-9a-f]{32}\\.json$", rows["k" * 400]), rows["k" * 400]
PY
	step "$engine: each name leads to its row; other names to nothing"
	find "$S" -type f -name '*.json' -exec cat {} + >/dev/null
	for n in 'a%2fb.json' 'a/b.json' '%61.json' 'A%20.json' 'kkk~00000000000000000000000000000000.json' '%.json' 'a%2.json' '.json.json' 'a,b.json' a; do
		[ ! -e "$S/special_keys/$n" ] || fail "special_keys/$n exists"
	done
	step "$engine: round trip by rows"
	db_dump "$CASE_DIR/before_$engine"
	cp -a "$MNT/prod/snapshots/s" "$CASE_DIR/out_$engine"
	db_reset
	cp -a "$CASE_DIR/out_$engine" "$MNT/prod/restore/"
	db_dump "$CASE_DIR/after_$engine"
	assert_same "$CASE_DIR/before_$engine" "$CASE_DIR/after_$engine" "special keys"
	umount_fs
done
