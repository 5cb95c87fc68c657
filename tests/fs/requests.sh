#!/bin/bash
# How many requests the kernel sends for what people do: counts do not depend on how busy the machine is. Nothing for
# what it has seen but opening directories; a listing in large pieces; a lookup, an open and a read for a row.
# TIMEOUT: 60
. "$(dirname "$0")/../lib.sh"
requires rsync
use_db sqlite
db_fill 4000
write_config
ms snapshot prod s >/dev/null

LOG=$CASE_DIR/daemon.log
mount_counting() { # -d prints each request
	: >"$LOG"
	"$METASNAPFS" "$CONF" "$MNT" -d >>"$LOG" 2>&1 &
	DAEMON_PID=$!
	MOUNTED=$MNT
	wait_for 20 "metasnapfs mounts" test -e "$MNT/README.txt"
}
# count WORDS "OPCODE=MAX ..." COMMAND...: at most so many of each, none of any other
count() {
	local words=$1 limits=" $2 " from opcode n max
	shift 2
	sleep 0.1 # what is sent behind an answer (RELEASE, FORGET) has arrived
	from=$(wc -l <"$LOG")
	"$@" >"$CASE_DIR/out.txt"
	sleep 0.1
	tail -n +$((from + 1)) "$LOG" | sed -nE 's/.*opcode: ([A-Z_0-9]+).*/\1/p' | sort | uniq -c | awk '{ print $2, $1 }' >"$CASE_DIR/counts"
	echo "$words: $(tr '\n' ' ' <"$CASE_DIR/counts")"
	while read -r opcode n; do
		case $opcode in
		# what is above the snapshot is kept for a second; the rest is said by the kernel, not asked
		GETATTR | STATFS | FORGET | BATCH_FORGET) max=$((DIRS + 12)) ;;
		*) max=0 ;;
		esac
		[[ $limits =~ " $opcode="([0-9]+)" " ]] && max=${BASH_REMATCH[1]}
		[ "$n" -le "$max" ] || fail "$words: $n of $opcode, at most $max expected"
	done <"$CASE_DIR/counts"
}

mount_counting
S=$MNT/prod/snapshots/s
T=$S/tables/field_relationship
DIRS=$(find "$S" -type d | wc -l)
FILES=$(find "$S" -type f | wc -l)
ROWS=$(find "$T" -type f | wc -l)
if [ "$FILES" -lt 3000 ] || [ "$ROWS" -lt 100 ]; then
	fail "too few files to count with: $FILES, $ROWS"
fi
umount_fs

step "walks"
# a request brings 32 KiB: at least 100 entries with attributes, 300 names
mount_counting
pieces=$((2 * DIRS + FILES / 100))
count "find, cold" "LOOKUP=6 OPENDIR=$DIRS RELEASEDIR=$DIRS READDIR=$pieces READDIRPLUS=$pieces" find "$S" -type f
assert_eq "$FILES" "$(wc -l <"$CASE_DIR/out.txt")" "files found"
count "find, warm" "LOOKUP=2 OPENDIR=$DIRS RELEASEDIR=$DIRS" find "$S" -type f
remount() { umount_fs && mount_counting; }
remount
count "ls -lR, cold" "LOOKUP=6 OPENDIR=$DIRS RELEASEDIR=$DIRS READDIR=$pieces READDIRPLUS=$pieces GETXATTR=4" ls -lR "$S"
count "ls -lR, warm" "LOOKUP=2 OPENDIR=$DIRS RELEASEDIR=$DIRS GETXATTR=4" ls -lR "$S"

step "one row"
mapfile -t names < <(cd "$T" && ls | sed -n '20p;40p;60p')
remount
cat "$T/${names[0]}" >/dev/null
count "a row, cold" "LOOKUP=2 OPEN=1 READ=1 RELEASE=1" cat "$T/${names[1]}"
count "a row, warm" "LOOKUP=1 OPEN=1 RELEASE=1" cat "$T/${names[1]}"
count "no such row" "LOOKUP=2" test ! -e "$T/none.json"
count "no such row, again" "LOOKUP=1" test ! -e "$T/none.json"
count "an archive" "LOOKUP=6 OPEN=1 READ=12 RELEASE=1" cat "$MNT/prod/archives/s/tables/table_entity.jsonl"

step "copies"
remount
mkdir "$CASE_DIR/copies"
# cp asks for ACLs and for the list of xattrs (its size, then the list) of each file
count "cp -a out" "LOOKUP=$((ROWS + 8)) OPENDIR=1 RELEASEDIR=1 READDIR=9 READDIRPLUS=9 OPEN=$ROWS READ=$ROWS RELEASE=$ROWS LISTXATTR=$((2 * ROWS + 4)) GETXATTR=$((ROWS + 9))" \
	cp -a "$T" "$CASE_DIR/copies/T"
count "rsync of a copy that is whole" "LOOKUP=2 OPENDIR=1 RELEASEDIR=1 GETATTR=$((ROWS + DIRS + 12))" rsync -a "$T/" "$CASE_DIR/copies/T/"
# each file: LOOKUP, CREATE, GETXATTR (the kernel: capabilities, before a write), WRITE, SETATTR (times, mode), SETXATTR (ACL:
# refused), FLUSH, RELEASE, GETATTR of the directory
more=$((ROWS + 12))
mv "$CASE_DIR/copies/T/.table.json" "$CASE_DIR/copies/table.json" # nothing is complete: nothing is restored
count "cp -a in" "LOOKUP=$more MKDIR=1 CREATE=$ROWS GETXATTR=$more WRITE=$ROWS SETATTR=$((2 * more)) SETXATTR=$more FLUSH=$ROWS RELEASE=$ROWS GETATTR=$more" \
	cp -a "$CASE_DIR/copies/T" "$MNT/prod/restore/"
umount_fs
