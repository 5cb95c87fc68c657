# shellcheck shell=bash
#
# tests/lib.sh - what the cases of tests/fs share: a database of their own, mounts, assertions. Sourced by each case.
#
# tests/run gives each case METASNAP_BUILD (where the programs are), CASE_DIR (its own empty directory, removed
# afterwards) and SERVERS_DIR (the run's servers; each is started by the first case that needs it and shared, each case
# has a database of its own). A case only ends processes and mounts that it started.

set -euo pipefail
export LC_ALL=C TZ=UTC

TESTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${METASNAP_BUILD:?run cases through tests/run}" "${CASE_DIR:?}" "${SERVERS_DIR:?}" "${CASE_NAME:?}"
METASNAPFS=$METASNAP_BUILD/metasnapfs
METASNAP=$METASNAP_BUILD/metasnap
MNT=$CASE_DIR/mnt
CONF=$CASE_DIR/metasnap.conf
CATALOG=$CASE_DIR/catalog/catalog.db
# Sanitizers make everything slower: times that a person would notice are given this many times as long.
SLOW=${METASNAP_SLOW:-1}

# A report goes to a file sanitizer.PID in CASE_DIR: also that of a daemon without a terminal. tests/run reads them.
export ASAN_OPTIONS="log_path=$CASE_DIR/sanitizer:detect_leaks=1:detect_stack_use_after_return=0:handle_abort=1:allocator_may_return_null=0"
export UBSAN_OPTIONS="log_path=$CASE_DIR/sanitizer:print_stacktrace=1"
export LSAN_OPTIONS="suppressions=$TESTS_DIR/lsan.supp:print_suppressions=0"
export TSAN_OPTIONS="log_path=$CASE_DIR/sanitizer:suppressions=$TESTS_DIR/tsan.supp:second_deadlock_stack=1:history_size=4"

# ------------------------------------------------------------------------------------------------------ telling

step() { printf -- "--- [%s s] %s\n" "$SECONDS" "$*"; }

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

# assert_eq WANT GOT WORDS...: WANT is something: a GOT from a command that failed is empty, too (see assert_silent)
assert_eq() {
	local want=$1 got=$2
	shift 2
	[ -n "$want" ] || fail "$*: compared with nothing, which proves nothing"
	[ "$want" = "$got" ] || fail "$*: expected '$want', got '$got'"
}

# assert_silent WORDS COMMAND...: it succeeds and prints nothing
assert_silent() {
	local words=$1 rc=0
	shift
	"$@" >"$CASE_DIR/silent.txt" 2>&1 || rc=$?
	[ "$rc" = 0 ] || fail "$words: '$*' ended with status $rc: $(head -c 1500 "$CASE_DIR/silent.txt")"
	[ ! -s "$CASE_DIR/silent.txt" ] || fail "$words: $(head -c 1500 "$CASE_DIR/silent.txt")"
}

# assert_distinct WORDS COMMAND...: it succeeds and prints lines, none of them twice
assert_distinct() {
	local words=$1
	shift
	"$@" >"$CASE_DIR/distinct.txt" || fail "$words: '$*' failed"
	[ -s "$CASE_DIR/distinct.txt" ] || fail "$words: '$*' printed nothing"
	sort "$CASE_DIR/distinct.txt" | uniq -d >"$CASE_DIR/twice.txt"
	[ ! -s "$CASE_DIR/twice.txt" ] || fail "$words: $(head -c 1500 "$CASE_DIR/twice.txt")"
}

# assert_has TEXT PATTERN WORDS...: the text holds a match of the extended regular expression
assert_has() {
	local text=$1 pattern=$2
	shift 2
	grep -qE -- "$pattern" <<<"$text" || fail "$*: no /$pattern/ in: $(head -c 2000 <<<"$text")"
}

# assert_same FILE FILE WORDS...
assert_same() {
	local a=$1 b=$2
	shift 2
	cmp -s "$a" "$b" || {
		diff "$a" "$b" | cut -c1-300 | sed -n 1,20p >&2 || true
		fail "$*: $(basename "$a") and $(basename "$b") differ"
	}
}

# assert_errno "Words of the errno" COMMAND...: it fails, and says so
assert_errno() {
	local words=$1 text
	shift
	if text=$("$@" 2>&1); then
		fail "'$*' succeeded, '$words' was expected"
	fi
	grep -qF -- "$words" <<<"$text" || fail "'$*' failed with other words than '$words': $text"
}

# assert_fails COMMAND...: exits non-zero (not by a signal); its words are in $CASE_DIR/fails.txt
assert_fails() {
	local rc=0
	"$@" >"$CASE_DIR/fails.txt" 2>&1 || rc=$?
	[ "$rc" != 0 ] || fail "'$*' succeeded, a failure was expected"
	[ "$rc" -lt 124 ] || fail "'$*' ended with status $rc: $(cat "$CASE_DIR/fails.txt")"
}

# assert_exit CODE COMMAND...
assert_exit() {
	local want=$1 rc=0
	shift
	"$@" >"$CASE_DIR/exit.txt" 2>&1 || rc=$?
	[ "$rc" = "$want" ] || fail "'$*' ended with status $rc instead of $want: $(head -c 1500 "$CASE_DIR/exit.txt")"
}

# assert_gone PATH...
assert_gone() {
	local p
	for p in "$@"; do
		[ ! -e "$p" ] || fail "$p is still there"
	done
}

# requires PROGRAM...: a case that cannot run has failed; nothing is skipped in silence.
requires() {
	local p
	for p in "$@"; do
		command -v "$p" >/dev/null || fail "this case needs the program $p"
	done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# wait_for SECONDS WORDS COMMAND...
wait_for() {
	local end=$(($(now_ms) + $1 * 1000 * SLOW)) words=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt "$end" ] || fail "$words: still not so"
		sleep 0.05
	done
}

# in_request PID: the process waits for the answer of a mount
in_request() { grep -q request_wait_answer "/proc/$1/wchan"; }

# ------------------------------------------------------------------------------------------------------ databases

# use_db postgresql|mysql|mariadb|sqlite [NAME]: an empty database of this case. Sets DB_ENGINE DB_NAME DB_URL DB_PASSWORD_FILE and
# the functions' target; call it again to go to another one.
use_db() {
	local script
	DB_ENGINE=$1
	DB_NAME=t_${CASE_NAME//[^a-z0-9_]/_}${2:+_$2}
	DB_PASSWORD_FILE=
	case $DB_ENGINE in
	sqlite)
		requires sqlite3
		mkdir -p "$CASE_DIR/db"
		DB_FILE=$CASE_DIR/db/$DB_NAME.sqlite
		DB_URL=sqlite:$DB_FILE
		;;
	postgresql | mysql | mariadb)
		script=${DB_ENGINE/postgresql/postgres}
		(
			flock 9
			if [ ! -s "$SERVERS_DIR/$script.env" ]; then
				# What these servers hold may be lost with the machine: no waiting for disks.
				fast=()
				[ "$script" = postgres ] || fast=(--innodb-flush-method=nosync --innodb-doublewrite=0)
				"$TESTS_DIR/servers/$script" start "$SERVERS_DIR/$script" "${fast[@]}" >"$SERVERS_DIR/$script.new" 9>&-
				mv "$SERVERS_DIR/$script.new" "$SERVERS_DIR/$script.env"
			fi
		) 9>"$SERVERS_DIR/$script.lock" || fail "the $DB_ENGINE server does not start"
		# shellcheck source=/dev/null
		. "$SERVERS_DIR/$script.env"
		DB_URL=${SERVER_URL%/*}/$DB_NAME
		DB_PASSWORD_FILE=$SERVER_PASSWORD_FILE
		if [ "$DB_ENGINE" = postgresql ]; then
			PGPASSWORD=$(cat "$SERVER_PASSWORD_FILE")
			export PGPASSWORD
		fi
		;;
	*) fail "no engine $DB_ENGINE" ;;
	esac
	db_reset
}

# SQL from standard input (or the arguments) to the case's database
db_sql() {
	if [ $# -gt 0 ]; then
		db_sql <<<"$*"
		return
	fi
	case $DB_ENGINE in
	postgresql) psql -X -q -o /dev/null -v ON_ERROR_STOP=1 "$DB_URL" ;;
	sqlite) sqlite3 -bail -cmd ".timeout 20000" "$DB_FILE" ;;
	*) eval "$SERVER_CLIENT --default-character-set=utf8mb4 $DB_NAME" ;;
	esac 2> >(cut -c1-500 >&2)
}

# One query's result, columns separated by tabs
db_query() {
	case $DB_ENGINE in
	postgresql) psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -c "$1" "$DB_URL" ;;
	sqlite) sqlite3 -bail -cmd ".timeout 20000" -separator $'\t' "$DB_FILE" "$1" ;;
	*) eval "$SERVER_CLIENT --default-character-set=utf8mb4 -N -B -r -e \"\$1\" $DB_NAME" ;;
	esac
}

# db_fill ROWS [SEED]: the metadata database of tests/servers/make-data
db_fill() { "$TESTS_DIR/servers/make-data" "$DB_ENGINE" "$@" | db_sql; }

# The whole database is gone and an empty one is there
db_reset() {
	case $DB_ENGINE in
	postgresql)
		psql -X -q -v ON_ERROR_STOP=1 "$SERVER_URL" -c "SET client_min_messages = warning" \
			-c "DROP DATABASE IF EXISTS $DB_NAME WITH (FORCE)" -c "CREATE DATABASE $DB_NAME"
		;;
	sqlite)
		rm -f "$DB_FILE-wal" "$DB_FILE-shm" "$DB_FILE-journal"
		: >"$DB_FILE" # an empty file is an empty database
		;;
	*) eval "$SERVER_CLIENT -e 'DROP DATABASE IF EXISTS $DB_NAME; CREATE DATABASE $DB_NAME'" ;;
	esac
}

# All tables are dropped; what is no table (types, functions, sequences of their own) stays
db_drop_tables() {
	case $DB_ENGINE in
	postgresql)
		db_sql <<-'SQL'
			SET client_min_messages = warning;
			DO $$ DECLARE t text; BEGIN
			  FOR t IN SELECT c.oid::regclass FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND NOT relispartition
			  LOOP EXECUTE 'DROP TABLE ' || t || ' CASCADE'; END LOOP;
			END $$;
		SQL
		;;
	sqlite)
		db_query "SELECT 'DROP ' || type || ' \"' || replace(name, '\"', '\"\"') || '\";' FROM sqlite_master
			WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'" | db_sql
		;;
	*)
		{
			echo 'SET foreign_key_checks = 0;'
			# shellcheck disable=SC2028
			db_query "SELECT concat('DROP ', if(table_type = 'VIEW', 'VIEW', 'TABLE'), ' \`', replace(table_name, '\`', '\`\`'), '\`;')
				FROM information_schema.tables WHERE table_schema = database()"
		} | db_sql
		;;
	esac
}

# db_dump FILE: the dump of the server's own tool, sorted (what has an order in it keeps it within its line)
db_dump() {
	case $DB_ENGINE in
	postgresql) "$SERVER_BINDIR/pg_dump" "$DB_URL" | grep -vE '^\\(un)?restrict ' ;;
	sqlite) sqlite3 -bail -cmd ".timeout 20000" "$DB_FILE" .dump ;;
	mysql) eval "$SERVER_MYSQLDUMP --set-gtid-purged=OFF $DB_MYSQLDUMP $DB_NAME" | grep -v '^-- ' ;;
	mariadb) eval "$SERVER_MYSQLDUMP $DB_MYSQLDUMP $DB_NAME" | grep -v '^-- ' ;;
	esac | sort >"$1"
	grep -q '^CREATE TABLE ' "$1" || fail "the dump $1 has no table in it"
}
DB_MYSQLDUMP='--skip-dump-date --skip-extended-insert --hex-blob --routines --triggers --events --no-tablespaces --single-transaction --default-character-set=utf8mb4 --max-allowed-packet=256M'

# A table's JSON document gets a new member or value where CONDITION holds: db_touch_json TABLE CONDITION
db_touch_json() {
	case $DB_ENGINE in
	postgresql) db_sql "UPDATE $1 SET json = jsonb_set(json, '{description}', to_jsonb('touched '::text || (json ->> 'name'))) WHERE $2;" ;;
	*) db_sql "UPDATE $1 SET json = json_set(json, '\$.description', 'touched') WHERE $2;" ;;
	esac
}

# ------------------------------------------------------------------------------------------------------ mounts

# write_config [KEY=VALUE...]: one source `prod` (the database of use_db) and a catalog in CASE_DIR
write_config() {
	mkdir -p "$(dirname "$CATALOG")" "$MNT"
	{
		printf '[catalog]\npath=%s\n\n[source prod]\nurl=%s\n' "$CATALOG" "$DB_URL"
		[ -z "$DB_PASSWORD_FILE" ] || printf 'password_file=%s\n' "$DB_PASSWORD_FILE"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$CONF"
	chmod 600 "$CONF"
}

is_mounted() { grep -qF " $1 fuse" /proc/mounts; }

# mount_fs [CONFIG [MOUNTPOINT]]: in the foreground of a background job, so that its exit status can be asserted
DAEMON_PID=
mount_fs() {
	local conf=${1:-$CONF} mnt=${2:-$MNT} i
	[ -x "$METASNAPFS" ] || fail "no program $METASNAPFS: build first"
	is_mounted "$mnt" || mkdir -p "$mnt" # a dead mount is mounted over
	"$METASNAPFS" "$conf" "$mnt" -f >>"$CASE_DIR/daemon.log" 2>&1 &
	DAEMON_PID=$!
	MOUNTED=$mnt
	for ((i = 0; i < 400 * SLOW; i++)); do
		if is_mounted "$mnt" && [ -e "$mnt/README.txt" ]; then
			return 0
		fi
		if ! kill -0 "$DAEMON_PID" 2>/dev/null; then
			DAEMON_PID=
			fail "metasnapfs did not mount: $(tail -n 5 "$CASE_DIR/daemon.log")"
		fi
		sleep 0.05
	done
	fail "metasnapfs did not mount within $((20 * SLOW)) s"
}

# The daemon ends within 5 s after the unmount with status 0 and leaves no mount behind
umount_fs() {
	local start i rc=0
	start=$(now_ms)
	fusermount3 -u "$MOUNTED" || fail "fusermount3 -u refused: $(fuser -vm "$MOUNTED" 2>&1 || true)"
	for ((i = 0; i < 100 * SLOW; i++)); do
		kill -0 "$DAEMON_PID" 2>/dev/null || break
		sleep 0.05
	done
	if kill -0 "$DAEMON_PID" 2>/dev/null; then
		fail "the daemon still runs $(($(now_ms) - start)) ms after the unmount"
	fi
	wait "$DAEMON_PID" || rc=$?
	DAEMON_PID=
	assert_eq 0 "$rc" "exit status of the daemon after an unmount ($(tail -n 3 "$CASE_DIR/daemon.log"))"
	if is_mounted "$MOUNTED"; then
		fail "$MOUNTED is still in /proc/mounts"
	fi
}

remount_fs() {
	umount_fs
	mount_fs "$@"
}

# The daemon dies at once; the dead mount stays, as after a crash
kill9_fs() {
	kill -9 "$DAEMON_PID"
	wait "$DAEMON_PID" 2>/dev/null || true
	DAEMON_PID=
}

ms() { "$METASNAP" -c "$CONF" "$@"; }

# ------------------------------------------------------------------------------------------------------ the end

case_cleanup() {
	local rc=$? m
	trap - EXIT
	set +e
	# What a case has to put away itself: a function case_ends
	if declare -F case_ends >/dev/null && ! case_ends; then
		[ "$rc" != 0 ] || rc=1
	fi
	jobs -p | while read -r m; do
		[ "$m" = "$DAEMON_PID" ] || kill "$m" 2>/dev/null
	done
	# Every mount below CASE_DIR is this case's own.
	grep -oE " $CASE_DIR/[^ ]* (fuse[^ ]*|tmpfs) " /proc/mounts | awk '{ print $1 }' | sort -r | while read -r m; do
		umount "$m" 2>/dev/null || fusermount3 -u "$m" 2>/dev/null || umount -l "$m" 2>/dev/null || fusermount3 -uz "$m"
	done
	if [ -n "$DAEMON_PID" ]; then
		for m in $(seq $((100 * SLOW))); do
			kill -0 "$DAEMON_PID" 2>/dev/null || break
			[ "$m" != 60 ] || kill "$DAEMON_PID" 2>/dev/null
			sleep 0.05
		done
		kill -9 "$DAEMON_PID" 2>/dev/null
	fi
	wait 2>/dev/null
	exit "$rc"
}
trap case_cleanup EXIT
trap 'exit 143' TERM INT HUP
