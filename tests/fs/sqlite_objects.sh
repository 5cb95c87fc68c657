#!/bin/bash
# What an SQLite file can hold beside plain tables comes back exactly: virtual tables with what they store (FTS5 in all its forms,
# FTS4, R*Tree), strict tables, keys over several tables, broken views, definitions with CR LF. After rows changed, after the schema
# changed, into an empty file and by `export .sql`: .dump, pragmas and SQLite's own checks say the same.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
use_db sqlite
state() { # FILE: all of the database
	{
		sqlite3 -bail "$DB_FILE" .dump | sort # rows without a key come in any order
		sqlite3 -bail "$DB_FILE" "PRAGMA user_version; PRAGMA application_id; PRAGMA encoding; PRAGMA integrity_check; PRAGMA foreign_key_check;
			SELECT * FROM sqlite_sequence ORDER BY 1; SELECT type, name, tbl_name, hex(sql) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2;
			SELECT 'fts', count(*) FROM docs_fts WHERE docs_fts MATCH 'seven'; SELECT 'own', rowid FROM own_fts WHERE own_fts MATCH 'apple' ORDER BY 2;
			SELECT 'none', rowid FROM none_fts WHERE none_fts MATCH 'pear' ORDER BY 2; SELECT 'old', docid FROM old_fts WHERE old_fts MATCH 'plum' ORDER BY 2;
			SELECT 'box', id FROM boxes WHERE x0 > 5 ORDER BY 2; INSERT INTO docs_fts(docs_fts) VALUES('integrity-check');"
	} >"$1"
}
fill() {
	db_sql <<-'SQL'
		CREATE TABLE docs (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, n AS (length(body)) STORED);
		CREATE VIRTUAL TABLE docs_fts USING fts5(body, content='docs', content_rowid='id', tokenize="unicode61 separators ';'");
		CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN INSERT INTO docs_fts(rowid, body) VALUES (new.id, new.body); END;
		CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN INSERT INTO docs_fts(docs_fts, rowid, body) VALUES ('delete', old.id, old.body); END;
		CREATE VIRTUAL TABLE own_fts USING fts5(a, b UNINDEXED);
		CREATE VIRTUAL TABLE none_fts USING fts5(a, content='');
		CREATE VIRTUAL TABLE "old_fts" USING fts4(t TEXT);
		CREATE VIRTUAL TABLE words USING fts5vocab('own_fts', 'row');
		CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1, +label);
		CREATE TABLE strict_one (id INTEGER PRIMARY KEY, a ANY, b REAL, t TEXT CHECK (t IN ('open', 'closed'))) STRICT;
		CREATE TABLE pair (a TEXT COLLATE NOCASE, b BLOB, v DEFAULT (1 + 2), PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
		CREATE TABLE "a ""quoted"" name" ("x y" INTEGER, 'z''s' TEXT UNIQUE ON CONFLICT IGNORE);
		CREATE TABLE parent (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
		CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, code TEXT REFERENCES parent(code));
		CREATE TABLE knot (id INTEGER PRIMARY KEY, next INTEGER REFERENCES knot(id));
		CREATE INDEX part ON strict_one(b) WHERE b > 0;
		CREATE INDEX expr ON docs(lower(body) COLLATE NOCASE DESC, id);
		CREATE VIEW broken AS SELECT gone FROM nowhere;
		CREATE VIEW good(x) AS SELECT id FROM parent;
		CREATE TRIGGER good_io INSTEAD OF INSERT ON good BEGIN INSERT INTO parent(id) VALUES (new.x); END;
		PRAGMA user_version = 7; PRAGMA application_id = -5;
		INSERT INTO docs(body) SELECT 'word seven ' || value FROM generate_series(1, 500);
		DELETE FROM docs WHERE id = 500;
		INSERT INTO own_fts SELECT 'apple ' || value, value FROM generate_series(1, 300);
		INSERT INTO none_fts(rowid, a) SELECT value, 'pear ' || value FROM generate_series(1, 300);
		INSERT INTO old_fts(docid, t) SELECT value, 'plum ' || value FROM generate_series(1, 300);
		INSERT INTO boxes SELECT value, value, value + 1, 0, 1.5, 'l' || value FROM generate_series(1, 300);
		INSERT INTO strict_one VALUES (1, 1, 1.0, 'open'), (2, '1', -0.0, 'closed'), (3, x'31', 9e999, NULL);
		INSERT INTO pair VALUES ('A', x'00', 1), ('b', 'text', 2.0), ('', x'', 3);
		INSERT INTO "a ""quoted"" name" VALUES (1, 'q'), (2, NULL), (3, NULL);
		INSERT INTO parent VALUES (1, 'a'), (2, 'b');
		INSERT INTO child VALUES (1, 1, 'a'), (2, 2, 'b');
		INSERT INTO knot VALUES (1, 2), (2, 1);
	SQL
	# The program takes a CR at the end of a line away: so by Python.
	python3 - "$DB_FILE" <<-'PY'
		import sqlite3, sys
		db = sqlite3.connect(sys.argv[1])
		db.execute("CREATE TABLE crlf (id INTEGER PRIMARY KEY,\r\n t TEXT DEFAULT 'a\r\nb', u TEXT DEFAULT 'c\rd')")
		db.execute("CREATE VIEW crlf_view AS\r\nSELECT 'x\r\ny' AS v FROM crlf")
		db.execute("CREATE TRIGGER crlf_trigger AFTER INSERT ON crlf BEGIN\r\n UPDATE crlf SET u = 'e\r\nf' WHERE id = new.id; END")
		db.execute("CREATE INDEX crlf_index ON crlf(t)\r\n WHERE t <> 'g\r\nh'")
		db.execute("INSERT INTO crlf(id) VALUES (1)")
		db.execute("INSERT INTO crlf VALUES (2, 'i\r\nj', '')")
		db.commit()
	PY
}
fill
write_config restore=replace
state "$CASE_DIR/want"
assert_has "$(cat "$CASE_DIR/want")" '^own\|300$' "rows in the index"
ms snapshot prod one

step "rows changed: by difference"
db_sql "DELETE FROM docs WHERE id % 2; INSERT INTO docs(body) VALUES ('new'); DELETE FROM own_fts WHERE rowid < 100; INSERT INTO own_fts VALUES ('apple', 'x');
	INSERT INTO none_fts(rowid, a) VALUES (900, 'pear'); UPDATE old_fts SET t = 'none' WHERE docid > 7; DELETE FROM boxes WHERE id > 8; DELETE FROM child; UPDATE pair SET v = 0;
	UPDATE strict_one SET a = 5; DELETE FROM crlf; DELETE FROM \"a \"\"quoted\"\" name\";"
ms restore prod one --yes 2>&1 | tee "$CASE_DIR/said"
state "$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "after changed rows"

step "the schema changed: made anew"
db_sql "DROP TABLE own_fts; CREATE VIRTUAL TABLE other USING fts5(q); INSERT INTO other VALUES ('x'); ALTER TABLE parent ADD more TEXT; DROP VIEW good; DROP TABLE boxes;
	CREATE TABLE boxes(a); PRAGMA user_version = 8; DROP INDEX expr;"
ms restore prod one --yes 2>&1 | tee "$CASE_DIR/said"
assert_has "$(cat "$CASE_DIR/said")" 'broken.*no such table: main.nowhere' "what cannot work is said"
state "$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "after a changed schema"
ms verify prod one --live || fail "verify --live after a rebuild"

step "into an empty file"
db_reset
ms restore prod one --yes >/dev/null 2>&1
state "$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "in an empty file"
db_sql "INSERT INTO docs(body) VALUES ('a seven more'); SELECT 1 / (count(*) = 500) FROM docs_fts WHERE docs_fts MATCH 'seven';" || fail "the index is not fed any more"

step "by export .sql, and by the mount"
ms export prod one "$CASE_DIR/one.sql"
db_reset
sqlite3 "$DB_FILE" <"$CASE_DIR/one.sql" || fail "the export does not load"
state "$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "by export .sql"
mount_fs
db_reset
cp -a "$MNT/prod/archives/one" "$MNT/prod/restore/one"
umount_fs
state "$CASE_DIR/got"
assert_same "$CASE_DIR/want" "$CASE_DIR/got" "copied in"

step "what one table feeds and what did not come back with it is named"
db_sql "DELETE FROM docs WHERE id = 3;"
ms restore prod one --table docs --yes >"$CASE_DIR/said" 2>&1
assert_has "$(cat "$CASE_DIR/said")" 'docs: its trigger docs_ad names docs_fts, which was not restored with it' "a trigger"
assert_has "$(cat "$CASE_DIR/said")" 'docs: the index docs_fts of it did not come back with it' "content=docs"

step "what is excluded and fed by a trigger is named"
write_config restore=replace 'exclude=docs_fts'
ms snapshot prod two
db_sql "DELETE FROM docs WHERE id > 400;"
assert_has "$(ms restore prod two --yes 2>&1)" 'docs: its trigger docs_ai names docs_fts, which is excluded' "by difference"
db_reset
assert_has "$(ms restore prod two --yes 2>&1)" 'docs: what its triggers do.*no such table: main.docs_fts' "into an empty file"

step "orphans, and rows against a CHECK, come back and are counted"
db_reset
fill >/dev/null
db_sql "PRAGMA foreign_keys = OFF; UPDATE child SET p = 99; INSERT INTO child(p) VALUES (98);
	PRAGMA ignore_check_constraints = ON; INSERT INTO strict_one(t) VALUES ('neither'), ('nor'); PRAGMA user_version = 9;"
write_config restore=replace
ms snapshot prod three
state "$CASE_DIR/want"
for broken in "DELETE FROM child; DELETE FROM strict_one;" "DROP TABLE child; DROP TABLE strict_one;"; do
	db_sql "$broken"
	ms restore prod three --yes >"$CASE_DIR/said" 2>&1 || fail "$(cat "$CASE_DIR/said")"
	assert_has "$(cat "$CASE_DIR/said")" 'child: 3 rows refer to rows that parent does not have, as in the snapshot' "orphans"
	assert_has "$(cat "$CASE_DIR/said")" 'strict_one: 2 rows are not as they must be: CHECK.*, as in the snapshot' "rows against a CHECK"
	state "$CASE_DIR/got"
	assert_same "$CASE_DIR/want" "$CASE_DIR/got" "with orphans"
done
db_sql "DELETE FROM strict_one;"
assert_fails ms restore prod three --table strict_one --yes
assert_has "$(cat "$CASE_DIR/fails.txt")" 'CHECK constraint failed' "one table alone"

step "what only an application has is named when the snapshot is taken"
db_reset
python3 - "$DB_FILE" <<-'PY'
	import sqlite3, sys
	db = sqlite3.connect(sys.argv[1])
	db.create_function("appf", 1, lambda x: x, deterministic=True)
	db.create_collation("APP", lambda a, b: (a > b) - (a < b))
	db.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)")
	db.execute("CREATE INDEX i ON a(appf(v))")
	db.execute("CREATE TABLE b (v TEXT COLLATE APP PRIMARY KEY) WITHOUT ROWID")
	db.commit()
PY
for table in a b; do
	assert_fails ms snapshot prod no
	assert_has "$(cat "$CASE_DIR/fails.txt")" "table $table .*cannot be written back: (unknown function: appf|no such collation sequence: APP)" "the refusal"
	db_query "DROP TABLE $table" || python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("DROP TABLE " + sys.argv[2])' "$DB_FILE" "$table"
done
db_sql 'CREATE TABLE "" (x);'
assert_fails ms snapshot prod no
assert_has "$(cat "$CASE_DIR/fails.txt")" 'a table without a name' "the refusal"
