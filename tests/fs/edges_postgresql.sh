#!/bin/bash
# What a restore of rows could break beside them, on postgresql: deferrable constraints hold before the commit; a foreign key
# over the edge of the snapshot (a table in another schema, an excluded one) is looked at in both directions and with
# transactions that are open, refused by name, left broken only by --force and said; who may not keep writers out is told
# which right that takes; orphans of the snapshot come back; a view that cannot be computed is a warning; what the
# database holds besides is named in the manifest and in status.txt.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
use_db postgresql
export PGOPTIONS="-c client_min_messages=error"
write_config restore=replace exclude=left_out
printf '[source plain]\nurl=%s\nrestore=replace\nexclude=left_out\n' "${DB_URL/metasnap@/edges_owner:secret@}" >>"$CONF"
restore() { ms restore "$@" --yes >"$CASE_DIR/restore.txt" 2>&1; }
restored() { restore "$@" || fail "restore $*: $(cat "$CASE_DIR/restore.txt")"; }
# refused PATTERN ARGUMENTS...: and nothing has changed
refused() {
	local pattern=$1
	shift
	db_dump "$CASE_DIR/before"
	if restore "$@"; then fail "restore $* was not refused: $(cat "$CASE_DIR/restore.txt")"; fi
	assert_has "$(cat "$CASE_DIR/restore.txt")" "$pattern" "why restore $* is refused"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/before" "$CASE_DIR/found" "a refusal changes nothing"
}
good() {
	db_dump "$CASE_DIR/good"
	ms snapshot prod "$1" >"$CASE_DIR/name.txt"
}
same() {
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good" "$CASE_DIR/found" "$1"
}

step "deferrable constraints"
db_sql "create table late (id int primary key, pos int unique deferrable initially deferred);
	create table soon (id int, pos int, primary key (id) deferrable, unique (pos) deferrable);
	create table rooms (id int primary key, during int4range, exclude using gist (during with &&) deferrable);
	create table guests (id int primary key, room int references rooms on delete cascade, late int references late on delete set null);
	insert into late values (1, 1), (2, 2), (3, 3); insert into soon values (1, 1), (2, 2), (3, 3);
	insert into rooms values (1, '[1,5)'), (2, '[5,9)'), (3, '[9,12)'); insert into guests values (1, 1, 1), (2, 2, 2), (3, 3, 3);"
good deferrable
swap="begin; update late set pos = 3 - pos where id < 3; update soon set pos = 3 - pos where id < 3; delete from soon where id = 3;
	set constraints all deferred; update rooms set during = case id when 1 then int4range(5, 9) else int4range(1, 5) end where id < 3; commit;"
db_sql "$swap"
restored prod deferrable
same "a whole restore"
db_sql "$swap"
mount_fs
for t in late rooms; do
	ls "$MNT/prod/now/tables/$t" >/dev/null
	db_dump "$CASE_DIR/before"
	assert_errno "File exists" cp "$MNT/prod/snapshots/deferrable/tables/$t/1.json" "$MNT/prod/now/tables/$t/1.json"
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/before" "$CASE_DIR/found" "one row of $t, whose place another has"
	assert_has "$(cat "$MNT/prod/journal.txt")" "${t}_.*(key|excl)" "the constraint by its name"
done
umount_fs
restored prod deferrable --table soon
restored prod deferrable
same "table by table"

step "over the edge of the snapshot"
db_sql "drop table guests, rooms, late, soon; create schema other; create table t (id int primary key, v int); insert into t values (1, 1);
	create table other.up (id int primary key); insert into other.up values (1), (2);
	create table down (id int primary key, up int references other.up); insert into down values (1, 2);
	create table calm (id int primary key, v int); insert into calm values (1, 1);"
good edge
db_sql "insert into t values (2, 2), (3, 3); create table other.ref (id int references t); create table left_out (id int references t);
	create table other.parts (id int references t) partition by list (id); create table other.parts2 partition of other.parts for values in (2);"
for child in other.ref left_out other.parts; do
	db_sql "insert into $child values (2), (2); insert into $child select id from t where id = 3 and '$child' <> 'other.parts'"
	refused "${child#*.}\", which is not in the snapshot: [23] rows without their parent in public.t by foreign key ${child#*.}_id_fkey|$child, which is not in the snapshot: [23] rows without their parent in public.t by foreign key ${child#*.}_id_fkey" prod edge
	refused "${child#*.}_id_fkey" prod edge --table t
	db_sql "update t set v = 7 where id = 1"
	db_sql "delete from $child; delete from down where id = 1; delete from other.up where id = 2"
	refused 'public.down: 1 rows without their parent in other.up, which is not in the snapshot, by foreign key down_up_fkey' prod edge
	db_sql "insert into other.up values (2)"
	restored prod edge
	assert_eq "1 1" "$(db_query "select string_agg(id || ' ' || v, ' ' order by id) from t")" "rows without a child in the way"
	db_sql "insert into t values (2, 2), (3, 3)"
done
db_sql "insert into other.ref values (2), (3)"
restored prod edge --force
assert_has "$(cat "$CASE_DIR/restore.txt")" 'other.ref, which is not in the snapshot: 2 rows without their parent in public.t by foreign key ref_id_fkey: left broken' "what --force leaves"
db_sql "delete from other.ref; insert into t values (2, 2), (7, 7)"

step "beside an open transaction"
for child in other.ref left_out other.parts; do
	[ "$child" = other.parts ] && row=2 || row=7
	coproc WRITER { psql -X -q -At "$DB_URL" 2>&1; }
	echo "begin; insert into $child values ($row); select 'written';" >&"${WRITER[1]}"
	read -r -t 20 answer <&"${WRITER[0]}"
	assert_eq written "$answer" "the other session"
	restore prod edge --table t &
	job=$!
	# it waits for the other's lock, whatever it waits for
	locked() { [ "$(db_query "select count(*) > 0 from pg_stat_activity where datname = current_database() and application_name = 'metasnap' and wait_event_type = 'Lock'")" = t ]; }
	wait_for 20 "the restore waits for the other session" locked
	echo "commit; \\q" >&"${WRITER[1]}"
	rc=0
	wait $job || rc=$?
	assert_eq 1 "$rc" "a restore beside a transaction that gave a parent's row a child: $(cat "$CASE_DIR/restore.txt")"
	assert_has "$(cat "$CASE_DIR/restore.txt")" "${child#*.}_id_fkey" "which child it is"
	assert_eq 0 "$(db_query "select count(*) from $child c where not exists (select from t where t.id = c.id)")" "orphans of $child"
	db_sql "delete from $child"
done

step "without the right to lock what is over the edge"
db_sql "do \$\$ begin if exists (select from pg_roles where rolname = 'edges_owner') then drop owned by edges_owner; end if; end \$\$;
	drop role if exists edges_owner; create role edges_owner login password 'secret'; grant create, usage on schema public to edges_owner;
	alter table t owner to edges_owner; alter table calm owner to edges_owner; alter table down owner to edges_owner; grant select, references on other.up to edges_owner; grant usage on schema other to edges_owner; drop table left_out, other.parts;"
ms snapshot plain mine >"$CASE_DIR/name.txt"
ms preflight plain >"$CASE_DIR/preflight.txt" || true
assert_has "$(cat "$CASE_DIR/preflight.txt")" 'GRANT SELECT, UPDATE ON TABLE other.ref TO edges_owner' "what preflight says of it"
db_sql "update calm set v = 2"
restored plain mine
assert_eq 1 "$(db_query "select v from calm")" "a table that has nothing to do with it"
db_sql "delete from t where id = 1"
refused 'other.ref, .*may not be locked: GRANT SELECT, UPDATE ON other.ref TO "edges_owner"' plain mine
db_sql "alter table other.ref owner to edges_owner; grant create, usage on schema other to edges_owner; grant select, update on other.up to edges_owner"
restored plain mine
same_fk=$(db_query "select count(*) from pg_constraint where contype = 'f' and convalidated")
assert_eq 2 "$same_fk" "foreign keys that are valid"

step "orphans of the snapshot"
db_sql "set session_replication_role = replica; create table p (id int primary key); create table c (id int primary key, p int, constraint c_p foreign key (p) references p on delete cascade);
	comment on constraint c_p on c is 'a key'; alter table p owner to edges_owner; alter table c owner to edges_owner; insert into c values (1, 99), (2, null);"
good orphans
db_sql "update c set p = null"
restored prod orphans
assert_has "$(cat "$CASE_DIR/restore.txt")" 'public.c: 1 rows without their parent by foreign key c_p, as in the snapshot' "a warning"
same "orphans by a superuser"
db_sql "update c set p = null where id = 1"
refused 'public.c: 1 rows without their parent: foreign key c_p would be violated' prod orphans --table c
ms snapshot plain orphans >"$CASE_DIR/name.txt"
db_sql "set session_replication_role = replica; update c set p = 99 where id = 1"
ms snapshot plain with >"$CASE_DIR/name.txt"
db_sql "update c set p = null where id = 1"
refused 'foreign key c_p would be violated' plain with --table c
restored plain with
assert_has "$(cat "$CASE_DIR/restore.txt")" 'foreign key c_p is NOT VALID now' "a warning to an owner"
assert_eq "99 f a key" "$(db_query "select p, convalidated, obj_description(k.oid, 'pg_constraint') from c, pg_constraint k where id = 1 and conname = 'c_p'" | tr '\t' ' ')" "the row, the key, its comment"

step "materialized views"
db_sql "drop table p, c, down; drop schema other cascade; create table n (id int primary key, b int); insert into n values (1, 1), (2, 2);
	create function half(int) returns int language plpgsql stable as 'begin return (select b from n where id = \$1) / 2; end';
	create materialized view sums as select sum(b) from n; create materialized view ratios as select 1 / b as r from n where b >= 0;
	create materialized view halves as select id, half(id) from n; create materialized view above as select * from halves;
	create view between as select * from n; create schema other; create materialized view other.far as select count(*) from between;
	create materialized view other_rows as select * from calm; create materialized view bare as select * from n with no data; insert into n values (3, 0);"
good views
db_sql "delete from n where id = 2; update n set b = 8 where id = 1; refresh materialized view sums; refresh materialized view halves; refresh materialized view above; refresh materialized view other.far; update calm set v = 5;"
db_sql "refresh materialized view other_rows; update calm set v = 1"
restored prod views
assert_has "$(cat "$CASE_DIR/restore.txt")" 'materialized view public.ratios: division by zero; it keeps the rows of before' "the one that cannot be computed"
assert_eq "3|1|1,0 2,1 3,0|1,0 2,1 3,0|3|0.50 1|f" "$(db_query "select (select sum from sums), 1, (select string_agg(id || ',' || half, ' ' order by id) from halves),
	(select string_agg(id || ',' || half, ' ' order by id) from above), (select count from other.far), '0.50 1', (select relispopulated from pg_class where relname = 'bare')" | tr '\t' '|')" "rows of the views"
assert_eq 5 "$(db_query "select v from other_rows")" "a view on a table that was not changed"
assert_exit 0 ms verify prod views --live
db_sql "drop materialized view other.far; update n set b = 2 where id = 3; refresh materialized view bare"
restored prod views
assert_eq f "$(db_query "select relispopulated from pg_class where relname = 'bare'")" "a view that had no rows has none"

step "what the database holds besides is named"
db_reset
db_sql "create table t (id int primary key); create table left_out (id int); create schema other; create table other.t (id int); create view other.v as select 1;
	create extension cube schema other; create table other.cfg (a int); insert into other.cfg values (1), (2), (-1); alter extension cube add table other.cfg;
	update pg_extension set extconfig = array['other.cfg'::regclass::oid], extcondition = array['where a > 0'] where extname = 'cube'"
db_sql "create type pair as (a int, b int); create function to_pair(int) returns pair language sql immutable as 'select row(\$1, 1)::pair'; create cast (int as pair) with function to_pair(int);
	create function watch() returns event_trigger language plpgsql as 'begin end'; create event trigger watcher on ddl_command_end execute function watch();
	create publication everything for all tables; alter database $DB_NAME set work_mem = '5MB'"
good outside
mount_fs
for text in "$MNT/prod/snapshots/outside/MANIFEST.json" "$MNT/prod/status.txt"; do
	for words in 'schema other \(1 tables, 1 views, 0 functions\)' 'cast \(integer AS public.pair\)' 'event trigger watcher' 'publication everything' \
		'table left_out, which is excluded' 'settings of the database' '2 rows of other.cfg, a configuration table of extension cube'; do
		assert_has "$(cat "$text")" "$words" "${text##*/}"
	done
done
umount_fs

step "keys are asked for once, not one by one"
db_reset
db_sql "$(for i in {1..30}; do echo "create table p$i (id int primary key); create table c$i (id int primary key, a int references p$i, b int references p$((1 + i / 2)));
	insert into p$i values (1), (2); insert into c$i values (1, 1, 2);"; done)"
good many
db_sql "alter database $DB_NAME set log_statement = 'all'; $(for i in {1..30}; do echo "delete from c$i; insert into p$i values (3);"; done)"
before=$(grep -c pg_constraint "$SERVERS_DIR/postgres/server.log" || true)
restored prod many
asked=$(($(grep -c pg_constraint "$SERVERS_DIR/postgres/server.log") - before))
db_sql "alter database $DB_NAME reset log_statement"
((asked > 0 && asked < 50)) || fail "$asked lines of statements about 60 foreign keys"
same "60 foreign keys"
db_reset
db_sql "drop role edges_owner"
