#!/bin/bash
# kill -9 of `metasnap restore` while it makes some objects anew, alters others and changes rows of the rest, on each engine
# at moments spread over the whole of it: the database is all old or all new, by the dump of its own tool; the next program
# settles the journal; nothing of the restore is left beside the database; the same restore then works.
# METASNAP_KILLS: how many moments (3; with METASNAP_LONG 25).
# TIMEOUT: 900
. "$(dirname "$0")/../lib.sh"
kills=${METASNAP_KILLS:-$([ "${METASNAP_LONG:-0}" = 1 ] && echo 25 || echo 3)}

# What no restore may leave: schemas, databases and files of its own
leftovers() {
	case $DB_ENGINE in
	postgresql) db_query "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%metasnap%' UNION SELECT datname FROM pg_database WHERE datname LIKE '%metasnap\\_%scratch%'" ;;
	mysql | mariadb) db_query "SHOW DATABASES LIKE '${DB_NAME}\\_\\_%'" ;;
	sqlite) find "$(dirname "$DB_FILE")" -name "$(basename "$DB_FILE")-*" -size +0 ;;
	esac
}

# The dead program's connection may still be at work at the server
settled_dump() {
	local i
	db_dump "$1"
	for ((i = 0; i < 100 * SLOW; i++)); do
		sleep 0.1
		db_dump "$1.again"
		cmp -s "$1" "$1.again" && return
		mv "$1.again" "$1"
	done
	fail "the database does not come to rest"
}

spoil() {
	db_sql <<-SQL
		ALTER TABLE tag_usage ADD COLUMN more integer;
		ALTER TABLE change_event ADD COLUMN more integer;
		CREATE INDEX more_state ON entity_relationship (relation);
		CREATE TABLE not_in_the_snapshot (x integer PRIMARY KEY);
		INSERT INTO not_in_the_snapshot VALUES (1);
		CREATE VIEW not_there AS SELECT relation FROM entity_relationship;
		DELETE FROM entity_relationship WHERE relation = 8;
	SQL
	db_touch_json table_entity '1 = 1'
}

for engine in ${METASNAP_ENGINES:-postgresql mysql mariadb sqlite}; do
	step "$engine"
	use_db "$engine"
	db_fill 4000
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	ms snapshot prod good
	db_dump "$CASE_DIR/good"
	spoil
	db_dump "$CASE_DIR/bad"
	ms snapshot prod bad
	start=$(now_ms)
	ms restore prod good --yes >"$CASE_DIR/restore.txt" 2>&1 || fail "the restore: $(cat "$CASE_DIR/restore.txt")"
	took=$(($(now_ms) - start))
	settled_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good" "$CASE_DIR/found" "restored, without a crash"
	old=0 new=0
	for ((n = 1; n <= kills; n++)); do
		spoil
		(
			exec "$METASNAP" -c "$CONF" restore prod good --yes >"$CASE_DIR/killed.txt" 2>&1
		) &
		pid=$!
		sleep "$(awk "BEGIN { print $took * $n / ($kills + 1) / 1000 }")"
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		ms verify prod good --live >"$CASE_DIR/verify.txt" 2>&1 || true # settles
		settled_dump "$CASE_DIR/found"
		if cmp -s "$CASE_DIR/found" "$CASE_DIR/bad"; then
			old=$((old + 1))
		elif cmp -s "$CASE_DIR/found" "$CASE_DIR/good"; then
			new=$((new + 1))
		else
			diff "$CASE_DIR/bad" "$CASE_DIR/found" | cut -c1-200 | head -n 10
			fail "killed at moment $n of $kills ($took ms in all): the database is neither as before nor as restored"
		fi
		ms restore prod good --yes >"$CASE_DIR/restore.txt" 2>&1 || fail "after kill $n: $(cat "$CASE_DIR/restore.txt")"
		settled_dump "$CASE_DIR/found"
		assert_same "$CASE_DIR/good" "$CASE_DIR/found" "restored after kill $n"
		left=$(leftovers)
		[ -z "$left" ] || fail "left over after kill $n: $left"
	done
	echo "$engine: a restore takes $took ms; killed $kills times: $old times as before, $new times restored"
	ms check
done
