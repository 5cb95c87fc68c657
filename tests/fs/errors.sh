#!/bin/bash
# What goes wrong has the errno of the contract and words in status.txt and journal.txt, and everything else goes on.
# TIMEOUT: 150
. "$(dirname "$0")/../lib.sh"
use_db postgresql
db_fill 800
good_url=$DB_URL
write_config restore=replace
cat >>"$CONF" <<CONF
[source nobody]
url=postgresql://metasnap@127.0.0.1:1/none
[source intruder]
url=$good_url
password_file=$CASE_DIR/wrong
[source lite]
url=sqlite:$CASE_DIR/no/such/file.sqlite
CONF
(umask 077 && echo wrong >"$CASE_DIR/wrong")
mount_fs
works() { # the rest of the tree answers
	ls "$MNT" "$MNT/prod" "$MNT/prod/snapshots" >/dev/null && cat "$MNT/prod/status.txt" "$MNT/prod/journal.txt" "$MNT/README.txt" >/dev/null
}
step "server unreachable"
assert_errno "Connection refused" mkdir "$MNT/nobody/snapshots/x"
assert_silent "snapshots of the unreachable server" ls "$MNT/nobody/snapshots"
assert_has "$(cat "$MNT/nobody/status.txt")" '[Rr]efused|[Uu]nreachable|not reached' "status.txt"
assert_has "$(cat "$MNT/nobody/journal.txt")" '[Rr]efused|[Uu]nreachable|not reached' "journal.txt"
works

step "wrong password"
assert_errno "Permission denied" mkdir "$MNT/intruder/snapshots/x"
assert_has "$(cat "$MNT/intruder/status.txt")" 'password|login|authentication' "status.txt"
works

step "no database file"
assert_errno "No such file or directory" mkdir "$MNT/lite/snapshots/x"
[ ! -e "$CASE_DIR/no" ] || fail "the missing database was made"

step "names"
mkdir "$MNT/prod/snapshots/x"
ls "$MNT/prod/snapshots/x" >/dev/null
assert_errno "File exists" mkdir "$MNT/prod/snapshots/x"
ls "$MNT/prod/snapshots/x" >/dev/null
assert_errno "File exists" mkdir "$MNT/prod/snapshots/latest"
long=$(printf 'n%.0s' $(seq 201))
for bad in a:b .hidden 'with space' 'pct%20' "$long" $'new\nline' größe; do
	assert_errno "Invalid argument" mkdir "$MNT/prod/snapshots/$bad"
done
mkdir "$MNT/prod/snapshots/${long:1}"
ls "$MNT/prod/snapshots/${long:1}" >/dev/null
rmdir "$MNT/prod/snapshots/${long:1}"
mkdir "$MNT/prod/snapshots/A1._+@=-"
ls "$MNT/prod/snapshots/A1._+@=-" >/dev/null
assert_errno "No such file or directory" ls "$MNT/prod/snapshots/none"
assert_errno "No such file or directory" cat "$MNT/prod/snapshots/x/tables/tag/none.json"
assert_errno "No such file or directory" rmdir "$MNT/prod/snapshots/none"

step "a held snapshot"
ms hold prod x
assert_errno "Device or resource busy" rmdir "$MNT/prod/snapshots/x"
ms release prod x

step "the content is not removed by rm -r"
n=$(find "$MNT/prod/snapshots/x" -type f | wc -l)
assert_errno "Read-only file system" rm -rf "$MNT/prod/snapshots/x/tables"
assert_eq "$n" "$(find "$MNT/prod/snapshots/x" -type f | wc -l)" "files after rm -rf"

step "the server goes away and comes back"
psql -X -q "$SERVER_URL" -c "ALTER DATABASE $DB_NAME RENAME TO ${DB_NAME}_away"
assert_exit 1 mkdir "$MNT/prod/snapshots/away"
assert_has "$(cat "$CASE_DIR/exit.txt")" 'Invalid argument' "no such database"
assert_has "$(cat "$MNT/prod/status.txt")" 'last error: .*away: .*does not exist' "status.txt"
assert_eq "A1._+@=- latest x" "$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')" "snapshots"
psql -X -q "$SERVER_URL" -c "ALTER DATABASE ${DB_NAME}_away RENAME TO $DB_NAME"
mkdir "$MNT/prod/snapshots/back"
ls "$MNT/prod/snapshots/back" >/dev/null

umount_fs

step "disk full"
mkdir -p "$CASE_DIR/small"
mount -t tmpfs -o size=6m tmpfs "$CASE_DIR/small"
CATALOG=$CASE_DIR/small/catalog.db
write_config
mount_fs
mkdir "$MNT/prod/snapshots/first"
cat "$MNT/prod/archives/first/SHA256SUMS" >"$CASE_DIR/sums"
db_sql "CREATE TABLE noise AS SELECT i, string_agg(md5(random()::text), '') AS t FROM generate_series(1, 1500) i, generate_series(1, 400) j GROUP BY i;"
rc=0
{ mkdir "$MNT/prod/snapshots/toobig" && cat "$MNT/prod/snapshots/toobig/MANIFEST.json"; } >"$CASE_DIR/full" 2>&1 || rc=$?
[ "$rc" != 0 ] || fail "a snapshot of 19 MB fits into 6 MB"
assert_has "$(cat "$CASE_DIR/full")" "No space left on device" "a full disk"
assert_has "$(cat "$MNT/prod/status.txt")" 'space|full' "status.txt"
assert_eq "first latest" "$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')" "snapshots"
(cd "$MNT/prod/archives/first" && sha256sum --quiet -c SHA256SUMS)
dd if=/dev/zero of="$CASE_DIR/big" bs=1M count=20 status=none
mkdir "$MNT/prod/restore/big"
assert_errno "No space left on device" cp "$CASE_DIR/big" "$MNT/prod/restore/big/MANIFEST.json"
rm -rf "$MNT/prod/restore/big"
db_sql "DROP TABLE noise;"
mkdir "$MNT/prod/snapshots/second"
ls "$MNT/prod/snapshots/second" >/dev/null
umount_fs
ms check
umount "$CASE_DIR/small"

step "what not even the journal has room for is in status.txt"
mkdir -p "$CASE_DIR/tiny"
mount -t tmpfs -o size=3m tmpfs "$CASE_DIR/tiny"
CATALOG=$CASE_DIR/tiny/catalog.db
write_config
mount_fs
dd if=/dev/zero of="$CASE_DIR/tiny/rest" bs=4k status=none 2>/dev/null || true
assert_errno "No space left on device" mkdir "$MNT/prod/snapshots/c"
assert_has "$(cat "$MNT/prod/status.txt")" 'last error: .*snapshot c: .*full' "status.txt"
rm "$CASE_DIR/tiny/rest"
umount_fs
ms check
umount "$CASE_DIR/tiny"
