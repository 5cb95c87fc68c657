#!/bin/bash
# Every way to give a password works (password_file, URL, PGPASSFILE, PGSERVICEFILE, ~/.my.cnf, the former command line), and it is told
# nowhere: in no /proc/*/cmdline, no environment that the program makes, not in the tree, the catalog, the log, a trace.
# TIMEOUT: 400
. "$(dirname "$0")/../lib.sh"
requires python3 setpriv
mkdir "$CASE_DIR/bin" "$CASE_DIR/home" "$CASE_DIR/seen"
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache} # the unpacked MySQL server stays where it is
export HOME=$CASE_DIR/home
# Looks at all processes until $CASE_DIR/watched goes: /proc/*/cmdline of all, /proc/*/environ of metasnap and of
# the pg_dump that it starts.
touch "$CASE_DIR/watched"
cat >"$CASE_DIR/watch.py" <<'PY'
import glob, os, sys, time
stop, out, secrets = sys.argv[1], sys.argv[2], [s.encode() for s in open(sys.argv[3]).read().split()]
def read(f):
    try:
        return open(f, "rb").read()
    except OSError:
        return b""
rounds = 0
while os.path.exists(stop):
    rounds += 1
    for p in glob.glob("/proc/[0-9]*"):
        line = read(p + "/cmdline")
        words = line.split(b"\0")
        texts = [("cmdline", line)]
        name = read(p + "/comm").strip()
        if name in (b"metasnap", b"metasnapfs", b"pg_dump"):
            open(out + ".saw." + name.decode(), "a").close()
            texts.append(("environ", read(p + "/environ")))
        for what, text in texts:
            if any(s in text for s in secrets):
                open(out, "a").write("%s of %s\n" % (what, words[0].decode(errors="replace")))
    time.sleep(0.1)
open(out + ".rounds", "w").write("%d\n" % rounds)
PY

# found WORDS: the secret is in nothing that was written or can be read
found() {
	local f=$CASE_DIR/texts
	find "$MNT" -type f ! -name preflight.txt -print0 | xargs -0 cat >"$f"
	cat "$MNT/prod/preflight.txt" >>"$f"
	find "$MNT" -print0 >>"$f"
	getfattr -R -d -m - --absolute-names "$MNT/prod/snapshots" >>"$f" 2>/dev/null || true
	[ "$(stat -c %s "$f")" -gt 100000 ] || fail "$1: too little was read"
	umount_fs
	cat "$CATALOG" "$CASE_DIR/daemon.log" "$CASE_DIR/trace" "$CASE_DIR/told" >>"$f"
	ms list --json >>"$f"
	if grep -aqFf "$CASE_DIR/secrets" "$f"; then
		fail "$1: the password is told: $(grep -aoFf "$CASE_DIR/secrets" -m 1 -b "$f" | head -c 200)"
	fi
}
# given WORDS: the configuration is there; a snapshot, a restore that is refused and one that works, a failed login
given() {
	step "$1"
	rm -rf "$(dirname "$CATALOG")"
	mkdir "$(dirname "$CATALOG")"
	: >"$CASE_DIR/daemon.log"
	: >"$CASE_DIR/trace"
	: >"$CASE_DIR/told"
	METASNAP_TRACE=$CASE_DIR/trace mount_fs
	mkdir "$MNT/prod/snapshots/s"
	cp -a "$MNT/prod/archives/s" "$CASE_DIR/out"
	PGPASSWORD=$ADMIN db_sql "DELETE FROM tag_usage;"
	cp -a "$CASE_DIR/out" "$MNT/prod/restore/good"
	[ "$(PGPASSWORD=$ADMIN db_query 'SELECT count(*) FROM tag_usage')" -gt 0 ] || fail "nothing was restored"
	echo x >>"$CASE_DIR/out/tables/tag_usage.jsonl"
	assert_exit 1 cp -a "$CASE_DIR/out" "$MNT/prod/restore/bad"
	cat "$CASE_DIR/exit.txt" "$MNT/prod/restore/bad/ERROR.txt" >>"$CASE_DIR/told"
	rm -rf "$CASE_DIR/out"
	ms snapshot prod by_command >>"$CASE_DIR/told" 2>&1
	ms preflight prod >>"$CASE_DIR/told" 2>&1 || true
	found "$1"
}

locked() {
	case $DB_ENGINE in
	postgresql) [ "$(PGPASSWORD=$ADMIN db_query "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted")" != 0 ] ;;
	*) [ "$(db_query "SELECT count(*) FROM information_schema.processlist WHERE db = database()")" -gt 1 ] ;;
	esac
}

for engine in postgresql mysql; do
	use_db "$engine"
	db_fill 200
	# A user of its own: whoever shows the password of the server's shows not this one.
	SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	if [ "$engine" = postgresql ]; then
		db_sql "DROP ROLE IF EXISTS ${DB_NAME}_u; CREATE ROLE ${DB_NAME}_u LOGIN SUPERUSER PASSWORD '$SECRET';" 2>/dev/null
		ADMIN=$PGPASSWORD
		unset PGPASSWORD
	else
		db_sql "DROP USER IF EXISTS '${DB_NAME}_u'@'%'; CREATE USER '${DB_NAME}_u'@'%' IDENTIFIED BY '$SECRET'; GRANT ALL ON *.* TO '${DB_NAME}_u'@'%';"
	fi
	(umask 077 && echo "$SECRET" >"$CASE_DIR/secrets")
	rm -f "$CASE_DIR/seen/"*
	if [ "$engine" = postgresql ]; then
		# What pg_dump is given: its own words, and the environment
		# shellcheck disable=SC2016
		printf '#!/bin/sh\ncase $1 in --version) ;; *) tr "\\0" "\\n" <"/proc/$$/environ" >>%q; tr "\\0" "\\n" <"/proc/$$/cmdline" >>%q ;; esac\nexec %q/pg_dump "$@"\n' \
			"$CASE_DIR/seen/pg_dump" "$CASE_DIR/seen/pg_dump" "$SERVER_BINDIR" >"$CASE_DIR/bin/pg_dump"
		chmod 755 "$CASE_DIR/bin/pg_dump"
		PATH=$CASE_DIR/bin:$PATH
	fi
	python3 "$CASE_DIR/watch.py" "$CASE_DIR/watched" "$CASE_DIR/seen/ps" "$CASE_DIR/secrets" &
	watcher=$!
	admin_url=$DB_URL
	url=${DB_URL/metasnap@/${DB_NAME}_u@}
	DB_PASSWORD_FILE=$CASE_DIR/secrets
	DB_URL=$url
	write_config restore=replace
	DB_URL=$admin_url
	given "$engine: password_file"

	DB_PASSWORD_FILE=
	DB_URL=${url/_u@/_u:$SECRET@}
	write_config restore=replace
	DB_URL=$admin_url
	given "$engine: in the configuration's URL"

	step "$engine: in a URL on the command line, which nobody sees any more when it is mounted"
	mkdir "$CASE_DIR/url_$engine"
	# Until then the command line is what the caller made it.
	rm "$CASE_DIR/watched"
	wait "$watcher"
	assert_gone "$CASE_DIR/seen/ps"
	"$METASNAPFS" "${url/_u@/_u:$SECRET@}" "$MNT" -o "catalog=$CASE_DIR/url_$engine/catalog.db,name=prod" </dev/null
	pid=$(fuser "$CASE_DIR/url_$engine/catalog.db" 2>/dev/null | tr -dc '0-9 ' | awk '{ print $1 }')
	assert_has "$(tr '\0' ' ' <"/proc/$pid/cmdline")" metasnapfs "whose command line it is"
	if grep -aqFf "$CASE_DIR/secrets" "/proc/$pid/cmdline"; then
		fail "the password is in the daemon's command line: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
	fi
	if grep -aqFf "$CASE_DIR/secrets" /proc/mounts; then
		fail "the password is in /proc/mounts"
	fi
	mkdir "$MNT/prod/snapshots/s"
	ls "$MNT/prod/snapshots/s/tables/tag_usage" >/dev/null
	fusermount3 -u "$MNT"
	wait_for 5 "the daemon ends" sh -c "! kill -0 $pid"
	touch "$CASE_DIR/watched"
	python3 "$CASE_DIR/watch.py" "$CASE_DIR/watched" "$CASE_DIR/seen/ps" "$CASE_DIR/secrets" &
	watcher=$!

	DB_URL=$url
	write_config restore=replace
	DB_URL=$admin_url
	case $engine in
	postgresql)
		port=${url##*:}
		(umask 077 && printf '127.0.0.1:%s:*:%s:%s\n' "${port%%/*}" "${DB_NAME}_u" "$SECRET" >"$CASE_DIR/pgpass")
		export PGPASSFILE=$CASE_DIR/pgpass
		given "PGPASSFILE"
		unset PGPASSFILE
		mv "$CASE_DIR/pgpass" "$HOME/.pgpass"
		given "the home's .pgpass"
		rm "$HOME/.pgpass"
		(umask 077 && printf '[metadata]\nhost=127.0.0.1\nport=%s\ndbname=%s\nuser=%s\npassword=%s\n' "${port%%/*}" "$DB_NAME" "${DB_NAME}_u" "$SECRET" >"$CASE_DIR/services")
		export PGSERVICEFILE=$CASE_DIR/services
		sed -i 's#^url=.*#url=postgresql:///?service=metadata#' "$CONF"
		given "PGSERVICEFILE"
		unset PGSERVICEFILE
		;;
	*)
		(umask 077 && printf '[client]\npassword=%s\n' "$SECRET" >"$HOME/.my.cnf")
		given "the home's .my.cnf"
		rm "$HOME/.my.cnf"
		;;
	esac
	step "$engine: no way at all is a login refused"
	DB_URL=$url
	write_config
	DB_URL=$admin_url
	assert_exit 1 ms snapshot prod none
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'password|denied|authentication' "the words"
	rm "$CASE_DIR/watched"
	wait "$watcher"
	assert_gone "$CASE_DIR/seen/ps"
	for program in metasnap metasnapfs $([ "$engine" = mysql ] || echo pg_dump); do
		[ -e "$CASE_DIR/seen/ps.saw.$program" ] || fail "the watcher saw no $program"
	done
	[ "$(cat "$CASE_DIR/seen/ps.rounds")" -ge 10 ] || fail "the watcher looked only $(cat "$CASE_DIR/seen/ps.rounds") times"
	if [ "$engine" = postgresql ]; then
		assert_has "$(cat "$CASE_DIR/seen/pg_dump")" 'PGHOST=127.0.0.1' "what pg_dump is given"
		if grep -Ff "$CASE_DIR/secrets" "$CASE_DIR/seen/pg_dump"; then
			fail "the password is in pg_dump's environment or command line"
		fi
	fi
	touch "$CASE_DIR/watched"

	step "$engine: the former command line's -p is overwritten"
	port=${url##*:}
	options=()
	[ "$engine" = mysql ] || options=(-s public)
	hold="BEGIN; LOCK TABLE tag_usage IN ACCESS EXCLUSIVE MODE;"
	[ "$engine" = postgresql ] || hold="LOCK TABLES tag_usage WRITE;"
	touch "$CASE_DIR/held"
	{ echo "$hold"; while [ -e "$CASE_DIR/held" ]; do sleep 0.1; done; } | PGPASSWORD=$ADMIN db_sql &
	holder=$!
	mkdir "$CASE_DIR/backup_$engine"
	wait_for 10 "the lock" locked
	XDG_STATE_HOME=$CASE_DIR/state "$METASNAP" backup -H 127.0.0.1 -u "${DB_NAME}_u" -p "$SECRET" -d "$DB_NAME" --port "${port%%/*}" "${options[@]}" \
		--output "$CASE_DIR/backup_$engine" >"$CASE_DIR/told" 2>&1 &
	pid=$!
	hidden() { tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "-p .*-d" && ! grep -aqFf "$CASE_DIR/secrets" "/proc/$pid/cmdline"; }
	wait_for 5 "the password is overwritten" hidden
	kill "$pid"
	rm "$CASE_DIR/held"
	wait "$pid" "$holder" 2>/dev/null || true
	if grep -Ff "$CASE_DIR/secrets" "$CASE_DIR/told"; then
		fail "the password is told"
	fi
done
