#!/bin/bash
# kill -9 of the daemon while a snapshot is taken, at parts of the time that one takes: after mounting again no half snapshot is there, in no place of the tree;
# earlier ones are whole, a new one works, the catalog is sound.
# TIMEOUT: 240
. "$(dirname "$0")/../lib.sh"
requires python3
for engine in postgresql mysql mariadb sqlite; do
	step "$engine"
	use_db "$engine"
	db_fill 30000
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config
	mount_fs
	mkdir "$MNT/prod/snapshots/whole"
	cat "$MNT"/prod/archives/whole/SHA256SUMS >"$CASE_DIR/sums_$engine"
	expected=(whole) early=0 took=0
	for part in t 0 1 2 3 4; do # quarters of the time that the first one takes
		# all rows differ, so that there is something to write
		db_touch_json profiler_data_time_series '1 = 1'
		case $DB_ENGINE in
		postgresql) db_sql "UPDATE entity_relationship SET fromEntity = fromEntity || '$part';" ;;
		*) db_sql "UPDATE entity_relationship SET fromEntity = concat(fromEntity, '$part');" 2>/dev/null ||
			db_sql "UPDATE entity_relationship SET fromEntity = fromEntity || '$part';" ;;
		esac
		if [ "$part" = t ]; then
			mkdir "$MNT/prod/snapshots/timed"
			start=$(now_ms)
			ls "$MNT/prod/snapshots/timed" >/dev/null
			took=$(($(now_ms) - start))
			expected+=(timed)
			continue
		fi
		delay=$((took * part / 4))
		mkdir "$MNT/prod/snapshots/k$part"
		sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
		kill9_fs
		mount_fs
		# It is there whole (it was complete before the kill) or not at all, and the same in both places.
		[ ! -d "$MNT/prod/snapshots/k$part" ] || expected+=("k$part")
		for d in snapshots archives; do
			assert_eq "$(printf '%s\n' "${expected[@]}" | sort | tr '\n' ' ')" \
				"$(find "$MNT/prod/$d" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | tr '\n' ' ')" "$d after kill -9 at $delay ms"
		done
		if [ -d "$MNT/prod/snapshots/k$part" ]; then
			(cd "$MNT/prod/archives/k$part" && sha256sum --quiet -c SHA256SUMS)
		fi
		if [ ! -d "$MNT/prod/snapshots/k$part" ]; then
			assert_errno "No such file or directory" ls "$MNT/prod/snapshots/k$part"
			early=$((early + 1))
		fi
		assert_eq "$(cat "$CASE_DIR/sums_$engine")" "$(cat "$MNT/prod/archives/whole/SHA256SUMS")" "the earlier snapshot"
	done
	echo "a snapshot takes $took ms; $early of 5 kills came before its end"
	[ "$early" -ge 2 ] || fail "$early of 5 kills came before the end: too few to prove anything"
	mkdir "$MNT/prod/snapshots/after"
	(cd "$MNT/prod/archives/after" && sha256sum --quiet -c SHA256SUMS)
	assert_eq after "$(basename "$(readlink "$MNT/prod/snapshots/latest")")" "latest"
	umount_fs
	ms check
	assert_exit 0 ms verify prod after
done
