"""SQLite: random schemas, rows and changes; see gen_postgresql.py for how such a generator is thought of."""

from scenario import Create, Insert, Scenario
from values import JSONS, TEXTS, Dice, Names

PREPARE = []

KINDS = {
    "odd": 0.6, "check": 0.4, "fk": 0.4, "index": 0.6, "view": 0.5, "trigger": 0.4, "generated": 0.35, "expression": 0.3, "withoutrowid": 0.3, "strict": 0.2, "keyless": 0.4,
    "auto": 0.3, "collate": 0.3, "untyped": 0.3, "anyvalue": 0.4, "pragma": 0.2, "comment": 0.3, "crlf": 0.15, "like": 0.1, "crossview": 0.1, "dots": 0.1,
}  # fmt: skip


def literal(text):
    if "\0" in text:
        return "CAST(x'" + text.encode().hex() + "' AS TEXT)"
    return "'" + text.replace("'", "''") + "'"


def quote(name):
    return '"' + name.replace('"', '""') + '"'


NUMBERS = ("0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808", "1.0", "0.1", "-0.0", "1e308", "9e999", "-9e999", "5e-324", "1e15", "123456789012345678", "0.30000000000000004")
BLOBS = ("x''", "x'00'", "x'ff0a5c2e'", "x'" + bytes(range(256)).hex() + "'", "x'6162'")
TYPES = {
    "INTEGER": ("0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808"), "TEXT": tuple(literal(t) for t in TEXTS), "REAL": NUMBERS, "BLOB": BLOBS, "NUMERIC": NUMBERS + ("'12abc'",),
    "VARCHAR(20)": tuple(literal(t) for t in TEXTS if len(t) < 40), "BOOLEAN": ("0", "1"), "DATETIME": ("'2024-01-01 00:00:00'", "1700000000"), "JSON": tuple(literal(j) for j in JSONS), "DECIMAL(10,2)": ("1.10", "2", "'3.50'"),
}  # fmt: skip
STRICT = ("INTEGER", "TEXT", "REAL", "BLOB", "ANY", "INT")


class Column:
    def __init__(self, name, sql, values):
        self.name, self.q, self.sql_type, self.values = name, quote(name), sql, values
        self.not_null, self.generated = False, None


class Table:
    def __init__(self, name):
        self.name, self.q = name, quote(name)
        self.columns, self.key, self.rowid = [], [], True

    def writable(self):
        return [c for c in self.columns if not c.generated]


class Generator:
    def __init__(self, seed, without=(), only=None):
        self.dice = Dice(f"sqlite {seed}")
        self.s = Scenario("sqlite", seed)
        self.on = {k for k, chance in KINDS.items() if self.dice.maybe(chance)} - set(without)
        if only is not None:
            self.on &= set(only)
        self.s.kinds = sorted(self.on)
        self.names = Names(self.dice, 0.3 if "odd" in self.on else 0, 100)
        self.tables, self.views, self.indexes, self.triggers = [], [], [], []
        self.phase = "setup"

    def out(self, statement):
        self.s.add(self.phase, statement)

    def column(self, strict=False):
        d = self.dice
        sql = d.one(STRICT) if strict else d.one(list(TYPES))
        values = TYPES.get({"INT": "INTEGER", "ANY": "NUMERIC"}.get(sql, sql))
        if strict and sql == "REAL":
            values = tuple(v for v in values if v != "9e999")
        if "untyped" in self.on and not strict and d.maybe(0.3):
            sql, values = "", NUMBERS + BLOBS + tuple(literal(t) for t in TEXTS[:10])
        if "anyvalue" in self.on and not strict and d.maybe(0.3):
            values = values + NUMBERS + BLOBS + (literal("text"), literal("1"), literal("1.0"))
        return Column(self.names.new("c"), sql, values)

    def value(self, c):
        d = self.dice
        if not c.not_null and d.maybe(0.15):
            return "NULL"
        if c.sql_type in ("INTEGER", "INT") and d.maybe(0.6):
            return str(d.randint(-50, 5000))
        if c.sql_type == "TEXT" and d.maybe(0.4):
            return literal(f"v{d.number(999)}")
        return d.one(c.values)

    def column_text(self, t, c):
        d = self.dice
        text = f"{c.q} {c.sql_type}".rstrip()
        if c.name in t.key and len(t.key) == 1 and t.inline:
            return text + t.inline
        if d.maybe(0.25) and c.name not in t.key:
            c.not_null = True
            text += " NOT NULL" + d.one(["", " ON CONFLICT REPLACE", " ON CONFLICT FAIL"]) if d.maybe(0.3) else " NOT NULL"
        if d.maybe(0.2):
            was, c.not_null = c.not_null, True
            text += d.one([f" DEFAULT {self.value(c)}" if not self.value(c).startswith("CAST") else "", " DEFAULT (1 + 2)", " DEFAULT CURRENT_TIMESTAMP", " DEFAULT 'it''s'"])
            c.not_null = was
        if "collate" in self.on and d.maybe(0.3):
            text += d.one([" COLLATE NOCASE", " COLLATE RTRIM", " COLLATE BINARY"])
        if "check" in self.on and d.maybe(0.2):
            text += f" CHECK ({c.q} IS NULL OR {c.q} NOT IN ('begin;', 'end'))"
        if "comment" in self.on and d.maybe(0.2):
            text += " /* it's; */"
        return text

    def make_table(self):
        d = self.dice
        t = Table(self.names.new("t"))
        t.inline = ""
        strict = "strict" in self.on and d.maybe(0.5)
        without_rowid = "withoutrowid" in self.on and d.maybe(0.5)
        keyless = not without_rowid and "keyless" in self.on and d.maybe(0.35)
        if not keyless:
            if not without_rowid and d.maybe(0.5):
                c = Column(self.names.new("id"), "INTEGER", ("1", "2"))
                c.not_null = True
                t.inline = " PRIMARY KEY" + (" AUTOINCREMENT" if "auto" in self.on and d.maybe(0.6) else d.one(["", "", " DESC"]))
                t.columns.append(c)
                t.key.append(c.name)
            else:
                for _ in range(d.one([1, 1, 2, 3])):
                    c = self.column(strict)
                    c.not_null = without_rowid or d.maybe(0.7)
                    t.columns.append(c)
                    t.key.append(c.name)
        for _ in range(d.randint(0 if t.columns else 1, 5)):
            t.columns.append(self.column(strict))
        d.shuffle(t.columns)
        items = [(c.name, self.column_text(t, c)) for c in t.columns]
        if "generated" in self.on and d.maybe(0.6):
            source = d.one(t.columns)
            g = Column(self.names.new("g"), "TEXT", ())
            g.generated = d.one(["STORED", "VIRTUAL"])
            items.append((g.name, f"{g.q} TEXT {d.one(['GENERATED ALWAYS ', ''])}AS (CASE WHEN {source.q} IS NULL THEN 'end' ELSE typeof({source.q}) || 'x' END) {g.generated}"))
            t.columns.append(g)
        if t.key and not t.inline:
            items.append((None, f"PRIMARY KEY ({', '.join(quote(k) + d.one(['', '', ' DESC']) for k in t.key)}){d.one(['', ' ON CONFLICT REPLACE']) if d.maybe(0.2) else ''}"))
        if "index" in self.on and d.maybe(0.3):
            items.append((None, f"CONSTRAINT {quote(self.names.new('uq'))} UNIQUE ({d.one(t.columns).q})"))
        if "fk" in self.on and self.tables and d.maybe(0.5):
            parent = d.one([x for x in self.tables if x.key] or [t])
            if len(parent.key) == 1:
                c = Column(self.names.new("fk"), next((x.sql_type for x in parent.columns if x.name == parent.key[0]), "INTEGER"), ("NULL", "1", "2"))
                t.columns.append(c)
                items.insert(len([i for i in items if i[0]]), (c.name, f"{c.q} {c.sql_type}"))
                items.append((None, f"FOREIGN KEY ({c.q}) REFERENCES {parent.q} ({quote(parent.key[0])}){d.one(['', ' ON DELETE CASCADE', ' ON UPDATE SET NULL', ' DEFERRABLE INITIALLY DEFERRED'])}"))
        options = [o for o, use in (("STRICT", strict), ("WITHOUT ROWID", without_rowid)) if use]
        head = d.one(["CREATE TABLE", "CREATE TABLE", "create  table"])
        eol = "\r\n" if "crlf" in self.on else ""
        t.rowid = not without_rowid
        self.out(Create(t.name, f"{head} {t.q}{eol}", items, " " + ", ".join(options) if options else ""))
        self.tables.append(t)
        return t

    def row(self, t):
        d, values = self.dice, []
        for c in t.writable():
            if t.inline and c.name in t.key and d.maybe(0.8):
                continue
            if not c.not_null and d.maybe(0.1):
                continue
            values.append((c.name, c.q, self.value(c)))
        if not values:
            return f"INSERT INTO {t.q} DEFAULT VALUES"
        return Insert(t.name, f"INSERT INTO {t.q}", values)

    def fill(self, t):
        for _ in range(self.dice.number(7)):
            self.out(self.row(t))

    def index(self):
        d = self.dice
        t = d.one(self.tables)
        parts = []
        for c in d.sample(t.columns, d.randint(1, min(3, len(t.columns)))):
            p = d.one([f"lower({c.q})", f"{c.q} || 'x'", f"CASE WHEN {c.q} THEN 1 END"]) if "expression" in self.on and d.maybe(0.4) else c.q + d.one(["", " COLLATE NOCASE", " DESC"])
            parts.append(p)
        where = d.one(["", f" WHERE {d.one(t.columns).q} IS NOT NULL", f" WHERE {d.one(t.columns).q} > 'end'"]) if d.maybe(0.4) else ""
        name = self.names.new("ix")
        self.out(f"CREATE {d.one(['', '', 'UNIQUE '])}INDEX {quote(name)} ON {t.q} ({', '.join(parts)}){where}")
        self.indexes.append(name)

    def view(self):
        d = self.dice
        relations = [(t.q, [c.q for c in t.columns]) for t in self.tables] + [(quote(v), cs) for v, cs in self.views]
        source, columns = d.one(relations)
        chosen = d.sample(columns, d.randint(1, min(2, len(columns))))
        name = self.names.new("v")
        eol = "\r\n" if "crlf" in self.on else " "
        body = d.one([f"SELECT {', '.join(chosen)}{eol}FROM {source} -- it's a comment;\n WHERE 1", f"SELECT {chosen[0]}, CASE WHEN 1 THEN 'end;' END AS k FROM {source}", f"SELECT x.{chosen[0]} FROM {source} x UNION ALL SELECT 'begin'"])
        alias = chosen if body.startswith(f"SELECT {', '.join(chosen)}{eol}") else chosen[:1]
        named = f" ({', '.join(alias)})" if len(alias) == body.split("FROM")[0].count(",") + 1 and d.maybe(0.2) else ""
        self.out(f"CREATE VIEW {quote(name)}{named} AS {body}")
        self.views.append((name, alias))

    def trigger(self):
        d = self.dice
        name = self.names.new("trg")
        if self.views and d.maybe(0.3):
            v, _ = d.one(self.views)
            self.out(f"CREATE TRIGGER {quote(name)} INSTEAD OF DELETE ON {quote(v)} BEGIN SELECT CASE WHEN 1 THEN 2 END; END")
        else:
            t, other = d.one(self.tables), d.one(self.tables)
            body = d.one(["SELECT 1;", "SELECT CASE WHEN 1 THEN 'end;' ELSE 'begin' END;", f"UPDATE {other.q} SET {other.columns[0].q} = {other.columns[0].q} WHERE 0;", "SELECT 1; /* end; */ SELECT 2;"])
            when = d.one(["", " WHEN 1 = 1"])
            self.out(f"CREATE TRIGGER {quote(name)} {d.one(['BEFORE', 'AFTER'])} {d.one(['INSERT', 'DELETE', 'UPDATE'])} ON {t.q}{when} BEGIN {body} END")
        self.triggers.append(name)

    def many(self, kind, function, most):
        if kind in self.on:
            for _ in range(self.dice.randint(1, most)):
                function()

    def setup(self):
        d = self.dice
        if "pragma" in self.on:
            self.phase = "database"
            self.out(d.one(["PRAGMA page_size = 1024", "PRAGMA auto_vacuum = 1", "PRAGMA encoding = 'UTF-16le'", "PRAGMA journal_mode = WAL"]))
            self.phase = "setup"
            self.out(d.one(["PRAGMA user_version = 7", "PRAGMA application_id = 1234"]))
        for _ in range(d.randint(1, 4)):
            self.fill(self.make_table())
        self.many("index", self.index, 3)
        self.many("view", self.view, 3)
        self.many("trigger", self.trigger, 2)

    def some_rows(self, t):
        d = self.dice
        # no hash function here: an order that hangs on a number of the dice
        order = f"({' || '.join('length(quote(' + c.q + '))' for c in t.columns)}) * {d.randint(3, 97)} % 101"
        if t.rowid:
            return f"rowid IN (SELECT rowid FROM {t.q} ORDER BY {order}, rowid LIMIT {d.randint(1, 3)})"
        keys = ", ".join(quote(k) for k in t.key)
        return f"({keys}) IN (SELECT {keys} FROM {t.q} ORDER BY {order}, {keys} LIMIT {d.randint(1, 3)})"

    def row_change(self):
        d = self.dice
        t = d.one(self.tables)
        shape = d.number(9)
        plain = [c for c in t.writable() if c.name not in t.key]
        if shape <= 3 and plain:
            c = d.one(plain)
            self.out(f"UPDATE OR IGNORE {t.q} SET {c.q} = {self.value(c)} WHERE {self.some_rows(t)}")
        elif shape <= 5:
            self.out(f"DELETE FROM {t.q} WHERE {self.some_rows(t)}")
        elif shape <= 8:
            self.out(self.row(t))
        elif t.key and d.maybe(0.5):
            c = next(x for x in t.columns if x.name == t.key[0])
            self.out(f"UPDATE OR REPLACE {t.q} SET {c.q} = {self.value(c)} WHERE {self.some_rows(t)}")
        else:
            self.out(f"DELETE FROM {t.q}")

    def rows(self, phase):
        self.phase = phase
        for _ in range(self.dice.randint(1, 8)):
            self.row_change()

    def schema_change(self):
        d = self.dice
        t = d.one(self.tables)
        c = d.one(t.columns)
        shape = d.number(7)
        if shape <= 1:
            new = self.column()
            self.out(f"ALTER TABLE {t.q} ADD COLUMN {new.q} {new.sql_type}")
            t.columns.append(new)
        elif shape == 2:
            self.out(f"ALTER TABLE {t.q} DROP COLUMN {c.q}")
        elif shape == 3:
            name = self.names.new("ren")
            self.out(f"ALTER TABLE {t.q} RENAME COLUMN {c.q} TO {quote(name)}")
            c.name, c.q = name, quote(name)
        elif shape == 4:
            name = self.names.new("tren")
            self.out(f"ALTER TABLE {t.q} RENAME TO {quote(name)}")
            t.name, t.q = name, quote(name)
        elif shape == 5:
            choices = [f"TABLE {t.q}"] + [f"VIEW {quote(v)}" for v, _ in self.views] + [f"INDEX {quote(i)}" for i in self.indexes] + [f"TRIGGER {quote(x)}" for x in self.triggers]
            self.out(f"DROP {d.one(choices)}")
        elif shape == 6:
            self.fill(self.make_table())
        else:
            d.one([self.index, self.view, self.trigger])()

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
