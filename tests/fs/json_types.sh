#!/bin/bash
# MySQL's JSON documents come back with the types of their members, which their text does not tell: DECIMAL, UNSIGNED,
# DATE, TIME, DATETIME, TIMESTAMP, BIT, BLOB. By difference, into an empty database, by the exported SQL, by a backup's
# SQL and by a row that is copied into now/. What cannot be written again is refused by name when the snapshot is taken.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
use_db mysql

# Every member of every document: its text and its type
types() {
	db_query "SELECT t, id, n, v, JSON_TYPE(v) FROM all_documents,
		JSON_TABLE(j, '\$**.*' COLUMNS (n FOR ORDINALITY, v JSON PATH '\$')) z ORDER BY 1, 2, 3"
	db_query "SELECT t, id, n, v, JSON_TYPE(v) FROM all_documents,
		JSON_TABLE(j, '\$**[*]' COLUMNS (n FOR ORDINALITY, v JSON PATH '\$')) z ORDER BY 1, 2, 3"
	db_query "SELECT t, id, j, JSON_TYPE(j) FROM all_documents ORDER BY 1, 2"
}

db_sql <<'SQL'
SET time_zone = '+00:00';
CREATE TABLE price (id int PRIMARY KEY, j json);
INSERT INTO price VALUES (1, JSON_OBJECT('price', 1.10)), (2, JSON_ARRAY(CAST(3 AS DECIMAL(10,2)))), (3, JSON_OBJECT('price', 1.5)),
  (4, JSON_OBJECT('price', 1.5e0)), (5, JSON_OBJECT('price', CAST(3 AS DECIMAL(10,0)), 'n', 3, 'd', 3e0)), (6, NULL),
  (7, CAST(1.5 AS JSON)), (8, CAST(1.10 AS JSON)), (9, CAST(1.5e0 AS JSON)), (10, CAST(CAST('2024-01-31' AS DATE) AS JSON)),
  (11, '"2024-01-31"'), (12, 'null'), (13, '[]'), (14, JSON_OBJECT('price', '1.5')), (15, JSON_OBJECT('price', JSON_ARRAY(1.5, 1.5e0, '1.5', NULL, 2)));
CREATE TABLE wide (id int PRIMARY KEY, a tinyint, b bigint unsigned, c bigint, d decimal(65,30), e date, f time(6), g datetime(6), h timestamp(3),
  i bit(9), k varbinary(300), l blob, m year, n float, o double, p datetime, q decimal(12,0), r enum('x','y'));
INSERT INTO wide VALUES (1, -1, 5, 5000000000, 12345678901234567890123456789012345.1, '2024-01-31', '-838:59:58.999999', '2024-02-29 23:59:59.999999', '2024-01-31 10:00:00.123',
  b'100000001', x'00ff0d0a', 'blob', 2024, 0.1, 0.1, '2024-01-31', 4, 'x'),
  (2, 127, 18446744073709551615, -9223372036854775808, -0.000000000000000000000000000001, '0001-01-01', '00:00:00', '1000-01-01', '1970-01-01 00:00:01', b'0', '', '', 1901, -0e0, 1e300, '9999-12-31 23:59:59', -7, 'y'),
  (3, 0, 4294967295, 4294967296, 100, '9999-12-31', '100:00:00', '2024-01-31 01:02:03.4', '2038-01-19 03:14:07', b'111111111', '"\\', NULL, 1970, 1e20, 1e15, '2024-01-31 01:02:03', 4294967296, NULL);
CREATE TABLE documents (id int PRIMARY KEY, j json NOT NULL, v int, n int, z int);
INSERT INTO documents SELECT id, JSON_OBJECT('a', a, 'b', b, 'c', c, 'd', d, 'e', e, 'f', f, 'g', g, 'h', h, 'i', i, 'k', k, 'l', l, 'm', m, 'n', n, 'o', o, 'p', p, 'q', q, 'r', r), 1, 2, 3 FROM wide;
INSERT INTO documents SELECT 10 + id, JSON_ARRAY(a, b, JSON_ARRAY(c, JSON_OBJECT('x', d, 'a"b\\c', JSON_ARRAY(e, f, g, h, i)), k), JSON_ARRAY(), JSON_OBJECT(), l, m, n, o, p, q, r), 1, 2, 3 FROM wide;
INSERT INTO documents SELECT 20 + id, JSON_OBJECT('', d, '*', e, '$.x', b, 'é😀', c, CONCAT('\n', CHAR(1 USING utf8mb4)), q, 'x', JSON_OBJECT('', JSON_ARRAY(JSON_ARRAY(b)))), 1, 2, 3 FROM wide;
DROP TABLE wide;
-- As OpenMetadata's documents and migrations have them
CREATE TABLE entity (id varchar(36) GENERATED ALWAYS AS (json ->> '$.id') STORED NOT NULL PRIMARY KEY, json json NOT NULL,
  updatedAt bigint unsigned GENERATED ALWAYS AS (json ->> '$.updatedAt') VIRTUAL NOT NULL);
INSERT INTO entity (json) VALUES ('{"id": "a", "version": 0.1, "updatedAt": 1700000000000, "columns": [{"length": 1}, {"length": 255}]}'),
  (JSON_OBJECT('id', 'b', 'version', 0.2, 'updatedAt', 1700000000000, 'columns', JSON_ARRAY(JSON_OBJECT('length', CAST(7 AS UNSIGNED)), JSON_OBJECT('length', 8)))),
  (JSON_OBJECT('id', 'c', 'version', 0.1e0, 'updatedAt', UNIX_TIMESTAMP('2024-01-31 10:00:00.123456') * 1000));
-- Keys that are such members
CREATE TABLE key_number (j json NOT NULL, id bigint GENERATED ALWAYS AS (j ->> '$.id') STORED NOT NULL PRIMARY KEY);
INSERT INTO key_number (j) VALUES (JSON_OBJECT('id', CAST(5 AS UNSIGNED))), (JSON_OBJECT('id', 6)), (JSON_OBJECT('id', 5000000000)), ('{"id": 5000000001}'), (JSON_OBJECT('id', CAST(7 AS DECIMAL)));
CREATE TABLE key_text (j json NOT NULL, id varchar(30) GENERATED ALWAYS AS (j ->> '$.id') STORED NOT NULL PRIMARY KEY);
INSERT INTO key_text (j) VALUES (JSON_OBJECT('id', CAST('2024-01-31' AS DATE))), ('{"id": "2024-02-01"}'), (JSON_OBJECT('id', 1.50)), (JSON_OBJECT('id', x'00ff'));
-- No key; many members of one document
CREATE TABLE keyless (j json, k int);
INSERT INTO keyless SELECT JSON_OBJECT('n', 1.5), 1 UNION ALL SELECT JSON_OBJECT('n', 1.5e0), 1 UNION ALL SELECT JSON_OBJECT('n', 1.5), 1;
CREATE TABLE many (id int PRIMARY KEY, j json);
SET cte_max_recursion_depth = 10000;
INSERT INTO many WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3000) SELECT 1, JSON_ARRAYAGG(i / 4) FROM r;
CREATE VIEW all_documents AS SELECT 'price' t, id, j FROM price UNION ALL SELECT 'documents', id, j FROM documents UNION ALL SELECT 'entity', id, json FROM entity
  UNION ALL SELECT 'key_number', id, j FROM key_number UNION ALL SELECT 'key_text', id, j FROM key_text
  UNION ALL SELECT 'keyless', JSON_TYPE(j -> '$.n'), j FROM keyless UNION ALL SELECT 'many', id, j FROM many;
SQL
write_config
types >"$CASE_DIR/types"
db_dump "$CASE_DIR/before"
ms snapshot prod s1

step "the rows are JSON, with the server's digits"
ms export prod s1 "$CASE_DIR/out"
assert_eq '{"id":1,"j":{"price":1.10}}' "$(head -n 1 "$CASE_DIR/out/tables/price.jsonl")" "a row with a DECIMAL"
python3 -m json.tool --json-lines "$CASE_DIR/out/tables/documents.jsonl" >/dev/null
assert_exit 0 ms verify prod s1 --live

# same WHAT: the database is as it was
same() {
	types >"$CASE_DIR/now"
	assert_same "$CASE_DIR/types" "$CASE_DIR/now" "$1: members and their types"
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$1: dump"
}

step "by difference"
db_sql "DELETE FROM price WHERE id % 2 = 0; UPDATE price SET j = CAST(CAST(j AS CHAR) AS JSON); UPDATE documents SET j = '{}';
	UPDATE entity SET json = CAST(CAST(json AS CHAR) AS JSON); DELETE FROM key_text WHERE id < '2024-02'; UPDATE key_number SET j = JSON_OBJECT('id', CAST(id AS DECIMAL)); DELETE FROM keyless LIMIT 2; UPDATE many SET j = CAST(CAST(j AS CHAR) AS JSON)"
ms restore prod s1 --yes
same "by difference"

step "into an empty database"
db_reset
ms restore prod s1 --yes
same "into an empty database"

step "a changed schema"
db_sql "ALTER TABLE price ADD x int; DELETE FROM documents"
ms restore prod s1 --yes
same "a changed schema"

step "by the exported SQL"
ms export prod s1 "$CASE_DIR/s1.sql"
db_reset
eval "$SERVER_CLIENT $DB_NAME" <"$CASE_DIR/s1.sql"
same "by the exported SQL"
assert_exit 0 ms verify prod s1 --live

step "by a backup in the form of OpenMetadata's former command"
ms backup prod --output "$CASE_DIR/backup" >/dev/null
for how in metasnap client; do
	db_sql "UPDATE documents SET j = '{}'; DELETE FROM price; UPDATE entity SET json = CAST(CAST(json AS CHAR) AS JSON)"
	case $how in
	metasnap) ms restore prod "$CASE_DIR"/backup/*.sql --yes ;;
	client) eval "$SERVER_CLIENT $DB_NAME" <"$(echo "$CASE_DIR"/backup/*.sql)" ;;
	esac
	same "by a backup, $how"
done

step "a row that is copied into now/"
write_config restore=replace
mount_fs
db_sql "UPDATE price SET j = '{\"price\": 9}' WHERE id IN (1, 3)"
cp "$MNT/prod/snapshots/s1/tables/price/1.json" "$MNT/prod/snapshots/s1/tables/price/3.json" "$MNT/prod/now/tables/price/"
umount_fs
same "rows in now/"

step "another type is another document"
db_sql "UPDATE price SET j = JSON_OBJECT('price', 1.5e0) WHERE id = 3"
assert_exit 1 ms verify prod s1 --live
ms restore prod s1 --yes
same "a type that changed"

step "what cannot be written again is refused by name"
db_sql "CREATE TABLE t8 (id int PRIMARY KEY, b mediumblob, j json); INSERT INTO t8 VALUES (1, 'x', NULL); UPDATE t8 SET j = JSON_OBJECT('m', JSON_ARRAY(b))"
assert_exit 1 ms snapshot prod s2
assert_has "$(cat "$CASE_DIR/exit.txt")" 't8.*[$]."m"\[\*\].*BLOB.*base64:type250' "a type that no expression gives"
