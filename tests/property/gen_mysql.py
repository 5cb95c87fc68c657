"""MySQL and MariaDB: random schemas, rows and changes; see gen_postgresql.py for how such a generator is thought of."""

from scenario import Create, Insert, Scenario
from values import JSONS, TEXTS, Dice, Names

MARIADB = False  # set by property.py
PREPARE = []

# kind: how likely a seed has it
KINDS = {
    "odd": 0.6, "check": 0.45, "fk": 0.5, "fkcycle": 0.2, "index": 0.6, "view": 0.5, "trigger": 0.35, "function": 0.35, "procedure": 0.35, "event": 0.25,
    "generated": 0.45, "expression": 0.4, "fulltext": 0.2, "prefix": 0.3, "invisible": 0.2, "partition": 0.2, "charset": 0.4, "dbcharset": 0.2,
    "comment": 0.35, "rowformat": 0.2, "keyless": 0.4, "auto": 0.6, "definer": 0.3, "mode": 0.3, "grant": 0.25, "json": 0.5, "spatial": 0.2,
    "jsontypes": 0.1, "zerodate": 0.15, "strictoff": 0.1, "defaultexpr": 0.3, "enum": 0.5, "stampupdate": 0.2, "zerofill": 0.1, "vector": 0.1,
    "uuid": 0.3, "latinkey": 0.15, "nonstandardfk": 0.1, "invalidview": 0.1, "package": 0.1, "uniqueblob": 0.1, "compressed": 0.15,
    "linebreak": 0.1, "minus": 0.1, "orphantrigger": 0.1,
}  # fmt: skip


def literal(text):
    out = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0").replace("\r", "\\r").replace("\n", "\\n").replace("\x1a", "\\Z")
    return "'" + out + "'"


def quote(name):
    return "`" + name.replace("`", "``") + "`"


def x(data):
    return "x'" + data.hex() + "'"


SHORT = tuple(t for t in TEXTS if len(t) <= 40)
BMP = tuple(t for t in SHORT if all(ord(c) < 0x10000 for c in t))
LATIN = tuple(t for t in SHORT if all(ord(c) < 0x100 and not 0x80 <= ord(c) < 0xA0 for c in t))
BYTES = (b"", b"\0", bytes(range(256)), b"\\.", b"\xff\x0a", b"' \"", b"trail \0")

# name: (SQL type, literals, fit for a key: None, "" or a prefix)
TYPES = {
    "int": ("int", ("0", "1", "-1", "42", "2147483647", "-2147483648"), ""), "tinyint": ("tinyint", ("0", "127", "-128"), ""), "bool": ("tinyint(1)", ("0", "1"), None),
    "smallint": ("smallint unsigned", ("0", "65535"), ""), "mediumint": ("mediumint", ("0", "-8388608"), ""), "bigint": ("bigint", ("0", "9223372036854775807", "-9223372036854775808"), ""),
    "ubigint": ("bigint unsigned", ("0", "18446744073709551615"), ""), "decimal": ("decimal(10,2)", ("0", "1.10", "-99999999.99"), ""),
    "decimal65": ("decimal(65,30)", ("0", "12345678901234567890123456789012345.123456789012345678901234567890", "-0.000000000000000000000000000001"), None),
    "float": ("float", ("0", "-0.0", "1.5", "16777217", "1.17549435e-38", "3.4e38", "0.1234567"), None), "double": ("double", ("0", "-0e0", "0.1", "1e308", "0.30000000000000004", "5e-324", "2.2250738585072014e-308"), ""),
    "bit64": ("bit(64)", ("b'0'", "b'1'", "x'ffffffffffffffff'"), ""), "bit1": ("bit(1)", ("b'0'", "b'1'"), None), "char": ("char(10)", tuple(literal(t) for t in BMP if len(t) <= 10), ""),
    "varchar": ("varchar(100)", tuple(literal(t) for t in SHORT), ""), "binary": ("binary(8)", (x(b""), x(b"\0\1"), x(b"12345678"), x(b"ab  ")), ""),
    "varbinary": ("varbinary(300)", tuple(x(b) for b in BYTES), ""), "text": ("text", tuple(literal(t) for t in TEXTS), "(20)"), "tinytext": ("tinytext", tuple(literal(t) for t in SHORT), "(5)"),
    "longtext": ("longtext", tuple(literal(t) for t in TEXTS), None), "blob": ("blob", tuple(x(b) for b in BYTES), "(10)"), "longblob": ("longblob", tuple(x(b) for b in BYTES), None),
    "date": ("date", ("'2024-02-29'", "'1000-01-01'", "'9999-12-31'"), ""), "time": ("time(6)", ("'00:00:00'", "'838:59:59'", "'-838:59:59'", "'12:34:56.789012'"), ""),
    "datetime": ("datetime(6)", ("'2024-02-29 23:59:59.999999'", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"), ""), "datetime0": ("datetime", ("'2025-10-26 02:30:00'",), ""),
    "timestamp": ("timestamp(3) NULL", ("'2025-10-26 00:30:00'", "'2025-10-26 01:30:00.123'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"), ""),
    "year": ("year", ("0", "2024", "1901", "2155"), ""),
}  # fmt: skip
EXTRA = {
    "json": ("json", tuple(literal(j) for j in JSONS if "1E+20" not in j), None), "enum": ("enum('open','closed','it''s','a,b','ünï','')", ("'open'", "'it''s'", "'a,b'", "''"), ""),
    "set": ("set('a','b','c d','e''f')", ("''", "'a,b'", "'c d,e''f'"), None), "point": ("point", ("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(-0.5 1e10)')"), None),
    "geometry": ("geometry", ("ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)"), None), "vector": ("vector(3)", ("STRING_TO_VECTOR('[1,2,3.5]')", "STRING_TO_VECTOR('[-0.1,1e10,0]')"), None),
    "uuid": ("uuid", ("'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"), ""), "inet6": ("inet6", ("'::1'", "'fe80::1'", "'::ffff:1.2.3.4'"), ""),
    "zerodate": ("date", ("'0000-00-00'", "'2024-00-00'", "'2024-02-00'"), None), "zerofill": ("int(8) unsigned zerofill", ("0", "42"), ""),
    "latin": ("varchar(20) CHARACTER SET latin1", tuple(literal(t) for t in LATIN if len(t) <= 20) + ("'Ünï'",), ""), "asciibin": ("varchar(30) CHARACTER SET ascii COLLATE ascii_bin", ("'a'", "'A'", "''", "'a '"), ""),
    "utf8bin": ("varchar(30) COLLATE utf8mb4_bin", ("'a'", "'A'", "'ä'", "'😀'"), ""), "utf16": ("varchar(10) CHARACTER SET utf16", ("'ä'", "'😀'", "''"), ""), "swe7": ("char(4) CHARACTER SET swe7", ("'a'", "'A'"), None),
    "jsontypes": (
        "json", ("json_object('price', 1.10)", "json_array(cast(3 as decimal(10,2)), cast('2024-01-01' as date))", "json_object('d', cast('2024-01-01 00:00:00.5' as datetime(6)), 'u', cast(7 as unsigned))",
        "json_array(cast(x'00ff' as binary), 1e0, 1)"), None),
}  # fmt: skip


class Column:
    def __init__(self, name, key, sql, values, prefix):
        self.name, self.type_key, self.sql_type, self.values, self.prefix = name, key, sql, values, prefix
        self.q = quote(name)
        self.not_null, self.generated, self.auto = False, None, False


class Table:
    def __init__(self, name):
        self.name, self.q = name, quote(name)
        self.columns, self.key, self.partitioned = [], [], False

    def writable(self):
        return [c for c in self.columns if not c.generated]

    def plain(self):
        return [c for c in self.columns if not c.generated and not c.auto and c.name not in self.key]


class Generator:
    def __init__(self, seed, without=(), only=None):
        self.engine = "mariadb" if MARIADB else "mysql"
        self.dice = Dice(f"{self.engine} {seed}")
        self.s = Scenario(self.engine, seed)
        self.on = {k for k, chance in KINDS.items() if self.dice.maybe(chance)} - set(without)
        if only is not None:
            self.on &= set(only)
        self.on -= {"package", "uuid", "uniqueblob"} if not MARIADB else {"vector", "jsontypes", "nonstandardfk"}
        self.s.kinds = sorted(self.on)
        self.names = Names(self.dice, 0.3 if "odd" in self.on else 0, 64, "characters", "😀" if "linebreak" in self.on else "😀\n")
        self.tables, self.views, self.indexes, self.triggers, self.routines, self.events, self.fks = [], [], [], [], [], [], []
        self.types = dict(TYPES)
        wanted = {
            "json": ["json"], "enum": ["enum", "set"], "spatial": ["point", "geometry"], "vector": ["vector"], "uuid": ["uuid", "inet6"], "zerodate": ["zerodate"],
            "zerofill": ["zerofill"], "charset": ["latin", "asciibin", "utf8bin", "utf16", "swe7"], "jsontypes": ["jsontypes"],
        }  # fmt: skip
        for kind, names in wanted.items():
            if kind in self.on:
                self.types.update({n: EXTRA[n] for n in names})
        self.phase = "setup"

    def out(self, statement):
        self.s.add(self.phase, statement)

    # ---- columns and rows

    def column(self, key=False):
        d = self.dice
        while True:
            kind = d.one(["int", "varchar", "bigint", "text", "datetime"]) if d.maybe(0.3) else d.one(list(self.types))
            if "latinkey" in self.on and key and "latin" in self.types and d.maybe(0.5):
                kind = "latin"
            sql, values, prefix = self.types[kind]
            if key and prefix != "":
                continue
            c = Column(self.names.new("c"), kind, sql, values, prefix)
            if sql.startswith(("varchar", "text", "char(10)")) and "CHARACTER" not in sql and "COLLATE" not in sql and "charset" in self.on and d.maybe(0.3):
                c.sql_type += d.one([" COLLATE utf8mb4_general_ci", " CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", " COLLATE utf8mb4_bin"])
            return c

    def value(self, c):
        d = self.dice
        if not c.not_null and d.maybe(0.15):
            return "NULL"
        if c.type_key in ("int", "bigint") and d.maybe(0.6):
            return str(d.randint(-50, 5000))
        if c.type_key in ("text", "varchar") and d.maybe(0.3):
            return literal(f"v{d.number(999)}")
        return d.one(c.values)

    def column_text(self, t, c):
        d = self.dice
        text = f"{c.q} {c.sql_type}"
        if c.auto:
            return text + " NOT NULL AUTO_INCREMENT"
        if c.name not in t.key and d.maybe(0.25) and c.type_key != "timestamp":
            c.not_null = True
        if c.not_null:
            text += " NOT NULL"
        blobby = c.type_key in ("text", "tinytext", "longtext", "blob", "longblob", "json", "jsontypes", "point", "geometry", "vector")
        if d.maybe(0.2) and not blobby:
            was, c.not_null = c.not_null, True
            text += f" DEFAULT {self.value(c)}"
            c.not_null = was
        elif "defaultexpr" in self.on and d.maybe(0.3):
            text += {"int": " DEFAULT (1 + 2)", "text": " DEFAULT (concat('a', 'b''c\\\\'))", "json": " DEFAULT (json_object('a', 1))", "varchar": " DEFAULT (upper('ünï'))", "datetime": " DEFAULT (cast('2024-01-01' as datetime))"}.get(c.type_key, "")
        if "stampupdate" in self.on and c.type_key == "datetime0" and "DEFAULT" not in text:
            text += " DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
        if "invisible" in self.on and d.maybe(0.3) and c.name not in t.key and (not c.not_null or "DEFAULT" in text):
            text += " INVISIBLE"
        if "comment" in self.on and d.maybe(0.3):
            text += f" COMMENT {self.comment_text()}"
        return text

    def comment_text(self):
        return literal(self.dice.one(["a comment", "it's", "back\\slash", "line\nbreak", "ünï", "-- x", "/*!40000 */", ";;", "`"]))

    def generated(self, t):
        d = self.dice
        source = [c for c in t.columns if c.type_key in ("int", "bigint", "varchar", "text", "json", "datetime") and not c.auto]
        if not source:
            return []
        c = d.one(source)
        expression, sql = d.one(
            {
                "int": [(f"{c.q} % 7", "bigint"), (f"({c.q} in (1,2,3))", "int")], "bigint": [(f"coalesce({c.q}, 0) % 5", "bigint")], "varchar": [(f"upper({c.q})", "varchar(200)"), (f"concat({c.q}, '\\\\')", "varchar(200)")],
                "text": [(f"char_length({c.q})", "int")], "json": [(f"json_unquote(json_extract({c.q}, '$.a'))", "varchar(100)"), (f"json_extract({c.q}, '$.b')", "json")], "datetime": [(f"cast({c.q} as date)", "date")],
            }[c.type_key]
        )  # fmt: skip
        g = Column(self.names.new("g"), "generated", sql, (), "" if sql in ("bigint", "int", "date") else None)
        g.generated = d.one(["STORED", "VIRTUAL"])
        t.columns.append(g)
        return [(g.name, f"{g.q} {sql} GENERATED ALWAYS AS ({expression}) {g.generated}")]

    def check(self, t):
        d = self.dice
        ints = [c for c in t.columns if c.type_key in ("int", "bigint") and not c.auto]
        texts = [c for c in t.columns if c.type_key in ("varchar", "text")]
        choices = ["1 = 1"]
        if ints:
            c = d.one(ints).q
            choices += [f"{c} > -3000000000 or {c} < 0"] if "minus" in self.on else []
            choices += [f"{c} not in (99999, 99998)", f"case when {c} > 0 then 1 else 2 end > 0"]
        if texts:
            c = d.one(texts).q
            choices += [f"{c} <> 'begin;end'", f"char_length({c}) < 100000", f"({c} in ('open','closed') or 1)", f"{c} not like '\\\\\\\\%'"]
        return d.one(choices)

    def make_table(self):
        d = self.dice
        t = Table(self.names.new("t"))
        keyless = "keyless" in self.on and d.maybe(0.35)
        items = []
        if not keyless:
            if "auto" in self.on and d.maybe(0.5):
                c = Column(self.names.new("id"), "int", d.one(["int", "bigint unsigned", "smallint"]), ("1", "2"), "")
                c.auto = c.not_null = True
                t.columns.append(c)
                t.key.append(c.name)
            else:
                for _ in range(d.one([1, 1, 2, 3])):
                    c = self.column(key=True)
                    c.not_null = True
                    if c.sql_type.endswith(" NULL"):
                        c.sql_type = c.sql_type[:-5]
                    t.columns.append(c)
                    t.key.append(c.name)
        for _ in range(d.randint(0 if t.columns else 1, 6)):
            t.columns.append(self.column())
        d.shuffle(t.columns)
        items += [(c.name, self.column_text(t, c)) for c in t.columns]
        if "generated" in self.on and d.maybe(0.6):
            items += self.generated(t)
        if t.key:
            keys = [quote(k) for k in t.key]
            if d.maybe(0.1):
                keys[-1] += " DESC"
            items.append((None, f"PRIMARY KEY ({', '.join(keys)})"))
        if "index" in self.on:
            for _ in range(d.number(2)):
                text = self.index_text(t)
                if text:
                    items.append((None, text))
        if "check" in self.on and d.maybe(0.5):
            items.append((None, f"CONSTRAINT {quote(self.names.new('ck'))} CHECK ({self.check(t)})" + ("" if MARIADB or d.maybe(0.8) else " NOT ENFORCED")))
        tail = self.table_tail(t)
        head = "CREATE TABLE"
        if "strictoff" in self.on:
            self.out("SET SESSION innodb_strict_mode = 0")
        self.out(Create(t.name, f"{head} {t.q}", items, tail))
        self.tables.append(t)
        return t

    def table_tail(self, t):
        d, tail = self.dice, ""
        if "charset" in self.on and d.maybe(0.3):
            tail += d.one([" DEFAULT CHARACTER SET latin1", " DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin", " DEFAULT CHARSET=utf8mb3"])
        if "rowformat" in self.on and d.maybe(0.5):
            tail += d.one([" ROW_FORMAT=COMPACT", " ROW_FORMAT=REDUNDANT", " STATS_PERSISTENT=0", " STATS_SAMPLE_PAGES=7"])
        if "compressed" in self.on and d.maybe(0.5):
            tail += d.one([" ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8", " ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=4"])
        if "comment" in self.on and d.maybe(0.4):
            tail += f" COMMENT={self.comment_text()}"
        if "auto" in self.on and d.maybe(0.2) and any(c.auto for c in t.columns):
            tail += f" AUTO_INCREMENT={d.randint(10, 200)}"
        first = next((c for c in t.columns if t.key and c.name == t.key[0]), None)
        if "partition" in self.on and first and first.type_key in ("int", "bigint") and d.maybe(0.6):
            t.partitioned = True
            tail += d.one(
                [
                    f" PARTITION BY HASH ({first.q}) PARTITIONS 3", f" PARTITION BY KEY ({first.q}) PARTITIONS 2",
                    f" PARTITION BY RANGE ({first.q}) (PARTITION p0 VALUES LESS THAN (100), PARTITION {quote(self.names.new('p'))} VALUES LESS THAN MAXVALUE)",
                ]
            )  # fmt: skip
        return tail

    def index_text(self, t):
        d = self.dice
        fit = [c for c in t.columns if c.prefix is not None]
        name = quote(self.names.new("ix"))
        texts = [c for c in t.columns if c.type_key in ("text", "varchar", "longtext")]
        if "fulltext" in self.on and texts and d.maybe(0.4):
            return f"FULLTEXT KEY {name} ({d.one(texts).q})"
        if "uniqueblob" in self.on and texts and d.maybe(0.4):
            return f"UNIQUE KEY {name} ({d.one(texts).q})"
        if not fit:
            return None
        if "expression" in self.on and not MARIADB and d.maybe(0.4):
            c = d.one(fit)
            e = {"int": f"({c.q} + 1)", "bigint": f"({c.q} % 3)", "varchar": f"(lower({c.q}))", "date": f"(year({c.q}))"}.get(c.type_key)
            if e:
                return f"KEY {name} ({e})"
        parts = []
        for c in d.sample(fit, d.randint(1, min(3, len(fit)))):
            p = c.prefix or ("(3)" if "prefix" in self.on and c.type_key in ("varchar", "char", "varbinary") and d.maybe(0.4) else "")
            parts.append(c.q + p + d.one(["", "", " DESC"]))
        unique = "UNIQUE " if d.maybe(0.25) else ""
        more = ""
        if "invisible" in self.on and d.maybe(0.3):
            more = " IGNORED" if MARIADB else " INVISIBLE"
        if "comment" in self.on and d.maybe(0.3):
            more += f" COMMENT {self.comment_text()}"
        return f"{unique}KEY {name} ({', '.join(parts)}){more}"

    def row(self, t):
        d = self.dice
        values = []
        for c in t.writable():
            if c.auto and d.maybe(0.85):
                continue
            if not c.not_null and d.maybe(0.1):
                continue
            values.append((c.name, c.q, self.value(c)))
        if not values:
            return f"INSERT INTO {t.q} () VALUES ()"
        return Insert(t.name, f"INSERT INTO {t.q}", values)

    def fill(self, t):
        for _ in range(self.dice.number(7)):
            self.out(self.row(t))

    # ---- objects

    def definer(self, gone=True):
        if "definer" not in self.on:
            return ""
        if not gone:
            return self.dice.one(["", " DEFINER=:USER", " DEFINER=CURRENT_USER"])
        return self.dice.one(["", " DEFINER=:USER", " DEFINER=`nobody here`@`%`", " DEFINER=CURRENT_USER"])

    def mode(self):
        d = self.dice
        if "mode" in self.on:
            self.out(d.one(["SET sql_mode = ''", "SET sql_mode = 'ANSI'", "SET sql_mode = 'PIPES_AS_CONCAT,ONLY_FULL_GROUP_BY'", "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", "SET sql_mode = 'STRICT_ALL_TABLES,IGNORE_SPACE'"]))
            self.out(d.one(["SET NAMES utf8mb4", "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET time_zone = '+05:30'", "SET character_set_results = NULL"]))

    def plain_mode(self):
        if "mode" in self.on:
            self.out("SET sql_mode = DEFAULT, time_zone = '+00:00'")
            self.out("SET NAMES utf8mb4")

    def foreign_key(self):
        d = self.dice
        parents = [t for t in self.tables if t.key and len(t.key) <= 2 and not t.partitioned]
        children = [t for t in self.tables if not t.partitioned]
        if not parents or not children:
            return
        parent, child = d.one(parents), d.one(children)
        if "fkcycle" in self.on and child.key and d.maybe(0.4):
            parent = child
        if len(parent.key) > 2:
            return
        columns = []
        for k in parent.key:
            kc = next(c for c in parent.columns if c.name == k)
            c = Column(self.names.new("fk"), kc.type_key, kc.sql_type, kc.values, None)
            self.out(f"ALTER TABLE {child.q} ADD COLUMN {c.q} {kc.sql_type}")
            columns.append(c)
        ours, theirs = ", ".join(c.q for c in columns), ", ".join(quote(k) for k in parent.key)
        action = d.one(["", "", " ON DELETE CASCADE", " ON DELETE SET NULL", " ON UPDATE CASCADE", " ON DELETE RESTRICT", " ON DELETE NO ACTION ON UPDATE SET NULL"])
        name = self.names.new("fkey")
        self.out(f"ALTER TABLE {child.q} ADD CONSTRAINT {quote(name)} FOREIGN KEY ({ours}) REFERENCES {parent.q} ({theirs}){action}")
        if parent is not child:
            sets = ", ".join(f"{c.q} = (SELECT p.{quote(k)} FROM {parent.q} p ORDER BY 1 LIMIT 1)" for c, k in zip(columns, parent.key))
            if len(columns) == 1:
                self.out(f"UPDATE {child.q} SET {sets}")
        child.columns += columns
        self.fks.append((child, name))

    def view(self, replace=None):
        d = self.dice
        relations = [(t.q, [c.q for c in t.columns]) for t in self.tables] + [(quote(v), cs) for v, cs in self.views]
        source, columns = d.one(relations)
        chosen = d.sample(columns, d.randint(1, min(3, len(columns))))
        name = replace or self.names.new("v")
        shape = d.number(4)
        if shape == 0:
            body = f"SELECT {', '.join('q.' + c for c in chosen)} FROM {source} q WHERE 'a' IN ('a', 'it''s', '\\\\')"
            alias = chosen
        elif shape == 1:
            other, oc = d.one(relations)
            body = f"SELECT q.{chosen[0]}, count(y.{d.one(oc)}) AS n FROM {source} q LEFT JOIN {other} y ON 1 = 1 GROUP BY q.{chosen[0]}"
            alias = [chosen[0], "n"]
        elif shape == 2:
            body = f"SELECT q.{chosen[0]}, CASE WHEN q.{chosen[0]} IS NULL THEN 'null' ELSE 'end' END AS k FROM {source} q"
            alias = [chosen[0], "k"]
        else:
            body = f"SELECT q.{chosen[0]} FROM {source} q UNION ALL SELECT z.{chosen[0]} FROM {source} z"
            alias = chosen[:1]
        self.mode()
        algorithm = d.one(["", "", " ALGORITHM=MERGE", " ALGORITHM=TEMPTABLE"]) if shape in (0, 2) else ""
        security = d.one(["", "", " SQL SECURITY INVOKER", " SQL SECURITY DEFINER"])
        option = " WITH CASCADED CHECK OPTION" if shape == 0 and "TEMPTABLE" not in algorithm and d.maybe(0.2) else ""
        self.out(f"CREATE OR REPLACE{algorithm}{self.definer()}{security} VIEW {quote(name)} AS {body}{option}")
        self.plain_mode()
        if not replace:
            self.views.append((name, alias))

    def trigger(self):
        d = self.dice
        t = d.one(self.tables)
        name = self.names.new("trg")
        body = d.one(["SET @x = 1", "BEGIN DECLARE a INT DEFAULT 1; IF a = 1 THEN SET @x = 'begin; end'; END IF; END", "BEGIN\n  -- comment; end\n  SET @x = CASE WHEN 1 = 1 THEN 'it''s' ELSE 'b' END;\nEND"])
        plain = [c for c in t.plain() if c.type_key in ("int", "bigint")]
        when = d.one(["BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER DELETE"])
        if plain and when == "BEFORE UPDATE" and d.maybe(0.5):
            body = f"SET NEW.{d.one(plain).q} = coalesce(NEW.{d.one(plain).q}, 0) % 1000"
        self.mode()
        self.out(f"CREATE{self.definer('orphantrigger' in self.on)} TRIGGER {quote(name)} {when} ON {t.q} FOR EACH ROW {body}")
        self.plain_mode()
        self.triggers.append(name)

    def routine(self, kind=None, name=None):
        d = self.dice
        kind = kind or d.one([k for k in ("function", "procedure") if k in self.on] or ["procedure"])
        name = name or (d.one(["begin", "case", "end"]) if d.maybe(0.1) else self.names.new("r"))
        self.mode()
        comment = f" COMMENT {self.comment_text()}" if "comment" in self.on and d.maybe(0.5) else ""
        security = d.one(["", " SQL SECURITY INVOKER"])
        if kind == "function":
            body = d.one(["RETURN 1", "BEGIN DECLARE r INT DEFAULT 0; WHILE r < 3 DO SET r = r + 1; END WHILE; RETURN r; END", "RETURN CASE a WHEN 'x' THEN 1 ELSE length('\\\\') END"])
            charset = d.one(["", " CHARSET utf8mb4", " CHARSET latin1"])
            self.out(f"CREATE{self.definer()} FUNCTION {quote(name)}(a varchar(20){charset}) RETURNS int DETERMINISTIC{security}{comment} {body}")
        else:
            body = d.one(["SELECT 1", "BEGIN\n/* c; */ SELECT 'it''s', \"q\"; # end;\nEND", "BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; SET b = a; END"])
            self.out(f"CREATE{self.definer()} PROCEDURE {quote(name)}(IN a int, INOUT b decimal(10,2)){security}{comment} {body}")
        self.plain_mode()
        self.routines.append((kind, name))

    def event(self):
        d = self.dice
        name = self.names.new("ev")
        self.mode()
        when = d.one(["EVERY 1 DAY STARTS '2037-01-01 00:00:00'", "EVERY 3 HOUR STARTS '2036-01-01 00:00:00' ENDS '2037-01-01 00:00:00'", "AT '2037-02-03 04:05:06'"])
        state = d.one([" DISABLE", " ENABLE", ""])
        comment = f" COMMENT {self.comment_text()}" if "comment" in self.on and d.maybe(0.5) else ""
        self.out(f"CREATE{self.definer()} EVENT {quote(name)} ON SCHEDULE {when} ON COMPLETION PRESERVE{state}{comment} DO {d.one(['SET @a = 1', 'BEGIN SET @a = 2; END'])}")
        self.plain_mode()
        self.events.append(name)

    def grant(self):
        d = self.dice
        choices = [f"{d.one(['SELECT', 'INSERT, UPDATE', 'ALL'])} ON {t.q}" for t in self.tables] + [f"EXECUTE ON {k.upper()} {quote(n)}" for k, n in self.routines]
        choices += [f"SELECT ({d.one(t.columns).q}) ON {t.q}" for t in self.tables]
        self.out(f"GRANT {d.one(choices)} TO :USER")

    def package(self):
        name = quote(self.names.new("pk"))
        self.out("SET sql_mode = 'ORACLE'")
        self.out(f"CREATE PACKAGE {name} AS PROCEDURE p; FUNCTION f RETURN INT; END")
        self.out(f"CREATE PACKAGE BODY {name} AS PROCEDURE p AS BEGIN SELECT 1; END; FUNCTION f RETURN INT AS BEGIN RETURN 2; END; END")
        self.out("SET sql_mode = DEFAULT")

    def invalid_view(self):
        t, name, column = self.dice.one(self.tables), self.names.new("iv"), self.names.new("ic")
        self.out(f"ALTER TABLE {t.q} ADD COLUMN {quote(column)} int")
        self.out(f"CREATE VIEW {quote(name)} AS SELECT {quote(column)} FROM {t.q}")
        self.out(f"ALTER TABLE {t.q} DROP COLUMN {quote(column)}")

    # ---- phases

    def many(self, kind, function, most):
        if kind in self.on:
            for _ in range(self.dice.randint(1, most)):
                function()

    def setup(self):
        d = self.dice
        if "dbcharset" in self.on:
            self.phase = "database"
            self.out(d.one(["CHARACTER SET latin1", "COLLATE utf8mb4_bin", "CHARACTER SET utf8mb3"]))
            self.phase = "setup"
        if "zerodate" in self.on:
            self.out("SET sql_mode = 'ALLOW_INVALID_DATES'")
        for _ in range(d.randint(1, 4)):
            self.fill(self.make_table())
        if "zerodate" in self.on:
            self.out("SET sql_mode = DEFAULT")
        self.many("fk", self.foreign_key, 2)
        self.many("view", self.view, 3)
        self.many("trigger", self.trigger, 2)
        self.many("function", lambda: self.routine("function"), 2)
        self.many("procedure", lambda: self.routine("procedure"), 2)
        self.many("event", self.event, 2)
        self.many("package", self.package, 1)
        self.many("invalidview", self.invalid_view, 1)
        self.many("grant", self.grant, 3)

    def some_rows(self, t):
        d = self.dice
        columns = ", ".join(f"hex({c.q})" for c in t.columns)
        return f"ORDER BY sha2(concat_ws(',', {columns}, '{d.number(999)}'), 256) LIMIT {d.randint(1, 3)}"

    def row_change(self):
        d = self.dice
        t = d.one(self.tables)
        shape, plain = d.number(9), t.plain()
        if shape <= 3 and plain:
            c = d.one(plain)
            self.out(f"UPDATE {t.q} SET {c.q} = {self.value(c)} {self.some_rows(t)}")
        elif shape <= 5:
            self.out(f"DELETE FROM {t.q} {self.some_rows(t)}")
        elif shape <= 8:
            self.out(self.row(t))
        elif t.key and d.maybe(0.5):
            c = next(y for y in t.columns if y.name == t.key[0])
            self.out(f"UPDATE {t.q} SET {c.q} = {self.value(c)} {self.some_rows(t)}")
        else:
            self.out(d.one([f"DELETE FROM {t.q}", f"DELETE FROM {t.q}", f"TRUNCATE {t.q}"]))

    def rows(self, phase):
        self.phase = phase
        for _ in range(self.dice.randint(1, 8)):
            self.row_change()

    def alter_table(self):
        d = self.dice
        t = d.one(self.tables)
        shape = d.number(9)
        if shape <= 2 or not t.columns:
            c = self.column()
            self.out(f"ALTER TABLE {t.q} ADD COLUMN {self.column_text(t, c)}{d.one(['', ' FIRST'])}")
            t.columns.append(c)
            return
        c = d.one(t.columns)
        if shape == 3:
            self.out(f"ALTER TABLE {t.q} DROP COLUMN {c.q}")
        elif shape == 4:
            self.out(f"ALTER TABLE {t.q} ALTER COLUMN {c.q} {d.one(['DROP DEFAULT', 'SET DEFAULT ' + (self.value(c) if c.values else '1')])}")
        elif shape == 5:
            new = self.names.new("ren")
            self.out(f"ALTER TABLE {t.q} RENAME COLUMN {c.q} TO {quote(new)}")
            c.name, c.q = new, quote(new)
        elif shape == 6:
            self.out(f"ALTER TABLE {t.q} MODIFY COLUMN {c.q} {d.one(['text', 'varchar(1000)', 'bigint', 'longblob'])}{d.one(['', ' COMMENT ' + literal('mod')])}")
        elif shape == 7:
            new = self.names.new("tren")
            self.out(f"RENAME TABLE {t.q} TO {quote(new)}")
            t.name, t.q = new, quote(new)
        elif shape == 8:
            text = self.index_text(t)
            if text:
                self.out(f"ALTER TABLE {t.q} ADD {text}")
        else:
            self.out(f"ALTER TABLE {t.q} {d.one(['AUTO_INCREMENT = 500', 'COMMENT = ' + literal('changed'), 'CONVERT TO CHARACTER SET utf8mb4', 'DEFAULT CHARACTER SET latin1', 'ROW_FORMAT=DYNAMIC'])}")

    def drop_something(self):
        d = self.dice
        choices = [f"TABLE {t.q}" for t in self.tables] + [f"VIEW {quote(v)}" for v, _ in self.views] + [f"TRIGGER {quote(n)}" for n in self.triggers] + [f"EVENT {quote(n)}" for n in self.events]
        choices += [f"{k.upper()} {quote(n)}" for k, n in self.routines]
        if self.fks and d.maybe(0.3):
            t, n = d.one(self.fks)
            self.out(f"ALTER TABLE {t.q} DROP FOREIGN KEY {quote(n)}")
        else:
            self.out(f"DROP {d.one(choices)}")

    def replace_something(self):
        d = self.dice
        if self.routines and d.maybe(0.5):
            kind, name = d.one(self.routines)
            self.out(f"DROP {kind.upper()} {quote(name)}")
            self.routine(kind, name)
        elif self.triggers and d.maybe(0.5):
            self.out(f"DROP TRIGGER {quote(d.one(self.triggers))}")
            self.trigger()
        elif self.views:
            self.view(replace=d.one(self.views)[0])

    def schema_change(self):
        d = self.dice
        choices = [self.alter_table] * 4 + [self.drop_something, self.replace_something] + [lambda: self.fill(self.make_table())]
        per_kind = {"view": self.view, "trigger": self.trigger, "function": self.routine, "procedure": self.routine, "event": self.event, "grant": self.grant, "fk": self.foreign_key}
        for kind, function in per_kind.items():
            if kind in self.on:
                choices += [function] * 2
        if "dbcharset" in self.on:
            choices.append(lambda: self.out(d.one(["ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "ALTER DATABASE COLLATE latin1_bin"])))
        d.one(choices)()

    def schema(self):
        self.phase = "schema"
        for _ in range(self.dice.randint(1, 5)):
            self.schema_change()
        for _ in range(self.dice.number(3)):
            self.row_change()

    def scenario(self):
        self.setup()
        self.rows("rows1")
        self.rows("rows2")
        self.schema()
        self.s.names = list(self.names.given)
        return self.s


def generate(seed, without=(), only=None):
    return Generator(seed, without, only).scenario()
