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
# logged OPCODE: how many so far
logged() { grep -c "opcode: $1 " "$LOG" || true; }
# What is sent behind an answer (RELEASE, FORGET) has arrived: each open file is closed, and nothing more comes.
settled() {
	local size
	size=$(stat -c %s "$LOG")
	sleep 0.1
	[ "$(logged 'OPEN')" -le "$(logged RELEASE)" ] && [ "$(logged OPENDIR)" = "$(logged RELEASEDIR)" ] && [ "$size" = "$(stat -c %s "$LOG")" ]
}
# measure COMMAND...: how many of each opcode, in $CASE_DIR/counts; the log of it in $CASE_DIR/sent
measure() {
	local from
	wait_for 10 "no requests come any more" settled
	from=$(wc -l <"$LOG")
	"$@" >"$CASE_DIR/out.txt"
	wait_for 10 "no requests come any more" settled
	tail -n +$((from + 1)) "$LOG" >"$CASE_DIR/sent"
	# Names above the snapshot are kept for a second: how often they are asked for depends on how long it takes.
	sed -nE "s/.*opcode: LOOKUP \(1\), nodeid: ($ABOVE),.*/ABOVE/p; t; s/.*opcode: ([A-Z_0-9]+) .*/\1/p" "$CASE_DIR/sent" |
		sort | uniq -c | awk '{ print $2, $1 }' >"$CASE_DIR/counts"
}
# within "OPCODE=MAX ...": the counts are at most so many of each, none of any other; what is more is in $OVER
within() {
	local limits=" $1 " opcode n max
	OVER=
	while read -r opcode n; do
		case $opcode in
		# attributes above the snapshot are kept for a second, too; the rest is said by the kernel, not asked
		GETATTR | STATFS | FORGET | BATCH_FORGET) max=$((DIRS + 12)) ;;
		ABOVE) max=1000 ;;
		*) max=0 ;;
		esac
		[[ $limits =~ " $opcode="([0-9]+)" " ]] && max=${BASH_REMATCH[1]}
		[ "$n" -le "$max" ] || OVER+="$n of $opcode, at most $max expected; "
	done <"$CASE_DIR/counts"
	[ -z "$OVER" ]
}
# count WORDS "OPCODE=MAX ..." COMMAND...
count() {
	local words=$1 limits=$2
	shift 2
	measure "$@"
	echo "$words: $(tr '\n' ' ' <"$CASE_DIR/counts")"
	within "$limits" || fail "$words: $OVER"
}
# count_kept, the same, of what the kernel keeps. It gives single pages of that up whenever it likes (DAMON takes those that nobody
# used lately, without any lack of memory) and asks for these once more; the next go has them again: one go of five has all.
# That the daemon told it to drop something, or did not let it keep, shows in each go.
count_kept() {
	local words=$1 limits=$2 go
	shift 2
	for go in 1 2 3 4 5; do
		measure "$@"
		echo "$words: $(tr '\n' ' ' <"$CASE_DIR/counts")"
		if grep NOTIFY "$CASE_DIR/sent"; then
			fail "$words: the daemon took from the kernel what it keeps"
		fi
		if within "$limits"; then
			return
		fi
		echo "go $go: $OVER"
	done
	fail "$words, five times: $OVER"
}

mount_counting
S=$MNT/prod/snapshots/s
T=$S/tables/field_relationship
DIRS=$(find "$S" -type d | wc -l)
FILES=$(find "$S" -type f | wc -l)
ROWS=$(find "$T" -type f | wc -l)
ABOVE=1 # inodes
for d in prod prod/snapshots prod/archives prod/restore; do ABOVE+="|$(stat -c %i "$MNT/$d")"; done
if [ "$FILES" -lt 3000 ] || [ "$ROWS" -lt 100 ]; then
	fail "too few files to count with: $FILES, $ROWS"
fi
umount_fs

step "walks"
# a request brings 32 KiB: at least 100 entries with attributes, 300 names
mount_counting
pieces=$((2 * DIRS + FILES / 100))
count "find, cold" "OPENDIR=$DIRS RELEASEDIR=$DIRS READDIR=$pieces READDIRPLUS=$pieces" find "$S" -type f
assert_eq "$FILES" "$(wc -l <"$CASE_DIR/out.txt")" "files found"
count_kept "find, warm" "OPENDIR=$DIRS RELEASEDIR=$DIRS" find "$S" -type f
remount() { umount_fs && mount_counting; }
remount
count "ls -lR, cold" "OPENDIR=$DIRS RELEASEDIR=$DIRS READDIR=$pieces READDIRPLUS=$pieces GETXATTR=4" ls -lR "$S"
count_kept "ls -lR, warm" "OPENDIR=$DIRS RELEASEDIR=$DIRS GETXATTR=4" ls -lR "$S"

step "one row"
mapfile -t names < <(cd "$T" && ls | sed -n '20p;40p;60p')
remount
cat "$T/${names[0]}" >/dev/null
count "a row, cold" "LOOKUP=1 OPEN=1 READ=1 RELEASE=1" cat "$T/${names[1]}"
count_kept "a row, warm" "OPEN=1 RELEASE=1" cat "$T/${names[1]}"
count "no such row" "LOOKUP=1" test ! -e "$T/none.json"
count_kept "no such row, again" "" test ! -e "$T/none.json"
count "an archive" "LOOKUP=6 OPEN=1 READ=12 RELEASE=1" cat "$MNT/prod/archives/s/tables/table_entity.jsonl"

step "copies"
remount
mkdir "$CASE_DIR/copies"
# cp asks for ACLs and for the list of xattrs (its size, then the list) of each file
count "cp -a out" "LOOKUP=$((ROWS + 8)) OPENDIR=1 RELEASEDIR=1 READDIR=9 READDIRPLUS=9 OPEN=$ROWS READ=$ROWS RELEASE=$ROWS LISTXATTR=$((2 * ROWS + 4)) GETXATTR=$((ROWS + 9))" \
	cp -a "$T" "$CASE_DIR/copies/T"
count_kept "rsync of a copy that is whole" "OPENDIR=1 RELEASEDIR=1 GETATTR=$((ROWS + DIRS + 12))" rsync -a "$T/" "$CASE_DIR/copies/T/"
# each file: LOOKUP, CREATE, GETXATTR (the kernel: capabilities, before a write), WRITE, SETATTR (times, mode), SETXATTR (ACL:
# refused), FLUSH, RELEASE, GETATTR of the directory
more=$((ROWS + 12))
mv "$CASE_DIR/copies/T/.table.json" "$CASE_DIR/copies/table.json" # nothing is complete: nothing is restored
count "cp -a in" "LOOKUP=$more MKDIR=1 CREATE=$ROWS GETXATTR=$more WRITE=$ROWS SETATTR=$((2 * more)) SETXATTR=$more FLUSH=$ROWS RELEASE=$ROWS GETATTR=$more" \
	cp -a "$CASE_DIR/copies/T" "$MNT/prod/restore/"
umount_fs
