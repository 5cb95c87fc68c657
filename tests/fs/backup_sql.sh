#!/bin/bash
# `metasnap backup` with the former command line's options: its form, one statement a line, loaded by the server's own client
# into a database whose schema is there gives the rows of the source. No catalog; a full disk or a signal leaves nothing.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires psql python3

out=$CASE_DIR/out/deep
for engine in postgresql mysql mariadb; do
	step "$engine"
	use_db "$engine"
	db_fill "${METASNAP_ROWS:-3000}"
	if [ "$engine" = postgresql ]; then
		db_sql <<-'SQL'
			CREATE TABLE old_entity (id text GENERATED ALWAYS AS (json ->> 'id') STORED NOT NULL PRIMARY KEY, json jsonb NOT NULL);
			INSERT INTO old_entity VALUES (DEFAULT, '{"id": "1", "name": "it''s \"quoted\""}'), (DEFAULT, '{"id": "2", "path": "a\\\\b"}');
			CREATE TABLE "user" ("order" text, lines json);
			INSERT INTO "user" VALUES (E'a\nb\r\nc\\', E'{\n"x": "\\n" }'), ('\\', '[]');
		SQL
		options=(-s public)
	else
		db_sql "CREATE TABLE old_entity (id varchar(36) GENERATED ALWAYS AS (json_unquote(json_extract(json, '\$.id'))) STORED, json json NOT NULL);
			INSERT INTO old_entity (json) VALUES ('{\"id\": \"1\", \"name\": \"it''s \\\\\"quoted\\\\\"\"}');"
		options=()
	fi
	db_dump "$CASE_DIR/before"
	port=${DB_URL##*:}
	rest=${DB_URL#*://}
	told=$(XDG_STATE_HOME=$CASE_DIR/home "$METASNAP" backup -H 127.0.0.1 -u "${rest%%@*}" -p "$(cat "$DB_PASSWORD_FILE")" -d "$DB_NAME" --port "${port%%/*}" "${options[@]}" --output "$out/$engine")
	assert_gone "$CASE_DIR/home"
	file=${told#Backup stored locally under }
	assert_has "$file" "^$out/$engine/openmetadata_[0-9]{12}_backup\.sql\$" "the file's name"
	assert_eq 600 "$(stat -c %a "$file")" "mode: it holds credentials"

	step "$engine: its form"
	assert_silent "lines that are no statement" sed -E '/^(TRUNCATE TABLE [^ ]+;|TRUNCATE TABLE .Odd Name; --.;|INSERT INTO .* VALUES \(.*\);)$/d' "$file"
	assert_eq "$(wc -l <"$file")" "$(python3 -c "print(len(open('$file', encoding='utf-8').readlines()))")" "lines as Python reads them"
	assert_eq 'TRUNCATE TABLE entity_extension;' "$(sed -n 1p "$file")" "tables with all values come first"
	assert_has "$(grep -am 1 '^INSERT INTO tag_usage ' "$file")" "^INSERT INTO tag_usage VALUES \('[01]','PII.Tag" "all values"
	assert_has "$(grep -am 1 '^INSERT INTO old_entity ' "$file")" "^INSERT INTO old_entity \(json\) VALUES \('" "documents only"
	assert_has "$(grep -aim 1 '^INSERT INTO entity_extension_time_series ' "$file")" \
		'^INSERT INTO entity_extension_time_series \(entity[fF][qQ][nN][hH]ash,extension,json[sS]chema,json\) VALUES' "named columns"
	assert_has "$(grep -am 1 '^INSERT INTO dashboard_entity ' "$file")" '^INSERT INTO dashboard_entity \((id,|.id.,)?json,fqn[hH]ash\) VALUES' "what json alone would not bring back"

	step "$engine: loaded by its own client"
	case $engine in
	postgresql)
		"$SERVER_BINDIR/pg_dump" -s "$DB_URL" | grep -vE '^\\(un)?restrict ' >"$CASE_DIR/schema.sql"
		db_reset
		db_sql <"$CASE_DIR/schema.sql"
		# TRUNCATE of a table that others refer to is refused whatever is in it; nothing else may be
		PGOPTIONS='-c session_replication_role=replica' psql -X -q -d "$DB_URL" -f "$file" 2>"$CASE_DIR/errors"
		assert_silent "errors of psql" sed -n '/cannot truncate a table referenced in a foreign key constraint/d; /ERROR:/p' "$CASE_DIR/errors"
		for f in before after; do
			[ "$f" = before ] || db_dump "$CASE_DIR/after"
			sed -i '/^SELECT pg_catalog.setval/d' "$CASE_DIR/$f"
		done
		;;
	*)
		[ "$engine" = mariadb ] || SERVER_MYSQLDUMP="$SERVER_MYSQLDUMP --set-gtid-purged=OFF"
		eval "$SERVER_MYSQLDUMP --no-data --skip-triggers --routines $DB_NAME" >"$CASE_DIR/schema.sql"
		eval "$SERVER_MYSQLDUMP --no-data --no-create-info --triggers $DB_NAME" >"$CASE_DIR/triggers.sql"
		db_reset
		db_sql <"$CASE_DIR/schema.sql"
		eval "$SERVER_CLIENT --default-character-set=utf8mb4 --init-command='SET foreign_key_checks=0, sql_mode=\"ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO\", time_zone=\"+00:00\"' $DB_NAME" <"$file"
		db_sql <"$CASE_DIR/triggers.sql"
		db_dump "$CASE_DIR/after"
		sed -i 's/ AUTO_INCREMENT=[0-9]*//; /sql_mode/d' "$CASE_DIR/before" "$CASE_DIR/after"
		;;
	esac
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$engine: dump after loading"

	step "$engine: restored by metasnap, over other rows"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	db_dump "$CASE_DIR/before"
	db_sql "DELETE FROM tag_usage; UPDATE special_keys SET v = 'x'; DELETE FROM old_entity; DELETE FROM special_bytes WHERE v > 9;"
	ms restore prod "$file" --yes >"$CASE_DIR/plan"
	db_dump "$CASE_DIR/after"
	# sequences were as in a new schema; a restore puts them past the rows
	sed -i '/^SELECT pg_catalog.setval/d' "$CASE_DIR/before" "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$engine: dump after a restore"
done

step "never over another file, nor half"
cd "$CASE_DIR" || exit
mkdir same small
catalogs=$(find . -name 'catalog*' | wc -l)
made=0
for i in 1 2 3; do # two of three are in the same minute
	if ms backup prod --output same >"$CASE_DIR/told" 2>"$CASE_DIR/words"; then
		made=$((made + 1))
	else
		assert_has "$(cat "$CASE_DIR/words")" 'exists' "a second backup in a minute"
	fi
	assert_eq "$made" "$(find same -type f | wc -l)" "files after backup $i"
done
[ "$made" -lt 3 ] || fail "three backups in a minute"
assert_eq "$catalogs" "$(find . -name 'catalog*' | wc -l)" "catalogs: a backup makes none"
mount -t tmpfs -o size=256k none small
assert_exit 1 ms backup prod --output small
assert_has "$(cat exit.txt)" 'no space left' "a full disk"
assert_silent "what a full disk leaves" ls -A small
umount small
assert_exit 1 ms backup prod --output /dev/null/x
use_db sqlite
write_config
assert_exit 1 ms backup prod --output none
assert_silent "what a refusal leaves" ls -A none
assert_has "$(cat exit.txt)" 'sqlite' "an engine that never had such files"

step "a signal"
use_db postgresql
db_fill 100 # a server where a backup has to wait
write_config
mkdir stopped
{ echo 'BEGIN; LOCK TABLE tag_usage IN ACCESS EXCLUSIVE MODE;'; sleep 30; } | psql -X -q "$DB_URL" &
locker=$!
wait_for 10 "the lock" sh -c "psql -X -At '$DB_URL' -c \"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'\" | grep -q '^[1-9]'"
"$METASNAP" -c "$CONF" backup prod --output stopped 2>"$CASE_DIR/stopped.txt" &
backup=$!
wait_for 10 "a backup under way" sh -c "ls -A stopped | grep -q ."
# shellcheck disable=SC2016
wait_for 10 "the backup waits for the lock" sh -c 'psql -X -At "$1" -c "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = '"'Lock'"'" | grep -qx 1' sh "$DB_URL"
start=$(now_ms)
kill -TERM "$backup"
rc=0
wait "$backup" || rc=$?
[ $(($(now_ms) - start)) -lt $((3000 * SLOW)) ] || fail "a signal takes $(($(now_ms) - start)) ms"
assert_eq 1 "$rc" "exit status of a backup that was stopped"
assert_has "$(cat "$CASE_DIR/stopped.txt")" 'interrupted' "words of a backup that was stopped"
assert_silent "what a signal leaves" ls -A stopped
kill "$locker" || true

step "backslashes that could be taken for doubled ones"
use_db postgresql even
db_sql <<'SQL'
CREATE TABLE old_entity (k text, json jsonb);
INSERT INTO old_entity VALUES ('a\\b', '{"a": "\\\\"}'), ('c', '[]');
SQL
CATALOG=$CASE_DIR/catalog_even/catalog.db
write_config restore=replace
db_dump "$CASE_DIR/before"
told=$(ms backup prod --output "$out/even")
db_sql "UPDATE old_entity SET k = 'x';"
ms restore prod "${told#Backup stored locally under }" --yes >"$CASE_DIR/plan"
db_dump "$CASE_DIR/after"
assert_same "$CASE_DIR/before" "$CASE_DIR/after" "restored by metasnap"
