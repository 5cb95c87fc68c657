#!/bin/bash
# Restore over a database that went on (policy replace): about 1 % of the rows differ, only these are written; the safety
# snapshot appears and restoring it brings the other state back, byte for byte; another schema is rebuilt.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
for engine in postgresql mysql mariadb sqlite; do
	step "$engine"
	use_db "$engine"
	db_fill 10000
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	write_config restore=replace
	mount_fs
	mkdir "$MNT/prod/snapshots/good"
	cp -a "$MNT/prod/archives/good" "$CASE_DIR/out_$engine"
	db_dump "$CASE_DIR/good_$engine"
	# changed, removed, added; with key, with unique key only, without key; referenced rows; sequences move
	db_touch_json table_entity "updatedAt % 3 = 0"
	db_sql "UPDATE special_keys SET v = 'changed' WHERE k IN ('a/b', '', 'A', 'a '); DELETE FROM special_keys WHERE k = '..';
		DELETE FROM entity_relationship WHERE relation = 13 AND toId < '1'; UPDATE tag_usage SET state = 5 WHERE tagFQN = 'PII.Tag7';
		DELETE FROM change_event WHERE eventTime = 1763000000001; INSERT INTO change_event (eventType, eventTime) VALUES ('twice', 1), ('twice', 1), ('twice', 1);
		INSERT INTO task_sequence (dummy) VALUES ('a'); INSERT INTO task_sequence (dummy) VALUES ('b');
		DELETE FROM ACT_CHILD WHERE PARENT_ = 'p3'; DELETE FROM ACT_PARENT WHERE ID_ = 'p3'; INSERT INTO ACT_PARENT VALUES ('q', 'new');
		INSERT INTO ACT_CHILD VALUES ('qc', 'q', NULL); UPDATE oauth_client SET parent_id = 1 WHERE id = 40; DELETE FROM special_values WHERE id > 100;
		INSERT INTO entity_usage (id, usageDate, entityType) VALUES ('x', NULL, 'table'), ('x', NULL, 'table');"
	db_dump "$CASE_DIR/bad_$engine"
	before=$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -type d | wc -l)

	step "$engine: restore"
	cp -a "$CASE_DIR/out_$engine" "$MNT/prod/restore/r1"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good_$engine" "$CASE_DIR/found" "restored over a live database"
	assert_exit 0 ms verify prod good --live

	step "$engine: the safety snapshot brings the other state back"
	assert_eq $((before + 1)) "$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -type d | wc -l)" "snapshots (one more: the safety snapshot): $(ls "$MNT/prod/snapshots"; cat "$MNT/prod/journal.txt")"
	safety=$(find "$MNT/prod/snapshots" -mindepth 1 -maxdepth 1 -type d ! -name good -printf '%f\n')
	ln -s "../snapshots/$safety" "$MNT/prod/restore/back"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/bad_$engine" "$CASE_DIR/found" "the state before the restore"

	step "$engine: another schema is rebuilt"
	db_sql "ALTER TABLE tag_usage ADD COLUMN extra integer; DROP TABLE field_relationship; CREATE TABLE later (id integer PRIMARY KEY);
		INSERT INTO later VALUES (1); CREATE INDEX later_index ON entity_usage (count1);"
	cp -a "$CASE_DIR/out_$engine" "$MNT/prod/restore/r2"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good_$engine" "$CASE_DIR/found" "rebuilt"

	step "$engine: a restore of what is there already changes nothing and succeeds"
	ln -s ../snapshots/good "$MNT/prod/restore/same"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good_$engine" "$CASE_DIR/found" "restored twice"
	umount_fs
	ms check
done
