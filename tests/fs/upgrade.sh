#!/bin/bash
# The upgrade of docs/openmetadata.md on PostgreSQL and MySQL: drill, snapshot, a migration that goes wrong, and the ways
# back, by the command and by copying a backup in.
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
requires rsync

# What a migration does to the database: columns, tables, rows, the version.
migrate() {
	if [ "$DB_ENGINE" = postgresql ]; then
		db_sql <<-'SQL'
			ALTER TABLE table_entity ADD fresh boolean GENERATED ALWAYS AS ((json ->> 'fresh')::boolean) STORED;
			ALTER TABLE tag_usage ADD appliedAt timestamp;
			CREATE TABLE data_product_entity (id varchar(36) PRIMARY KEY, json jsonb NOT NULL);
			INSERT INTO data_product_entity VALUES ('1', '{"id": "1"}');
			UPDATE user_entity SET json = json || '{"migrated": true}';
			DROP TABLE IF EXISTS entity_usage;
			INSERT INTO server_change_log (installed_rank, version, migrationfilename, checksum, installed_on) VALUES (9, '1.4.0', 'x', 'x', '2026-11-22 10:00:00');
		SQL
	else
		db_sql <<-'SQL'
			ALTER TABLE table_entity ADD fresh BOOLEAN GENERATED ALWAYS AS (json_extract(json, '$.fresh')) VIRTUAL;
			ALTER TABLE tag_usage ADD appliedAt timestamp NULL;
			CREATE TABLE data_product_entity (id varchar(36) PRIMARY KEY, json JSON NOT NULL);
			INSERT INTO data_product_entity VALUES ('1', '{"id": "1"}');
			UPDATE user_entity SET json = json_set(json, '$.migrated', true);
			DROP TABLE entity_usage;
			INSERT INTO SERVER_CHANGE_LOG (installed_rank, version, migrationFileName, checksum, installed_on) VALUES (9, '1.4.0', 'x', 'x', '2026-11-22 10:00:00');
		SQL
	fi
}

for engine in postgresql mysql; do
	step "$engine: before"
	use_db "$engine" drill
	drill=$DB_URL
	use_db "$engine"
	db_fill 3000
	CATALOG=$CASE_DIR/$engine/catalog.db
	write_config restore=replace
	printf '\n[source drill]\nurl=%s\npassword_file=%s\n' "$drill" "$DB_PASSWORD_FILE" >>"$CONF"
	ms snapshot prod drill >/dev/null
	ms export prod drill "$CASE_DIR/$engine.drill"
	ms restore drill "$CASE_DIR/$engine.drill" --yes >/dev/null
	ms verify prod drill >/dev/null
	ms snapshot prod before-1.4 >/dev/null
	ms hold prod before-1.4
	mount_fs
	rsync -a "$MNT/prod/archives/before-1.4/" "$CASE_DIR/$engine.before/"
	db_dump "$CASE_DIR/before"

	step "$engine: the migration, and what it did"
	migrate
	ms snapshot prod after-1.4 >/dev/null
	t=$(cat "$MNT/prod/changes/before-1.4..after-1.4/summary.txt")
	assert_has "$t" user_entity "changes"
	assert_has "$t" data_product_entity "changes"
	db_dump "$CASE_DIR/migrated"

	step "$engine: the way back"
	assert_fails ms restore prod before-1.4 --yes
	assert_has "$(cat "$CASE_DIR/fails.txt")" 'of OpenMetadata 1.3.1, .* of 1.4.0' "why not without --force"
	assert_errno "Invalid cross-device link" cp -a "$CASE_DIR/$engine.before" "$MNT/prod/restore/before"
	db_dump "$CASE_DIR/now"
	assert_same "$CASE_DIR/migrated" "$CASE_DIR/now" "after what was refused"
	ms restore prod before-1.4 --dry-run --force >/dev/null
	ms restore prod before-1.4 --force --yes >/dev/null
	db_dump "$CASE_DIR/now"
	assert_same "$CASE_DIR/before" "$CASE_DIR/now" "after the way back"

	step "$engine: forth and back by a copy"
	safety=$(ms list prod | grep -o '[^ ]*-before-restore' | tail -n 1)
	ms restore prod "$safety" --force --yes >/dev/null
	db_dump "$CASE_DIR/now"
	assert_same "$CASE_DIR/migrated" "$CASE_DIR/now" "after the way forth"
	umount_fs
	sed -i 's/^restore=replace/&\nrestore_force=yes/' "$CONF"
	mount_fs
	cp -a "$CASE_DIR/$engine.before" "$MNT/prod/restore/before2"
	db_dump "$CASE_DIR/now"
	assert_same "$CASE_DIR/before" "$CASE_DIR/now" "after the copy"
	umount_fs
	ms check
done
