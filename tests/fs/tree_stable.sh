#!/bin/bash
# The tree of a snapshot is the same for ever: counts, sizes, times, inode numbers, order, bytes; after a remount, and
# (but for inode numbers and the times of rows without updatedAt) after export and import on another catalog.
# TIMEOUT: 180
. "$(dirname "$0")/../lib.sh"
requires python3
use_db postgresql
db_fill 4000
write_config
mount_fs
mkdir "$MNT/prod/snapshots/s1"
S=$MNT/prod/snapshots/s1

step "find counts = rows + tables + 2"
rows=$(psql -X -A -t "$DB_URL" -c "SELECT sum((xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM ' || c.oid::regclass, false, true, '')))[1]::text::bigint)
	FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
tables=$(find "$S/tables" -mindepth 1 -maxdepth 1 | wc -l)
assert_eq $((rows + tables + 2)) "$(find "$S" -type f | wc -l)" "number of files"
assert_eq $((rows + tables + 2)) "$(find "$S" -noleaf -type f | wc -l)" "number of files with -noleaf"
assert_distinct "inode numbers twice" find "$S" -printf '%i\n'
assert_silent "errors of find over everything" find "$MNT" -fprint "$CASE_DIR/everything"

step "sizes, blocks, links, modes, order"
python3 - "$S" "$MNT/prod/archives/s1" <<'PY'
import os, stat, sys, time
bad = []
for top in sys.argv[1:]:
    for d, dirs, files in os.walk(top):
        st = os.stat(d)
        if st.st_nlink != 2 + len(dirs): bad.append("%s: %d links" % (d, st.st_nlink))
        if stat.S_IMODE(st.st_mode) != 0o500: bad.append("%s: mode %o" % (d, st.st_mode))
        if len(set(dirs + files)) != len(dirs) + len(files): bad.append(d + ": a name twice")
        for f in files:
            p = os.path.join(d, f)
            st = os.lstat(p)
            n = len(open(p, "rb").read())
            if n != st.st_size: bad.append("%s: size %d, bytes %d" % (p, st.st_size, n))
            if st.st_blocks != (n + 511) // 512: bad.append("%s: blocks %d" % (p, st.st_blocks))
            if st.st_nlink != 1: bad.append("%s: links %d" % (p, st.st_nlink))
            if stat.S_IMODE(st.st_mode) != 0o400: bad.append("%s: mode %o" % (p, st.st_mode))
            if st.st_mtime > time.time() + 1: bad.append("%s: in the future" % p)
for b in bad[:10]: print(b)
sys.exit(bool(bad))
PY

list() { (cd "$1" && find . -printf "$2" | sort); }
listing() { list "$1" '%P %s %T@ %i %m %n\n'; }
bytes() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum); }
listing "$S" >"$CASE_DIR/one"
(cd "$S" && ls -fR) >"$CASE_DIR/order1"
bytes "$S" >"$CASE_DIR/bytes1"

step "the same twice and with another snapshot beside it"
listing "$S" >"$CASE_DIR/two"
assert_same "$CASE_DIR/one" "$CASE_DIR/two" "listing, twice"
mkdir "$MNT/prod/snapshots/s2"
ls "$MNT/prod/snapshots/s2" >/dev/null

step "the same after a remount"
remount_fs
listing "$S" >"$CASE_DIR/three"
assert_same "$CASE_DIR/one" "$CASE_DIR/three" "listing after a remount"
(cd "$S" && ls -fR) >"$CASE_DIR/order2"
assert_same "$CASE_DIR/order1" "$CASE_DIR/order2" "order of the listing after a remount"
bytes "$S" >"$CASE_DIR/bytes2"
assert_same "$CASE_DIR/bytes1" "$CASE_DIR/bytes2" "bytes after a remount"

step "the same after the name changed"
mv "$S" "$MNT/prod/snapshots/renamed"
S=$MNT/prod/snapshots/renamed
listing "$S" >"$CASE_DIR/four"
assert_same "$CASE_DIR/one" "$CASE_DIR/four" "listing after a rename"

step "the same after export and import on another catalog"
list "$S" '%P %s %m %n\n' >"$CASE_DIR/shape1"
with_time() { # tables with updatedAt, and what is no row
	(cd "$1" && find . \( -path './tables/*_entity/*' -o -path './tables/tag/*' -o ! -path './tables/*/*' \) ! -path './tables/empty_entity/*' -printf '%P %s %T@\n' | sort)
}
with_time "$S" >"$CASE_DIR/times1"
ms export prod renamed "$CASE_DIR/exported"
umount_fs
CATALOG=$CASE_DIR/other/catalog.db
write_config
ms import prod "$CASE_DIR/exported"
mount_fs
name=$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -type d -printf '%f\n')
S=$MNT/prod/snapshots/$name
list "$S" '%P %s %m %n\n' >"$CASE_DIR/shape2"
assert_same "$CASE_DIR/shape1" "$CASE_DIR/shape2" "names, sizes, modes on another catalog"
with_time "$S" >"$CASE_DIR/times2"
assert_same "$CASE_DIR/times1" "$CASE_DIR/times2" "times on another catalog"
bytes "$S" >"$CASE_DIR/bytes3"
assert_same "$CASE_DIR/bytes1" "$CASE_DIR/bytes3" "bytes on another catalog"

step "a snapshot in the tree cannot be written, and writing nothing is what reading does"
for cmd in "touch $S/x" "mkdir $S/x" "rm $S/MANIFEST.json" "chmod 700 $S/MANIFEST.json" "mv $S/MANIFEST.json $S/y" "ln -s a $S/z" "truncate -s 0 $S/schema.sql" \
	"touch $S/tables/tag/x.json" "rmdir $S/tables" "chown 1 $S/MANIFEST.json" "touch $MNT/x" "mkdir $MNT/prod/archives/x"; do
	# shellcheck disable=SC2086
	assert_errno "Read-only file system" $cmd
done
umount_fs
