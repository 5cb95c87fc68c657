# shellcheck shell=bash
#
# tests/fs/sql_file.bash - `.sql` files of OpenMetadata's former command line, for one engine: a file of a database brings it
# back exactly after its rows were destroyed, in both spellings and as before 1.1; broken files change nothing and name
# the line; the former command's options. Sourced by sql_file_ENGINE.sh.

requires python3 sqlite3

# old_backup STYLE FORM FILE
old_backup() {
	local query
	case $DB_ENGINE in
	postgresql) query="psql -X -q -A -t -F \$'\\t' -v ON_ERROR_STOP=1 -c \"\$QUERY\" '$DB_URL'" ;;
	*) query="$SERVER_CLIENT --max-allowed-packet=256M --default-character-set=utf8mb4 -N -B -r -e \"\$QUERY\" $DB_NAME" ;;
	esac
	"$TESTS_DIR/servers/old-backup" "$DB_ENGINE" "$1" "$2" "$query" >"$3"
}

# Rows of some tables are gone, others are not what they were
destroy() {
	db_sql "DELETE FROM tag_usage; DELETE FROM bot_entity; DELETE FROM table_entity WHERE name < 'k';
		INSERT INTO tag_usage (source, tagFQN, tagFQNHash, targetFQNHash, labelType, state) VALUES (9, 'x', 'x', 'x', 0, 0);"
}

# refused WORDS FILE [OPTION...]: the restore fails with these words, and nothing changed
refused() {
	local words=$1 file=$2
	shift 2
	db_dump "$CASE_DIR/state"
	assert_exit 1 ms restore prod "$file" --yes "$@"
	assert_has "$(cat "$CASE_DIR/exit.txt")" "$words" "$file"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/state" "$CASE_DIR/found" "$file changes nothing"
}

# One that breaks off after a good beginning: broken LINE TEXT: TEXT becomes line LINE of good.sql
broken() {
	{
		head -n $(($1 - 1)) "$GOOD"
		printf '%s\n' "$2"
		tail -n +$(($1 + 1)) "$GOOD"
	} >"$CASE_DIR/broken.sql"
}

faults() {
	local n key
	destroy
	step "$DB_ENGINE: broken files"
	n=$(grep -n 'INSERT INTO tag_usage' "$GOOD" | sed -n 50p | cut -d: -f1)
	broken "$n" "UPDATE tag_usage SET state = 1;"
	refused "line $n: .*UPDATE.*only TRUNCATE and INSERT" "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO nothing VALUES ('x');"
	refused "line $n: table nothing is not in the database" "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO tag_usage VALUES ('1','x');"
	refused "line $n: 2 values for table tag_usage, which has 6 columns" "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO tag_usage (source,nocolumn) VALUES ('1','x');"
	refused "line $n: table tag_usage has no column .nocolumn" "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO tag_usage VALUES ('1','a','b','c','1.6','1');"
	refused "line $n: table tag_usage, column label[tT]ype: a value that is no whole number" "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO tag_usage VALUES ('1','x"
	refused "line $n|[0-9]: " "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO bot_entity (json,${HASH}) VALUES ('{\"id\": nonsense}','x');"
	refused "line $n: table bot_entity, column json: neither JSON nor" "$CASE_DIR/broken.sql"
	head -c -20 "$GOOD" >"$CASE_DIR/broken.sql"
	refused "line $(wc -l <"$GOOD").*cut" "$CASE_DIR/broken.sql"
	: >"$CASE_DIR/empty.sql"
	refused "no statement" "$CASE_DIR/empty.sql"
	step "$DB_ENGINE: a row that the server refuses is named by its line"
	key=$(sed -n "$((n - 30))p" "$GOOD")
	broken "$n" "$key"
	refused "line $n: " "$CASE_DIR/broken.sql"
	broken "$n" "INSERT INTO tag_usage VALUES ('1','$(printf 'x%.0s' {1..300})','a','b','1','1');"
	refused "line $n: " "$CASE_DIR/broken.sql"
	ms restore prod "$GOOD" --yes >/dev/null
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/before" "$CASE_DIR/found" "the good one, after all that"
}

# A document of 17 MB, and what the former program doubled or did not: percent signs, quotes, all of Unicode
large() {
	step "$DB_ENGINE: a statement of 17 MB"
	case $DB_ENGINE in
	postgresql)
		db_sql "UPDATE query_entity SET json = jsonb_set(json, '{query}', to_jsonb(repeat('%s 100%% it''s \"x\" \\ ü 📊 ' || chr(10), 600000)))
			WHERE name = (SELECT min(name) FROM query_entity);"
		;;
	*)
		db_sql "UPDATE query_entity SET json = json_set(json, '\$.query', repeat(concat('%s 100%% it''s \"x\" ü 📊 ', char(92), char(10)), 600000))
			WHERE name = (SELECT * FROM (SELECT min(name) FROM query_entity) AS q);"
		;;
	esac
	db_dump "$CASE_DIR/before"
	old_backup new tidy "$CASE_DIR/large.sql"
	[ "$(wc -L <"$CASE_DIR/large.sql")" -gt 16777216 ] || fail "no long line"
	db_sql "DELETE FROM query_entity;"
	ms restore prod "$CASE_DIR/large.sql" --yes >/dev/null 2>&1
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "large"
}

# The program dies in the middle: the database is as before or as after, and the next job finds out which
killed() {
	local delay pid
	step "$DB_ENGINE: kill -9"
	destroy
	db_dump "$CASE_DIR/state"
	for delay in 0.03 0.07 0.12 0.2 0.3 0.4 0.5; do
		"$METASNAP" -c "$CONF" restore prod "$GOOD" --yes >/dev/null 2>&1 &
		pid=$!
		sleep $delay
		kill -9 $pid 2>/dev/null || true
		wait $pid 2>/dev/null || true
		ms snapshot prod >/dev/null
		db_dump "$CASE_DIR/found"
		if cmp -s "$CASE_DIR/before" "$CASE_DIR/found"; then
			destroy
		else
			assert_same "$CASE_DIR/state" "$CASE_DIR/found" "after a kill -9 at $delay s"
		fi
	done
	assert_eq 0 "$(sqlite3 "$CATALOG" "SELECT count(*) FROM journal WHERE state = 'unknown' OR finished_ms IS NULL")" "restores nobody knows the end of"
	assert_eq 0 "$(sqlite3 "$CATALOG" "SELECT count(*) FROM snapshot WHERE name IS NULL")" "snapshots left behind"
}

# The former command's own options
former() {
	local o=()
	step "$DB_ENGINE: the former command's options"
	[ "$DB_ENGINE" != postgresql ] || o=(-s public -o sslmode:prefer)
	destroy
	old=("$METASNAP" --catalog "$CATALOG" restore -H 127.0.0.1 -u metasnap -d "$DB_NAME" --port "$SERVER_PORT" "${o[@]}")
	db_dump "$CASE_DIR/state"
	METASNAP_PASSWORD=$(cat "$DB_PASSWORD_FILE") "${old[@]}" --input "$GOOD" --dry-run >"$CASE_DIR/plan"
	assert_has "$(cat "$CASE_DIR/plan")" 'tag_usage +120 +0 +1' "the plan"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/state" "$CASE_DIR/found" "a dry run"
	assert_exit 1 "${old[@]}" -p 'wr@ng:/' --input "$GOOD"
	assert_exit 1 env METASNAP_PASSWORD=x "${old[@]}" -a nosuchoption=1 --input "$GOOD"
	assert_has "$(cat "$CASE_DIR/exit.txt")" nosuchoption "an option that metasnap does not know"
	assert_exit 2 "${old[@]}"
	assert_exit 2 "${old[@]}" --upload a b c --input "$GOOD"
	"${old[@]}" -p "$(cat "$DB_PASSWORD_FILE")" --input "$GOOD" </dev/null >/dev/null
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/before" "$CASE_DIR/found" "by the former options"
}

# sql_file ENGINE
sql_file() {
	local engine=$1 style
	step "$engine"
	use_db "$engine"
	db_fill 1500
	# What is destroyed here must not be what a trigger does. PostgreSQL's sequences are put past the rows; those of the sample are behind them in two tables.
	if [ "$engine" = postgresql ]; then
		db_sql "SELECT setval('openmetadata_settings_id_seq', (SELECT max(id) FROM openmetadata_settings));
			SELECT setval('server_change_log_installed_rank_seq', (SELECT max(installed_rank) FROM server_change_log));"
	else
		db_sql "DROP TRIGGER touch"
	fi
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	GOOD=$CASE_DIR/new:tidy.sql
	HASH=nameHash
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
	[ "$engine" != postgresql ] || assert_has "$(ms restore prod "$CASE_DIR/pre11:tidy.sql" --dry-run 2>&1)" 'doubled' "how it was read"
	if [ "$engine" != postgresql ]; then
		step "$engine: a trigger does not act on restored rows"
		db_sql "CREATE TRIGGER touch BEFORE INSERT ON tag_usage FOR EACH ROW SET NEW.state = 9"
		db_dump "$CASE_DIR/with"
		db_sql "DELETE FROM tag_usage"
		ms restore prod "$GOOD" --dry-run >/dev/null
		ms restore prod "$GOOD" --yes >/dev/null
		db_dump "$CASE_DIR/after"
		assert_same "$CASE_DIR/with" "$CASE_DIR/after" "$engine: beside a trigger"
		db_sql "DROP TRIGGER touch"
	fi
	[ "$engine" = mariadb ] || faults
	former
	killed
	[ "$engine" = mariadb ] || large
	ms check
}
