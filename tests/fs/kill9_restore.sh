#!/bin/bash
# kill -9 of the daemon while a restore runs: the database is all old or all new, by the dump of its own tool; after
# mounting again the staged files are there and `touch APPLY` (or copying again) finishes the work.
# TIMEOUT: 400
. "$(dirname "$0")/../lib.sh"
requires rsync
for engine in postgresql mysql mariadb sqlite; do
	step "$engine"
	use_db "$engine"
	db_fill 20000
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	mount_fs
	mkdir "$MNT/prod/snapshots/old"
	cp -a "$MNT/prod/archives/old" "$CASE_DIR/out_$engine"
	db_dump "$CASE_DIR/old_$engine"
	# What the restore has to undo: many rows changed, removed, added.
	db_touch_json table_entity '1 = 1'
	db_sql "DELETE FROM entity_relationship WHERE relation = 8; DELETE FROM change_event WHERE userName IS NULL; UPDATE tag_usage SET state = 7;"
	db_dump "$CASE_DIR/new_$engine"
	cmp -s "$CASE_DIR/old_$engine" "$CASE_DIR/new_$engine" && fail "the test changed nothing"
	seen_old=0 seen_new=0 n=0
	for delay in 0.1 0.3 0.5 0.8 1.2 1.8 3; do
		n=$((n + 1))
		cp -a "$CASE_DIR/out_$engine" "$MNT/prod/restore/r$n" >/dev/null 2>&1 &
		copier=$!
		sleep "$delay"
		kill9_fs
		wait "$copier" 2>/dev/null || true
		mount_fs
		# The server ends the transaction of the dead client by itself; writing waits for it.
		db_dump "$CASE_DIR/found_$engine"
		for i in $(seq 40); do
			sleep 0.1
			db_dump "$CASE_DIR/found2_$engine"
			cmp -s "$CASE_DIR/found_$engine" "$CASE_DIR/found2_$engine" && break
			mv "$CASE_DIR/found2_$engine" "$CASE_DIR/found_$engine"
		done
		if cmp -s "$CASE_DIR/found_$engine" "$CASE_DIR/new_$engine"; then
			seen_new=$((seen_new + 1))
		elif cmp -s "$CASE_DIR/found_$engine" "$CASE_DIR/old_$engine"; then
			seen_old=$((seen_old + 1))
			break
		else
			diff "$CASE_DIR/new_$engine" "$CASE_DIR/found_$engine" | cut -c1-200 | head -n 10
			fail "killed after $delay s: the database is neither as before nor as restored ($i)"
		fi
	done
	echo "killed $n times: $seen_new times not restored, $seen_old times restored"
	[ "$seen_new" -gt 0 ] || fail "no kill came before the end of the restore: the case proves nothing"

	step "$engine: afterwards the same restore works"
	if [ "$seen_old" = 0 ]; then
		rsync -a "$CASE_DIR/out_$engine/" "$MNT/prod/restore/again/"
		db_dump "$CASE_DIR/found_$engine"
		assert_same "$CASE_DIR/old_$engine" "$CASE_DIR/found_$engine" "restored after the crashes"
	fi
	umount_fs
	ms check
done
