#!/bin/bash
# kill -9 of the daemon while a snapshot is taken: after mounting again no half snapshot is there, in no place of the tree;
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
	expected=(whole)
	for delay in 0 0.05 0.15 0.3 0.6; do
		# all rows differ, so that there is something to write
		db_touch_json profiler_data_time_series '1 = 1'
		case $DB_ENGINE in
		postgresql) db_sql "UPDATE entity_relationship SET fromEntity = fromEntity || '$delay';" ;;
		*) db_sql "UPDATE entity_relationship SET fromEntity = concat(fromEntity, '$delay');" 2>/dev/null ||
			db_sql "UPDATE entity_relationship SET fromEntity = fromEntity || '$delay';" ;;
		esac
		mkdir "$MNT/prod/snapshots/k$delay"
		sleep "$delay"
		kill9_fs
		mount_fs
		# It is there whole (it was complete before the kill) or not at all, and the same in both places.
		[ ! -d "$MNT/prod/snapshots/k$delay" ] || expected+=("k$delay")
		for d in snapshots archives; do
			assert_eq "$(printf '%s\n' "${expected[@]}" | sort | tr '\n' ' ')" \
				"$(find "$MNT/prod/$d" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | tr '\n' ' ')" "$d after kill -9 at $delay s"
		done
		if [ -d "$MNT/prod/snapshots/k$delay" ]; then
			(cd "$MNT/prod/archives/k$delay" && sha256sum --quiet -c SHA256SUMS)
		fi
		if [ ! -d "$MNT/prod/snapshots/k$delay" ]; then
			assert_errno "No such file or directory" ls "$MNT/prod/snapshots/k$delay"
		fi
		assert_eq "$(cat "$CASE_DIR/sums_$engine")" "$(cat "$MNT/prod/archives/whole/SHA256SUMS")" "the earlier snapshot"
	done
	mkdir "$MNT/prod/snapshots/after"
	(cd "$MNT/prod/archives/after" && sha256sum --quiet -c SHA256SUMS)
	assert_eq after "$(basename "$(readlink "$MNT/prod/snapshots/latest")")" "latest"
	umount_fs
	ms check
	assert_exit 0 ms verify prod after
done
