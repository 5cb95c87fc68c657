# shellcheck shell=bash
#
# tests/fs/entities.bash - entities/ and history/ over an OpenMetadata-shaped database with names that break naive
# copies. What is expected is made by Python of what the server says, not by metasnap. Sourced by entities_ENGINE.sh.

# Entities with difficult names: every one is a glossary term. More of them with METASNAP_ROWS.
entities_hard_names() {
	python3 - "$DB_ENGINE" <<-'PY'
		import json, sys, uuid, hashlib, random
		random.seed(7)
		engine = sys.argv[1]
		parts = ["a.b", 'quo"te', '""', "sl/ash", "..", ".", ".hidden", "x.json", ".json", "x.json.json", "ünï-ço∂é", "日本語", "😀", "a b", "tab\there",
		         "per%cent", "%2E", "til~de", "back\\slash", "c:d", "*?<>|", "n" * 256, "ü" * 200, "%" * 100, "." * 256, "it's", "$HOME`id`", "-rf", "latest", "%", "e\u0301", "\u00e9",
		         "k" * 200, "k" * 195 + ".json", "k" * 201, "k" * 255 + "x", "k" * 255 + "y"]
		def quote(p):
		    return '"' + p.replace('"', '""') + '"' if "." in p or '"' in p else p
		rows, seen = [], set()
		def add(*names):
		    fqn = ".".join(map(quote, names))
		    if fqn in seen:
		        return
		    seen.add(fqn)
		    i = str(uuid.UUID(int=random.getrandbits(128), version=4))
		    rows.append((i, json.dumps({"id": i, "name": names[-1], "fullyQualifiedName": fqn, "updatedAt": 1763000000000, "updatedBy": "x", "deleted": len(rows) % 3 == 0}, ensure_ascii=False), hashlib.md5(fqn.encode()).hexdigest()))
		for p in parts:
		    add(p)
		    for q in parts:
		        add(p, q)
		add(*(["deep"] * 100))
		def sql(v):
		    if engine in ("mysql", "mariadb"):
		        v = v.replace("\\", "\\\\")
		    return "'" + v.replace("'", "''") + "'"
		plain = engine == "mariadb"
		print("INSERT INTO glossary_term_entity (%sjson, fqnHash) VALUES" % ("id, " if plain else ""))
		print(",\n".join("(" + ", ".join(([sql(r[0])] if plain else []) + [sql(r[1]), sql(r[2])]) + ")" for r in rows) + ";")
	PY
}

# The entities that the server has: one line of JSON each, [table, id, name or fully-qualified name, one part?]
entities_by_sql() {
	local table
	for table in $(db_query "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t
		ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
		WHERE c.table_schema = $1 AND lower(c.column_name) IN ('id', 'json', 'extension')
		GROUP BY c.table_name HAVING count(*) = 2 AND max(lower(c.column_name)) = 'json' AND min(lower(c.column_name)) = 'id'"); do
		if [ "$DB_ENGINE" = postgresql ]; then
			db_query "SELECT json::text FROM $table"
		else
			db_query "SELECT json FROM $table"
		fi | python3 -c '
import json, sys
for line in sys.stdin.buffer.read().decode("utf-8", "surrogateescape").split("\n"):
    if not line:
        continue
    d = json.loads(line)
    if not isinstance(d, dict):
        continue
    full = d.get("fullyQualifiedName")
    name = full if isinstance(full, str) else d.get("name") if sys.argv[1].endswith("_entity") else None
    if isinstance(name, str):
        print(json.dumps([sys.argv[1], d["id"], name, not isinstance(full, str)]))
' "$table"
	done
}

# Walks entities/SNAPSHOT and compares: every entity is there once, where its name says, and its link leads to its row.
entities_compare() { # SNAPSHOT
	python3 - "$MNT/prod" "$1" "$CASE_DIR/entities.sql" <<-'PY'
		import hashlib, json, os, sys, urllib.parse
		root, snapshot, listing = sys.argv[1:]
		top = os.path.join(root, "entities", snapshot)
		def split(fqn):
		    parts, p = [], ""
		    i = 0
		    while True:
		        if i < len(fqn) and fqn[i] == '"':
		            j = i + 1
		            p = ""
		            while fqn[j] != '"' or fqn[j + 1:j + 2] == '"':
		                j += 2 if fqn[j] == '"' else 1
		                p += fqn[j - 1]
		            j += 1
		        else:
		            j = fqn.find(".", i)
		            j = len(fqn) if j < 0 else j
		            p = fqn[i:j]
		        parts.append(p)
		        if j == len(fqn):
		            return parts
		        i = j + 1
		def kind(table):
		    w = (table[:-7] if table.endswith("_entity") else table).split("_")
		    return w[0] + "".join(x[:1].upper() + x[1:] for x in w[1:])
		def long(part, name):  # a cut name: its end is the SHA-256 of the part
		    return "~" in name and name.split("~")[1] == hashlib.sha256(part.encode("utf-8", "surrogateescape")).hexdigest()[:32]
		want = {}
		for line in open(listing):
		    table, ident, name, one = json.loads(line)
		    parts = [name] if one else split(name)
		    if len(parts) > 60:
		        rest, n = name, 0
		        while n < 59:
		            rest, n = rest[len(parts[n]) + 1:], n + 1
		        parts = parts[:59] + [rest]
		    want[(table, ident)] = [kind(table)] + parts
		found = 0
		for folder, dirs, files in os.walk(top):
		    assert not [d for d in dirs if os.path.islink(os.path.join(folder, d))]
		    for f in files:
		        path = os.path.join(folder, f)
		        assert os.path.islink(path), path
		        target = os.readlink(path)
		        assert len(target.encode()) == os.lstat(path).st_size, path
		        row = os.path.normpath(os.path.join(folder, target))
		        assert row.startswith(os.path.join(root, "snapshots", snapshot, "tables") + "/"), row
		        doc = json.load(open(row))["json"]
		        doc = json.loads(doc) if isinstance(doc, str) else doc
		        table = os.path.basename(os.path.dirname(row))
		        parts = want.pop((table, doc["id"]))
		        seen = path[len(top) + 1:].split("/")
		        assert seen[-1].endswith(".json")
		        seen[-1] = seen[-1][:-5]
		        assert len(seen) == len(parts), (seen, parts)
		        for s, p in zip(seen, parts):
		            assert len(os.fsencode(s)) <= 240, s
		            assert long(p, s) or ("" if s == "%" and not p else urllib.parse.unquote(s, errors="surrogateescape")) == p, (s, p)
		        found += 1
		assert not want, "%d entities are missing: %r" % (len(want), list(want.items())[:3])
		print(found)
	PY
}

# The files of an entity in history/
versions() { find "$1" -maxdepth 1 -type f -printf '%f\n' | sort | xargs; }

versions_are() { [ "$(versions "$2")" = "$1" ]; }

# entities ENGINE ROWS
entities() {
	local rows=$2 n schema=database\(\) t
	use_db "$1"
	[ "$1" != postgresql ] || schema=current_schema
	db_fill "$rows"
	entities_hard_names | db_sql
	write_config
	mount_fs

	step "every entity is there by its name, and nothing else"
	mkdir "$MNT/prod/snapshots/one"
	: "$(cat "$MNT/prod/snapshots/one/MANIFEST.json")"
	entities_by_sql "$schema" >"$CASE_DIR/entities.sql"
	n=$(wc -l <"$CASE_DIR/entities.sql")
	assert_eq "$n" "$(entities_compare one)" "entities that are where their names say"
	assert_eq "$n" "$(find "$MNT/prod/entities/one" -type l | wc -l)" "links below entities/one"
	assert_eq 0 "$(find "$MNT/prod/entities/one" -xtype l | wc -l)" "links that lead nowhere"
	assert_distinct "names that come twice" find "$MNT/prod/entities/one"
	assert_eq "$(find "$MNT/prod/entities/one" | sort | sha256sum)" "$(find "$MNT/prod/entities/one" -depth | sort | sha256sum)" "two walks"
	assert_eq one "$(readlink "$MNT/prod/entities/latest")" "entities/latest"
	[ -e "$MNT/prod/entities/one/user/user000.json" ] || fail "a user is not there by name"
	assert_errno "Read-only file system" touch "$MNT/prod/entities/one/user/x"

	step "what did not change costs nothing; what did is seen"
	mkdir "$MNT/prod/snapshots/two"
	: "$(cat "$MNT/prod/snapshots/two/MANIFEST.json")"
	t=$(sqlite3 "$CATALOG" "SELECT count(DISTINCT version_id), count(*) FROM snapshot_names")
	assert_eq "1|2" "$t" "indexes of names, and snapshots that have one"
	entities_change "$1"
	mkdir "$MNT/prod/snapshots/three"
	: "$(cat "$MNT/prod/snapshots/three/MANIFEST.json")"
	entities_by_sql "$schema" >"$CASE_DIR/entities.sql"
	assert_eq "$(wc -l <"$CASE_DIR/entities.sql")" "$(entities_compare three)" "entities after the change"
	assert_gone "$MNT/prod/entities/one/glossaryTerm/renamed.json" # a later name is not in an earlier snapshot
	[ -e "$MNT/prod/entities/three/glossaryTerm/renamed.json" ] || fail "a new name is not there"

	step "history: one file for each time an entity changed"
	t=$MNT/prod/history/glossaryTerm
	assert_eq "one.json three.json" "$(versions "$t/it's")" "versions of a changed entity"
	assert_eq 1 "$(diff "$t/it's/one.json" "$t/it's/three.json" | grep -c '^>.*changed')" "what diff shows of the change"
	assert_eq one.json "$(versions "$t/😀")" "versions of one that did not change"
	assert_eq three.json "$(versions "$t/renamed")" "versions of a new name"
	assert_eq one.json "$(versions "$t/-rf")" "versions of one that is gone"
	assert_errno "No such file" cat "$t/😀/two.json"
	cmp "$t/it's/three.json" "$MNT/prod/entities/three/glossaryTerm/it's.json"
	assert_eq "$(stat -c %i "$t/it's/three.json")" "$(stat -L -c %i "$MNT/prod/entities/three/glossaryTerm/it's.json")" "the row's inode"
	assert_distinct "names in history/ that come twice" find "$MNT/prod/history"
	n=$(find "$MNT/prod/history" -type f | wc -l)
	t=$(cat <(find "$MNT/prod/entities/one" -type l -printf '%P\n') <(find "$MNT/prod/entities/three" -type l -printf '%P\n') | sort -u | wc -l)
	assert_eq $((t + 1)) "$n" "versions in all: each name's, and that of what changed"

	step "a snapshot that is gone, or has another name"
	mv "$MNT/prod/snapshots/three" "$MNT/prod/snapshots/drei"
	assert_eq 0 "$(find "$MNT/prod/entities/drei" -xtype l | wc -l)" "links that lead nowhere after mv"
	[ -e "$MNT/prod/history/glossaryTerm/it's/drei.json" ] || fail "history/ has the old name"
	rmdir "$MNT/prod/snapshots/one"
	wait_for 5 "versions after rmdir" versions_are "drei.json two.json" "$MNT/prod/history/glossaryTerm/it's" # the kernel's names are a second old
	wait_for 5 "the folder of one that was removed goes" test ! -e "$MNT/prod/entities/one"

	step "an index that is missing is made when somebody asks, the same"
	find "$MNT/prod/entities/drei" -printf '%P %l\n' | sort >"$CASE_DIR/with"
	umount_fs
	sqlite3 "$CATALOG" "DELETE FROM snapshot_names"
	mount_fs
	find "$MNT/prod/entities/drei" -printf '%P %l\n' | sort >"$CASE_DIR/without"
	assert_same "$CASE_DIR/with" "$CASE_DIR/without" "the index made anew"
	mkdir "$MNT/prod/snapshots/four"
	find "$MNT/prod/entities/four" -printf '%P %l\n' | sed 's,/four/,/drei/,' | sort >"$CASE_DIR/without"
	assert_same "$CASE_DIR/with" "$CASE_DIR/without" "the next one's"
	umount_fs
	ms check
}

# One entity is described, one renamed, one deleted.
entities_change() {
	case $1 in
	postgresql)
		db_sql "UPDATE glossary_term_entity SET json = jsonb_set(json, '{description}', '\"changed\"') WHERE json ->> 'fullyQualifiedName' = 'it''s';
			UPDATE glossary_term_entity SET json = jsonb_set(json, '{fullyQualifiedName}', '\"renamed\"') WHERE json ->> 'fullyQualifiedName' = 'a b';
			DELETE FROM glossary_term_entity WHERE json ->> 'fullyQualifiedName' = '-rf';"
		;;
	*)
		db_sql "UPDATE glossary_term_entity SET json = json_set(json, '\$.description', 'changed') WHERE json_unquote(json_extract(json, '\$.fullyQualifiedName')) = 'it''s';
			UPDATE glossary_term_entity SET json = json_set(json, '\$.fullyQualifiedName', 'renamed') WHERE json_unquote(json_extract(json, '\$.fullyQualifiedName')) = 'a b';
			DELETE FROM glossary_term_entity WHERE json_unquote(json_extract(json, '\$.fullyQualifiedName')) = '-rf';"
		;;
	esac
}
