# shellcheck shell=bash
#
# tests/fs/preflight.bash - the checks before an upgrade, on one engine: for each a database that passes and one that does not;
# the statements that the report gives mend what it names; no secret is printed and nothing changes; the file on the mount.
# Sourced by preflight_ENGINE.sh.

SECRET=hunter2-secret
FERNET=fernet:gAAAAAB-secret

# preflight STATUS [ARGUMENT...]: runs it for source prod; the text is in $CASE_DIR/text
preflight() {
	local want=$1 rc=0
	shift
	METASNAP_TRACE=$CASE_DIR/trace ms preflight prod "$@" >"$CASE_DIR/text" 2>"$CASE_DIR/words" || rc=$?
	assert_eq "$want" "$rc" "exit status of preflight $* ($(cat "$CASE_DIR/words" "$CASE_DIR/text"))"
	cat "$CASE_DIR/text" >>"$CASE_DIR/all"
}

# is CHECK STATUS [PATTERN]: in the last text
is() {
	local line
	line=$(grep -E "^[A-Z]+ +$1: " "$CASE_DIR/text") || fail "no line of $1: $(cat "$CASE_DIR/text")"
	assert_eq "$2" "${line%% *}" "$1: $line"
	[ $# -lt 3 ] || assert_has "$line" "$3" "$1"
}

is_not_there() {
	if grep -E "^[A-Z]+ +$1: " "$CASE_DIR/text"; then
		fail "the check $1 was made"
	fi
}

# put TABLE ID JSON: one entity
put() {
	local json=${3//\'/\'\'}
	case $DB_ENGINE in
	postgresql | sqlite) db_sql "DELETE FROM $1 WHERE id = '$2'; INSERT INTO $1 VALUES ('$2', '$json');" ;;
	*) db_sql "DELETE FROM $1 WHERE id = '$2'; INSERT INTO $1 VALUES ('$2', '${json//\\/\\\\}');" ;;
	esac
}

take() { db_sql "DELETE FROM $1 WHERE id = '$2';"; }

# A database of OpenMetadata 1.2.4 that is ready
make_ready() {
	local json=JSON t
	[ "$DB_ENGINE" != postgresql ] || json=jsonb
	db_sql "CREATE TABLE SERVER_CHANGE_LOG (installed_rank int, version varchar(200) PRIMARY KEY);
		INSERT INTO SERVER_CHANGE_LOG VALUES (1, '1.1.0'), (2, '1.2.4');"
	for t in pipeline_service_entity dbservice_entity user_entity ingestion_pipeline_entity pipeline_entity query_entity tag; do
		db_sql "CREATE TABLE $t (id varchar(36) PRIMARY KEY, json $json NOT NULL);"
	done
	put pipeline_service_entity 1 "{\"name\": \"airflow\", \"serviceType\": \"Airflow\", \"connection\": {\"config\": {\"type\": \"Airflow\",
		\"connection\": {\"type\": \"Mysql\", \"password\": \"$SECRET\", \"username\": \"$FERNET\"}}}}"
	put dbservice_entity 1 "{\"name\": \"pg\", \"serviceType\": \"Postgres\", \"connection\": {\"config\": {\"password\": \"$FERNET\"}}}"
	put user_entity 1 '{"name": "admin", "isBot": false, "authenticationMechanism": {"authType": "BASIC", "config": {"password": "'$SECRET'"}}}'
	put user_entity 2 '{"name": "ingestion-bot", "isBot": true, "authenticationMechanism": {"authType": "JWT", "config": {"JWTToken": "'$SECRET'"}}}'
	put ingestion_pipeline_entity 1 '{"name": "meta", "fullyQualifiedName": "svc.meta", "pipelineType": "metadata"}'
	put pipeline_entity 1 '{"name": "daily", "fullyQualifiedName": "airflow.daily"}'
	put query_entity 1 '{"name": "q", "query": "SELECT 1"}'
	printf 'DB_USER_PASSWORD=%s\nSECRET_MANAGER="db"\n' "$SECRET" >"$CASE_DIR/server.env"
}

# The server's memory for one sort, in MB; 0: as it was
set_sort_memory() {
	case $DB_ENGINE in
	postgresql)
		if [ "$1" = 0 ]; then
			db_sql "ALTER SYSTEM RESET work_mem;"
		else
			db_sql "ALTER SYSTEM SET work_mem = '${1}MB';"
		fi
		db_sql "SELECT pg_reload_conf();"
		wait_for 5 "the setting" sort_memory_is "$1"
		;;
	*) db_sql "SET GLOBAL sort_buffer_size = $(($1 ? $1 << 20 : SORT_BEFORE));" ;;
	esac
}
sort_memory_is() { [ "$(db_query 'SHOW work_mem')" = "$([ "$1" = 0 ] && echo 4MB || echo "${1}MB")" ]; }

preflight_ready() {
	step "a database that is ready"
	rm -rf "$(dirname "$CATALOG")"
	write_config "openmetadata_config=$CASE_DIR/server.env"
	rmdir "$(dirname "$CATALOG")"
	preflight 1 --to 1.3.0
	is snapshot FAIL 'there is no snapshot'
	[ ! -e "$CATALOG" ] || fail "preflight made a catalog"
	mkdir "$(dirname "$CATALOG")"
	ms snapshot prod first >/dev/null
	preflight 0 --to 1.3.0
	is restore_proven WARN 'no restore'
	ms verify prod first >/dev/null
	preflight 0 --to 1.3.0
	for c in server openmetadata_version target sort_memory snapshot restore_proven privileges_snapshot privileges_restore \
		airflow_mssql bots_jwt search_reindex custom_connectors secrets_manager; do
		is $c OK
	done
	is query_entity INFO 'has 1 rows, [0-9]+ bytes, the largest'
	is airflow_lineage INFO
	assert_has "$(head -n 1 "$CASE_DIR/text")" '^ready: 0 failed' "the first line"
	assert_has "$(sed -n 2p "$CASE_DIR/text")" 'from OpenMetadata 1.2.4 to 1.3.0' "the second line"
}

preflight_versions() {
	step "which checks are made depends on the versions"
	preflight 0
	is bots_jwt OK
	is_not_there target
	preflight 0 --to 1.2.5
	is_not_there bots_jwt
	is_not_there airflow_lineage
	preflight 0 --to 1.2.4
	is target WARN 'already'
	preflight 1 --to 1.2
	is target FAIL 'older'
	for v in 1 1.x 'one' '' 1.2.3.4.5 99999999.1 v1.3.0; do
		preflight 2 --to "$v"
		assert_has "$(cat "$CASE_DIR/words")" '^metasnap: .*--to' "a usage error"
	done
	db_sql "INSERT INTO SERVER_CHANGE_LOG VALUES (3, '1.3.0');"
	preflight 1 --to 1.4.0
	is snapshot FAIL 'OpenMetadata 1.2.4, the database of 1.3.0'
	is_not_there bots_jwt
	is airflow_lineage INFO
	db_sql "UPDATE SERVER_CHANGE_LOG SET version = 'next' WHERE installed_rank = 3;"
	preflight 1 --to 1.4.0
	is openmetadata_version WARN
	is bots_jwt OK
	db_sql "DELETE FROM SERVER_CHANGE_LOG;"
	preflight 0 --to 1.4.0
	is openmetadata_version WARN 'no OpenMetadata version'
	db_sql "INSERT INTO SERVER_CHANGE_LOG VALUES (1, '1.1.0'), (2, '1.2.4');"
	preflight 0
}

preflight_settings() {
	step "memory for sorting, and query_entity"
	set_sort_memory 19
	preflight 1
	is sort_memory FAIL '19MB'
	assert_has "$(cat "$CASE_DIR/text")" 'RDS' "all three ways"
	if [ "$DB_ENGINE" = postgresql ]; then
		assert_has "$(cat "$CASE_DIR/text")" "ALTER SYSTEM SET work_mem = '20MB'" "what to do"
		# not the session's, nor what is said for this database
		db_sql "ALTER DATABASE $DB_NAME SET work_mem = '64MB';"
		preflight 1
		is sort_memory FAIL '19MB'
		db_sql "ALTER DATABASE $DB_NAME RESET work_mem;"
	else
		assert_has "$(cat "$CASE_DIR/text")" 'SET GLOBAL sort_buffer_size = 20971520;' "what to do"
	fi
	set_sort_memory 20
	preflight 0
	is sort_memory OK
	put query_entity 2 "{\"name\": \"large\", \"query\": \"$(head -c 3000000 /dev/zero | tr '\0' x)\"}"
	preflight 0
	is query_entity INFO 'has 2 rows, 300[0-9]{4} bytes, the largest row has 300'
	is sort_memory WARN 'wants 46MB'
	take query_entity 2
}

preflight_rows() {
	local i
	step "rows"
	put pipeline_service_entity 2 "{\"name\": \"flow\", \"serviceType\": \"Airflow\", \"connection\": {\"config\": {\"type\": \"Airflow\",
		\"connection\": {\"type\": \"Mssql\", \"password\": \"$SECRET\"}}}}"
	preflight 1
	is airflow_mssql FAIL '1 Airflow pipeline service whose .* MSSQL: flow$'
	preflight 1 --to 1.3.1
	is airflow_mssql FAIL
	preflight 0 --to 1.2.9
	is_not_there airflow_mssql
	put pipeline_service_entity 2 "{\"name\": \"flow\", \"deleted\": true, \"serviceType\": \"Airflow\", \"connection\": \"$FERNET\"}"
	preflight 0
	is airflow_mssql WARN 'cannot be read here: flow \(soft-deleted\)$'
	take pipeline_service_entity 2

	put user_entity 3 '{"name": "old-bot", "isBot": true, "authenticationMechanism": {"authType": "SSO", "config": {"secretKey": "'$SECRET'"}}}'
	put user_entity 4 '{"name": "odd-bot", "isBot": true, "authenticationMechanism": {"authType": "'$SECRET'"}}'
	preflight 1
	is bots_jwt FAIL '2 bots that do not log in by JWT: old-bot \(SSO\), odd-bot \(another way\)$'
	take user_entity 3
	put user_entity 4 '{"name": "odd-bot", "isBot": true}'
	preflight 0
	is bots_jwt WARN '1 bot without'
	take user_entity 4

	put ingestion_pipeline_entity 2 '{"name": "es", "fullyQualifiedName": "om.es", "pipelineType": "elasticSearchReindex", "airflowConfig": {"x": "'$SECRET'"}}'
	preflight 1
	is search_reindex FAIL '1 ingestion pipeline that .*: om.es$'
	put ingestion_pipeline_entity 2 '{"name": "om_metadata_to_es_1", "pipelineType": "metadata"}'
	preflight 1
	is search_reindex FAIL 'om_metadata_to_es_1$'
	take ingestion_pipeline_entity 2
	put pipeline_entity 2 '{"name": "metadata_to_es", "fullyQualifiedName": "airflow.metadata_to_es"}'
	preflight 0
	is search_reindex WARN 'airflow.metadata_to_es$'
	take pipeline_entity 2

	for i in $(seq 25); do
		printf "INSERT INTO dbservice_entity VALUES ('c%s', '{\"name\": \"custom%s\", \"serviceType\": \"CustomDatabase\", \"connection\": {\"p\": \"%s\"}}');\n" "$i" "$i" "$SECRET"
	done | db_sql
	preflight 0
	is custom_connectors WARN '^WARN +custom_connectors: 25 services .*custom[0-9]+ \(CustomDatabase\) and 5 more$'
	db_sql "DELETE FROM dbservice_entity WHERE id LIKE 'c%';"

	step "names that would write to the terminal"
	put pipeline_service_entity 2 '{"name": "a\u001b[31mb\nFAIL  server: x\u009b2J\u202ec", "serviceType": "CustomPipeline"}'
	preflight 0
	is server OK
	is custom_connectors WARN 'a\\x1b\[31mb\\x0aFAIL  server: x\\xc2\\x9b2J\\xe2\\x80\\xaec \(CustomPipeline\)$'
	if grep -q "$(printf '\033')" "$CASE_DIR/text"; then
		fail "an escape character was printed"
	fi
	preflight 0 --json
	python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$CASE_DIR/text"
	take pipeline_service_entity 2
}

preflight_secrets_manager() {
	step "the server's configuration"
	printf 'export SECRET_MANAGER=noop\nPASSWORD=%s\n' "$SECRET" >"$CASE_DIR/server.env"
	preflight 1
	is secrets_manager FAIL 'says noop'
	# shellcheck disable=SC2016
	printf 'secretsManagerConfiguration:\n  secretsManager: ${SECRET_MANAGER:-"noop"} # x\n' >"$CASE_DIR/server.env"
	preflight 1
	is secrets_manager FAIL
	# shellcheck disable=SC2016
	printf '  secretsManager: ${SECRET_MANAGER:-managed-aws}\n' >"$CASE_DIR/server.env"
	preflight 0
	is secrets_manager OK 'managed-aws'
	printf '#SECRET_MANAGER=noop\nSECRET_MANAGER=%s\n' "$SECRET" >"$CASE_DIR/server.env"
	preflight 0
	is secrets_manager WARN 'not known'
	rm "$CASE_DIR/server.env"
	preflight 0
	is secrets_manager WARN 'No such file'
	sed -i '/^openmetadata_config/d' "$CONF"
	preflight 0
	is secrets_manager INFO
}

preflight_snapshot() {
	step "the snapshot and the database"
	put tag 1 '{}'
	put tag 2 '{}'
	preflight 0
	is snapshot WARN '1 table differs from it now: tag 0 -> 2$'
	db_sql "CREATE TABLE fresh (id int PRIMARY KEY);"
	preflight 0
	is snapshot WARN '2 tables differ from it now: fresh new, tag 0 -> 2$'
	ms snapshot prod second >/dev/null
	preflight 0
	is snapshot OK 'second'
	db_sql "DROP TABLE fresh;"
	preflight 0
	is snapshot WARN 'fresh gone'
	ms export prod first "$CASE_DIR/exported"
	ms import prod "$CASE_DIR/exported" imported >/dev/null
	preflight 0
	is snapshot WARN 'second'
	sqlite3 "$CATALOG" "UPDATE snapshot SET taken_ms = taken_ms - 86400000; UPDATE journal SET at_ms = at_ms - 31 * 86400000, finished_ms = finished_ms - 31 * 86400000;"
	preflight 1
	is snapshot FAIL 'older than 24 hours'
	is restore_proven WARN 'older than 30 days'
	ms snapshot prod third >/dev/null
	preflight 0
	is restore_proven WARN
	assert_exit 0 ms verify prod third --live
	preflight 0
	is restore_proven OK 'verify live'
	sqlite3 "$CATALOG" "INSERT INTO journal(source_id, at_ms, finished_ms, op, subject, uid, pid, program, state, detail)
		SELECT source_id, at_ms + 1, finished_ms + 1, 'verify', 'third', 0, 1, 'x', 'failed', 'table tag: damaged' FROM journal ORDER BY id DESC LIMIT 1;"
	preflight 1
	is restore_proven FAIL 'third: table tag: damaged'
	ms verify prod third >/dev/null
	preflight 0
	is restore_proven OK 'verify third'
}

preflight_privileges() {
	local user=${CASE_NAME}_p url
	step "rights: the statements that the report gives are the ones that help"
	url=${DB_URL/metasnap@/$user@}
	echo poor >"$CASE_DIR/poor.password"
	chmod 600 "$CASE_DIR/poor.password"
	if [ "$DB_ENGINE" = postgresql ]; then
		db_sql "DROP ROLE IF EXISTS $user; CREATE ROLE $user LOGIN PASSWORD 'poor'; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
	else
		db_sql "DROP USER IF EXISTS '$user'@'%'; CREATE USER '$user'@'%' IDENTIFIED BY 'poor'; GRANT SELECT ON $DB_NAME.tag TO '$user'@'%';"
	fi
	sed -i "s#^url=.*#url=$url#; s#^password_file=.*#password_file=$CASE_DIR/poor.password#" "$CONF"
	preflight 1
	is privileges_snapshot FAIL "$user"
	is privileges_restore FAIL
	if [ "$DB_ENGINE" = postgresql ]; then
		is privileges_snapshot FAIL 'SELECT on table tag.*USAGE on schema public'
	else
		is privileges_snapshot FAIL 'SELECT, SHOW VIEW, TRIGGER, EVENT on database'
	fi
	assert_fails ms snapshot prod poor # on MySQL the other tables are not even listed
	sed -n '/ privileges_snapshot:/,/ privileges_restore:/p' "$CASE_DIR/text" | grep -E '^ +(GRANT|ALTER) ' | db_sql
	preflight 1
	is privileges_snapshot OK
	ms snapshot prod rich >/dev/null
	if [ "$DB_ENGINE" = postgresql ]; then
		is privileges_restore FAIL "the owner's rights on tag"
		db_sql "ALTER DATABASE $DB_NAME SET work_mem = '64MB';" # may not read the configuration file: says for whom it holds
		preflight 1
		is sort_memory WARN '64MB .* this database'
		db_sql "ALTER DATABASE $DB_NAME RESET work_mem;"
	else
		is privileges_restore FAIL 'INSERT, .* on database .*__metasnap_new'
	fi
	sed -n '/ privileges_restore:/,/ airflow_mssql:/p' "$CASE_DIR/text" | grep -E '^ +(GRANT|ALTER) ' | db_sql
	preflight 0
	is privileges_restore OK
	# It is enough, indeed: a restore of everything
	sed -i '/^restore=/d' "$CONF"
	echo 'restore=replace' >>"$CONF"
	db_sql "DROP TABLE tag;"
	ms restore prod rich --yes >/dev/null
	assert_eq 2 "$(db_query 'SELECT count(*) FROM tag')" "rows of tag"
	if [ "$DB_ENGINE" = postgresql ]; then
		db_sql "DROP OWNED BY $user; DROP ROLE $user;"
	else
		db_sql "DROP USER '$user'@'%';"
	fi
	preflight 1
	is server FAIL 'cannot be reached'
	is bots_jwt INFO 'not checked: server not reached'
	DB_PASSWORD_FILE=$SERVER_PASSWORD_FILE
	write_config
}

preflight_silence() {
	step "nothing changes, nothing is told"
	db_dump "$CASE_DIR/before"
	sqlite3 "$CATALOG" .dump >"$CASE_DIR/catalog_before"
	preflight 0
	preflight 0 --json
	assert_exit 1 ms preflight prdo
	METASNAP_CATALOG=$CATALOG assert_exit 1 "$METASNAP" preflight "sqlite:$CASE_DIR/misspelt.sqlite"
	db_dump "$CASE_DIR/after"
	sqlite3 "$CATALOG" .dump >"$CASE_DIR/catalog_after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "the database"
	assert_same "$CASE_DIR/catalog_before" "$CASE_DIR/catalog_after" "the catalog"
	assert_gone "$CASE_DIR/misspelt.sqlite"
	if grep -E -- "$SECRET|$FERNET" "$CASE_DIR/all" "$CASE_DIR/trace" "$CASE_DIR/catalog_after"; then
		fail "a secret was printed"
	fi
	preflight 0 --json --to 1.3.0
	python3 - "$CASE_DIR/text" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
assert sorted(r) == ["checked", "checks", "from", "ready", "server", "source", "to"], r
assert r["source"] == "prod" and r["ready"] is True and r["from"] == "1.2.4" and r["to"] == "1.3.0", r
assert all(sorted(c) == ["do", "found", "id", "status"] and c["status"] in ("ok", "warn", "fail", "info") for c in r["checks"]), r
assert {c["id"]: c["status"] for c in r["checks"]}["server"] == "ok", r
PY
}

opens() { grep -c ' open ' "$CASE_DIR/mount_trace" || true; }

preflight_mount() {
	local f=$MNT/prod/preflight.txt n hung
	step "preflight.txt"
	write_config "openmetadata_config=$CASE_DIR/none"
	printf '[source down]\nurl=%s\n' "$(sed -E 's#:[0-9]+/#:1/#' <<<"$DB_URL")" >>"$CONF"
	# A server that takes the connection and says nothing
	python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(300)' >"$CASE_DIR/port" &
	wait_for 5 "the silent server" test -s "$CASE_DIR/port"
	printf '[source hung]\nurl=%s\n' "$(sed -E "s#:[0-9]+/#:$(cat "$CASE_DIR/port")/#" <<<"$DB_URL")" >>"$CONF"
	rm -f "$CASE_DIR/mount_trace"
	export METASNAP_TRACE=$CASE_DIR/mount_trace
	mount_fs
	unset METASNAP_TRACE
	ls "$MNT" "$MNT/prod" >/dev/null
	stat "$MNT/prod" >/dev/null
	[ ! -e "$CASE_DIR/mount_trace" ] || fail "a listing went to the server"
	n=$(stat -c %s "$f")
	cat "$f" >"$CASE_DIR/one"
	assert_eq "$n" "$(stat -c %s "$CASE_DIR/one")" "size and bytes"
	cp "$f" "$CASE_DIR/two"
	assert_same "$CASE_DIR/one" "$CASE_DIR/two" "two reads within a minute"
	ls -l "$MNT/prod" >/dev/null
	assert_eq 1 "$(opens)" "connections"
	assert_has "$(cat "$CASE_DIR/one")" '^ready' "the text"
	assert_has "$(cat "$CASE_DIR/one")" '^OK +server: ' "the text"
	assert_fails touch "$f"

	step "a server that is down, and one that does not answer"
	assert_has "$(cat "$MNT/down/preflight.txt")" '^FAIL +server: .*cannot be reached' "down"
	assert_has "$(cat "$MNT/down/preflight.txt")" '^INFO +bots_jwt: not checked: server not reached$' "down"
	n=$(now_ms)
	cat "$MNT/hung/preflight.txt" >"$CASE_DIR/hung" &
	hung=$!
	wait_for 5 "somebody waits for the silent server" in_request "$hung"
	ls "$MNT/hung" >/dev/null
	cat "$MNT/hung/status.txt" "$MNT/hung/journal.txt" >/dev/null
	[ $(($(now_ms) - n)) -lt $((1500 * SLOW)) ] || fail "its neighbours waited for it"
	kill -0 "$hung" || fail "it did not wait at all: $(cat "$CASE_DIR/hung")"
	assert_exit 124 timeout 1 cat "$MNT/hung/preflight.txt"
	[ $(($(now_ms) - n)) -lt $((3500 * SLOW)) ] || fail "who waits cannot be interrupted"
	wait "$hung"
	[ $(($(now_ms) - n)) -lt $((9000 * SLOW)) ] || fail "longer than the connect timeout"
	assert_has "$(cat "$CASE_DIR/hung")" '^FAIL +server: ' "hung"
	umount_fs
	if grep -E -- "$SECRET|$FERNET" "$CASE_DIR/one" "$CASE_DIR/mount_trace" "$CASE_DIR/daemon.log"; then
		fail "a secret was printed"
	fi
}

preflight_case() {
	requires python3 sqlite3
	use_db "$1"
	: >"$CASE_DIR/all"
	SORT_BEFORE=0
	[ "$1" = postgresql ] || SORT_BEFORE=$(db_query 'SELECT @@GLOBAL.sort_buffer_size')
	trap 'set_sort_memory 0; case_cleanup' EXIT
	set_sort_memory 20
	make_ready
	preflight_ready
	preflight_versions
	preflight_settings
	preflight_rows
	preflight_secrets_manager
	preflight_snapshot
	preflight_privileges
	preflight_silence
	preflight_mount
}
