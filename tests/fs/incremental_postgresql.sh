#!/bin/bash
# Whatever happened to a table since the last snapshot: one that reads only the changes is, byte for byte, the one that reads
# everything. Where the rows of the last one may not be taken over, it notices.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
use_db postgresql
write_config
WHOLE=$CASE_DIR/whole.conf
sed "s#^path=.*#path=$CASE_DIR/whole/catalog.db#" "$CONF" >"$WHOLE"
chmod 600 "$WHOLE"

# The table t and its contents, by name of the snapshot in one of the two catalogs
contents() {
	rm -rf "$3"
	"$METASNAP" -c "$1" export prod "$2" "$3" >/dev/null
	sed -E 's/"(taken|[a-z_]*since)": "[^"]*"//g' "$3/MANIFEST.json" >"$3/manifest"
	rm "$3/MANIFEST.json" "$3/SHA256SUMS"
}

n=0
TABLE=t
# after changes|stale WORDS... <SQL: the statements one by one, then a snapshot, which must be right and must (changes) have read
# TABLE by its changes or (stale) not
after() {
	local want=$1 got
	shift
	n=$((n + 1))
	db_sql
	rm -f "$CASE_DIR/trace"
	METASNAP_TRACE=$CASE_DIR/trace ms snapshot prod "s$n" >/dev/null
	rm -rf "$CASE_DIR/whole"
	mkdir "$CASE_DIR/whole"
	"$METASNAP" -c "$WHOLE" snapshot prod w >/dev/null
	contents "$CONF" "s$n" "$CASE_DIR/a"
	contents "$WHOLE" w "$CASE_DIR/b"
	diff -r "$CASE_DIR/a" "$CASE_DIR/b" | cut -c1-300 >"$CASE_DIR/differ" || true
	[ ! -s "$CASE_DIR/differ" ] || fail "after $*: $(head -n 20 "$CASE_DIR/differ")"
	got=stale
	grep -q " scan_changed \"$TABLE\" .* = 0 " "$CASE_DIR/trace" &&
		! grep -qE " scan_open \"$TABLE\" (un)?ordered" "$CASE_DIR/trace" && got=changes
	assert_eq "$want" "$got" "after $*: $(grep -E " scan_(changed|open) \"$TABLE\"" "$CASE_DIR/trace")"
}

step "a first one, and nothing"
db_fill 3000
after stale "the first" <<-'SQL'
	CREATE TYPE humour AS ENUM ('sad', 'glad');
	CREATE TABLE moods (id int PRIMARY KEY, m humour, ms humour[]);
	INSERT INTO moods SELECT i, 'sad', '{sad,glad}' FROM generate_series(1, 100) i;
	CREATE TABLE t (id text COLLATE "C" PRIMARY KEY, j jsonb NOT NULL, n int, g bigint GENERATED ALWAYS AS ((j ->> 'at')::bigint) STORED);
	INSERT INTO t SELECT md5(i::text), jsonb_build_object('at', i, 'text', repeat(md5(i::text), i % 100)), i FROM generate_series(1, 3000) i;
	CREATE INDEX t_n ON t (n);
SQL
after changes "nothing" </dev/null

step "rows"
after changes "HOT update" <<<'ALTER TABLE t SET (fillfactor = 50); UPDATE t SET j = j || '\''{"x": 1.10}'\'' WHERE n <= 30;'
after changes "VACUUM FREEZE" <<<'VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t;'
after changes "delete" <<<'DELETE FROM t WHERE n BETWEEN 50 AND 80;'
after changes "slots used again" <<<"DELETE FROM t WHERE n > 2900;
VACUUM t;
INSERT INTO t SELECT md5('again' || i), '{}', i FROM generate_series(2901, 3000) i;"
after changes "insert" <<<"INSERT INTO t SELECT md5('new' || i), '{\"at\": 5}', -i FROM generate_series(1, 200) i;"
after changes "another key" <<<'UPDATE t SET id = md5(id) WHERE n BETWEEN 100 AND 110;'
after changes "the same row again" <<<'BEGIN; CREATE TEMP TABLE x AS SELECT id, j, n FROM t WHERE n < 200; DELETE FROM t USING x WHERE t.id = x.id;
INSERT INTO t SELECT * FROM x; COMMIT;'
after changes "locked, rolled back" <<<"BEGIN; SELECT * FROM t FOR UPDATE; COMMIT; BEGIN; UPDATE t SET n = 0; ROLLBACK;"
after changes "every tenth" <<<"UPDATE t SET n = n + 1 WHERE n % 10 = 0; UPDATE table_entity SET json = json || '{\"k\": 1}' WHERE id < '8'; DELETE FROM tag_usage;"

step "in progress while the snapshot is taken"
mkfifo "$CASE_DIR/in"
psql -X -q -o /dev/null -v ON_ERROR_STOP=1 "$DB_URL" <"$CASE_DIR/in" &
PSQL=$!
exec 5>"$CASE_DIR/in"
cat >&5 <<-'SQL'
	BEGIN; SAVEPOINT a; UPDATE t SET n = -5000 WHERE n = 1001; DELETE FROM t WHERE n = 1002; RELEASE a; SAVEPOINT b;
	INSERT INTO t VALUES ('in progress', '{}', 5000);
SQL
waiting() { [ "$(db_query "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'")" != 0 ]; }
wait_for 10 "the transaction is in progress" waiting
after changes "beside a transaction" <<<"BEGIN; UPDATE t SET n = -6000 WHERE n = 1003; DELETE FROM t WHERE n = 1004; PREPARE TRANSACTION 'p';
UPDATE t SET n = -7000 WHERE n = 1005;"
echo 'COMMIT;' >&5
exec 5>&-
wait "$PSQL"
after changes "its end" </dev/null
after changes "the prepared one's end" <<<"COMMIT PREPARED 'p';"

step "the table"
after stale "VACUUM FULL" <<<'DELETE FROM t WHERE n BETWEEN 300 AND 310; VACUUM FULL t;'
after stale "CLUSTER" <<<'CLUSTER t USING t_n;'
after stale "a rewrite" <<<'ALTER TABLE t ALTER n TYPE bigint;'
after stale "TRUNCATE and the same rows" <<<'BEGIN; CREATE TEMP TABLE x AS SELECT id, j, n FROM t; TRUNCATE t; INSERT INTO t SELECT * FROM x; COMMIT;'
after stale "ADD COLUMN DEFAULT" <<<"ALTER TABLE t ADD late text DEFAULT 'as it was';"
after changes "nothing" </dev/null
after stale "DROP COLUMN and another default" <<<"ALTER TABLE t DROP late; ALTER TABLE t ADD late text DEFAULT 'other';"
after stale "DROP EXPRESSION" <<<'ALTER TABLE t ALTER g DROP EXPRESSION;'
after stale "another table's name" <<<'CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT * FROM t ORDER BY n LIMIT 500; DROP TABLE t; ALTER TABLE u RENAME TO t;'
after changes "an enum's new word" <<<"ALTER TYPE humour RENAME VALUE 'sad' TO 'mad';"

step "rows without a key"
for TABLE in loose indexed; do
	after stale "$TABLE" <<<"CREATE TABLE $TABLE (a int, b text); INSERT INTO $TABLE SELECT i % 50, 'x' || i % 100 FROM generate_series(1, 400) i;
	$([ $TABLE = loose ] || echo "CREATE INDEX ON $TABLE (a);")"
	after changes "nothing, $TABLE" </dev/null
	after changes "more of them, $TABLE" <<<"INSERT INTO $TABLE VALUES (1, 'new'), (1, 'new'), (-1, NULL);"
	after changes "one more of those that are there, $TABLE" <<<"INSERT INTO $TABLE VALUES (1, 'new');"
	after stale "one less, one more, $TABLE" <<<"DELETE FROM $TABLE WHERE ctid = '(0,2)'; INSERT INTO $TABLE VALUES (1, 'new');"
	after stale "another one, $TABLE" <<<"UPDATE $TABLE SET b = 'other' WHERE a = -1;"
	after stale "one less, $TABLE" <<<"DELETE FROM $TABLE WHERE ctid = '(0,3)';"
	after changes "nothing again, $TABLE" </dev/null
done
TABLE=t

step "our own restore"
db_sql "UPDATE t SET j = '{}' WHERE n % 2 = 0; DELETE FROM t WHERE n % 3 = 0; INSERT INTO t VALUES ('new', '{}', 0);"
sed -i '/^restore=/d' "$CONF"
echo 'restore=replace' >>"$CONF"
ms restore prod "s$n" --yes >/dev/null
after changes "a restore of rows" <<<'UPDATE t SET n = n + 1 WHERE n % 7 = 0;'
db_drop_tables
ms restore prod "s$n" --yes >/dev/null
after stale "a restore of everything" </dev/null
after changes "nothing" </dev/null

step "the catalog"
ms check >/dev/null
ms verify prod >/dev/null

step "a damaged base"
# damage: every pack of TABLE's rows; what is kept unread is not checked, what has to be read is found and stored anew
damage() {
	sqlite3 "$CATALOG" "UPDATE pack SET data = zeroblob(length(data)) WHERE codec_id IN
		(SELECT v.codec_id FROM snapshot_table s JOIN version v ON v.id = s.version_id WHERE s.name = '$TABLE')"
}
damage
after stale "damage, and rows gone" <<<'DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 5);'
after changes "whole again" <<<'DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 5);'
damage
after stale "damage, and a row changed" <<<'UPDATE t SET n = n + 1 WHERE id IN (SELECT id FROM t ORDER BY id DESC LIMIT 1);'
damage
after stale "damage, and a row added at the end" <<<"INSERT INTO t VALUES ('zzz', '{}', 1);"
