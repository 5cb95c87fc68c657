#!/bin/bash
# Nobody else can read it: backups hold credentials. Another user gets neither into the mount, also one for all users, nor at the catalog,
# at what is being copied into restore/, at an export or a backup file.
. "$(dirname "$0")/../lib.sh"
requires setpriv
use_db sqlite
db_fill 300
write_config restore=replace
chmod 755 "$CASE_DIR"
other() { setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"; }
assert_exit 0 other stat "$CASE_DIR" # so that it is not the way there that is closed

# denied PATH...: to list, to read, to write
denied() {
	local p
	for p in "$@"; do
		[ -e "$p" ] || fail "$p is not there"
		if [ -d "$p" ]; then
			assert_errno "Permission denied" other ls "$p"
			assert_errno "Permission denied" other mkdir "$p/new"
		else
			assert_errno "Permission denied" other cat "$p"
			assert_errno "Permission denied" other dd if=/dev/null of="$p" conv=notrunc status=none
		fi
	done
}
tree() { # everything that is there, by name: a lookup of an inner path must not help
	denied "$MNT/README.txt" "$MNT/prod" "$MNT"/prod/{status.txt,journal.txt,now,snapshots,archives,entities,history,changes,restore} \
		"$MNT/prod/snapshots/s" "$MNT/prod/snapshots/s/MANIFEST.json" "$MNT/prod/snapshots/s/tables/tag_usage" "$ROW" \
		"$MNT/prod/archives/s/tables/tag_usage.jsonl" "$MNT/prod/restore/half" "$MNT/prod/restore/half/MANIFEST.json"
}
step "the mount"
mount_fs
mkdir "$MNT/prod/snapshots/s"
ROW=$(find "$MNT/prod/snapshots/s/tables/tag_usage" -name '[!.]*.json' | sort | sed -n 1p)
mkdir "$MNT/prod/restore/half"
cp --preserve=mode "$MNT/prod/archives/s/MANIFEST.json" "$MNT/prod/restore/half/"
chmod 666 "$MNT/prod/restore/half/MANIFEST.json"
chmod 777 "$MNT/prod/restore/half"
tree
assert_errno "Permission denied" other ls "$MNT"
umount_fs

step "also where all users may look at the mount: the modes of the tree"
if "$METASNAPFS" "$CONF" "$MNT" -o allow_other </dev/null; then
	assert_eq root "$(stat -c %U "$MNT/prod")" "owner"
	for p in "$MNT/prod/snapshots/s/MANIFEST.json" "$ROW" "$MNT/prod/snapshots/s/tables/tag_usage" "$MNT/prod/archives/s/tables/tag_usage.jsonl" "$MNT/prod/snapshots"; do
		assert_eq 0 "$((0$(stat -c %a "$p") & 077))" "the mode of $p, for others"
	done
	denied "$MNT/prod" "$MNT/prod/snapshots/s/MANIFEST.json" "$ROW" "$MNT/prod/restore/half/MANIFEST.json"
	fusermount3 -u "$MNT"
	wait_for 5 "the daemon ends" sh -c "! fuser -s $CATALOG"
else
	fail "-o allow_other is refused"
fi

step "the catalog, and its log while it is open"
mount_fs
mkdir "$MNT/prod/snapshots/t"
ls "$MNT/prod/snapshots/t" >/dev/null
denied "$CATALOG"
for f in "$CATALOG"-wal "$CATALOG"-shm "$CATALOG".*; do
	[ ! -e "$f" ] || denied "$f"
done
rm -rf "$MNT/prod/restore/half"
umount_fs
step "a folder of the catalog that the program makes"
(umask 0 && XDG_STATE_HOME=$CASE_DIR/home METASNAP_CATALOG='' "$METASNAP" snapshot "$DB_URL" >/dev/null)
denied "$CASE_DIR/home/metasnap/catalog.db" "$CASE_DIR/home/metasnap"

step "what is written elsewhere"
umask 0
ms export prod s "$CASE_DIR/exported"
ms export prod s "$CASE_DIR/exported.sql"
umask 022
denied "$CASE_DIR/exported.sql" "$CASE_DIR/exported/tables/tag_usage.jsonl" "$CASE_DIR/exported/MANIFEST.json"
