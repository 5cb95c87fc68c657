#!/bin/bash
# `.sql` files of OpenMetadata's former command line on PostgreSQL (sql_file.bash).
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/sql_file.bash"
sql_file postgresql

step "backslashes that nothing explains; sequences; rows added without TRUNCATE"
use_db postgresql small
db_sql "CREATE TABLE t (id serial PRIMARY KEY, v text, j jsonb, g text GENERATED ALWAYS AS (j ->> 'a') STORED); INSERT INTO t (v) VALUES ('old');
	CREATE TABLE other (x text); INSERT INTO other VALUES ('stays');"
CATALOG=$CASE_DIR/catalog_small/catalog.db
write_config restore=replace
printf '%s\n' "INSERT INTO t (id,v) VALUES (7,'a\\\\b');" >"$CASE_DIR/doubt.sql"
refused 'line 1: nothing in the file tells.*--backslashes' "$CASE_DIR/doubt.sql"
ms restore prod "$CASE_DIR/doubt.sql" --yes --backslashes=plain >/dev/null 2>&1
assert_eq "a\\\\b" "$(db_query 'SELECT v FROM t WHERE id = 7')" "read as it is"
assert_eq 2 "$(db_query 'SELECT count(*) FROM t')" "rows, one of them added"
printf '%s\n' "TRUNCATE TABLE t;" "INSERT INTO t VALUES ('7','a\\\\b','{\"a\": \"1\"}','1'),('9',NULL,'{''a'': \"it''s\", ''b'': [True, None, 1.10]}','x');" >"$CASE_DIR/doubt.sql"
ms restore prod "$CASE_DIR/doubt.sql" --yes --backslashes=doubled >/dev/null 2>"$CASE_DIR/words"
assert_has "$(cat "$CASE_DIR/words")" 'table t: values of 1 generated' "words on the generated column"
assert_eq "$(printf '7\ta\\b\t1\n9\t\tit'"'"'s')" "$(db_query 'SELECT id, v, g FROM t ORDER BY id')" "read as doubled"
assert_eq '{"a": "it'"'"'s", "b": [true, null, 1.10]}' "$(db_query 'SELECT j FROM t WHERE id = 9')" "what Python printed"
assert_eq 10 "$(db_query "INSERT INTO t (v) VALUES ('next') RETURNING id")" "the sequence is past the rows"
assert_eq stays "$(db_query 'SELECT * FROM other')" "a table that the file does not name"
assert_exit 1 ms restore prod "$CASE_DIR/doubt.sql" --yes --table t
