#!/bin/bash
# A `.sql` file of OpenMetadata's former command line put into restore/: by cp, mv, rsync and a shell's redirection it is
# restored once, when its writer closes it, and that close has the result; what is cut, broken or closed by somebody else
# changes nothing and says why beside the file; touch NAME.sql.APPLY tries again.
# TIMEOUT: 120
. "$(dirname "$0")/../lib.sh"
requires python3 rsync
use_db postgresql
db_fill 600
# A restore puts sequences past the rows; those of the sample are behind them in two tables.
db_sql "SELECT setval('openmetadata_settings_id_seq', (SELECT max(id) FROM openmetadata_settings));
	SELECT setval('server_change_log_installed_rank_seq', (SELECT max(installed_rank) FROM server_change_log));"
write_config restore=replace
mount_fs
R=$MNT/prod/restore
query="psql -X -q -A -t -F \$'\\t' -v ON_ERROR_STOP=1 -c \"\$QUERY\" '$DB_URL'"
"$TESTS_DIR/servers/old-backup" postgresql new tidy "$query" >"$CASE_DIR/good.sql"
db_dump "$CASE_DIR/before"
damage() { db_sql "DELETE FROM tag_usage; DELETE FROM bot_entity;"; }
runs() { grep -c 'restore restore/' "$MNT/prod/journal.txt" || true; }
unchanged() { # WORDS
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/damaged" "$CASE_DIR/found" "$1: the database"
}
way() { # NAME COMMAND...
	local name=$1 n
	shift
	step "$name: $*"
	damage
	n=$(runs)
	"$@" || fail "$name: exit status $?: $(cat "$R"/*.ERROR.txt)"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/before" "$CASE_DIR/found" "$name"
	assert_eq 1 $(($(runs) - n)) "$name: restores in the journal"
	assert_gone "$R"/*.ERROR.txt
}
way cp cp "$CASE_DIR/good.sql" "$R/cp.sql"
way cp_over cp "$CASE_DIR/good.sql" "$R/cp.sql"
way cp_a cp -a "$CASE_DIR/good.sql" "$R/cp_a.sql"
way rsync rsync -a "$CASE_DIR/good.sql" "$R/rsync.sql"
way inplace rsync -a --inplace "$CASE_DIR/good.sql" "$R/inplace.sql"
way tar sh -c "tar -C $CASE_DIR -cf - good.sql | tar -C $R -xf -"
way redirect sh -c "cat $CASE_DIR/good.sql >$R/redirect.sql"
cp "$CASE_DIR/good.sql" "$CASE_DIR/moved.sql"
way mv mv "$CASE_DIR/moved.sql" "$R/"
way rename sh -c "cp $CASE_DIR/good.sql $R/x.tmp && mv $R/x.tmp $R/renamed.sql"
head -n 100 "$CASE_DIR/good.sql" >"$CASE_DIR/a"
tail -n +101 "$CASE_DIR/good.sql" >"$CASE_DIR/b"
way braces bash -c "{ cat $CASE_DIR/a; cat $CASE_DIR/b; } >$R/braces.sql"
way dd dd if="$CASE_DIR/good.sql" of="$R/dd.sql" bs=64k status=none
assert_eq "$(sha256sum <"$CASE_DIR/good.sql")" "$(sha256sum <"$R/cp.sql")" "what was copied in reads back"

step "closed by others than who opened it: not restored, and said so; APPLY does"
damage
db_dump "$CASE_DIR/damaged"
n=$(runs)
(
	cat "$CASE_DIR/a"
	cat "$CASE_DIR/b"
	: # so that the shell does not become the last cat
) >"$R/subshell.sql"
unchanged subshell
wait_for 5 "subshell.sql.ERROR.txt" test -s "$R/subshell.sql.ERROR.txt"
assert_has "$(cat "$R/subshell.sql.ERROR.txt")" 'touch restore/subshell.sql.APPLY' "what to do"
assert_eq 0 $(($(runs) - n)) "restores in the journal"
touch "$R/subshell.sql.APPLY"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/before" "$CASE_DIR/found" "APPLY"
assert_gone "$R/subshell.sql.ERROR.txt" "$R/subshell.sql.APPLY"

step "a writer that is killed where a statement ends"
damage
db_dump "$CASE_DIR/damaged"
python3 - "$CASE_DIR/a" "$R/killed.sql" <<'PY' || true
import os, sys
f = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
os.write(f, open(sys.argv[1], "rb").read())
os.kill(os.getpid(), 9)
PY
unchanged killed
wait_for 5 "killed.sql.ERROR.txt" test -s "$R/killed.sql.ERROR.txt"
rm "$R/killed.sql"
wait_for 5 "the words go with the file" test ! -e "$R/killed.sql.ERROR.txt"

step "rsync --partial is interrupted where a statement ends, and gives the file its name all the same"
python3 - >"$CASE_DIR/lines.sql" <<'PY'
print("%-127s" % "TRUNCATE TABLE tag_usage;")
for i in range(40000):
    print("%-127s" % f"INSERT INTO tag_usage VALUES ('1','{i}','{i}','x','0','0');")
PY
for o in -a -r; do
	! timeout -s INT 2 rsync $o --partial --bwlimit=1000 "$CASE_DIR/lines.sql" "$R/lines.sql" || fail "rsync was too quick"
	unchanged "rsync $o --partial"
	wait_for 5 "lines.sql.ERROR.txt" test -s "$R/lines.sql.ERROR.txt"
	rm "$R/lines.sql"
done

step "cut, broken and empty files"
head -c 200000 "$CASE_DIR/good.sql" >"$CASE_DIR/cut.sql"
assert_errno "Bad message" cp "$CASE_DIR/cut.sql" "$R/cut.sql"
unchanged cut
assert_has "$(cat "$R/cut.sql.ERROR.txt")" 'cut' "words on the cut file"
{
	cat "$CASE_DIR/a"
	echo "DROP TABLE tag_usage;"
	cat "$CASE_DIR/b"
} >"$CASE_DIR/broken.sql"
assert_errno "Bad message" cp "$CASE_DIR/broken.sql" "$R/broken.sql"
unchanged broken
assert_has "$(cat "$R/broken.sql.ERROR.txt")" 'line 101.*DROP' "words on the broken file"
assert_has "$(cat "$MNT/prod/status.txt")" 'line 101' "status.txt"
assert_has "$(cat "$MNT/prod/journal.txt")" 'line 101' "journal.txt"
assert_errno "Bad message" rsync -a "$CASE_DIR/broken.sql" "$R/broken_too.sql"
assert_errno "Bad message" mv "$CASE_DIR/broken.sql" "$R/broken_moved.sql"
: >"$R/empty.sql"
mkdir "$R/dir" && cp "$CASE_DIR/good.sql" "$R/dir/inert.sql"
cp "$CASE_DIR/good.sql" "$R/.hidden.sql"
cp "$CASE_DIR/good.sql" "$R/notes.sql.bak"
unchanged inert
step "the cause is gone: the same file again"
cp "$CASE_DIR/good.sql" "$R/broken.sql"
assert_gone "$R/broken.sql.ERROR.txt"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/before" "$CASE_DIR/found" "copied over the broken one"
umount_fs

step "restore_confirm: a plan first; a remount keeps it"
write_config restore=replace restore_confirm=yes
mount_fs
damage
db_dump "$CASE_DIR/damaged"
cp "$CASE_DIR/good.sql" "$R/confirm.sql"
unchanged "not confirmed"
assert_has "$(cat "$R/confirm.sql.PLAN.txt")" 'tag_usage +[1-9]' "PLAN.txt"
remount_fs
touch "$R/confirm.sql.APPLY"
db_dump "$CASE_DIR/found"
assert_same "$CASE_DIR/before" "$CASE_DIR/found" confirmed
umount_fs

step "policies"
write_config restore=empty
mount_fs
assert_errno "Directory not empty" cp "$CASE_DIR/good.sql" "$R/policy.sql"
umount_fs
write_config restore=off
mount_fs
assert_errno "Operation not permitted" cp "$CASE_DIR/good.sql" "$R/policy.sql"
umount_fs
ms check
