#!/bin/bash
# Whatever a key or a value can be, and whatever stands in the way of rows that a table has held before, on postgresql: a
# snapshot, then rows changed, removed and added, then a restore of the difference gives the server's own dump again; by a
# superuser, and by the tables' owner who is none. So does a restore into a new database.
#  - keys of 60 types, from extensions in another schema to documents, collations in which different texts are equal,
#    arrays, ranges and composites; keys of indexes that name a column twice
#  - values: NaN and infinities, -0, denormal numbers, dates before Christ, intervals, arrays with lower bounds, duplicate
#    keys in json, 500 levels of it, jsonb of 1e400, all bytes, text that looks like COPY's own
#  - constraints that are NOT VALID, of tables, their parents, domains and what is made of domains; foreign keys with
#    orphans; deferrable unique and exclusion constraints; triggers and rules in each state, event triggers; tables without
#    an identity that are published; columns stored PLAIN; parents given later; tables without a column and with 1,600
#  - materialised views, with rows and without, on others, in another schema
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
use_db postgresql
export PGOPTIONS="-c client_min_messages=error"
CATALOG=$CASE_DIR/catalog/catalog.db
write_config restore=replace
{
	printf '[source plain]\nurl=%s\nrestore=replace\n' "${DB_URL/metasnap@/values_owner:secret@}"
} >>"$CONF"
db_sql "DROP ROLE IF EXISTS values_owner; CREATE ROLE values_owner LOGIN PASSWORD 'secret';"

# keys, values and obstacles: SQL that makes the tables; each table has a column v, by which rows are changed
keys() {
	cat <<-'SQL'
		create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		create type mood as enum ('sad', 'o''k', 'very "happy"', 'a,b');
		create domain posint as int check (value > 0);
		create domain words as text[];
		create domain code as ext.citext;
		create type pair as (a int, b text);
		create table k_ltree(k ext.ltree primary key, v int); insert into k_ltree select ('top.a' || i)::ext.ltree, i from generate_series(1,40) i;
		create table k_jsonb(k jsonb primary key, v int); insert into k_jsonb select jsonb_build_object('b', i, 'aa', array[1,2], 'c', jsonb_build_object('x', 1.10)), i from generate_series(1,40) i;
		create table k_jsonb2(k jsonb primary key, v int); insert into k_jsonb2 values ('1',1),('"1"',2),('null',3),('true',4),('[1, 2]',5),('[]',6),('{}',7),('1.0000001',8),('"a\u0001\"b"',9),('1e100',10);
		create table k_citext(k ext.citext primary key, v int); insert into k_citext select 'Key' || i, i from generate_series(1,40) i;
		create table k_hstore(k ext.hstore primary key, v int); insert into k_hstore select ext.hstore(array['a','b"c'], array[i::text, null]), i from generate_series(1,40) i;
		create table k_isbn(k ext.ean13 primary key, v int); insert into k_isbn values ('978-0-393-04002-9',1),('4006381333931',2);
		create table k_cube(k ext.cube primary key, v int); insert into k_cube select ext.cube(array[i,0.1],array[i+1,2]), i from generate_series(1,40) i;
		create table k_seg(k ext.seg primary key, v int); insert into k_seg values ('1.0 .. 2',1),('1.00',2),('~3',3);
		create table k_num(k numeric primary key, v int); insert into k_num values (1.0,1),(2.00,2),(-0.00,3),('NaN',4),(1e200,5),(0.1,6),('Infinity',7),(100,8);
		create table k_num2(k numeric(10,2) primary key, v int); insert into k_num2 select i/7.0, i from generate_series(1,40) i;
		create table k_f8(k float8 primary key, v int); insert into k_f8 values ('-0',1),('NaN',2),('Infinity',3),('-Infinity',4),(0.1::float8+0.2,5),(5e-324,6),(1e308,7);
		create table k_f4(k float4 primary key, v int); insert into k_f4 values ('-0',1),('NaN',2),(16777217,3),(1.17549435e-38,4),(0.1,5);
		create table k_bpchar(k char(5) primary key, v int); insert into k_bpchar values ('a',1),('ab',2),('',3),(' a',4);
		create table k_bpchar2(k bpchar primary key, v int); insert into k_bpchar2 values ('a  ',1),('ab',2),(' a ',4);
		create table k_char("char" "char" primary key, v int); insert into k_char values ('a',1),('',2),('"',3),('\',4);
		create table k_nd(k text collate nocase primary key, v int); insert into k_nd values ('Straße',1),('b',2),('ÄÖ',3);
		create table k_ndv(k varchar(20) collate nocase, l text, v int, primary key(k,l)); insert into k_ndv values ('Straße','A',1),('b','a',2),('ÄÖ','A',3);
		create table k_arr(k int[] primary key, v int); insert into k_arr values ('{1,2}',1),('{}',2),('[0:1]={3,4}',3),('{{1,2},{3,4}}',4),('{NULL}',5);
		create table k_tarr(k text[] primary key, v int); insert into k_tarr values (array['a,b','"q"','\','NULL',''],1),(array[null],2),('{}',3),(array['{x}'],4);
		create table k_words(k words primary key, v int); insert into k_words values (array['a b','c'],1),('{}',2);
		create table k_pair(k pair primary key, v int); insert into k_pair values (row(1,'a,"b'),1),(row(2,null),2),(row(3,''),3),(row(4,'(x)\'),4);
		create table k_rng(k int4range primary key, v int); insert into k_rng values ('[1,5)',1),('empty',2),('(,3)',3),('[7,)',4),('(,)',5);
		create table k_trng(k tstzrange primary key, v int); insert into k_trng values ('["2020-01-01 00:00+02","2021-01-01")',1),('[,infinity)',2);
		create table k_mr(k int4multirange primary key, v int); insert into k_mr values ('{[1,2),[5,9)}',1),('{}',2);
		create table k_dom(k posint primary key, v int); insert into k_dom select i,i from generate_series(1,40) i;
		create table k_code(k code primary key, v int); insert into k_code values ('Ab',1),('cD',2);
		create table k_enum(k mood primary key, v int); insert into k_enum values ('sad',1),('o''k',2),('very "happy"',3),('a,b',4);
		create table k_bit(k bit(3) primary key, v int); insert into k_bit values ('101',1),('000',2);
		create table k_varbit(k bit varying primary key, v int); insert into k_varbit values ('101',1),('',2),('0',3),('00',4);
		create table k_tstz(k timestamptz primary key, v int); insert into k_tstz values ('2025-10-26 02:30+02',1),('2025-10-26 02:30+01',2),('infinity',3),('-infinity',4),('4713-01-01 BC',5),('2020-01-01 00:00:00.000001+00',6);
		create table k_ts3(k timestamp(3) primary key, v int); insert into k_ts3 values ('2025-10-26 02:30:00.123',1);
		create table k_date(k date primary key, v int); insert into k_date values ('infinity',1),('0044-03-15 BC',2);
		create table k_time(k timetz primary key, v int); insert into k_time values ('12:00+02',1),('11:00+01',2),('24:00',3);
		create table k_int(k interval primary key, v int); insert into k_int values ('1 mon',1),('31 days',2),('-1 day 02:03:04.5',3);
		create table k_int2(k interval day to second(2) primary key, v int); insert into k_int2 values ('1 day',1);
		create table k_bytea(k bytea primary key, v int); insert into k_bytea values ('\x00ff5c22',1),('',2),('\x',3) on conflict do nothing;
		create table k_inet(k inet primary key, v int); insert into k_inet values ('10.0.0.1',1),('10.0.0.1/8',2),('::1',3);
		create table k_cidr(k cidr primary key, v int); insert into k_cidr values ('10.0.0.0/8',1);
		create table k_mac(k macaddr8 primary key, v int); insert into k_mac values ('08:00:2b:01:02:03:04:05',1);
		create table k_uuid(k uuid primary key, v int); insert into k_uuid select gen_random_uuid(), i from generate_series(1,40) i;
		create table k_name(k name primary key, v int); insert into k_name values ('a',1),(repeat('x',63),2),('a b"c',3);
		create table k_oid(k oid primary key, v int); insert into k_oid values (4294967295,1),(0,2);
		create table k_regclass(k regclass primary key, v int); insert into k_regclass values ('k_oid',1),('pg_class',2),(0,3),(4000000000::oid,4);
		create table k_regtype(k regtype primary key, v int); insert into k_regtype values ('mood',1),('int[]',2),('ext.citext',3);
		create table k_regproc(k regproc primary key, v int); insert into k_regproc values ('pg_backend_pid',1),(0,2);
		create function ov(int) returns int language sql as 'select 1'; create function ov(text) returns int language sql as 'select 1';
		create table k_regprocd(k regprocedure primary key, v int); insert into k_regprocd values ('ov(int)',1),('ov(text)',2);
		create table k_regop(k regoperator primary key, v int); insert into k_regop values ('=(int,int)',1);
		create table k_regrole(k regrole primary key, v int); insert into k_regrole values ('metasnap',1);
		create table k_regns(k regnamespace primary key, v int); insert into k_regns values ('ext',1);
		create table k_regconf(k regconfig primary key, v int); insert into k_regconf values ('english',1);
		create table k_lsn(k pg_lsn primary key, v int); insert into k_lsn values ('16/B374D848',1);
		create table k_xid8(k xid8 primary key, v int); insert into k_xid8 values ('18446744073709551615',1);
		create table k_tid(k tid primary key, v int); insert into k_tid values ('(0,1)',1);
		create table k_money(k money primary key, v int); insert into k_money values (12.34,1),(-0.01,2);
		create table k_tsv(k tsvector primary key, v int); insert into k_tsv values ('''a b'':1A c',1),('',2);
		create table k_tsq(k tsquery primary key, v int); insert into k_tsq values ('''a'' & !b',1);
		create table k_oidv(k oidvector primary key, v int); insert into k_oidv values ('1 2 3',1),('',2);
		create table k_bool(k bool primary key, v int); insert into k_bool values (true,1),(false,2);
		create table k_gen(d int, k text generated always as ('x' || d) stored primary key, v int); insert into k_gen(d,v) select i,i from generate_series(1,5) i;
		create table k_marr(k mood[] primary key, v int); insert into k_marr values ('{sad,"very \"happy\""}',1);
		create table k_parr(k pair[] primary key, v int); insert into k_parr values (array[row(1,'a')::pair],1);
		create table k_txt(k text primary key, v int); insert into k_txt values ('',1),(E'\\N',2),(E'\\.',3),('NULL',4),(E'a\tb\nc\rd\\',5),('{"x"}',6),(E'\x01',7),(U&'\+10FFFF',8),('"',9);
		create table k_vc(k varchar(3) primary key, v int); insert into k_vc values ('a  ',1),('a',2);
		create table k_pat(k text not null, v int); create unique index on k_pat (k text_pattern_ops); insert into k_pat values ('a',1),('b',2);
		create table k_dup(a int not null, b text, v int); create index on k_dup(a, b, a); create index on k_dup(b, b text_pattern_ops); insert into k_dup select i%3,'x',i from generate_series(1,9) i;
		create table k_dupu(a int not null, b text not null, v int); create unique index on k_dupu(b, a, b text_pattern_ops); insert into k_dupu select i,'x'||i,i from generate_series(1,9) i;
		create table k_incl(a int, b int, v int, primary key(a) include (b)); insert into k_incl values (1,1,1);
		create table "K ""q"".t"("k'""\ x" text primary key, v int); insert into "K ""q"".t" values ('a',1);
	SQL
}
values() {
	cat <<-'SQL'
		create table vals(id text primary key, b bytea, j json, jb jsonb, n numeric, n65 numeric(65,30), f4 float4, f8 float8, t text, ts timestamp, tz timestamptz, d date, i interval, a text[], a2 int[], r numrange, m money, ch char(5), vc varchar(3), x xml, p point, bx box, pa path, ip inet, bits bit(3), "char" "char", v int);
		insert into vals(id, b, v) select 'all bytes', decode(string_agg(lpad(to_hex(i), 2, '0'), ''), 'hex'), 1 from generate_series(0, 255) i;
		insert into vals(id, b, t, j, v) values ('empty', '', '', '{}', 1), ('null', null, null, 'null', 1), ('N', '\x4e', E'\\N', '"\\N"', 1), ('dot', '\x5c2e', E'\\.', '[]', 1), ('word', null, 'NULL', '""', 1), ('control', null, E'\b\f\n\r\t\x0b\x01\x7f', E'\n\t{}\r', 1), ('emoji', null, U&'\+01F600 e\0301 \+10FFFF \05D0', '"\uD83D\ude00"', 1), ('blanks', null, '  x  ', ' 1 ', 1);
		insert into vals(id, j, jb, v) values ('json', E'{ "b" : 1.10,\n\t"b":2, "a": "\\u0000\\/" } ', '{"z": 1.10, "a": 12345678901234567890123, "": [null, true]}', 1), ('numbers', '[1.0, 1.00, 1e400, 9223372036854775808, 18446744073709551615, -0, 1E+2]', '[1.0, 1.00, 1e400, 9223372036854775808, 18446744073709551615, -0, 1E+2, 0.000001]', 1), ('deep', (repeat('[', 500) || repeat(']', 500))::json, (repeat('{"a":', 500) || '1' || repeat('}', 500))::jsonb, 1), ('scalars', '"x"', '"null"', 1), ('nulls', null, 'null', 1);
		insert into vals(id, n, f4, f8, ts, tz, d, v) values ('nan', 'NaN', 'NaN', 'NaN', 'infinity', 'infinity', 'infinity', 1), ('inf', 'Infinity', '-Infinity', 'Infinity', '-infinity', '-infinity', '-infinity', 1), ('extreme', 1e400, 1.17549435e-38, 1.7976931348623157e308, '4713-01-01 BC', '4713-01-01 BC', '4713-01-01 BC', 1), ('small', -0.00, 16777217, 5e-324, '2025-10-26 00:30:00.000001', '2025-10-26 02:30:00+02', '294276-12-31', 1), ('zero', 1.00, '-0', '-0', '0044-03-15 BC', '2025-10-26 02:30:00+01', '0001-01-01', 1), ('digits', repeat('9', 1000)::numeric, 0.1, 0.1::float8 + 0.2, null, null, null, 1);
		insert into vals(id, n65, i, a, a2, r, m, ch, vc, x, p, bx, pa, ip, bits, "char", v) values ('others', 12345678901234567890123456789012345.123456789012345678901234567890, '1 mon -2 days 03:04:05.000006', E'[0:1]={NULL,"a \\"b\\\\,{}"}', '[-2:-1][5:5]={{1},{NULL}}', '(1.0,2.50]', '-12.34', 'ab', 'a  ', '<a b="1">&amp;</a>', '(-0,1e-300)', '(1,2),(0,0)', '[(1,2),(3,4)]', '10.1.2.3/8', '101', 'x', 1), ('others2', 0, '-1 year', '{}', '{{1,2},{3,4}}', 'empty', 0, '', '', '', '(NaN,Infinity)', '(0,0),(0,0)', '((1,2))', '::ffff:1.2.3.4', '000', '', 1);
		insert into vals(id, t, v) select 'long', repeat('0123456789' || E'\t\\', 100000), 1;
		create type light as enum ('rot', 'gelb'); create table lights(id int primary key, l light, ls light[], v int); insert into lights values (1, 'rot', '{rot,gelb}', 1), (2, 'gelb', '{}', 2), (3, null, null, 3); alter type light rename value 'gelb' to 'orange';
		create table "Sel""ect.ÄÖ 日本"("From" int primary key, "a.b" text, "%" int, v int); insert into "Sel""ect.ÄÖ 日本" values (1, 'x', 1, 1), (2, 'y', 2, 2);
		create table n23456789012345678901234567890123456789012345678901234567890ab(c23456789012345678901234567890123456789012345678901234567890ab int primary key, v int); insert into n23456789012345678901234567890123456789012345678901234567890ab values (1, 1), (2, 2);
		create table gapped(a int primary key, b int, c int, v int); alter table gapped drop column b, add column b text default 'x'; insert into gapped values (1, 1, 1, 'y'), (2, 2, 2, 'z');
		create table tree(id int primary key, up int references tree on delete cascade, v int); insert into tree values (1, null, 1), (2, 1, 2), (3, 2, 3);
		create table ring_a(id int primary key, o int, v int); create table ring_b(id int primary key, o int references ring_a on delete cascade, v int); alter table ring_a add foreign key (o) references ring_b deferrable initially deferred; insert into ring_a values (1, null, 1); insert into ring_b values (1, 1, 1); update ring_a set o = 1;
		create sequence counter as smallint maxvalue 32767; select setval('counter', 32767); create sequence fresh; create table ser(id serial primary key, i int generated by default as identity, v int); insert into ser(v) select 1 from generate_series(1, 9);
	SQL
}
obstacles() {
	cat <<-'SQL'
		create table nv(id int primary key, a int, v int); insert into nv values (1,-1,1),(2,-2,2),(3,5,3),(4,-9,4); alter table nv add constraint "a pos" check (a > 0) not valid; comment on constraint "a pos" on nv is 'it''s old';
		create table nvp(id int, a int, v int); create table nvc(id int primary key) inherits (nvp); create table nvc2(id int primary key, check (true)) inherits (nvp); insert into nvc values (1,-1,1),(2,-1,2),(3,-1,3),(4,-1,4); insert into nvc2 values (1,-1,1); insert into nvp values (1,-7,1);
		alter table nvc add constraint bothc check (a < -100) not valid; alter table nvp add constraint bothc check (a < -100) not valid; alter table nvp add constraint down check (a > 0) not valid; alter table nvc add constraint own check (a > 1) not valid;
		create table part(id int, a int, v int, primary key (id)) partition by range (id); create table part1 partition of part for values from (0) to (100); create table part2 partition of part for values from (100) to (1000); insert into part select i, -i, i from generate_series(1,400) i; alter table part add constraint neg check (a > 0) not valid;
		create domain dom as int; create domain dom2 as dom; create type comp as (x dom, y text); create table dm(id int primary key, d dom, da dom[], d2 dom2, c comp, v int); insert into dm values (1,-1,'{-1,2}',-3,row(-4,'q'),1),(2,-1,null,null,null,2),(3,4,'{}',null,null,3); alter domain dom add constraint dpos check (value > 0) not valid; comment on constraint dpos on domain dom is 'c'; alter domain dom2 add check (value < 5) not valid;
		create table dm2(id int primary key, d dom, v int);
		create table par(id int primary key); insert into par values (1),(2); create table chi(id int primary key, p int, v int); insert into chi values (1,99,1),(2,1,2); alter table chi add constraint fnv foreign key (p) references par not valid; comment on constraint fnv on chi is 'fk';
		create table nk(a int, v int); insert into nk values (1,1),(1,1),(2,2),(3,3); create table nk2(a int not null, b int, v int); create unique index nk2i on nk2(a); alter table nk2 replica identity using index nk2i; insert into nk2 values (1,1,1),(2,2,2); create table nk3(a int primary key, v int); alter table nk3 replica identity nothing; insert into nk3 values (1,1),(2,2); create table nk4(a int,v int); alter table nk4 replica identity full; insert into nk4 values (1,1),(2,2); create table nk5(a int not null,v int); create unique index nk5i on nk5(a); alter table nk5 replica identity using index nk5i; insert into nk5 values (1,1),(2,2); drop index nk5i;
		create table df(id int primary key, pos int unique deferrable initially deferred, v int); insert into df select i,i,i from generate_series(1,10) i; create table df2(id int, pos int, v int, primary key (id) deferrable); insert into df2 select i,i,i from generate_series(1,10) i; create table dfx(id int primary key, r int4range, v int, exclude using gist (r with &&) deferrable); insert into dfx select i, int4range(i,i+1), i from generate_series(1,10) i; create table dfc(id int primary key, d int references df on delete cascade, s int references df on delete set null, v int); insert into dfc select i,i,i,i from generate_series(1,10) i;
		create function nofire() returns trigger language plpgsql as 'begin raise exception ''fired %'', tg_name; end'; create table tg(id int primary key, v int); insert into tg values (1,1),(2,2),(3,3); create trigger t1 before insert or delete on tg for each row execute function nofire(); create trigger t2 after delete on tg for each statement execute function nofire(); create trigger t3 before insert on tg for each row execute function nofire(); create constraint trigger t4 after insert or delete on tg deferrable initially deferred for each row execute function nofire(); alter table tg enable always trigger t1, enable replica trigger t2, disable trigger t3; create rule r1 as on delete to tg do instead nothing; alter table tg enable always rule r1; create trigger t5 before delete on df for each row execute function nofire(); create trigger t6 after delete on df for each statement execute function nofire(); alter table df enable always trigger t5;
		create table sp(id int primary key, t text, v int); insert into sp select i, string_agg(md5(i::text||j), ''), i from generate_series(1,5) i, generate_series(1,600) j group by i; alter table sp alter t set storage plain;
		create table inh_p(a int, b int); create table inh_c(x int, v int, b int, a int); alter table inh_c inherit inh_p; create table inh_g() inherits (inh_c); alter table inh_p add column z text default 'q'; insert into inh_c(a,b,x,v) select i,i,i,i from generate_series(1,9) i; insert into inh_g(a,b,x,v) select i,i,i,i from generate_series(1,9) i;
		create table zero(); insert into zero default values; insert into zero default values;
		create materialized view mv as select a, sum(v) s from nk group by a; create materialized view mv2 as select count(*) from mv; create materialized view mempty as select * from nk with no data; create materialized view other.mv as select * from public.nv;
		create table gen(id int primary key, g int generated always as (id * 2) stored, v int); insert into gen(id,v) values (1,1),(2,2);
		create table ident(id int generated always as identity primary key, v int); insert into ident(v) select i from generate_series(1,9) i;
		create table rls(id int primary key, v int); insert into rls values (1,1),(2,2); alter table rls enable row level security; alter table rls force row level security;
	SQL
	echo "create table wide(id int primary key, v int$(printf ', c%d int' {1..1598})); insert into wide(id, v, c1, c1598) select i, i, i, i from generate_series(1, 20) i;"
}

# A third of the rows of each table changed, a third gone, some added, without anything acting on it
break_rows() {
	db_sql <<-'SQL'
		do $$ declare t text; w text; begin
			drop event trigger if exists never; drop publication if exists everything;
			set session_replication_role = replica;
			create temp table acting as select tgrelid::regclass::text as rel, tgname, tgenabled from pg_trigger
				where not tgisinternal and tgenabled in ('A', 'R');
			for t, w in select rel, tgname from acting loop execute format('alter table %s disable trigger %I', t, w); end loop;
			alter table tg disable rule r1;
			for t in select c.oid::regclass::text from pg_class c where relkind = 'r' and relnamespace = 'public'::regnamespace
				and relname not in ('zero', 'sp') and not exists (select from pg_constraint k where k.contype in ('c') and not k.convalidated and k.conrelid = c.oid)
				and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname in ('d', 'da')) loop
				w := format('ctid in (select ctid from (select ctid, row_number() over (order by ctid) as n from only %s) x where n %% 3 = ', t);
				execute format('delete from only %s where %s 1)', t, w);
				if exists (select from pg_attribute where attrelid = t::regclass and attname = 'v') then
					execute format('update only %s set v = v + 1000 where %s 2)', t, w);
				end if;
			end loop;
			for t in select c.oid::regclass::text from pg_class c where relkind = 'r' and relnamespace = 'public'::regnamespace
				and (exists (select from pg_constraint k where k.contype in ('c') and not k.convalidated and k.conrelid = c.oid) or relname in ('dm', 'zero')) loop
				execute format('delete from only %s', t);
			end loop;
			update df set pos = 15 - pos where pos between 5 and 10;
			update dfx set r = int4range(100 + id, 101 + id);
			delete from sp where id = 1;
			insert into k_jsonb values ('{"new": [{}]}', 1);
			insert into k_ltree values ('top.new', 1);
			insert into k_citext values ('NEW', 1);
			insert into k_arr values ('{7,8}', 1);
			insert into k_pair values (row(9, 'new'), 1);
			insert into nk values (1, 1), (9, 9);
			insert into vals(id, t, v) values ('new', 'new', 1);
			insert into inh_c(a, x, v) values (77, 77, 77);
			perform setval('counter', 3), nextval('fresh');
			for t, w in select rel, format('%s trigger %I', case tgenabled when 'A' then 'always' else 'replica' end, tgname) from acting loop
				execute format('alter table %s enable %s', t, w);
			end loop;
			alter table tg enable always rule r1;
		end $$;
		refresh materialized view mv;
		refresh materialized view mv2;
		refresh materialized view other.mv;
	SQL
}

# What must not act, or must not stop it
watchers() { db_sql "create publication everything for all tables; create event trigger never on ddl_command_end execute function other.never();"; }
no_watchers() { db_sql "drop event trigger if exists never; drop publication if exists everything;"; }

compare() {
	no_watchers
	db_dump "$CASE_DIR/found"
	assert_same "$CASE_DIR/good" "$CASE_DIR/found" "$1"
	assert_eq "$VIEWS" "$(views)" "$1: rows of the views"
}

views() { db_query "select (select string_agg(x::text, ' ' order by x) from mv x), (select count from mv2), (select string_agg(x::text, ' ' order by x) from other.mv x), (select string_agg(relname || relispopulated, ' ' order by relname) from pg_class where relkind = 'm')"; }

fill() {
	db_sql <<<"create schema ext; create schema other; grant all on schema other, ext, public to values_owner; set search_path = ext;
		create extension ltree; create extension citext; create extension hstore; create extension isn; create extension cube; create extension seg;
		create function other.never() returns event_trigger language plpgsql as 'begin raise exception ''fired''; end';"
	{
		echo "set client_min_messages = warning; set xmlbinary = base64; $1"
		keys
		values
		obstacles
		[ -z "$1" ] || echo "alter table rls no force row level security;" # an owner under it does not see all rows
	} | db_sql
	db_dump "$CASE_DIR/good"
	VIEWS=$(views)
}

for who in prod plain; do
	step "the difference, by the source $who"
	db_reset
	if [ "$who" = plain ]; then fill "set role values_owner;"; else fill ""; fi
	ms snapshot "$who" good
	break_rows
	watchers
	[ "$who" = prod ] || db_sql "drop event trigger never" # such a user's definitions are anybody's
	assert_exit 0 ms restore "$who" good --yes
	compare "the difference, by $who"
	assert_exit 0 ms verify "$who" good --live
	if [ "$who" = prod ]; then
		step "into a new database"
		db_sql "drop materialized view other.mv; drop function other.never;"
		ms snapshot prod whole
		db_sql "drop table inh_p cascade"
		db_dump "$CASE_DIR/good"
		db_reset
		db_sql "create schema ext; create schema other;"
		assert_exit 0 ms restore prod whole --yes
		assert_exit 0 ms verify prod whole --live
		# which columns stand first is another order than that of a table to which parents were given later
		db_sql "drop table inh_p cascade; grant all on schema other, ext to values_owner"
		db_dump "$CASE_DIR/found"
		assert_same "$CASE_DIR/good" "$CASE_DIR/found" "into a new database"
	fi
done
db_reset
db_sql "drop role values_owner"
