#!/bin/bash
# One entity is brought back by its name, by the command and by a link on the mount: its row, relations, tags (of its columns,
# too), field relations, extensions and usage are as in the snapshot, and nothing else is touched: not the tags of a test case
# whose name begins with the table's, not what others changed meanwhile. Dry run, an entity that was renamed or made anew under
# another id, missing related ones, names that do not exist, policies, another version.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires python3
NAME='svc."a.b"."c/d"."ord""ers ü"'
PATH_OF='table/svc/a.b/c%2Fd/ord%22ers ü.json'
E=11111111-1111-4111-8111-111111111111

# entity_sql WHAT: statements for the engine
entity_sql() {
	python3 - "$DB_ENGINE" "$1" <<'PY'
import hashlib, json, sys
engine, what = sys.argv[1:]
md5 = lambda s: hashlib.md5(s.encode()).hexdigest()
E, OTHER, CASE, USER, AGAIN = ("%d%d%d%d%d%d%d%d-1111-4111-8111-111111111111" % ((n,) * 8) for n in (1, 2, 3, 4, 5))
H = ".".join(md5(p) for p in ("svc", "a.b", "c/d", 'ord"ers ü'))
B = ".".join(md5(p) for p in ("svc", "a.b", "c/d", "renamed"))
FQN = 'svc."a.b"."c/d"."ord""ers ü"'
def lit(v):
    if v is None: return "NULL"
    if isinstance(v, int): return str(v)
    v = v.replace("'", "''")
    return "'" + (v if engine == "postgresql" else v.replace("\\", "\\\\")) + "'"
def insert(table, columns, *rows):
    for r in rows:
        print("INSERT INTO %s (%s) VALUES (%s);" % (table, ", ".join(columns), ", ".join(map(lit, r))))
def entity(table, id, name, fqn, hash, by="fqnHash", **more):
    doc = dict(id=id, name=name, fullyQualifiedName=fqn, updatedAt=1763000000000, updatedBy="admin", deleted=False, version=0.1, **more)
    plain = engine == "mariadb"
    insert(table, (["id"] if plain else []) + ["json", by], ([id] if plain else []) + [json.dumps(doc, ensure_ascii=False, separators=(",", ":")), hash])
def rel(*rows):
    insert("entity_relationship", ("fromId", "toId", "fromEntity", "toEntity", "relation"), *rows)
def tags(*rows):
    insert("tag_usage", ("source", "tagFQN", "tagFQNHash", "targetFQNHash", "labelType", "state"), *[(0, t, md5(t), target, 0, 0) for t, target in rows])
def fields(*rows):
    insert("field_relationship", ("fromFQNHash", "toFQNHash", "fromFQN", "toFQN", "fromType", "toType", "relation", "json"),
           *[(f, t, "f", "t", "table", "table", 8, '{"a":1.10}') for f, t in rows])
def extension(id, *names):
    insert("entity_extension", ("id", "extension", "jsonSchema", "json"), *[(id, n, "table", '{"id":"%s","v":"%s"}' % (id, n)) for n in names])
def gone(id, hash):
    print("DELETE FROM table_entity WHERE id = %s;" % lit(id))
    print("DELETE FROM entity_relationship WHERE fromId = %s OR toId = %s;" % (lit(id), lit(id)))
    print("DELETE FROM entity_extension WHERE id = %s; DELETE FROM entity_usage WHERE id = %s;" % (lit(id), lit(id)))
    print("DELETE FROM tag_usage WHERE targetFQNHash IN (%s, %s);" % (lit(hash), lit(hash + "." + md5("column"))))
    print("DELETE FROM field_relationship WHERE fromFQNHash LIKE %s OR toFQNHash = %s;" % (lit(hash + "%"), lit(hash)))
if what == "make":
    entity("table_entity", E, 'ord"ers ü', FQN, H, description="as it was\nback\\slash", columns=[{"name": "column", "tags": []}])
    entity("table_entity", OTHER, "other", 'svc."a.b"."c/d".other', H[:-32] + md5("other"))
    entity("test_case", CASE, "case", FQN + ".case", H + "." + md5("case"))
    entity("user_entity", USER, "jane", "jane", md5("jane"), by="nameHash")
    rel((USER, E, "user", "table", 8), (E, CASE, "table", "testCase", 9), (OTHER, E, "table", "table", 13), (USER, OTHER, "user", "table", 8))
    tags(("PII.A", H), ("PII.B", H + "." + md5("column")), ("PII.C", H + "." + md5("column")), ("PII.A", H + "." + md5("case")),
         ("PII.A", H + "." + md5("case") + "." + md5("x")), ("PII.A", H + "0"), ("PII.A", H[:-33]), ("PII.A", md5("svc")))
    fields((H + "." + md5("column"), H[:-32] + md5("other")), (H[:-32] + md5("other"), H), (H[:-32] + md5("other"), H + "0"))
    extension(E, "table.version.0.1", "table.customMetrics")
    extension(OTHER, "table.version.0.1")
    insert("entity_usage", ("id", "usageDate", "entityType", "count1", "percentile1"), (E, "2026-01-01", "table", 5, 7), (E, None, "table", 1, 3))
elif what == "delete":
    gone(E, H)
elif what == "others":  # what the restore must leave alone
    print("UPDATE tag_usage SET state = 7 WHERE targetFQNHash IN (%s, %s, %s);" % tuple(map(lit, (H + "0", H + "." + md5("case"), H[:-33]))))
    print("DELETE FROM tag_usage WHERE targetFQNHash = %s;" % lit(H + "." + md5("case") + "." + md5("x")))
    tags(("PII.New", H + "." + md5("case")), ("PII.New", md5("svc")))
    print("DELETE FROM entity_relationship WHERE fromId = %s AND toId = %s;" % (lit(USER), lit(OTHER)))
    rel((OTHER, USER, "table", "user", 1))
    print("UPDATE entity_extension SET jsonSchema = 'x' WHERE id = %s; DELETE FROM entity_usage WHERE count1 BETWEEN 10 AND 15;" % lit(OTHER))
elif what == "change":
    tags(("PII.Later", H), ("PII.Later", H + "." + md5("later column")))
    print("UPDATE tag_usage SET state = 3 WHERE targetFQNHash = %s;" % lit(H))
    print("UPDATE entity_relationship SET deleted = %s WHERE fromId = %s;" % ("true" if engine == "postgresql" else "1", lit(E)))
    rel((E, OTHER, "table", "table", 13))
    extension(E, "table.version.0.2")
    insert("entity_usage", ("id", "usageDate", "entityType", "count1", "percentile1"), (E, "2026-01-02", "table", 5, 7))
elif what == "anew":
    entity("table_entity", AGAIN, 'ord"ers ü', FQN, H, description="made anew")
    rel((USER, AGAIN, "user", "table", 8), (AGAIN, CASE, "table", "testCase", 9))
    tags(("PII.Later", H), ("PII.Later", H + "." + md5("later column")))
    extension(AGAIN, "table.version.0.1")
elif what == "rename":
    gone(E, H)
    entity("table_entity", E, "renamed", 'svc."a.b"."c/d".renamed', B)
    tags(("PII.A", B), ("PII.A", B + "." + md5("column")))
elif what == "lose":
    gone(E, H)
    print("DELETE FROM user_entity WHERE id = %s; DELETE FROM entity_relationship WHERE fromId = %s OR toId = %s;" % ((lit(USER),) * 3))
elif what == "found":
    entity("user_entity", USER, "jane", "jane", md5("jane"), by="nameHash")
    rel((OTHER, USER, "table", "user", 1))
PY
}

# back WORDS: the entity by its name, which must leave the database as the dump `want`
back() {
	ms restore prod s --entity table "$NAME" --yes >"$CASE_DIR/done" 2>"$CASE_DIR/said" || fail "$1: $(cat "$CASE_DIR/said")"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/want" "$CASE_DIR/found" "$1"
}

# kill -9 of the command while it brings the entity back: all of it or nothing, and it can be done again
kill9() {
	local delay killed=0 restorer
	step "$engine: kill -9"
	for delay in 0.01 0.05 0.15; do # the first comes before anything is done, on any machine
		entity_sql delete | db_sql
		"$METASNAP" -c "$CONF" restore prod s --entity table "$NAME" --yes >/dev/null 2>&1 &
		restorer=$!
		sleep "$delay"
		kill -9 "$restorer" 2>/dev/null || true
		wait "$restorer" 2>/dev/null || true
		db_dump "$CASE_DIR/found"
		if cmp -s "$CASE_DIR/gone" "$CASE_DIR/found"; then
			killed=$((killed + 1))
		else
			assert_same "$CASE_DIR/want" "$CASE_DIR/found" "killed after $delay s: all of it or nothing"
		fi
		back "after kill -9"
	done
	[ "$killed" -gt 0 ] || fail "no kill came before the end of the restore"
}

for engine in postgresql mysql mariadb; do
	step "$engine"
	use_db "$engine"
	db_fill 600
	entity_sql make | db_sql
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	ms snapshot prod s
	db_dump "$CASE_DIR/want"

	step "$engine: deleted; the dry run says what is done, and does nothing"
	entity_sql delete | db_sql
	db_dump "$CASE_DIR/gone"
	ms restore prod s --entity table "$NAME" --dry-run >"$CASE_DIR/plan"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/gone" "$CASE_DIR/found" "a dry run changes nothing"
	back "deleted"
	grep -vE '^(Restart|What was)' "$CASE_DIR/done" >"$CASE_DIR/done.plan"
	assert_same "$CASE_DIR/plan" "$CASE_DIR/done.plan" "the dry run's numbers are those of the restore"
	assert_has "$(tr -s ' ' <"$CASE_DIR/plan")" '^total 13 0 0$' "the rows of the entity: $(cat "$CASE_DIR/plan")"
	assert_has "$(cat "$CASE_DIR/done")" 'Restart the server' "what to do then"
	assert_silent "warnings" cat "$CASE_DIR/said"

	[ "$engine" = mariadb ] || kill9

	step "$engine: others changed meanwhile and stay changed"
	entity_sql others | db_sql
	db_touch_json table_entity "name LIKE '%_0000%' OR name = 'other'"
	db_dump "$CASE_DIR/want"
	entity_sql delete | db_sql
	back "others changed"
	back "nothing to do"

	step "$engine: changed"
	entity_sql change | db_sql
	db_touch_json table_entity "id = '$E'"
	back "changed"
	assert_has "$(tr -s ' ' <"$CASE_DIR/done")" '^table_entity 0 1 0$' "an update: $(cat "$CASE_DIR/done")"

	step "$engine: made anew under another id, renamed"
	{ entity_sql delete; entity_sql anew; } | db_sql
	back "made anew"
	assert_has "$(cat "$CASE_DIR/said")" 'another entity under this name, id 55555555-' "who was replaced"
	entity_sql rename | db_sql
	back "renamed"
	assert_has "$(cat "$CASE_DIR/said")" 'it is called svc."a.b"."c/d".renamed' "its name"

	step "$engine: a related entity is missing"
	entity_sql lose | db_sql
	ms restore prod s --entity table "$NAME" --yes >/dev/null 2>"$CASE_DIR/said"
	assert_has "$(cat "$CASE_DIR/said")" '1 of the 3 entities it is related to is not in the database: jane;' "who is missing"
	ms restore prod s --entity user jane --yes >/dev/null
	entity_sql delete | db_sql
	ms restore prod s --entity table "$NAME" --yes >/dev/null 2>"$CASE_DIR/said"
	assert_silent "warnings when nobody is missing" cat "$CASE_DIR/said"

	step "$engine: names that do not exist"
	db_dump "$CASE_DIR/want"
	assert_exit 1 ms restore prod s --entity table svc.nosuch --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'no table "svc.nosuch"' "no such name"
	assert_exit 1 ms restore prod s --entity table 'SVC."a.b"."c/d"."ord""ers ü"' --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'there is "svc."a.b"."c/d"."ord""ers ü""' "the name in another case"
	assert_exit 1 ms restore prod s --entity tabel svc --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'no entity of type tabel \(it has .*table, ' "no such type"
	assert_exit 2 ms restore prod s --yes --entity table
	assert_exit 2 ms restore prod s --yes --entity table x --table tag_usage

	step "$engine: a link; policies"
	entity_sql delete | db_sql
	mount_fs
	assert_errno "No such file" ln -s ../entities/s/table/svc/nosuch.json "$MNT/prod/restore/x"
	assert_errno "Invalid argument" ln -s ../entities/s "$MNT/prod/restore/x"
	ln -s "../entities/s/$PATH_OF" "$MNT/prod/restore/orders"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/want" "$CASE_DIR/found" "a link"
	assert_has "$(cat "$MNT/prod/journal.txt")" "restore restore/orders \(snapshots/s, entity table svc..a.b.*: committed.* 13 inserts, 0 updates, 0 deletes" "journal.txt"
	umount_fs
	entity_sql delete | db_sql
	db_dump "$CASE_DIR/gone"
	write_config
	mount_fs
	assert_errno "Directory not empty" ln -s "../entities/s/$PATH_OF" "$MNT/prod/restore/again"
	umount_fs
	write_config restore=off
	assert_exit 1 ms restore prod s --entity table "$NAME" --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'restore=off' "refused"
	mount_fs
	assert_errno "Operation not permitted" ln -s "../entities/s/$PATH_OF" "$MNT/prod/restore/again"
	umount_fs

	step "$engine: another version, another form of a table"
	write_config restore=replace
	db_sql "INSERT INTO SERVER_CHANGE_LOG (installed_rank, version, migrationFileName, checksum, installed_on) VALUES (9, '1.4.0', 'x', 'x', '2026-09-09 10:00:00');"
	assert_exit 1 ms restore prod s --entity table "$NAME" --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" '1\.3\.1.*1\.4\.0' "the versions"
	db_sql "DELETE FROM SERVER_CHANGE_LOG WHERE version = '1.4.0';"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/gone" "$CASE_DIR/found" "all that was refused changed nothing"
	db_sql "ALTER TABLE tag_usage ADD COLUMN later integer;"
	assert_exit 1 ms restore prod s --entity table "$NAME" --yes --force
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'table tag_usage has other columns' "the table"
	ms check
done
