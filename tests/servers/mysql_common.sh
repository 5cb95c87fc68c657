# shellcheck shell=bash
#
# tests/servers/mysql_common.sh - what the mariadb and mysql scripts share; sourced, not run.
#
# The sourcing script sets NAME and defines server_prepare (fills the arrays server, client and dump), server_init
# (makes an empty data directory) and server_options (array options). Everything a server owns is below DIR: data/,
# tmp/ (a server that starts deletes all temporary tables in it), log, pid, port, password, client.cnf, socket. A second
# `start` of a stopped DIR keeps data, port and password.

set -euo pipefail
# Filled here and by the sourcing script; shellcheck sees one file at a time.
# shellcheck disable=SC2034
as=() server=() client=() dump=() options=()

die() {
	echo "$NAME: $*" >&2
	exit 1
}

usage() {
	echo "usage: $NAME start DIR | stop DIR" >&2
	exit 2
}

# The server never runs as root: $as is put in front of its commands.
choose_user() {
	owner=$(id -un)
	as=()
	if [ "$(id -u)" = 0 ]; then
		owner=nobody
		! id mysql >/dev/null 2>&1 || owner=mysql
		# shellcheck disable=SC2034
		as=(setpriv "--reuid=$owner" "--regid=$(id -gn "$owner")" --clear-groups)
	fi
}

# The pid in the pid file, if that process still serves DIR.
running_pid() {
	local pid
	[ -s "$dir/pid" ] || return 1
	pid=$(tr -dc 0-9 2>/dev/null <"$dir/pid") || return 1 # it may go between the two
	[ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 1
	tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "--datadir=$dir/data" || return 1
	echo "$pid"
}

pick_port() {
	local p i
	for i in $(seq 100); do
		p=$((20000 + (RANDOM * 32768 + RANDOM + i) % 12000))
		if ! (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
			echo "$p"
			return
		fi
	done
	die "no free port found"
}

print_variables() {
	local port=$1
	printf 'SERVER_URL=%q\n' "mysql://metasnap@127.0.0.1:$port/metasnap"
	printf 'SERVER_PASSWORD_FILE=%q\n' "$dir/password"
	printf 'SERVER_PORT=%q\n' "$port"
	printf 'SERVER_SOCKET=%q\n' "$dir/socket"
	printf 'SERVER_PID=%q\n' "$(cat "$dir/pid")"
	# Command lines for `eval`, with the connection in a defaults file: no password among the arguments.
	printf 'SERVER_CLIENT=%q\n' "$(printf '%q ' "${client[@]}" "--defaults-file=$dir/client.cnf")"
	printf 'SERVER_MYSQLDUMP=%q\n' "$(printf '%q ' "${dump[@]}" "--defaults-file=$dir/client.cnf")"
}

write_secrets() {
	local password
	if [ ! -s "$dir/password" ]; then
		(umask 077 && od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$dir/password")
	fi
	password=$(cat "$dir/password")
	(
		umask 077
		printf '[client]\nuser=metasnap\npassword=%s\nsocket=%s\ndefault-character-set=utf8mb4\n' \
			"$password" "$dir/socket" >"$dir/client.cnf"
		cat >"$dir/init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS metasnap CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS metasnap@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO metasnap@'%' WITH GRANT OPTION;
DROP USER IF EXISTS ''@'localhost';
SQL
	)
	[ "$(id -u)" != 0 ] || chown "$owner" "$dir/init.sql"
}

start() {
	local port pid i try
	server_prepare
	choose_user
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd -P)
	[ "${#dir}" -le 90 ] || die "$dir: too long for a Unix socket's path"
	if running_pid >/dev/null; then
		print_variables "$(cat "$dir/port")"
		return
	fi
	mkdir -p "$dir/tmp"
	[ "$(id -u)" != 0 ] || chown "$owner" "$dir" "$dir/tmp"
	if [ ! -d "$dir/data" ]; then
		rm -rf "$dir/data.new"
		if ! server_init "$dir/data.new" >"$dir/init.log" 2>&1; then
			tail -n 20 "$dir/init.log" >&2
			die "cannot make the data directory"
		fi
		mv "$dir/data.new" "$dir/data"
	fi
	write_secrets
	for try in 1 2 3; do
		[ -s "$dir/port" ] || pick_port >"$dir/port"
		port=$(cat "$dir/port")
		rm -f "$dir/pid" "$dir/socket" "$dir/socket.lock"
		server_options
		setsid "${server[@]}" --no-defaults "--datadir=$dir/data" "--socket=$dir/socket" "--pid-file=$dir/pid" \
			"--tmpdir=$dir/tmp" "--port=$port" --bind-address=127.0.0.1 "--init-file=$dir/init.sql" --character-set-server=utf8mb4 \
			--innodb-flush-log-at-trx-commit=2 --skip-log-bin --skip-name-resolve \
			"${options[@]}" "${@}" </dev/null >"$dir/log" 2>&1 &
		pid=$!
		for i in $(seq 600); do
			if [ -s "$dir/pid" ] && "${client[@]}" "--defaults-file=$dir/client.cnf" -e 'SELECT 1' >/dev/null 2>&1; then
				rm -f "$dir/init.sql"
				print_variables "$port"
				return
			fi
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		# Somebody else may have taken the port meanwhile.
		grep -qi 'address already in use' "$dir/log" || break
		rm -f "$dir/port"
	done
	tail -n 30 "$dir/log" >&2
	die "the server did not start ($try tries, $i tenths of a second)"
}

stop() {
	local pid i
	[ -d "$dir" ] || return 0
	dir=$(cd "$dir" && pwd -P)
	pid=$(running_pid) || return 0
	kill "$pid" 2>/dev/null || true
	for i in $(seq 300); do
		running_pid >/dev/null || return 0
		[ "$i" != 250 ] || kill -KILL "$pid" 2>/dev/null || true
		sleep 0.1
	done
	die "process $pid does not end"
}

main() {
	[ $# -ge 2 ] || usage
	local verb=$1
	dir=$2
	shift 2
	case $verb in
	start) start "$@" ;;
	stop) stop ;;
	*) usage ;;
	esac
}
