#!/bin/bash
# The command line without a mount: each command, its exit status (0 done, 1 failed, 2 usage), --json, --dry-run, export and
# import, restore from a snapshot, a directory and one table; errors are one line that begins with "metasnap: ".
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
requires python3
for engine in sqlite postgresql mysql; do
	step "$engine"
	use_db "$engine"
	db_fill 1500
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	ms snapshot prod first
	db_dump "$CASE_DIR/first"
	db_sql "UPDATE tag_usage SET state = 9 WHERE labelType = 0; DELETE FROM bot_entity;"
	db_dump "$CASE_DIR/second"
	ms snapshot prod
	assert_has "$(ms list)" 'first' list
	ms list --json >"$CASE_DIR/list.json"
	second=$(python3 - "$CASE_DIR/list.json" <<'PY'
import json, sys
def names(x):
    if isinstance(x, dict):
        if isinstance(x.get("name"), str) and ("rows" in x or "taken" in x): yield x["name"]
        for v in x.values(): yield from names(v)
    elif isinstance(x, list):
        for v in x: yield from names(v)
got = [n for n in names(json.load(open(sys.argv[1]))) if n != "prod"]
assert len(got) == 2 and "first" in got, got
print([n for n in got if n != "first"][0])
PY
	)
	assert_has "$second" '^[0-9]{8}T[0-9]{6}Z$' "default name"
	assert_exit 1 ms diff prod first "$second"
	assert_has "$(cat "$CASE_DIR/exit.txt")" tag_usage diff
	assert_has "$(cat "$CASE_DIR/exit.txt")" bot_entity diff
	assert_exit 0 ms diff prod first first
	assert_exit 2 ms diff prod first none
	step "$engine: verify"
	ms verify
	ms verify prod first
	assert_exit 0 ms verify prod "$second" --live
	assert_exit 1 ms verify prod first --live
	step "$engine: only definitions differ"
	db_sql "CREATE INDEX cli_more ON tag_usage (state)"
	assert_exit 1 ms verify prod "$second" --live
	assert_has "$(cat "$CASE_DIR/exit.txt")" '^(drop|make anew) ' "what differs"
	ms restore prod "$second" --yes
	assert_exit 0 ms verify prod "$second" --live
	step "$engine: only a counter differs"
	ms snapshot prod counted
	db_sql "INSERT INTO task_sequence (dummy) VALUES ('c'); DELETE FROM task_sequence WHERE dummy = 'c'"
	assert_exit 1 ms verify prod counted --live
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'task_sequence.* -> ' "which counter"
	assert_has "$(ms restore prod counted --dry-run)" 'task_sequence.* -> ' "the plan names it"
	assert_has "$(ms restore prod counted --yes)" 'task_sequence.* -> ' "what was done names it"
	assert_exit 0 ms verify prod counted --live
	assert_exit 0 ms check
	step "$engine: restore"
	ms restore prod first --dry-run >"$CASE_DIR/plan"
	assert_has "$(cat "$CASE_DIR/plan")" tag_usage plan
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/second" "$CASE_DIR/found" "a dry run changes nothing"
	ms restore prod first --table tag_usage --yes
	assert_eq 0 "$(db_query 'SELECT count(*) FROM tag_usage WHERE state = 9')" "one table restored"
	assert_eq 0 "$(db_query 'SELECT count(*) FROM bot_entity')" "another table, not restored"
	ms restore prod first --yes
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/first" "$CASE_DIR/found" restored
	step "$engine: export, import, restore from a directory"
	ms export prod first "$CASE_DIR/exported_$engine"
	(cd "$CASE_DIR/exported_$engine" && sha256sum --quiet -c SHA256SUMS)
	assert_exit 1 ms export prod first "$CASE_DIR/exported_$engine"
	db_reset
	ms restore prod "$CASE_DIR/exported_$engine" --yes
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/first" "$CASE_DIR/found" "restored from an exported directory"
	ms import prod "$CASE_DIR/exported_$engine"
	echo x >>"$CASE_DIR/exported_$engine/tables/tag.jsonl"
	assert_exit 1 ms import prod "$CASE_DIR/exported_$engine"
	assert_has "$(cat "$CASE_DIR/exit.txt")" 'tag' "the damaged table is named"
	step "$engine: hold, remove"
	ms hold prod first
	assert_exit 1 ms remove prod first
	ms release prod first
	ms remove prod first
	assert_exit 1 ms remove prod first
done
step "usage and errors"
assert_exit 2 "$METASNAP"
assert_exit 2 ms nonsense
assert_exit 2 ms snapshot
assert_exit 2 ms list --nonsense
assert_exit 1 ms snapshot nosource
assert_exit 1 ms verify prod nosnapshot
assert_exit 1 "$METASNAP" -c "$CASE_DIR/none.conf" list
assert_exit 1 ms snapshot prod 'a:b'
assert_has "$(cat "$CASE_DIR/exit.txt")" '^metasnap: ' "an error's form"
assert_eq 1 "$(wc -l <"$CASE_DIR/exit.txt")" "lines of an error"
assert_exit 0 "$METASNAP" --help
[ "$(wc -l <"$CASE_DIR/exit.txt")" -le 50 ] || fail "--help is longer than a screen"
assert_exit 0 "$METASNAP" --version
step "secrets: a configuration or password file that others can read is refused"
cp "$DB_PASSWORD_FILE" "$CASE_DIR/pw"
chmod 644 "$CASE_DIR/pw"
DB_PASSWORD_FILE=$CASE_DIR/pw
write_config
assert_exit 1 ms snapshot prod x
assert_has "$(cat "$CASE_DIR/exit.txt")" 'pw' "the file is named"
step "commands while the daemon has the catalog open"
chmod 600 "$CASE_DIR/pw"
write_config
mount_fs
ms snapshot prod beside
wait_for 3 "the mount shows what a command took" test -d "$MNT/prod/snapshots/beside"
mkdir "$MNT/prod/snapshots/inside"
ls "$MNT/prod/snapshots/inside" >/dev/null
assert_has "$(ms list)" 'inside' "the command shows what the mount took"
umount_fs
