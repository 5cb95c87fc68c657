#!/bin/bash
# `.sql` files of OpenMetadata's former command line: a file of a database brings it back exactly after its rows were
# destroyed, in both spellings and as before 1.1; broken files change nothing and name the line; the old command's options.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires python3

# old_backup STYLE FORM FILE
old_backup() {
	local query
	case $DB_ENGINE in
	postgresql) query="psql -X -q -A -t -F \$'\\t' -v ON_ERROR_STOP=1 -c \"\$QUERY\" '$DB_URL'" ;;
	*) query="$SERVER_CLIENT --default-character-set=utf8mb4 -N -B -r -e \"\$QUERY\" $DB_NAME" ;;
	esac
	"$TESTS_DIR/servers/old-backup" "$DB_ENGINE" "$1" "$2" "$query" >"$3"
}

# Rows of some tables are gone, others are not what they were
destroy() {
	db_sql "DELETE FROM tag_usage; DELETE FROM bot_entity; DELETE FROM table_entity WHERE name < 'k';
		INSERT INTO tag_usage (source, tagFQN, tagFQNHash, targetFQNHash, labelType, state) VALUES (9, 'x', 'x', 'x', 0, 0);"
}

for engine in postgresql mysql mariadb; do
	step "$engine"
	use_db "$engine"
	db_fill 1500
	# MySQL cannot keep triggers from acting on single rows: such a table is refused, by name.
	[ "$engine" = postgresql ] || db_sql "DROP TRIGGER touch"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	db_dump "$CASE_DIR/before"
	for style in new:tidy pre11:tidy new:messy; do
		step "$engine: $style"
		old_backup "${style%:*}" "${style#*:}" "$CASE_DIR/$style.sql"
		destroy
		ms restore prod "$CASE_DIR/$style.sql" --yes >"$CASE_DIR/plan" 2>"$CASE_DIR/words"
		db_dump "$CASE_DIR/after"
		assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$engine, $style"
	done
done
