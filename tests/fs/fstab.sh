#!/bin/bash
# The line that README gives for /etc/fstab mounts by `mount`, with options, and umount ends it; a second one is refused in words.
# mount looks for the program where the system's programs are: it is put there in a mount namespace of the case's own.
if [ "${IN_NAMESPACE:-}" != yes ]; then
	propagation=slave
	# / is no mount point in a plain chroot: then what is mounted shows outside, too, until the case takes it off.
	unshare --mount --propagation slave true 2>/dev/null || propagation=unchanged
	IN_NAMESPACE=yes exec unshare --mount --propagation $propagation bash "$0"
fi
. "$(dirname "$0")/../lib.sh"
requires unshare mount umount mount.fuse3 findmnt
use_db sqlite
db_fill 300
write_config
mount -t tmpfs none /usr/local/sbin
case_ends() { umount -l /usr/local/sbin; }
ln -s "$(readlink -f "$METASNAPFS")" /usr/local/sbin/metasnapfs
line() { printf '%s %s fuse.metasnapfs %s 0 0\n' "$CONF" "$MNT" "$1" >"$CASE_DIR/fstab"; }
ended() { ! fuser -s "$CATALOG"; }
for options in defaults noatime,_netdev,nofail ro; do
	step "$options"
	line "$options"
	assert_silent "mount" mount -T "$CASE_DIR/fstab" "$MNT"
	assert_eq fuse.metasnapfs "$(findmnt -n -o FSTYPE "$MNT")" "type"
	assert_has "$(findmnt -n -o OPTIONS "$MNT")" '(^|,)default_permissions(,|$)' "options"
	assert_has "$(ls "$MNT/prod")" '^snapshots$' "the tree"
	if [ "$options" = ro ]; then
		assert_errno "Read-only file system" mkdir "$MNT/prod/snapshots/s"
	else
		mkdir "$MNT/prod/snapshots/${options%%,*}"
		cat "$MNT/prod/snapshots/${options%%,*}/MANIFEST.json" >/dev/null
	fi
	assert_silent "umount" umount "$MNT"
	wait_for 5 "the daemon ends" ended
done
step "-a, as at boot"
line defaults
mount -T "$CASE_DIR/fstab" -a -t fuse.metasnapfs
ls "$MNT/prod/snapshots/defaults" >/dev/null
umount "$MNT"
wait_for 5 "the daemon ends" ended
step "what cannot be mounted is said, with mount's exit code"
sed -i 's/^url=.*/url=nonsense/' "$CONF"
rc=0
mount -T "$CASE_DIR/fstab" "$MNT" >"$CASE_DIR/said" 2>&1 || rc=$?
[ "$rc" != 0 ] || fail "mount reported success"
assert_has "$(cat "$CASE_DIR/said")" '^metasnapfs: .*metasnap.conf:[0-9]+: database URL: ' "the words"
if is_mounted "$MNT"; then
	fail "mounted all the same"
fi
