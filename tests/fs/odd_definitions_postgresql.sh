#!/bin/bash
# Definitions that look like something else, that were written for other settings, that the server prints otherwise once they
# were read back, or that others gave rights to, come back exactly: into a schema that differs, into a new database; and then
# the same restore has nothing to do.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
use_db postgresql
write_config restore=replace

role=ms_reporting_$$
psql -X -q "$SERVER_URL" -c "CREATE ROLE $role"
case_ends() {
	psql -X -q "$SERVER_URL" -c "SET client_min_messages = warning" -c "DROP DATABASE IF EXISTS $DB_NAME WITH (FORCE)" -c "DROP ROLE $role"
}

# Strings are written by the old rules in this database, and its names are quoted.
new_database() {
	db_reset
	[ "$1" = plain ] || psql -X -q "$SERVER_URL" -c "ALTER DATABASE $DB_NAME SET standard_conforming_strings = off" \
		-c "ALTER DATABASE $DB_NAME SET quote_all_identifiers = on" -c "ALTER DATABASE $DB_NAME SET timezone = 'Asia/Kolkata'" \
		-c "ALTER DATABASE $DB_NAME SET bytea_output = escape"
	db_sql "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO $role;
		ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO $role;"
}
# But for the expressions that the server prints otherwise once they were read back
definitions() {
	PGOPTIONS='-c standard_conforming_strings=on -c quote_all_identifiers=off -c timezone=UTC -c bytea_output=hex' \
		"$SERVER_BINDIR/pg_dump" -n public "$DB_URL" | grep -vE '^\\(un)?restrict | = ANY \(' | sort >"$1"
}

new_database odd
db_sql "SET standard_conforming_strings = on;" "
CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'select 1';
CREATE TABLE later (a int PRIMARY KEY, begin int DEFAULT begin(), \"end\" text DEFAULT 'C:\\dir', at timestamptz DEFAULT '2020-01-01 00:00Z',
  b bytea DEFAULT '\\x005c', k ext.citext);
CREATE FUNCTION atomic(\"case\" int) RETURNS int BEGIN ATOMIC SELECT CASE \"case\" WHEN 1 THEN 2 END; SELECT 3; END;
CREATE TABLE function (begin int PRIMARY KEY REFERENCES later);
COMMENT ON TABLE later IS 'it''s;
-- Name: x; Type: TABLE; Schema: public; Owner: me
CREATE TABLE x ();';
CREATE TABLE item (id int PRIMARY KEY, note text, status varchar(10) CHECK (status IN ('open', 'closed')), doubled int GENERATED ALWAYS AS (id * 2) STORED);
CREATE INDEX item_open ON item (id) WHERE status IN ('open', 'closed');
CREATE DOMAIN state AS varchar(10) CHECK (VALUE IN ('a', 'b'));
CREATE VIEW v AS SELECT null::int, id FROM item WHERE status IN ('open', 'closed');
CREATE MATERIALIZED VIEW m AS SELECT id FROM item WHERE status IN ('open', 'closed');
ALTER TABLE item ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON item USING (status IN ('open', 'closed'));
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER tr BEFORE UPDATE ON item FOR EACH ROW WHEN (new.status IN ('open', 'closed')) EXECUTE FUNCTION tf();
CREATE TABLE secret (id int PRIMARY KEY); REVOKE ALL ON secret FROM $role; CREATE TABLE told (id int); CREATE SEQUENCE sq;
GRANT EXECUTE ON FUNCTION begin() TO PUBLIC; REVOKE ALL ON SEQUENCE sq FROM $role;
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int CONSTRAINT child_p REFERENCES parent);
INSERT INTO later (a) VALUES (1); INSERT INTO item VALUES (1, NULL, 'open'); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1);
CREATE PUBLICATION pub FOR TABLE later, item (id, status) WHERE (id > 0);
"
definitions "$CASE_DIR/good"
members="SELECT string_agg(concat_ws(' ', pubname, tablename, attnames, rowfilter), ';' ORDER BY pubname, tablename) FROM pg_publication_tables"
pub=$(db_query "$members")
assert_has "$pub" 'item' "the publication"
ms snapshot prod one

step "nothing differs"
ms restore prod one --yes --dry-run

# same WHAT: pg_dump says what it said before, a restore has nothing to do, and the snapshot is what is live
same() {
	definitions "$CASE_DIR/found"
	diff "$CASE_DIR/good" "$CASE_DIR/found" >"$CASE_DIR/diff" || fail "$1: $(head -n 40 "$CASE_DIR/diff")"
	ms restore prod one --dry-run >"$CASE_DIR/plan.txt"
	cat "$CASE_DIR/plan.txt"
	assert_eq 0 "$(grep -cE '^(make|alter|drop) ' "$CASE_DIR/plan.txt" || true)" "$1: what is left to do"
	assert_exit 0 ms verify prod one --live
}

step "every definition differs"
db_sql "ALTER TABLE later ADD x int; ALTER TABLE item ADD x int; ALTER TABLE secret ADD x int; ALTER TABLE child ADD x int;
	DROP FUNCTION atomic; DROP MATERIALIZED VIEW m; DROP TABLE function; DROP TABLE told; DROP SEQUENCE sq;
	GRANT EXECUTE ON FUNCTION ext.citext_eq(ext.citext, ext.citext) TO $role; GRANT ALL ON secret TO $role; GRANT UPDATE (id) ON item TO $role; REVOKE EXECUTE ON FUNCTION begin() FROM PUBLIC;"
ms restore prod one --yes
same "what differed"
assert_eq f "$(db_query "SELECT has_function_privilege('$role', 'ext.citext_eq(ext.citext, ext.citext)', 'EXECUTE')")" \
	"a right on what belongs to an extension"
assert_eq "$pub" "$(db_query "$members")" "the publication"

step "tables are made anew"
db_sql "ALTER TABLE later ALTER a TYPE bigint; DROP VIEW v; DROP MATERIALIZED VIEW m; DROP POLICY p ON item;
	ALTER TABLE item DROP note; ALTER TABLE secret RENAME id TO other; ALTER TABLE child ALTER id TYPE text;"
ms restore prod one --yes
same "made anew"
assert_eq "$pub" "$(db_query "$members")" "the publication"

step "a new database, with other settings"
new_database plain
ms restore prod one --yes >"$CASE_DIR/new.txt" 2>&1 || fail "$(cat "$CASE_DIR/new.txt")"
cat "$CASE_DIR/new.txt"
assert_has "$(cat "$CASE_DIR/new.txt")" 'schema ext was made for the extension citext' "the words"
same "a new database"

step "a child without its parent"
db_sql "SET session_replication_role = replica; INSERT INTO child VALUES (2, 99);"
ms snapshot prod orphan
for way in "ALTER TABLE child ALTER id TYPE text" "DROP TABLE child" "DROP TABLE child, parent"; do
	db_sql "$way"
	ms restore prod orphan --yes >"$CASE_DIR/orphan.txt" 2>&1 || fail "$way: $(cat "$CASE_DIR/orphan.txt")"
	assert_has "$(cat "$CASE_DIR/orphan.txt")" child_p "$way: the words"
	assert_eq "f" "$(db_query "SELECT convalidated FROM pg_constraint WHERE conname = 'child_p'")" "$way: the key"
	assert_eq "2" "$(db_query "SELECT count(*) FROM child")" "$way: the rows"
	assert_fails db_sql "INSERT INTO child VALUES (3, 98)"
done
