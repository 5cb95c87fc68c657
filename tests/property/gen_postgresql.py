"""PostgreSQL: random schemas, rows and changes.

Each seed has some of the kinds below (self.on), so that one thing that goes wrong does not hide the others. The
generator only has an idea of what is there: a statement that the server refuses is left out by it.
"""

from scenario import Create, Insert, Scenario
from types_postgresql import TYPES, literal, quote
from values import Dice, Names

ROLES = ("prop_reader", "prop_writer", "prop_owner", "prop Odd.Role")
PREPARE = [f"CREATE ROLE {quote(r)}" for r in ROLES]

# kind: how likely a seed has it
KINDS = {
    "odd": 0.6, "check": 0.5, "fk": 0.5, "index": 0.6, "view": 0.5, "matview": 0.2, "function": 0.4, "trigger": 0.3, "rule": 0.15,
    "policy": 0.2, "enum": 0.4, "domain": 0.3, "composite": 0.25, "range": 0.15, "grant": 0.4, "defaultacl": 0.2, "owner": 0.25,
    "comment": 0.4, "publication": 0.15, "statistics": 0.2, "inherit": 0.2, "partition": 0.25, "storage": 0.25, "replica": 0.15,
    "identity": 0.5, "sequence": 0.3, "generated": 0.35, "exclude": 0.15, "deferrable": 0.25, "notvalid": 0.2, "keyless": 0.4,
    "setting": 0.2, "expression": 0.3, "aggregate": 0.1, "procedure": 0.15, "operator": 0.08, "cast": 0.05, "rowtype": 0.1,
    "unlogged": 0.1, "nocolumns": 0.08, "collation": 0.1, "extension": 0.1, "disabled": 0.1, "fkcycle": 0.2, "textsearch": 0.05,
    "eventtrigger": 0.03, "bodyname": 0.2, "other": 0.1,
}


class Column:
    def __init__(self, name, type_key, sql_type, values, key_fit, not_null=False):
        self.name, self.type_key, self.sql_type, self.values, self.key_fit = name, type_key, sql_type, values, key_fit
        self.not_null, self.generated, self.identity = not_null, None, None
        self.q = quote(name)


class Table:
    def __init__(self, name):
        self.name, self.q = name, "public." + quote(name)
        self.columns, self.key, self.children = [], [], []
        self.partition_of = None
        self.fks = []

    def writable(self):
        return [c for c in self.columns if not c.generated and c.identity != "ALWAYS"]

    def plain(self):
        return [c for c in self.columns if not c.generated and not c.identity and c.name not in self.key]


class Generator:
    def __init__(self, seed, without=(), only=None):
        self.dice = Dice(f"postgresql {seed}")
        self.s = Scenario("postgresql", seed)
        self.on = {k for k, chance in KINDS.items() if self.dice.maybe(chance)} - set(without)
        if only is not None:
            self.on &= set(only)
        self.names = Names(self.dice, 0.3 if "odd" in self.on else 0)
        self.s.kinds = sorted(self.on)
        self.tables, self.types, self.views, self.functions, self.sequences = [], [], [], [], []
        self.matviews, self.indexes, self.constraints, self.triggers, self.roles = [], [], [], [], ROLES
        self.publications = []
        self.phase = "setup"

    def out(self, statement):
        self.s.add(self.phase, statement)

    # ---- types and values

    def make_types(self):
        d = self.dice
        if "enum" in self.on:
            for _ in range(d.randint(1, 2)):
                name = self.names.new("mood")
                labels = d.sample(["open", "closed", "it's", "a b", "ünï", 'q"q', "", "x,y", "NULL", "back\\slash"], d.randint(2, 5))
                self.out(f"CREATE TYPE public.{quote(name)} AS ENUM ({', '.join(literal(x) for x in labels)})")
                self.types.append((name, "enum", tuple(labels), True))
        if "domain" in self.on:
            name = self.names.new("dom")
            base, values, check = d.one(
                [
                    ("integer", ("0", "1", "5"), "VALUE >= 0"), ("text", ("open", "closed"), "VALUE IN ('open', 'closed')"), ("varchar(10)", ("a", "abc"), "length(VALUE) < 9"),
                    ("numeric(10,3)", ("1.5", "2.000"), None), ("text[]", ("{a,b}", "{}"), "cardinality(VALUE) < 5"), ("jsonb", ("{}", "[1]"), None),
                ]
            )
            named = f" CONSTRAINT {quote(self.names.new('dc'))}" if d.maybe(0.5) else ""
            default = f" DEFAULT {literal(values[0])}" if d.maybe(0.4) else ""
            self.out(f"CREATE DOMAIN public.{quote(name)} AS {base}{default}" + (f"{named} CHECK ({check})" if check else ""))
            self.types.append((name, "domain", values, base in ("integer", "text")))
            if d.maybe(0.4):
                over = self.names.new("domdom")
                self.out(f"CREATE DOMAIN public.{quote(over)} AS public.{quote(name)} NOT NULL")
                self.types.append((over, "domain", values, False))
        if "composite" in self.on:
            name = self.names.new("comp")
            a, b = self.names.new("f"), self.names.new("f")
            self.out(f"CREATE TYPE public.{quote(name)} AS ({quote(a)} integer, {quote(b)} text)")
            self.types.append((name, "composite", ("(1,a)", '(,"")', '(2,"a b, ""c"" \\\\")', "(,)"), False))
        if "range" in self.on:
            name = self.names.new("rng")
            self.out(f"CREATE TYPE public.{quote(name)} AS RANGE (subtype = double precision, subtype_diff = float8mi)")
            self.types.append((name, "range", ("empty", "[0.1,2)", "(,)"), False))
        if "collation" in self.on:
            name = self.names.new("coll")
            self.out(f"CREATE COLLATION public.{quote(name)} (provider = icu, locale = 'und-u-ks-level2', deterministic = {d.one(['true', 'false'])})")
            self.types.append((f"\0text COLLATE public.{quote(name)}", "collated", ("a", "A", "ä", "b"), False))
        if "extension" in self.on:
            self.types += [("\0public.citext", "ext", ("a", "A b", "ü"), True), ("\0public.hstore", "ext", ('"a"=>"1"', "", '"x"=>NULL'), False), ("\0public.ltree", "ext", ("a.b.c", "", "x"), True)]

    def column(self, key=False):
        d = self.dice
        if self.types and d.maybe(0.35):
            fit = [t for t in self.types if t[3] or not key]
            if fit:
                name, kind, values, ok = d.one(fit)
                sql = name[1:] if name.startswith("\0") else "public." + quote(name)
                if not key and kind in ("enum", "composite", "domain") and d.maybe(0.15):
                    return Column(self.names.new("c"), kind + "[]", sql + "[]", ("{}", None), False)
                return Column(self.names.new("c"), kind, sql, values, ok)
        while True:
            type_key = d.one(["int", "text", "int", "text", "int8", "varchar", "uuid", "timestamptz", "jsonb"]) if d.maybe(0.4) else d.one(list(TYPES))
            sql, values, ok = TYPES[type_key]
            if ok or not key:
                return Column(self.names.new("c"), type_key, sql, values, ok)

    def value(self, column):
        d = self.dice
        if not column.not_null and d.maybe(0.15):
            return "NULL"
        if column.type_key in ("int", "int8") and d.maybe(0.6):
            return str(d.randint(-50, 5000))
        if column.type_key in ("text", "varchar") and d.maybe(0.3):
            return literal("v" + str(d.randint(0, 999)))
        v = d.one(column.values)
        if v is None:
            return "NULL"
        return literal(v)

    # ---- tables

    def make_table(self, partition=True):
        d = self.dice
        t = Table(self.names.new("t"))
        if "nocolumns" in self.on and d.maybe(0.3):
            self.out(f"CREATE TABLE {t.q} ()")
            for _ in range(d.number(2)):
                self.out(f"INSERT INTO {t.q} DEFAULT VALUES")
            self.tables.append(t)
            return t
        keyless = "keyless" in self.on and d.maybe(0.35)
        n_key = 0 if keyless else d.one([1, 1, 1, 2, 3])
        items = []
        for i in range(n_key):
            c = self.column(key=True) if d.maybe(0.5) or i else Column(self.names.new("id"), "int", d.one(["integer", "bigint"]), ("1", "2"), True)
            c.not_null = True
            t.columns.append(c)
            t.key.append(c.name)
        if "identity" in self.on and d.maybe(0.5):
            kind = d.one(["ALWAYS", "BY DEFAULT", "serial", "bigserial"])
            c = Column(self.names.new("n"), "int", "integer", ("1", "2"), True, True)
            c.identity = kind
            t.columns.insert(d.number(len(t.columns)), c)
            if keyless and d.maybe(0.5):
                t.key.append(c.name)
        for _ in range(d.randint(0 if t.columns else 1, 5)):
            t.columns.append(self.column())
        d.shuffle(t.columns)
        for c in t.columns:
            items.append((c.name, self.column_text(t, c)))
        if "generated" in self.on and d.maybe(0.6):
            items += self.generated(t)
        if t.key:
            deferrable = d.one(["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]) if "deferrable" in self.on else ""
            named = f"CONSTRAINT {quote(self.names.new('pk'))} " if d.maybe(0.4) else ""
            include = ""
            others = [c for c in t.columns if c.name not in t.key and not c.generated and c.key_fit]
            if others and "index" in self.on and d.maybe(0.15):
                include = f" INCLUDE ({d.one(others).q})"
            items.append((None, f"{named}PRIMARY KEY ({', '.join(quote(k) for k in t.key)}){include}{deferrable}"))
        items += self.table_constraints(t)
        tail, head = "", "CREATE TABLE"
        if "partition" in self.on and partition and d.maybe(0.5) and self.partition_by(t):
            tail = self.partition_by(t)
        elif "unlogged" in self.on and d.maybe(0.4):
            head = "CREATE UNLOGGED TABLE"
        if "storage" in self.on and not tail and d.maybe(0.3):
            tail = d.one([" WITH (fillfactor=70)", " WITH (autovacuum_enabled=false)", " WITH (toast.autovacuum_enabled=off, fillfactor='90')"])
        self.out(Create(t.name, f"{head} {t.q}", items, tail))
        if tail.startswith(" PARTITION"):
            self.partitions(t, tail)
        self.tables.append(t)
        return t

    def column_text(self, t, c):
        d = self.dice
        if c.identity in ("serial", "bigserial"):
            return f"{c.q} {c.identity}"
        if c.identity:
            options = d.one(["", "", " (START WITH 100 INCREMENT BY 10)", " (MINVALUE -5 MAXVALUE 1000 CYCLE CACHE 3)"])
            return f"{c.q} {d.one(['integer', 'bigint', 'smallint'])} GENERATED {c.identity} AS IDENTITY{options}"
        text = f"{c.q} {c.sql_type}"
        if c.name not in t.key and d.maybe(0.2):
            c.not_null = True
        if c.not_null and c.name not in t.key:
            text += " NOT NULL"
        if d.maybe(0.2):
            text += f" DEFAULT {self.default(c)}"
        return text

    def default(self, c):
        d = self.dice
        if self.functions and c.type_key == "int" and d.maybe(0.3):
            return f"public.{quote(d.one(self.functions))}()"
        if self.sequences and c.type_key in ("int", "int8") and d.maybe(0.3):
            return f"nextval({literal('public.' + quote(d.one(self.sequences)))}::regclass)"
        special = {
            "int": ["(1 + 2)", "-1", "NULL::integer", "length('abc')"], "text": ["('a'::text || 'b')", "E'C:\\\\dir'", "CURRENT_USER", "lower('ABC')"],
            "jsonb": ["'{}'", "jsonb_build_object('a', 1)"], "timestamptz": ["'2024-01-01 00:00:00+00'", "now()"], "textarr": ["ARRAY['a'::text, 'b']", "'{}'"],
        }
        if c.type_key in special and d.maybe(0.6):
            return d.one(special[c.type_key])
        old, c.not_null = c.not_null, True
        v = self.value(c)
        c.not_null = old
        return v

    def generated(self, t):
        d = self.dice
        source = [c for c in t.columns if c.type_key in ("int", "int8", "text", "varchar", "jsonb") and not c.identity]
        if not source:
            return []
        c = d.one(source)
        name = self.names.new("g")
        expression, sql = {
            "int": (f"({c.q} + 1::bigint)", "bigint"), "int8": (f"({c.q} % 7)", "bigint"), "text": (f"upper({c.q}) || 'x'", "text"),
            "varchar": (f"({c.q} IN ('open', 'closed'))", "boolean"), "jsonb": (f"({c.q} ->> 'a')", "text"),
        }[c.type_key]
        g = Column(name, "generated", sql, (), False)
        g.generated = expression
        at = d.one([0, len(t.columns)])
        t.columns.insert(at, g)
        # its place among the items is the end; the server does not care, a dump does
        return [(name, f"{g.q} {sql} GENERATED ALWAYS AS ({expression}) STORED")]

    def check(self, t):
        d = self.dice
        ints = [c for c in t.columns if c.type_key in ("int", "int8") and not c.generated]
        texts = [c for c in t.columns if c.type_key in ("text", "varchar", "varchar0") and not c.generated]
        choices = []
        if ints:
            c = d.one(ints).q
            choices += [f"{c} > -1000", f"{c} IS NULL OR {c} NOT IN (999999, 999998)", f"({c} BETWEEN -2147483648 AND 9223372036854775807)", f"{c} <> ALL (ARRAY[77777, 88888])", f"CASE WHEN {c} > 0 THEN true ELSE {c} <= 0 END"]
        if texts:
            c = d.one(texts).q
            choices += [f"{c} IS NULL OR {c} <> 'begin;end'", f"({c} IN ('open', 'closed') OR true)", f"length({c}) < 100000", f"{c} !~ '^never$'", f"({c})::text <> ANY (ARRAY['q'::text, 'r'])", f"{c} NOT LIKE E'\\\\\\\\%zz'"]
        return d.one(choices) if choices else "true"

    def table_constraints(self, t):
        d, items = self.dice, []
        if "check" in self.on:
            for _ in range(d.number(2)):
                named = f"CONSTRAINT {quote(self.names.new('ck'))} " if d.maybe(0.6) else ""
                items.append((None, f"{named}CHECK ({self.check(t)})" + (" NO INHERIT" if d.maybe(0.1) else "")))
        fit = [c for c in t.columns if c.key_fit and not c.generated]
        if fit and "index" in self.on and d.maybe(0.3):
            chosen = d.sample(fit, d.randint(1, min(2, len(fit))))
            deferrable = d.one(["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]) if "deferrable" in self.on else ""
            nulls = d.one(["", " NULLS NOT DISTINCT"]) if d.maybe(0.3) else ""
            items.append((None, f"CONSTRAINT {quote(self.names.new('uq'))} UNIQUE{nulls} ({', '.join(c.q for c in chosen)}){deferrable}"))
        ranges = [c for c in t.columns if c.type_key in ("int4range", "numrange", "tsrange", "daterange", "tstzrange")]
        if "exclude" in self.on and ranges:
            where = d.one(["", " WHERE (true)"])
            deferrable = d.one(["", " DEFERRABLE INITIALLY DEFERRED"])
            items.append((None, f"CONSTRAINT {quote(self.names.new('ex'))} EXCLUDE USING gist ({d.one(ranges).q} WITH &&){where}{deferrable}"))
        return items

    def partition_by(self, t):
        by = [c for c in t.columns if c.name in t.key] if t.key else [c for c in t.columns if c.key_fit and not c.generated and not c.identity]
        by = [c for c in by if c.type_key in ("int", "int8", "text", "varchar")]
        if not by:
            return None
        t.part_column = by[0]
        return f" PARTITION BY {t.part_kind} ({by[0].q})" if hasattr(t, "part_kind") else self._choose_partition(t, by[0])

    def _choose_partition(self, t, c):
        t.part_kind = self.dice.one(["RANGE", "LIST", "HASH"])
        return f" PARTITION BY {t.part_kind} ({c.q})"

    def partitions(self, t, _tail):
        d, number = self.dice, t.part_column.type_key in ("int", "int8")
        if t.part_kind == "HASH":
            bounds = ["FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"]
        elif t.part_kind == "LIST":
            bounds = ["FOR VALUES IN (1, 2, 42)" if number else "FOR VALUES IN ('', 'NULL', 'it''s')", "DEFAULT"]
        else:
            bounds = ["FOR VALUES FROM (MINVALUE) TO (100)", "FOR VALUES FROM (100) TO (1000)", "DEFAULT"] if number else ["FOR VALUES FROM (MINVALUE) TO ('m')", "DEFAULT"]
        for bound in bounds:
            name = self.names.new("part")
            t.children.append(name)
            self.out(f"CREATE TABLE public.{quote(name)} PARTITION OF {t.q} {bound}")

    def row(self, t):
        d = self.dice
        values = []
        for c in t.writable():
            if c.identity and d.maybe(0.85):
                continue
            if not c.not_null and d.maybe(0.1):
                continue
            values.append((c.name, c.q, self.value(c)))
        if not values:
            return f"INSERT INTO {t.q} DEFAULT VALUES"
        return Insert(t.name, f"INSERT INTO {t.q}", values)

    def fill(self, t, most=7):
        for _ in range(self.dice.number(most)):
            self.out(self.row(t))

    # ---- objects over tables

    def foreign_key(self, child=None):
        d = self.dice
        parents = [t for t in self.tables if t.key and len(t.key) <= 2]
        children = [child] if child else [t for t in self.tables if t.columns]
        if not parents or not children:
            return
        parent, child = d.one(parents), d.one(children)
        if "fkcycle" in self.on and d.maybe(0.3):
            parent = child if child.key else parent
        columns = []
        for k in parent.key:
            kc = next(c for c in parent.columns if c.name == k)
            name = self.names.new("fk")
            base = {"serial": "integer", "bigserial": "bigint"}.get(kc.identity, kc.sql_type)
            columns.append((name, base))
            self.out(f"ALTER TABLE {child.q} ADD COLUMN {quote(name)} {base}")
        actions = d.one(["", "", " ON DELETE CASCADE", " ON DELETE SET NULL", " ON UPDATE CASCADE", " ON DELETE RESTRICT", " ON DELETE SET DEFAULT"])
        deferrable = d.one(["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]) if "deferrable" in self.on else ""
        match = d.one(["", " MATCH FULL"]) if len(columns) > 1 else ""
        name = self.names.new("fkey")
        invalid = " NOT VALID" if "notvalid" in self.on and d.maybe(0.5) else ""
        ours, theirs = ", ".join(quote(n) for n, _ in columns), ", ".join(quote(k) for k in parent.key)
        fill = f"UPDATE {child.q} SET ({ours}) = (SELECT {theirs} FROM {parent.q} p ORDER BY md5(p::text || '{d.number(99)}') LIMIT 1)"
        self.out(fill)
        if invalid and d.maybe(0.5):
            bad = [c for c in parent.columns if c.name in parent.key]
            self.out(f"UPDATE {child.q} SET ({ours}) = ROW({', '.join(self.value(c) for c in bad)}) WHERE ctid = (SELECT min(ctid) FROM {child.q})")
        self.out(f"ALTER TABLE {child.q} ADD CONSTRAINT {quote(name)} FOREIGN KEY ({ours}) REFERENCES {parent.q} ({theirs}){match}{actions}{deferrable}{invalid}")
        self.constraints.append((child, name))
        for (n, base), k in zip(columns, parent.key):
            kc = next(c for c in parent.columns if c.name == k)
            child.columns.append(Column(n, kc.type_key, base, kc.values, False))

    def not_valid(self):
        d = self.dice
        t = d.one(self.tables)
        c = [x for x in t.columns if x.type_key in ("int", "int8") and not x.generated]
        if c:
            name = self.names.new("nv")
            self.out(f"ALTER TABLE {t.q} ADD CONSTRAINT {quote(name)} CHECK ({d.one(c).q} > {d.randint(-10, 200)}) NOT VALID")
            self.constraints.append((t, name))

    def index(self, t=None):
        d = self.dice
        t = t or d.one(self.tables)
        fit = [c for c in t.columns if c.key_fit]
        if not fit:
            return
        name = self.names.new("ix")
        parts = []
        for c in d.sample(fit, d.randint(1, min(3, len(fit)))):
            if "expression" in self.on and c.type_key in ("text", "varchar") and d.maybe(0.5):
                parts.append(d.one([f"lower({c.q})", f"({c.q} || 'x'::text)", f"{c.q} text_pattern_ops", f"(CASE WHEN {c.q} = 'end' THEN 1 ELSE 2 END)"]))
            else:
                parts.append(c.q + d.one(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]))
        if d.maybe(0.1):
            parts.append(parts[0])
        unique = "UNIQUE " if d.maybe(0.2) and not t.children else ""
        include = f" INCLUDE ({d.one(fit).q})" if d.maybe(0.15) else ""
        where = ""
        if d.maybe(0.25):
            where = f" WHERE {self.check(t)}"
        with_ = " WITH (fillfactor='80')" if "storage" in self.on and d.maybe(0.3) else ""
        self.out(f"CREATE {unique}INDEX {quote(name)} ON {t.q} USING btree ({', '.join(parts)}){include}{with_}{where}")
        self.indexes.append((t, name))
        other = [c for c in t.columns if c.type_key in ("jsonb", "textarr", "tsvector")]
        if other and d.maybe(0.5):
            name = self.names.new("gin")
            self.out(f"CREATE INDEX {quote(name)} ON {t.q} USING gin ({d.one(other).q})")
            self.indexes.append((t, name))

    def view(self, replace=None):
        d = self.dice
        relations = [(t.q, [c.q for c in t.columns]) for t in self.tables if t.columns] + [("public." + quote(v), cs) for v, cs in self.views]
        if not relations:
            return
        source, columns = d.one(relations)
        chosen = d.sample(columns, d.randint(1, min(3, len(columns))))
        name = replace or self.names.new("v")
        alias = [quote(self.names.new("o")) for _ in chosen] if d.maybe(0.4) else chosen
        select = ", ".join(f"x.{c} AS {a}" if a != c else f"x.{c}" for c, a in zip(chosen, alias))
        shape = d.number(6)
        if shape == 0:
            body = f"SELECT {select} FROM {source} x WHERE x.{chosen[0]} IS NOT NULL AND 'a' IN ('a', 'begin', 'case')"
        elif shape == 1:
            other, oc = d.one(relations)
            body = f"SELECT {select}, count(y.{d.one(oc)}) AS n FROM {source} x LEFT JOIN {other} y ON true GROUP BY {', '.join('x.' + c for c in chosen)}"
            alias = alias + ["n"]
        elif shape == 2:
            body = f"SELECT {select}, CASE WHEN x.{chosen[0]} IS NULL THEN 'null' ELSE 'end' END AS k FROM {source} x"
            alias = alias + ["k"]
        elif shape == 3:
            body = f"WITH q AS (SELECT x.* FROM {source} x) SELECT {select} FROM q x UNION ALL SELECT {', '.join('z.' + c for c in chosen)} FROM {source} z"
        elif shape == 4:
            body = f"SELECT x.* FROM {source} x"
            alias = columns
        else:
            body = f"SELECT {select}, NULL::integer AS z, ('1'::text || 'it''s') AS w FROM {source} x"
            alias = alias + ["z", "w"]
        alias = [a.replace("public.", "") for a in alias]
        options = d.one(["", "", "", " WITH (security_barrier=true)", " WITH (security_invoker=true)"])
        kind = "CREATE OR REPLACE VIEW"
        if "matview" in self.on and not replace and d.maybe(0.4):
            data = d.one([" WITH DATA", " WITH DATA", " WITH NO DATA"])
            self.out(f"CREATE MATERIALIZED VIEW public.{quote(name)} AS {body}{data}")
            self.matviews.append((name, data == " WITH DATA"))
            if d.maybe(0.3):
                self.out(f"CREATE INDEX {quote(self.names.new('mi'))} ON public.{quote(name)} ({d.one(alias)})")
            if data == " WITH DATA":
                self.views.append((name, alias))
            return
        self.out(f"{kind} public.{quote(name)}{options} AS {body}")
        if not replace:
            self.views.append((name, alias))

    BODIES = (
        ("LANGUAGE sql IMMUTABLE RETURN 41 + 1", "integer"),
        ("LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; END", "integer"),
        ("LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE 'end' WHEN 'begin' THEN 3 END; END", "integer"),
        ("LANGUAGE sql STABLE AS $$ SELECT 1; -- begin; case\n $$", "integer"),
        ("LANGUAGE sql AS 'SELECT 2 /* end; '' */'", "integer"),
        ("LANGUAGE plpgsql AS $body$ DECLARE x int := 1; BEGIN IF x = 1 THEN x := CASE x WHEN 1 THEN 2 ELSE 3 END; END IF; RETURN x; END $body$", "integer"),
        ("LANGUAGE plpgsql VOLATILE COST 7 AS $_$ BEGIN RETURN length($$a;b$$); END; $_$", "integer"),
        ("LANGUAGE plpgsql AS E'BEGIN RETURN length(\\'\\\\\\\\.\\n\\\\\\\\N\\'); END'", "integer"),
        ("LANGUAGE sql PARALLEL SAFE LEAKPROOF STRICT SECURITY DEFINER SET search_path = public, pg_temp AS $é$ SELECT 5 $é$", "integer"),
        ("LANGUAGE sql SET datestyle = 'German' SET work_mem = '4MB' AS $$SELECT 6$$", "integer"),
        ("LANGUAGE plpgsql AS $f$\nBEGIN\n--\n-- Name: fake; Type: TABLE; Schema: public; Owner: x\n--\nRETURN 1;\nEND\n$f$", "integer"),
    )

    def function(self, name=None):
        d = self.dice
        known = name
        name = name or (d.one(["begin", "case", "end", "atomic", "language"]) if "bodyname" in self.on and d.maybe(0.4) else self.names.new("f"))
        body, result = d.one(self.BODIES)
        self.out(f"CREATE OR REPLACE FUNCTION public.{quote(name)}() RETURNS {result} {body}")
        if not known and name not in self.functions:
            self.functions.append(name)
        for arguments in d.some(["a integer", "a text", "a text, OUT b integer", "VARIADIC a integer[]", "a integer DEFAULT 7, b text DEFAULT 'it''s'", "INOUT a numeric", '"select" date, "b c" text'], 2):
            if "OUT" in arguments:
                tail = "LANGUAGE sql AS 'SELECT 1'" if "INOUT" not in arguments else "LANGUAGE sql AS 'SELECT 1.0'"
                self.out(f"CREATE FUNCTION public.{quote(name)}({arguments}) {tail}")
            elif d.maybe(0.3):
                self.out(f"CREATE FUNCTION public.{quote(name)}({arguments}) RETURNS TABLE(x integer, y text) LANGUAGE sql AS $$ SELECT 1, 'end' $$")
            else:
                self.out(f"CREATE FUNCTION public.{quote(name)}({arguments}) RETURNS integer {body}")
        if "aggregate" in self.on and d.maybe(0.5):
            a = self.names.new("agg")
            self.out(f"CREATE AGGREGATE public.{quote(a)}(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')")
        if "procedure" in self.on and d.maybe(0.5):
            p = self.names.new("p")
            self.out(f"CREATE PROCEDURE public.{quote(p)}(IN a integer, INOUT b integer) LANGUAGE plpgsql AS $$ BEGIN b := a; END $$")
            self.out(f"CREATE PROCEDURE public.{quote(p)}(a text) LANGUAGE sql BEGIN ATOMIC SELECT CASE a WHEN 'x' THEN 1 END; END")
        if "rowtype" in self.on and self.tables and d.maybe(0.6):
            t = d.one(self.tables)
            f = self.names.new("rf")
            self.out(f"CREATE FUNCTION public.{quote(f)}(r {t.q}) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT r::text'")
        if "operator" in self.on and d.maybe(0.5):
            f = self.names.new("opf")
            self.out(f"CREATE FUNCTION public.{quote(f)}(a integer, b integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a = -b'")
            self.out(f"CREATE OPERATOR public.<=!> (FUNCTION = public.{quote(f)}, LEFTARG = integer, RIGHTARG = integer, COMMUTATOR = OPERATOR(public.<=!>))")

    def trigger(self):
        d = self.dice
        tables = [t for t in self.tables if t.columns]
        if not tables:
            return
        t, f, name = d.one(tables), self.names.new("tf"), self.names.new("trg")
        self.out(f"CREATE FUNCTION public.{quote(f)}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$")
        when = d.one(["BEFORE INSERT", "AFTER UPDATE", "BEFORE DELETE OR UPDATE", "AFTER INSERT OR DELETE"])
        level = d.one(["FOR EACH ROW", "FOR EACH STATEMENT"])
        condition = " WHEN (pg_trigger_depth() = 0)" if d.maybe(0.3) else ""
        self.out(f"CREATE TRIGGER {quote(name)} {when} ON {t.q} {level}{condition} EXECUTE FUNCTION public.{quote(f)}({d.one(['', literal('a b'), literal('it' + chr(39) + 's')])})")
        self.triggers.append((t, name))
        if d.maybe(0.2):
            self.out(f"CREATE CONSTRAINT TRIGGER {quote(self.names.new('ctrg'))} AFTER UPDATE ON {t.q} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.{quote(f)}()")
        if "disabled" in self.on:
            self.out(f"ALTER TABLE {t.q} {d.one(['DISABLE', 'ENABLE ALWAYS', 'ENABLE REPLICA'])} TRIGGER {quote(name)}")

    def rule(self):
        d = self.dice
        t = d.one(self.tables)
        name = self.names.new("rule")
        self.out(f"CREATE RULE {quote(name)} AS ON {d.one(['DELETE', 'UPDATE'])} TO {t.q} WHERE (1 = 2) DO INSTEAD NOTHING")
        if "disabled" in self.on:
            self.out(f"ALTER TABLE {t.q} {d.one(['DISABLE', 'ENABLE ALWAYS', 'ENABLE REPLICA'])} RULE {quote(name)}")

    def policy(self):
        d = self.dice
        t = d.one(self.tables)
        name = self.names.new("pol")
        to = d.one(["", f" TO {quote(d.one(self.roles))}", " TO PUBLIC", " TO CURRENT_USER"])
        self.out(f"CREATE POLICY {quote(name)} ON {t.q}{d.one(['', ' AS RESTRICTIVE'])} FOR {d.one(['ALL', 'SELECT', 'DELETE'])}{to} USING ({self.check(t)})")
        if d.maybe(0.5):
            self.out(f"ALTER TABLE {t.q} {d.one(['ENABLE', 'FORCE'])} ROW LEVEL SECURITY")

    def grantable(self):
        d = self.dice
        things = [f"TABLE {t.q}" for t in self.tables] + [f"TABLE public.{quote(v)}" for v, _ in self.views] + [f"SEQUENCE public.{quote(s)}" for s in self.sequences]
        things += [f"FUNCTION public.{quote(f)}()" for f in self.functions] + [f"TYPE public.{quote(n)}" for n, k, _, _ in self.types if k in ("enum", "domain", "composite")]
        return d.one(things) if things else None

    def grant(self):
        d = self.dice
        thing = self.grantable()
        if not thing:
            return
        kind = thing.split()[0]
        rights = {"TABLE": ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "ALL"], "SEQUENCE": ["USAGE", "SELECT", "UPDATE", "ALL"], "FUNCTION": ["EXECUTE"], "TYPE": ["USAGE"]}[kind]
        role = d.one([quote(r) for r in self.roles] + ["PUBLIC"])
        if d.maybe(0.25):
            self.out(f"REVOKE {d.one(rights)} ON {thing} FROM {d.one([role, 'PUBLIC', 'CURRENT_USER'])}")
            return
        option = " WITH GRANT OPTION" if role != "PUBLIC" and d.maybe(0.2) else ""
        if kind == "TABLE" and d.maybe(0.25):
            t = d.one(self.tables)
            if t.columns:
                self.out(f"GRANT {d.one(['SELECT', 'UPDATE', 'INSERT'])} ({d.one(t.columns).q}) ON {t.q} TO {role}")
                return
        self.out(f"GRANT {d.one(rights)} ON {thing} TO {role}{option}")
        if d.maybe(0.1):
            self.out(f"GRANT {d.one(['USAGE', 'CREATE'])} ON SCHEMA public TO {role}")

    def default_acl(self):
        d = self.dice
        role = d.one([quote(r) for r in self.roles] + ["PUBLIC"])
        kind, right = d.one([("TABLES", "SELECT"), ("TABLES", "ALL"), ("SEQUENCES", "USAGE"), ("FUNCTIONS", "EXECUTE"), ("TYPES", "USAGE")])
        by = d.one(["", "", " FOR ROLE prop_owner"])
        # Without a schema it is the database's: one that comes after the snapshot stays.
        where = d.one([" IN SCHEMA public", " IN SCHEMA public", ""]) if self.phase == "setup" else " IN SCHEMA public"
        if d.maybe(0.25):
            self.out(f"ALTER DEFAULT PRIVILEGES{by}{where} REVOKE {right} ON {kind} FROM {role}")
        else:
            self.out(f"ALTER DEFAULT PRIVILEGES{by}{where} GRANT {right} ON {kind} TO {role}")

    def owner(self):
        thing = self.grantable()
        if thing:
            self.out(f"ALTER {thing} OWNER TO {quote(self.dice.one(self.roles))}")

    def comment(self):
        d = self.dice
        thing = self.grantable()
        choices = [thing] if thing else []
        choices += [f"COLUMN {t.q}.{d.one(t.columns).q}" for t in self.tables if t.columns] + [f"INDEX public.{quote(n)}" for _, n in self.indexes]
        choices += [f"CONSTRAINT {quote(n)} ON {t.q}" for t, n in self.constraints] + [f"TRIGGER {quote(n)} ON {t.q}" for t, n in self.triggers] + ["SCHEMA public"]
        target = d.one(choices).replace("TABLE public." + quote(""), "")
        names = {v for v, _ in self.views}
        for v in names:
            if target == f"TABLE public.{quote(v)}":
                target = f"VIEW public.{quote(v)}"
        self.out(f"COMMENT ON {target} IS {d.one([literal(self.one_text()), 'NULL'])}")

    def one_text(self):
        return self.dice.one(["a comment", "it's", "C:\\dir", "line\nbreak", "ünï", "-- Name: x; Type: TABLE; Schema: public; Owner: y", "$$", "; DROP"])

    def publication(self):
        d = self.dice
        name = self.names.new("pub")
        t = d.one(self.tables)
        shape = d.number(3)
        if shape == 0 and t.key:
            columns = ", ".join(quote(k) for k in t.key)
            self.out(f"CREATE PUBLICATION {quote(name)} FOR TABLE {t.q} ({columns})")
        elif shape == 1:
            self.out(f"CREATE PUBLICATION {quote(name)} FOR TABLES IN SCHEMA public WITH (publish = 'insert')")
        elif shape == 2:
            self.out(f"CREATE PUBLICATION {quote(name)} FOR ALL TABLES WITH (publish = 'insert, truncate')")
        else:
            self.out(f"CREATE PUBLICATION {quote(name)} FOR TABLE {', '.join(x.q for x in d.sample(self.tables, min(2, len(self.tables))))} WITH (publish = 'insert')")
        self.publications.append(name)

    def statistics(self):
        d = self.dice
        t = d.one(self.tables)
        fit = [c for c in t.columns if c.key_fit and not c.generated]
        if len(fit) >= 2:
            chosen = d.sample(fit, 2)
            self.out(f"CREATE STATISTICS public.{quote(self.names.new('stat'))}{d.one(['', ' (ndistinct)', ' (dependencies, mcv)'])} ON {', '.join(c.q for c in chosen)} FROM {t.q}")

    def storage(self):
        d = self.dice
        t = d.one(self.tables)
        if not t.columns:
            return
        c = d.one(t.columns)
        self.out(
            d.one(
                [
                    f"ALTER TABLE {t.q} ALTER COLUMN {c.q} SET STATISTICS {d.one([0, 100, 500])}", f"ALTER TABLE {t.q} ALTER COLUMN {c.q} SET STORAGE {d.one(['PLAIN', 'EXTERNAL', 'MAIN'])}",
                    f"ALTER TABLE {t.q} ALTER COLUMN {c.q} SET (n_distinct = {d.one([5, -0.5])})", f"ALTER TABLE {t.q} SET (fillfactor = {d.one([50, 80])})",
                    f"ALTER TABLE {t.q} ALTER COLUMN {c.q} SET COMPRESSION pglz", f"ALTER TABLE {t.q} RESET (fillfactor)",
                ]
            )
        )

    def replica(self):
        d = self.dice
        t = d.one(self.tables)
        self.out(f"ALTER TABLE {t.q} REPLICA IDENTITY {d.one(['FULL', 'NOTHING', 'DEFAULT'])}")
        if self.indexes:
            t, i = d.one(self.indexes)
            self.out(f"ALTER TABLE {t.q} CLUSTER ON {quote(i)}")

    def sequence(self):
        d = self.dice
        name = self.names.new("seq")
        self.out(f"CREATE SEQUENCE public.{quote(name)}{d.one(['', ' AS smallint', ' INCREMENT BY -3', ' START WITH 7 MINVALUE 5 MAXVALUE 50 CYCLE', ' CACHE 10', ' AS integer MAXVALUE 2147483647'])}")
        for _ in range(d.number(2)):
            self.out(f"SELECT nextval({literal('public.' + quote(name))}::regclass)")
        self.sequences.append(name)

    def inherit(self):
        d = self.dice
        parents = [t for t in self.tables if t.columns and not t.children]
        if not parents:
            return
        parent, child = d.one(parents), Table(self.names.new("inh"))
        extra = self.column()
        child.columns = [extra] + [c for c in parent.columns] if d.maybe(0.3) else [c for c in parent.columns] + [extra]
        self.out(f"CREATE TABLE {child.q} ({self.column_text(child, extra)}) INHERITS ({parent.q})")
        if d.maybe(0.4):
            self.out(f"ALTER TABLE {parent.q} ADD COLUMN {quote(self.names.new('late'))} integer DEFAULT 3")
        child.columns = [c for c in child.columns if not (c.identity and c.identity in ("ALWAYS", "BY DEFAULT"))]
        self.tables.append(child)
        self.fill(child, 4)

    # ---- phases

    def settings(self):
        d = self.dice
        self.phase = "database"
        for s in d.sample(
            [
                "standard_conforming_strings = off", "timezone = 'Europe/Berlin'", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'", "bytea_output = 'escape'", "extra_float_digits = 0",
                "search_path = other, public", "search_path = ''", "default_transaction_read_only = off", "xmloption = document", "statement_timeout = '5min'", "default_tablespace = ''",
                "check_function_bodies = on", "row_security = off", "default_toast_compression = 'pglz'", "lc_monetary = 'C'", "array_nulls = on", "quote_all_identifiers = on", "transform_null_equals = on",
                "backslash_quote = off", "DateStyle = 'German'", "default_transaction_isolation = 'serializable'", "jit = on", "escape_string_warning = off",
            ],
            d.randint(1, 4),
        ):
            self.out(f"ALTER DATABASE :DATABASE SET {s}")
        self.phase = "setup"

    def outside(self):
        """Other schemas; what is in the phase `database` is made again with each new database."""
        self.phase = "database"
        if "extension" in self.on:
            for e in ("citext", "hstore", "ltree"):
                self.out(f"CREATE EXTENSION IF NOT EXISTS {e} SCHEMA public")
        if "other" in self.on:
            self.out("CREATE SCHEMA other")
            self.out("CREATE TABLE other.thing (id integer PRIMARY KEY, t text)")
            self.out("CREATE TYPE other.colour AS ENUM ('red', 'green')")
            self.types.append(("\0other.colour", "ext", ("red", "green"), True))
        self.phase = "setup"

    def pointing_in(self):
        d = self.dice
        t = d.one(self.tables)
        if t.columns and d.maybe(0.5):
            self.out(f"CREATE VIEW other.{quote(self.names.new('ov'))} AS SELECT * FROM {t.q}")

    def many(self, kind, function, most):
        if kind in self.on:
            for _ in range(self.dice.randint(1, most)):
                if self.tables:
                    function()

    def setup(self):
        d = self.dice
        if "setting" in self.on:
            self.settings()
        self.outside()
        if "defaultacl" in self.on and d.maybe(0.5):
            self.default_acl()
        self.make_types()
        if "sequence" in self.on:
            self.sequence()
        if "function" in self.on and d.maybe(0.5):
            self.function()
        for _ in range(d.randint(1, 4)):
            self.fill(self.make_table())
        self.many("inherit", self.inherit, 1)
        self.many("fk", self.foreign_key, 2)
        self.many("index", self.index, 3)
        self.many("function", self.function, 2)
        self.many("view", self.view, 3)
        if "view" in self.on and self.views and d.maybe(0.3):
            self.out(f"CREATE OR REPLACE VIEW public.{quote(self.names.new('a'))} AS SELECT 1 AS x")
        self.many("notvalid", self.not_valid, 2)
        self.many("trigger", self.trigger, 2)
        self.many("rule", self.rule, 1)
        self.many("policy", self.policy, 2)
        self.many("statistics", self.statistics, 2)
        self.many("storage", self.storage, 3)
        self.many("owner", self.owner, 2)
        self.many("grant", self.grant, 4)
        self.many("defaultacl", self.default_acl, 2)
        self.many("comment", self.comment, 4)
        self.many("replica", self.replica, 1)
        self.many("publication", self.publication, 1)
        if "other" in self.on:
            self.pointing_in()
        self.refresh()

    def refresh(self):
        for name, populated in self.matviews:
            if populated:
                self.out(f"REFRESH MATERIALIZED VIEW public.{quote(name)}")

    def some_rows(self, t):
        d = self.dice
        return f"ctid = ANY (ARRAY(SELECT ctid FROM ONLY {t.q} x ORDER BY md5(x::text || '{d.number(999)}') LIMIT {d.randint(1, 3)}))"

    def row_change(self):
        d = self.dice
        t = d.one(self.tables)
        shape = d.number(9)
        plain = t.plain()
        if shape <= 3 and plain:
            c = d.one(plain)
            self.out(f"UPDATE {'' if t.children else 'ONLY '}{t.q} SET {c.q} = {self.value(c)} WHERE {self.some_rows(t) if not t.children else 'true'}")
        elif shape <= 5:
            if t.children:
                self.out(f"DELETE FROM {t.q} x WHERE md5(x::text) < '{d.one('3456789')}'")
            else:
                self.out(f"DELETE FROM ONLY {t.q} WHERE {self.some_rows(t)}")
        elif shape <= 8:
            self.out(self.row(t))
        elif t.key and d.maybe(0.5):
            c = next(x for x in t.columns if x.name == t.key[0])
            self.out(f"UPDATE {'' if t.children else 'ONLY '}{t.q} SET {c.q} = {self.value(c)} WHERE {self.some_rows(t) if not t.children else 'true'}")
        elif self.sequences and d.maybe(0.5):
            self.out(f"SELECT nextval({literal('public.' + quote(d.one(self.sequences)))}::regclass)")
        else:
            self.out(d.one([f"DELETE FROM {t.q}", f"TRUNCATE {t.q} CASCADE"]))

    def rows(self, phase):
        self.phase = phase
        for _ in range(self.dice.randint(1, 8)):
            self.row_change()
        self.refresh()

    def drop_something(self):
        d = self.dice
        choices = [f"TABLE {t.q}" for t in self.tables] + [f"VIEW public.{quote(v)}" for v, _ in self.views] + [f"INDEX public.{quote(i)}" for _, i in self.indexes]
        choices += [f"FUNCTION public.{quote(f)}()" for f in self.functions] + [f"SEQUENCE public.{quote(s)}" for s in self.sequences]
        choices += [f"TRIGGER {quote(n)} ON {t.q}" for t, n in self.triggers] + [f"MATERIALIZED VIEW public.{quote(m)}" for m, _ in self.matviews]
        choices += [f"TYPE public.{quote(n)}" for n, k, _, _ in self.types if not n.startswith("\0")]
        self.out(f"DROP {d.one(choices)}{d.one(['', ' CASCADE'])}")

    def alter_table(self):
        d = self.dice
        t = d.one(self.tables)
        shape = d.number(9)
        if shape <= 2 or not t.columns:
            c = self.column()
            self.out(f"ALTER TABLE {t.q} ADD COLUMN {self.column_text(t, c)}")
            t.columns.append(c)
            return
        c = d.one(t.columns)
        if shape == 3:
            self.out(f"ALTER TABLE {t.q} DROP COLUMN {c.q}{d.one(['', ' CASCADE'])}")
        elif shape == 4:
            self.out(f"ALTER TABLE {t.q} ALTER COLUMN {c.q} {d.one(['DROP DEFAULT', 'SET DEFAULT ' + (self.default(c) if c.values else '1'), 'SET NOT NULL', 'DROP NOT NULL'])}")
        elif shape == 5:
            new = self.names.new("ren")
            self.out(f"ALTER TABLE {t.q} RENAME COLUMN {c.q} TO {quote(new)}")
            c.name, c.q = new, quote(new)
        elif shape == 6:
            self.out(f"ALTER TABLE {t.q} ALTER COLUMN {c.q} TYPE {d.one(['text', 'varchar(1000)', 'bigint', 'numeric'])}" + (f" USING {c.q}::text" if d.maybe(0.3) else ""))
        elif shape == 7:
            new = Table(self.names.new("tren"))
            self.out(f"ALTER TABLE {t.q} RENAME TO {quote(new.name)}")
            t.name, t.q = new.name, new.q
        elif shape == 8:
            self.out(f"ALTER TABLE {t.q} ADD CONSTRAINT {quote(self.names.new('ck'))} CHECK ({self.check(t)})")
        elif self.constraints:
            t, n = d.one(self.constraints)
            self.out(f"ALTER TABLE {t.q} DROP CONSTRAINT {quote(n)}")

    def schema_change(self):
        d = self.dice
        choices = [self.alter_table] * 4 + [self.drop_something] * 2 + [lambda: self.fill(self.make_table(False))]
        per_kind = {
            "index": self.index, "view": self.view, "function": self.function, "trigger": self.trigger, "rule": self.rule, "policy": self.policy, "grant": self.grant,
            "defaultacl": self.default_acl, "owner": self.owner, "comment": self.comment, "statistics": self.statistics, "storage": self.storage,
            "replica": self.replica, "sequence": self.sequence, "fk": self.foreign_key, "notvalid": self.not_valid, "inherit": self.inherit, "enum": self.enum_change,
        }
        for kind, function in per_kind.items():
            if kind in self.on:
                choices += [function] * 2
        if "view" in self.on and self.views:
            choices.append(lambda: self.view(replace=d.one(self.views)[0]))
        if self.functions:
            choices.append(lambda: self.function(d.one(self.functions)))
        d.one(choices)()

    def enum_change(self):
        d = self.dice
        enums = [t for t in self.types if t[1] == "enum"]
        if enums:
            name, _, labels, _ = d.one(enums)
            self.out(
                d.one([f"ALTER TYPE public.{quote(name)} ADD VALUE 'later' BEFORE {literal(labels[0])}", f"ALTER TYPE public.{quote(name)} RENAME VALUE {literal(labels[0])} TO 'renamed'", f"ALTER TYPE public.{quote(name)} ADD VALUE 'last'"])
            )

    def schema(self):
        self.phase = "schema"
        for _ in range(self.dice.randint(1, 5)):
            if self.tables:
                self.schema_change()
        for _ in range(self.dice.number(3)):
            self.row_change()
        self.refresh()

    def scenario(self):
        self.setup()
        self.rows("rows1")
        self.rows("rows2")
        self.schema()
        self.s.names = list(self.names.given)
        return self.s


def generate(seed, without=(), only=None):
    return Generator(seed, without, only).scenario()
