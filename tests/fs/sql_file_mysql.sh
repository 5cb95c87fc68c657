#!/bin/bash
# `.sql` files of OpenMetadata's former command line on MySQL (sql_file.bash).
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/sql_file.bash"
sql_file mysql

step "a file of PostgreSQL"
use_db mysql small
db_sql "CREATE TABLE t (id int PRIMARY KEY, j json);"
write_config restore=replace
printf '%s\n' "INSERT INTO t VALUES ('1','{\"a\": \"\\u00e9\"}');" >"$CASE_DIR/foreign.sql"
refused 'line 1: a backslash before "u", which MySQL would drop' "$CASE_DIR/foreign.sql"
