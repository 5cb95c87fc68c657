#!/bin/bash
# Keys of every type and character set, and values that are easily lost, come back exactly on MySQL and MariaDB: by
# difference, one table at a time, into an empty database and by SQL files; also where the server gives notes of generated
# columns while rows are loaded.
# TIMEOUT: 400
. "$(dirname "$0")/../lib.sh"

fill() {
	local MARIADB=
	# It has no NOT NULL for generated columns, and no keys of them
	[ "$DB_ENGINE" = mysql ] || MARIADB='s/VIRTUAL NOT NULL/VIRTUAL/; s/STORED NOT NULL/STORED/; /CREATE TABLE k_generated/s/PRIMARY/UNIQUE/'
	sed "$MARIADB" <<'SQL' | db_sql
SET time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
-- Notes at every load: a date is cut off a time, text becomes a number
CREATE TABLE report_data (id varchar(36) NOT NULL PRIMARY KEY, json json NOT NULL,
  `timestamp` bigint unsigned GENERATED ALWAYS AS (json_unquote(json_extract(json, '$.timestamp'))) VIRTUAL NOT NULL,
  `date` date GENERATED ALWAYS AS (from_unixtime(json_unquote(json_extract(json, '$.timestamp')) DIV 1000)) VIRTUAL,
  d decimal(5,1) GENERATED ALWAYS AS (json_unquote(json_extract(json, '$.n'))) STORED, v varchar(9), KEY (d));
INSERT IGNORE INTO report_data (id, json, v) SELECT concat('r', seq), concat('{"id": "r', seq, '", "timestamp": ', 1700000000000 + seq * 86400000 + 12345, ', "n": ', seq, '.27}'), 'x'
  FROM (WITH RECURSIVE r (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM r WHERE seq < 300) SELECT seq FROM r) s;
-- Keys of several columns and character sets
CREATE TABLE k_latin1 (f varchar(8) CHARSET latin1 NOT NULL, n bigint NOT NULL, v int, PRIMARY KEY (f, n));
INSERT INTO k_latin1 VALUES ('Ünï', 1, 0), ('Ünï', 2, 0), ('€„ÿ', 1, 0), ('', 1, 0), ('a''\\', 1, 0), ('?', 1, 0);
CREATE TABLE k_cp1251 (n int NOT NULL, f varchar(8) CHARSET cp1251 COLLATE cp1251_bin NOT NULL, v int, PRIMARY KEY (n, f));
INSERT INTO k_cp1251 VALUES (1, 'Привет', 0), (1, 'привет', 0), (2, 'Щ', 0);
CREATE TABLE k_ucs2 (f varchar(8) CHARSET ucs2 NOT NULL, g varchar(8) CHARSET utf16 NOT NULL, h varchar(8) CHARSET utf32 NOT NULL, v int, PRIMARY KEY (f, g, h));
INSERT INTO k_ucs2 VALUES ('é', '😀', 'ü', 0), ('ж', 'x', '😀', 0), ('', '', '', 0);
CREATE TABLE k_utf16 (f varchar(8) CHARSET utf16 NOT NULL PRIMARY KEY, v int);
INSERT INTO k_utf16 VALUES ('😀', 0), ('a', 0), ('Ü', 0);
CREATE TABLE k_ascii (f varchar(8) CHARSET ascii COLLATE ascii_bin NOT NULL, n int NOT NULL, v int, PRIMARY KEY (f, n));
INSERT INTO k_ascii VALUES ('A', 1, 0), ('a', 1, 0), ('?', 1, 0);
CREATE TABLE k_ci (f varchar(8) NOT NULL, g varchar(8) CHARSET latin1 COLLATE latin1_german2_ci NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_ci VALUES ('Straße', 'Ä', 0), ('Muller', 'ss', 0), ('E\u0301', 'ß ', 0), ('é', 'x', 0);
CREATE TABLE k_gbk (f varchar(8) CHARSET gbk NOT NULL, g varchar(8) CHARSET sjis NOT NULL, h varchar(8) CHARSET big5 NOT NULL, v int, PRIMARY KEY (f, g, h));
INSERT INTO k_gbk VALUES ('縗中', 'ソ表', '功', 0), ('a\\b', 'c', 'd', 0);
CREATE TABLE k_bytes (f varbinary(8) NOT NULL, g binary(3) NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_bytes VALUES (x'', x'', 0), (x'00', x'00', 0), (x'6100', x'610000', 0), (x'61', x'61', 0), (x'ff27', x'275c00', 0);
CREATE TABLE k_bit (f bit(9) NOT NULL, g bit(64) NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_bit VALUES (b'0', b'0', 0), (b'100000001', 18446744073709551615, 0), (b'1', 39, 0);
CREATE TABLE k_enum (f enum('b', 'a', '1', 'Ü', 'it''s') CHARSET latin1 NOT NULL, g set('x', 'y', '2') CHARSET latin1 NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_enum VALUES ('b', '', 0), ('a', 'x,y', 0), ('1', '2', 0), ('Ü', 'x,2', 0), ('it''s', 'y', 0);
CREATE TABLE k_decimal (f decimal(30,10) NOT NULL, g decimal(5,0) unsigned zerofill NOT NULL, h int(6) zerofill NOT NULL, v int, PRIMARY KEY (f, g, h));
INSERT INTO k_decimal VALUES (-12345678901234567890.0123456789, 7, 42, 0), (0, 0, 0, 0), (0.1, 99999, 999999, 0);
CREATE TABLE k_float (f float NOT NULL, g double NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_float VALUES (0.1, 0.1, 0), (16777217, 1e300, 0), (-1.17549435e-38, -0.30000000000000004, 0);
CREATE TABLE k_integer (f bigint unsigned NOT NULL, g bigint NOT NULL, h tinyint NOT NULL, v int, PRIMARY KEY (f, g, h));
INSERT INTO k_integer VALUES (18446744073709551615, -9223372036854775808, -128, 0), (0, 0, 0, 0), (9223372036854775808, 1, 1, 0);
CREATE TABLE k_datetime (f datetime(6) NOT NULL, g time(6) NOT NULL, h date NOT NULL, y year NOT NULL, v int, PRIMARY KEY (f, g, h, y));
INSERT INTO k_datetime VALUES ('2024-01-31 23:59:59.999999', '-838:59:59', '2024-02-29', 2024, 0), ('1000-01-01', '00:00:00.000001', '0000-00-00', 0, 0), ('9999-12-31 23:59:59', '-00:00:01.5', '2024-00-31', 1901, 0);
-- Around the end of summer time of a server in Berlin
CREATE TABLE k_timestamp (f timestamp(3) NOT NULL DEFAULT '2000-01-01', v int, PRIMARY KEY (f));
INSERT INTO k_timestamp VALUES ('2025-10-26 00:30:00', 0), ('2025-10-26 01:30:00', 0), ('2025-03-30 01:00:00.123', 0), ('1970-01-01 00:00:01', 0), ('0000-00-00', 0);
CREATE TABLE k_char (f char(6) CHARSET latin1 NOT NULL, g char(4) NOT NULL, v int, PRIMARY KEY (f, g));
INSERT INTO k_char VALUES ('a', 'b', 0), ('Ü  ', '😀', 0), ('', '', 0), (' a', ' ', 0);
CREATE TABLE k_prefix (f varchar(200) CHARSET latin1 NOT NULL, b blob NOT NULL, n int NOT NULL, v int, UNIQUE KEY (f(3)), KEY (b(2)), UNIQUE KEY (n));
INSERT INTO k_prefix VALUES ('Ünïcode', x'0001ff', 1, 0), ('abc', '', 2, 0);
CREATE TABLE k_prefix_only (f varchar(200) CHARSET latin1 NOT NULL, v int, UNIQUE KEY (f(3)));
INSERT INTO k_prefix_only VALUES ('Ünïcode', 0), ('abc', 0), ('abd', 0);
CREATE TABLE k_generated (j json NOT NULL, id varchar(36) CHARSET latin1 GENERATED ALWAYS AS (json_unquote(json_extract(j, '$.id'))) STORED NOT NULL, v int, PRIMARY KEY (id));
INSERT INTO k_generated (j, v) VALUES ('{"id": "Ünï"}', 0), ('{"id": "x"}', 0);
CREATE TABLE k_none (a varchar(9) CHARSET latin1, n decimal(5,2), v int);
INSERT INTO k_none VALUES ('Ü', 1.10, 0), ('Ü', 1.10, 0), (NULL, NULL, 0), ('', 0, 0);
CREATE TABLE k_desc (f varchar(8) CHARSET latin1 NOT NULL, n int NOT NULL, v int, UNIQUE KEY u (f DESC, n DESC));
INSERT INTO k_desc VALUES ('Ü', 1, 0), ('a', 2, 0), ('a', 1, 0);
-- Values
CREATE TABLE v_text (id int PRIMARY KEY, a varchar(20), b text CHARSET latin1, c char(5), d text COLLATE utf8mb4_bin COMMENT '4 bytes: 😀', e varchar(9) DEFAULT 'é', v int);
INSERT INTO v_text VALUES (1, NULL, NULL, NULL, NULL, NULL, 0), (2, '', '', '', '', '', 0), (3, 'NULL', '\\N', '\\.', '\\', '''', 0), (4, 'a  ', 'é€ ', 'a', '😀👩‍👩‍👧 e\u0301 \u202ertl', 'x', 0),
  (5, '\t\r\n\Z\b', '\0', '"', '\\''\\"', '%_', 0), (6, '-- x', '/* */', ';', '#', '`', 0);
INSERT INTO v_text (id, v) VALUES (7, 0);
UPDATE v_text SET d = CONVERT(x'f48fbfbf' USING utf8mb4) WHERE id = 6;
CREATE TABLE v_bytes (id int PRIMARY KEY, a blob, b varbinary(300), c binary(4), d bit(64), e longblob, v int);
INSERT INTO v_bytes VALUES (1, NULL, NULL, NULL, NULL, NULL, 0), (2, '', '', '', b'0', '', 0), (3, x'0d0a1a00275c22ff', x'00', x'20', 18446744073709551615, x'2020', 0);
SET SESSION group_concat_max_len = 100000;
UPDATE v_bytes SET e = (SELECT UNHEX(GROUP_CONCAT(LPAD(HEX(i), 2, '0') ORDER BY i SEPARATOR '')) FROM (WITH RECURSIVE r (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i < 255) SELECT i FROM r) s) WHERE id = 3;
CREATE TABLE v_number (id int PRIMARY KEY, f float, d double, n decimal(65,30), u bigint unsigned, z int(8) zerofill, fd float(7,3), dd double(20,5), y year, b bool, v int);
INSERT INTO v_number VALUES (1, 16777217, 0.1e0 + 0.2e0, 12345678901234567890123456789012345.123456789012345678901234567890, 18446744073709551615, 42, 1234.567, 12345.12345, 0, true, 0),
  (2, 1.17549435e-38, 1e308, -0.000000000000000000000000000001, 0, 0, -0.001, -0.00001, 1901, false, 0), (3, -0e0, -0e0, 0, 1, 99999999, 0, 0, 2155, 127, 0),
  (4, 3.4028234e38, 1.7976931348623157e308, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0), (5, 0.1234567, 5e-324, 1, 1, 1, 1, 1, 1970, 1, 0);
CREATE TABLE v_time (id int PRIMARY KEY, d date, t time(6), dt datetime(6), ts timestamp(6) NULL, y year, v int);
INSERT INTO v_time VALUES (1, '0000-00-00', '-838:59:59', '0000-00-00', NULL, 0, 0), (2, '2024-02-31', '838:59:59', '2024-02-30 10:00:00.000001', '2025-10-26 00:30:00.000001', 1901, 0),
  (3, '9999-12-31', '-00:00:00.000001', '9999-12-31 23:59:59.999999', '2025-10-26 01:30:00', 2155, 0);
CREATE TABLE v_enum (id int PRIMARY KEY, e enum('a', 'Ü', '1', '2') , s set('x', 'y'), v int);
INSERT INTO v_enum VALUES (1, 'a', 'x,y', 0), (2, '2', '', 0), (3, NULL, NULL, 0);
INSERT IGNORE INTO v_enum VALUES (4, 'none', 'x', 0);
CREATE TABLE v_auto (id int AUTO_INCREMENT PRIMARY KEY, v int);
INSERT INTO v_auto VALUES (0, 0), (-5, 0), (7, 0);
ALTER TABLE v_auto AUTO_INCREMENT = 1000;
CREATE TABLE v_generated (g int GENERATED ALWAYS AS (a + 1) STORED, a int NOT NULL, h varchar(20) GENERATED ALWAYS AS (concat(a, '-', b)) VIRTUAL, b varchar(9) NOT NULL, v int, PRIMARY KEY (a), KEY (h), UNIQUE KEY (g, b));
INSERT INTO v_generated (a, b, v) VALUES (1, 'x', 0), (2, 'y', 0);
CREATE TABLE v_invisible (id int PRIMARY KEY, v int, hidden varchar(9) INVISIBLE DEFAULT 'h');
INSERT INTO v_invisible (id, v, hidden) VALUES (1, 0, 'é'), (2, 0, NULL);
CREATE TABLE v_only_generated (id int PRIMARY KEY, v int, x int DEFAULT (1 + 1), y varchar(40) DEFAULT (concat('é', 'x')));
INSERT INTO v_only_generated (id, v) VALUES (1, 0), (2, 0);
CREATE TABLE v_parts (id int NOT NULL, f varchar(8) CHARSET latin1 NOT NULL, v int, PRIMARY KEY (id, f)) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (2), PARTITION b VALUES LESS THAN MAXVALUE);
INSERT INTO v_parts VALUES (1, 'Ü', 0), (2, 'Ü', 0), (-1, '', 0), (9, 'x', 0);
-- A key's row in the same table, in a circle, of several columns with NULLs, by a longer index; cascades
CREATE TABLE v_self (id int PRIMARY KEY, up int, v int, FOREIGN KEY (up) REFERENCES v_self (id) ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO v_self VALUES (1, 1, 0), (2, 1, 0), (3, 2, 0), (4, NULL, 0);
CREATE TABLE v_one (id int PRIMARY KEY, two int, v int);
CREATE TABLE v_two (id int PRIMARY KEY, one int, a int, b varchar(8) CHARSET latin1, v int, UNIQUE KEY (a, b), KEY (one, a), FOREIGN KEY (one) REFERENCES v_one (id) ON DELETE SET NULL);
ALTER TABLE v_one ADD FOREIGN KEY (two) REFERENCES v_two (id) ON DELETE CASCADE;
INSERT INTO v_one VALUES (1, NULL, 0), (2, NULL, 0);
INSERT INTO v_two VALUES (1, 2, 1, 'Ü', 0), (2, 1, NULL, 'x', 0), (3, 1, 5, NULL, 0);
UPDATE v_one SET two = 3 - id;
CREATE TABLE v_three (id int PRIMARY KEY, a int, b varchar(8) CHARSET latin1, v int, FOREIGN KEY (a, b) REFERENCES v_two (a, b) ON UPDATE CASCADE);
INSERT INTO v_three VALUES (1, 1, 'Ü', 0), (2, NULL, 'none', 0), (3, 77, NULL, 0);
CREATE TABLE v_empty (id int PRIMARY KEY, v int);
CREATE TABLE v_geometry (id int PRIMARY KEY, g geometry, p point, v int);
INSERT INTO v_geometry VALUES (1, ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), ST_GeomFromText('POINT(1.1 -2.2)'), 0), (2, NULL, NULL, 0);
CREATE TABLE v_json (id int PRIMARY KEY, j json, v int);
INSERT INTO v_json VALUES (1, '{"b": 1.0, "a": [1, 18446744073709551615, -9223372036854775808, 1e300, 0.1], "é": "😀\\u0000\\n\\"", "": null}', 0), (2, NULL, 0), (3, '[]', 0), (4, '"x"', 0), (5, 'null', 0), (6, '1.50e2', 0), (7, 'true', 0);
SQL
	# As many columns as InnoDB has
	{
		printf 'CREATE TABLE v_wide (id int PRIMARY KEY, v int'
		printf ', c%s tinyint' $(seq 1015)
		printf '); INSERT INTO v_wide (id, v, c1, c1015) VALUES (1, 0, 1, -1), (2, 0, NULL, 0);\n'
		echo "INSERT INTO v_json VALUES (20, CONCAT(REPEAT('[', 30), '1.5', REPEAT(']', 30)), 0);"
	} | db_sql
	if [ "$DB_ENGINE" = mysql ]; then
		db_sql <<-'SQL'
			CREATE TABLE k_0900 (f varchar(8) CHARSET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL, g varchar(8) CHARSET utf8mb4 COLLATE utf8mb4_0900_as_cs NOT NULL, v int, PRIMARY KEY (f, g));
			INSERT INTO k_0900 VALUES ('é', 'E', 0), ('e', 'e', 0), ('x ', 'x', 0), ('x', 'x', 0), ('😀', '', 0);
			CREATE TABLE v_expression (id int PRIMARY KEY, j json, v int, KEY ((CAST(j ->> '$.d' AS date))), KEY ((CAST(j -> '$.a' AS unsigned ARRAY))));
			CREATE TABLE v_letters (id int PRIMARY KEY, e varchar(9) DEFAULT '😀é', x varchar(9) DEFAULT (concat('😀', 'é')), g varchar(20) AS (concat(e, '😀')) STORED, v int, CONSTRAINT letters CHECK (e <> '😀'));
			INSERT INTO v_letters (id, v) VALUES (1, 0), (2, 0);
			INSERT INTO v_expression VALUES (1, '{"d": "2024-01-31 10:00:00", "a": [1, 2]}', 0), (2, '{"d": "2024-01-31", "a": [3]}', 0);
		SQL
	else
		db_sql <<-'SQL'
			CREATE TABLE k_mariadb (u uuid NOT NULL, i inet6 NOT NULL, v int, PRIMARY KEY (u, i));
			INSERT INTO k_mariadb VALUES ('123e4567-e89b-12d3-a456-426655440000', '::1', 0), ('00000000-0000-0000-0000-000000000000', 'ffff::', 0);
			INSERT INTO v_json VALUES (8, '{"b":1,  "b":1.00 }', 0), (9, '[1e400, 1.0, 1.00, 9223372036854775808]', 0);
		SQL
	fi
}

# Half of the rows of every table go, the others change
break_rows() {
	local t
	for t in $(db_query "SHOW TABLES"); do
		# shellcheck disable=SC2028
		printf 'SET foreign_key_checks = 0, @i = 0; UPDATE %s SET v = (@i := @i + 1) ORDER BY v; DELETE FROM %s WHERE v %% 2 = 1;\n' "$t" "$t"
	done | db_sql
	db_sql "INSERT INTO k_latin1 VALUES ('neü', 9, 9); INSERT INTO k_float VALUES (0.2, 0.7, 9); INSERT INTO k_ucs2 VALUES ('ü', 'ü', '😀', 9); INSERT INTO k_datetime VALUES ('2024-01-01', '-01:00:00', '2024-01-01', 2000, 9)"
}

same() {
	db_dump "$CASE_DIR/after"
	assert_same "$CASE_DIR/before" "$CASE_DIR/after" "$DB_ENGINE: $1"
}

for engine in mysql mariadb; do
	step "$engine"
	CATALOG=$CASE_DIR/catalog_$engine/catalog.db
	use_db "$engine"
	fill
	write_config
	db_dump "$CASE_DIR/before"
	ms snapshot prod s1
	assert_exit 0 ms verify prod s1 --live

	step "$engine: by difference"
	break_rows
	ms restore prod s1 --yes >/dev/null
	same "by difference"
	assert_exit 0 ms verify prod s1 --live

	step "$engine: one table"
	db_sql "UPDATE report_data SET v = 'y'; DELETE FROM k_latin1 WHERE n = 1"
	ms restore prod s1 --yes --table report_data >/dev/null
	ms restore prod s1 --yes --table k_latin1 >/dev/null
	same "one table"

	step "$engine: SQL files"
	ms export prod s1 "$CASE_DIR/$engine.sql"
	ms backup prod --output "$CASE_DIR/backup_$engine" >/dev/null
	break_rows
	ms restore prod "$CASE_DIR/backup_$engine"/*.sql --yes >/dev/null
	same "a backup's SQL"
	db_reset
	eval "$SERVER_CLIENT $DB_NAME" <"$CASE_DIR/$engine.sql"
	same "the exported SQL"

	step "$engine: into an empty database"
	db_reset
	ms restore prod s1 --yes >/dev/null
	same "into an empty database"
	assert_exit 0 ms verify prod s1 --live

	step "$engine: letters of four bytes in definitions, which the server's own dump does not show"
	if [ "$engine" = mysql ]; then
		db_sql "INSERT INTO v_letters (id) VALUES (9)"
		assert_eq "F09F9880C3A9 F09F9880C3A9 F09F9880C3A9F09F9880" "$(db_query "SELECT concat_ws(' ', hex(e), hex(x), hex(g)) FROM v_letters WHERE id = 9")" "what the definitions make"
		db_sql "INSERT INTO v_letters (id, e) VALUES (10, '😀')" 2>/dev/null && fail "the check has other letters than before"
		db_sql "DELETE FROM v_letters WHERE id = 9"
	else
		db_sql "CREATE TABLE v_hidden (id int PRIMARY KEY, e varchar(9) NOT NULL DEFAULT '😀é', f varchar(9) DEFAULT '?'); INSERT INTO v_hidden (id) VALUES (1)"
		assert_fails ms snapshot prod s2
		assert_has "$(ms snapshot prod s2 2>&1)" 'v_hidden: the server shows the default of column e' "what cannot be seen"
		db_sql "DROP TABLE v_hidden"
	fi

	step "$engine: a SQL file whose value the server would change"
	printf 'INSERT INTO k_none (a, n) VALUES (NULL, 1.119);\n' >"$CASE_DIR/change.sql"
	assert_exit 1 ms restore prod "$CASE_DIR/change.sql" --yes
	assert_has "$(cat "$CASE_DIR/exit.txt")" "k_none.*'n'" "a value that would be rounded"
	same "a SQL file that was refused"
done
