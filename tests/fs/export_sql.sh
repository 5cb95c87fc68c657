#!/bin/bash
# A snapshot exported as SQL and loaded by the engine's own client program into an empty database gives the dump of the
# source; a full disk, a signal or a file that exists leaves nothing under the final name.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires psql sqlite3

# load FILE: into the case's database, as the documentation says
load() {
	case $DB_ENGINE in
	postgresql) psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -1 -f "$1" "$DB_URL" ;;
	sqlite) sqlite3 "$DB_FILE" <"$1" ;;
	*) eval "$SERVER_CLIENT $DB_NAME" <"$1" ;;
	esac
}

for engine in postgresql mysql mariadb sqlite; do
	step "$engine"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	use_db "$engine"
	db_fill "${METASNAP_ROWS:-6000}"
	case $engine in
	postgresql)
		db_sql <<-'SQL'
			CREATE MATERIALIZED VIEW tag_count AS SELECT source, count(*) AS n FROM tag_usage GROUP BY source;
			CREATE UNIQUE INDEX ON tag_count (source);
			GRANT SELECT ON tag_usage TO PUBLIC;
			CREATE TABLE always (id integer GENERATED ALWAYS AS IDENTITY, bits bit(9), price money);
			INSERT INTO always (bits, price) VALUES (B'101010101', '12.34'), (NULL, NULL);
			CREATE TABLE no_columns ();
			INSERT INTO no_columns DEFAULT VALUES;
			INSERT INTO no_columns DEFAULT VALUES;
			CREATE ROLE export_sql_role;
			ALTER TABLE bot_entity OWNER TO export_sql_role;
			GRANT SELECT ON tag TO export_sql_role;
		SQL
		;;
	mysql | mariadb)
		db_sql <<-'SQL'
			DELIMITER ;;
			CREATE PROCEDURE count_tags(OUT n INT) BEGIN SELECT count(*) INTO n FROM tag_usage; END;;
			CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC BEGIN RETURN 2 * x; END;;
			DELIMITER ;
			INSERT INTO ACT_CHILD (ID_, PARENT_, BYTES_) VALUES ('large', 'p1', repeat(0x00ff0d0a, 500000));
		SQL
		;;
	sqlite) db_sql "CREATE TABLE reals (x REAL); INSERT INTO reals VALUES (2.2250738585072011e-308), (8.9884656743115795e307), (-1e-320);
		-- the program misreads the digits of these two by one bit
		INSERT INTO reals VALUES (ieee754_from_blob(x'81ee476c88399110')), (ieee754_from_blob(x'021ea0e2338c9127'));
		CREATE VIEW crlf AS SELECT 1 -- ends in a comment" ;;
	esac
	write_config
	ms snapshot prod s1
	db_dump "$CASE_DIR/before"
	ms export prod s1 "$CASE_DIR/$engine.sql"
	assert_eq 600 "$(stat -c %a "$CASE_DIR/$engine.sql")" "mode: it holds credentials"
	db_reset
	load "$CASE_DIR/$engine.sql"
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$engine: dump after loading"
	# What dumps do not tell (a double's last bit, a text that came back as another one): the rows' digests
	assert_exit 0 ms verify prod s1 --live
done

step "nothing in the place of another file"
echo mine >"$CASE_DIR/there.sql"
assert_exit 1 ms export prod s1 "$CASE_DIR/there.sql"
assert_eq mine "$(cat "$CASE_DIR/there.sql")" "an existing file"
assert_exit 1 ms export prod s1 "$CASE_DIR/none/x.sql"

step "a full disk"
mkdir "$CASE_DIR/small"
mount -t tmpfs -o size=256k none "$CASE_DIR/small"
assert_exit 1 ms export prod s1 "$CASE_DIR/small/x.sql"
assert_has "$(cat "$CASE_DIR/exit.txt")" 'no space left' "a full disk"
assert_silent "what a full disk leaves" ls -A "$CASE_DIR/small"
umount "$CASE_DIR/small"

step "a signal"
mkdir "$CASE_DIR/stopped"
use_db sqlite
CATALOG=$CASE_DIR/catalog_big/catalog.db
db_fill 60000
write_config
ms snapshot prod s1
"$METASNAP" -c "$CONF" export prod s1 "$CASE_DIR/stopped/x.sql" 2>"$CASE_DIR/stopped.txt" &
wait_for 10 "an export under way" sh -c "ls -A '$CASE_DIR/stopped' | grep -q ."
kill -TERM %1
rc=0
wait %1 || rc=$?
assert_eq 1 "$rc" "exit status of an export that was stopped: $(cat "$CASE_DIR/stopped.txt")"
assert_silent "what a signal leaves" ls -A "$CASE_DIR/stopped"

step "postgresql: a role that the target does not have is a warning, an object that is there an error"
use_db postgresql
db_sql "DROP ROLE export_sql_role"
load "$CASE_DIR/postgresql.sql" 2>"$CASE_DIR/words"
assert_has "$(cat "$CASE_DIR/words")" 'WARNING: .*ALTER TABLE public.bot_entity OWNER TO.*role "export_sql_role" does not exist' "a missing role"
assert_silent "errors with a missing role" sed -n /ERROR/p "$CASE_DIR/words"
assert_eq 3 "$(db_query 'SELECT count(*) FROM bot_entity')" "its table"
assert_fails load "$CASE_DIR/postgresql.sql"
db_reset
db_sql "CREATE TABLE tag (x integer)"
assert_fails load "$CASE_DIR/postgresql.sql"
assert_eq 1 "$(db_query "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")" "what a load that failed leaves"

step "postgresql: another schema"
db_reset
db_sql "CREATE SCHEMA \"Other one\"; CREATE TABLE \"Other one\".t (id serial PRIMARY KEY, v text); INSERT INTO \"Other one\".t (v) VALUES ('a'), (E'\\\\.');"
CATALOG=$CASE_DIR/catalog_other/catalog.db
write_config "schema=Other one"
ms snapshot prod s1
db_dump "$CASE_DIR/before"
ms export prod s1 "$CASE_DIR/other.sql"
db_reset
load "$CASE_DIR/other.sql"
db_dump "$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "another schema: dump after loading"
