#!/bin/bash
# A clean unmount ends within 5 s and leaves nothing behind; kill -9 leaves ENOTCONN, and mounting again over it works;
# mounting over, inside or around the catalog's folder is refused; the detached daemon behaves as mount.fuse expects.
# TIMEOUT: 120
. "$(dirname "$0")/../lib.sh"
use_db sqlite
db_fill 2000
write_config
step "a clean unmount"
mount_fs
ls -R "$MNT/prod" >/dev/null
assert_eq "$(df --output=size -k "$CATALOG" | tail -n 1)" "$(df --output=size -k "$MNT" | tail -n 1)" "df: the size is the disk's"
free() { stat -f -c '%f %a %S' "$1" | awk '{ print ($1 - $2) * $3 }'; } # that only root may use: it does not move
assert_eq "$(free "$CATALOG")" "$(free "$MNT")" "df: what is free, less what is to be had"
mkdir "$CASE_DIR/second"
assert_fails "$METASNAPFS" "$CONF" "$CASE_DIR/second" -f
assert_has "$(cat "$CASE_DIR/fails.txt")" 'catalog .*: mounted already by another metasnapfs' "a second mount"
umount_fs
assert_silent "the mount point afterwards" ls -A "$MNT"

step "the default catalog's folder is made"
XDG_STATE_HOME=$CASE_DIR/home/state METASNAP_CATALOG='' "$METASNAPFS" "$DB_URL" "$MNT" || fail "it did not mount"
[ -f "$CASE_DIR/home/state/metasnap/catalog.db" ] || fail "no catalog"
fusermount3 -u "$MNT"

step "an unmount while a snapshot is being read is refused, and the daemon goes on"
mount_fs
mkdir "$MNT/prod/snapshots/s"
exec 8<"$MNT/prod/snapshots/s/MANIFEST.json"
if fusermount3 -u "$MNT" 2>"$CASE_DIR/busy"; then
	fail "unmounted while a file was open"
fi
grep -q '"format"' <&8 || fail "the open file does not read"
exec 8<&-
umount_fs

step "SIGTERM is a clean unmount, too"
mount_fs
kill -TERM "$DAEMON_PID"
wait_for 5 "the daemon ends after SIGTERM" sh -c "! kill -0 $DAEMON_PID"
rc=0
wait "$DAEMON_PID" || rc=$?
DAEMON_PID=
assert_eq 0 "$rc" "exit status of the daemon after SIGTERM"
if is_mounted "$MNT"; then
	fail "still mounted after SIGTERM"
fi

step "kill -9 leaves ENOTCONN; mounting over it works"
mount_fs
kill9_fs
assert_errno "Transport endpoint is not connected" ls "$MNT"
mount_fs
[ -f "$MNT/prod/snapshots/s/MANIFEST.json" ] || fail "the snapshot is gone"
assert_eq 1 "$(grep -cF " $MNT fuse" /proc/mounts)" "mounts at the mount point"
umount_fs

step "overlap with the catalog's folder is refused before anything is mounted"
mkdir -p "$CASE_DIR/catalog/inside"
for where in "$CASE_DIR/catalog" "$CASE_DIR/catalog/inside" "$CASE_DIR"; do
	assert_fails timeout 20 "$METASNAPFS" "$CONF" "$where"
	if is_mounted "$where"; then
		fail "mounted at $where, which holds or is in the catalog's folder"
	fi
	[ -s "$CASE_DIR/fails.txt" ] || fail "refused without a word"
done
ln -s "$CASE_DIR/catalog" "$CASE_DIR/link"
assert_fails timeout 20 "$METASNAPFS" "$CONF" "$CASE_DIR/link"

step "detached: when the command returns the mount works; it is silent"
"$METASNAPFS" "$CONF" "$MNT" >"$CASE_DIR/out" 2>&1 </dev/null
ls "$MNT/prod/snapshots/s" >/dev/null
assert_silent "output of the mount command" cat "$CASE_DIR/out"
assert_has "$(awk -v m="$MNT" '$2 == m { print $3 }' /proc/mounts)" 'fuse\.metasnap' "type of the mount"
opts=$(awk -v m="$MNT" '$2 == m { print $4 }' /proc/mounts)
for o in nosuid nodev default_permissions; do assert_has "$opts" "(^|,)$o(,|$)" "mount options"; done
fusermount3 -u "$MNT"
wait_for 5 "the detached daemon ends" sh -c "! fuser -s $CATALOG"

step "one URL instead of a configuration file"
assert_exit 1 "$METASNAPFS" "$DB_URL" "$MNT" -o "catalog=$CASE_DIR/urlcat/catalog.db,name=mydb,restore=off"
assert_has "$(cat "$CASE_DIR/exit.txt")" 'urlcat.*No such file or directory' "a catalog's folder that is not there"
if is_mounted "$MNT"; then
	fail "mounted after an error"
fi
mkdir "$CASE_DIR/urlcat"
"$METASNAPFS" "$DB_URL" "$MNT" -o "catalog=$CASE_DIR/urlcat/catalog.db,name=mydb,restore=off" </dev/null
mkdir "$MNT/mydb/snapshots/u"
ls "$MNT/mydb/snapshots/u" >/dev/null
fusermount3 -u "$MNT"
wait_for 5 "the detached daemon ends" sh -c "! fuser -s $CASE_DIR/urlcat/catalog.db"

step "usage errors"
assert_exit 2 "$METASNAPFS"
assert_exit 2 "$METASNAPFS" --no-such-option
assert_fails "$METASNAPFS" "$CASE_DIR/none.conf" "$MNT"
assert_fails "$METASNAPFS" "$CONF" "$CASE_DIR/none"
printf '[catalog]\npath=%s\n[source prod]\nurl=%s\nrestor=off\n' "$CATALOG" "$DB_URL" >"$CASE_DIR/typo.conf"
chmod 600 "$CASE_DIR/typo.conf"
assert_fails "$METASNAPFS" "$CASE_DIR/typo.conf" "$MNT"
assert_has "$(cat "$CASE_DIR/fails.txt")" 'restor' "the misspelt key is named"
if is_mounted "$MNT"; then
	fail "mounted after an error"
fi
assert_exit 0 "$METASNAPFS" --help
assert_exit 0 "$METASNAPFS" --version
