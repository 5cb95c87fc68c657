"""The engines: how a database is made, statements are run and what the server's own dump says.

Each has: make(database statements), run(statements) -> errors, dump() -> entries, rows() -> what SQL sees, url().
A dump is a list of (title, text): entries in an order that is no matter, rows within one sorted.
"""

import os
import re
import shlex
import subprocess
from collections import Counter


class Trouble(Exception):
    """The test's own machinery failed: a server does not answer, a tool is missing."""


def call(command, text=None, env=None, timeout=120):
    try:
        done = subprocess.run(command, input=text, capture_output=True, env=env, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as e:
        return 124, (e.stdout or b"").decode(errors="surrogateescape"), f"no end within {timeout} s"
    return done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")


def must(command, text=None, env=None):
    rc, out, err = call(command, text, env)
    if rc != 0:
        raise Trouble(f"{command[0]} ended with status {rc}: {err[:800]}")
    return out


def encode(text):
    return text.encode(errors="surrogateescape")


class PostgreSQL:
    name = "postgresql"
    INSIDE = r"; Schema: public;|Name: SCHEMA public; Type: (ACL|COMMENT)|Type: DEFAULT ACL; Schema: public|^rows of"

    def __init__(self, work, tag):
        self.server = os.environ["SERVER_URL"]
        self.password_file = os.environ["SERVER_PASSWORD_FILE"]
        self.bindir = os.environ.get("SERVER_BINDIR", "")
        self.db = f"prop_{tag}"
        self.reference_db = f"prop_{tag}_ref"
        self.work = work
        with open(self.password_file, encoding="ascii") as f:
            self.env = dict(os.environ, PGPASSWORD=f.read().strip(), PGOPTIONS="-c client_min_messages=warning")
        for key in ("LC_ALL", "TZ", "PGTZ"):
            self.env.pop(key, None)
        self.env["LC_ALL"] = "C.UTF-8"

    def url(self, db=None):
        return self.server.rsplit("/", 1)[0] + "/" + (db or self.db)

    def source(self):
        return f"url={self.url()}\npassword_file={self.password_file}\n"

    def prepare(self, statements):
        """What belongs to the server: roles. Once a run; it may be there."""
        call(self._psql(self.server), encode(";\n".join(statements) + ";\n"), self.env)

    def _psql(self, url, *more):
        return ["psql", "-X", "-q", "-o", "/dev/null", *more, url]

    def make(self, statements, db=None, again=False):
        db = db or self.db
        self.remove(db)
        must(self._psql(self.server, "-v", "ON_ERROR_STOP=1", "-c", f'CREATE DATABASE "{db}"'), None, self.env)
        return self.run([s.replace(":DATABASE", f'"{db}"') for s in statements], db) if statements else []

    def remove(self, db=None):
        must(self._psql(self.server, "-v", "ON_ERROR_STOP=1", "-c", f'DROP DATABASE IF EXISTS "{db or self.db}" WITH (FORCE)'), None, self.env)

    def run(self, statements, db=None):
        """Each by itself; returns the words of those that failed."""
        _, _, err = call(self._psql(self.url(db)), encode("".join(s + ";\n" for s in statements)), self.env)
        return [line for line in err.splitlines() if "ERROR:" in line or "FATAL:" in line or "invalid command" in line]

    def dump(self, db=None):
        self.text = must([os.path.join(self.bindir, "pg_dump"), self.url(db)], None, self.env)
        entries = self.entries(self.text)
        return entries + (self._matviews(db) if "\nCREATE MATERIALIZED VIEW " in self.text else [])

    def outside(self):
        return []

    def only_inside(self, entries):
        """Without what lies outside of the schema and comes with no restore into another database."""
        return [e for e in entries if re.search(self.INSIDE, e[0]) and not re.search(r"Type: PUBLICATION", e[0])]

    # A text in hexadecimal: no value can be taken for the end of a line.
    HEX = "encode(convert_to(%s, ''UTF8''), ''hex'')"
    SETTINGS = "-c search_path= -c extra_float_digits=3 -c bytea_output=hex -c intervalstyle=postgres -c datestyle=ISO -c timezone=UTC -c row_security=off"

    def _matviews(self, db):
        """pg_dump has no rows of these."""
        sql = (
            f"SELECT format('SELECT {self.HEX}, {self.HEX} FROM %s x', quote_literal(c.relname), 'x::text', c.oid::regclass) FROM pg_class c"
            " WHERE relkind = 'm' AND relispopulated AND relnamespace = 'public'::regnamespace \\gexec\n"
        )
        rows = {}
        for name, row in self._select(sql, db):
            rows.setdefault(name, []).append(row)
        return [(f"rows of materialized view {n}", "\n".join(sorted(r))) for n, r in sorted(rows.items())]

    def _select(self, sql, db=None):
        command = ["psql", "-X", "-q", "-A", "-t", "-F", "\t", self.url(db)]
        out = must(command, encode(sql), dict(self.env, PGOPTIONS=self.SETTINGS))
        return [[bytes.fromhex(v).decode() for v in line.split("\t")] for line in out.split("\n") if "\t" in line]

    @staticmethod
    def entries(text):
        parts = re.split(r"\n--\n-- (?=(?:Data for )?Name: )", text)
        result = []
        for part in parts[1:]:
            title, _, body = part.partition("\n--\n")
            body = body.strip("\n")
            end = body.find("\n--\n-- PostgreSQL database dump complete")
            if end >= 0:
                body = body[:end].strip("\n")
            body = re.sub(r"(?m)^SET default_(tablespace|table_access_method) = .*;\n*", "", body).strip("\n")
            body = re.sub(r"(?m)^\\(un)?restrict .*\n?", "", body).strip("\n")
            if title.startswith("Data for Name: "):
                head, _, rest = body.partition("\n")
                rows = rest.split("\n")
                body = "\n".join([head] + sorted(r for r in rows if r != "\\."))
            elif "; Type: ACL;" in title or "; Type: DEFAULT ACL;" in title:
                body = "\n".join(sorted(body.splitlines()))
            result.append((title, body))
        return sorted(result)

    def rows(self):
        """{table: (Counter of rows, set of keys or None)}, just after a dump."""
        sql = (
            f"SELECT format('SELECT {self.HEX}, {self.HEX}, {self.HEX} FROM ONLY %s x', quote_literal(c.relname), coalesce((SELECT 'ROW(' || string_agg('x.' || quote_ident(a.attname), ',')"
            " || ')::text' FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])"
            " WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND NOT EXISTS (SELECT FROM pg_attribute g WHERE g.attrelid = c.oid"
            " AND g.attgenerated <> '' AND g.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))), quote_literal('-')), 'x::text', c.oid::regclass)"
            " FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \\gexec\n"
        )
        counts = {}
        names = "SELECT encode(convert_to(relname, 'UTF8'), 'hex'), '' FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace;\n"
        for name, key, *rows in self._select(names + sql):
            content, keys = counts.setdefault(name, (Counter(), set()))
            if not rows:
                continue
            row = rows[0]
            content[row] += 1
            if key == "-":
                counts[name] = (content, None)
            elif keys is not None:
                keys.add(key)
        return counts

    def reference(self):
        """The text of the last dump. Loaded elsewhere and dumped again it tells what the server itself prints otherwise then."""
        return self.text

    def load_reference(self, text, statements):
        self.make(statements, self.reference_db, again=True)
        _, _, err = call(self._psql(self.url(self.reference_db)), encode(text), self.env)
        failed = [line for line in err.splitlines() if "ERROR:" in line]
        entries = self.dump(self.reference_db)
        self.remove(self.reference_db)
        return entries, failed


class MySQL:
    name = "mysql"
    DUMP = (
        "--skip-dump-date --skip-extended-insert --hex-blob --routines --triggers --events --no-tablespaces --single-transaction"
        " --default-character-set=utf8mb4 --max-allowed-packet=256M"
    )

    def __init__(self, work, tag):
        self.work = work
        self.server = os.environ["SERVER_URL"]
        self.password_file = os.environ["SERVER_PASSWORD_FILE"]
        self.client = shlex.split(os.environ["SERVER_CLIENT"])
        self.dumper = shlex.split(os.environ["SERVER_MYSQLDUMP"])
        if self.name == "mysql":
            self.dumper.append("--set-gtid-purged=OFF")
        self.db = f"prop_{tag}"
        self.reference_db = f"prop_{tag}_ref"
        self.tag = tag[-24:]

    def url(self):
        return self.server.rsplit("/", 1)[0] + "/" + self.db

    def source(self):
        return f"url={self.url()}\npassword_file={self.password_file}\n"

    def prepare(self, statements):
        self._run("", statements)

    def _run(self, db, statements, *more):
        user = f"'prop_{self.tag}'@'%'"
        text = "delimiter ~~~\n" + "".join(s.replace(":USER", user) + "\n~~~\n" for s in statements)
        return call([*self.client, "--default-character-set=utf8mb4", "--binary-mode", "--force", *more, *([db] if db else [])], encode(text))

    def make(self, statements, db=None, again=False):
        db = db or self.db
        options = " ".join(s for s in statements if s.startswith(("CHARACTER SET", "COLLATE")))
        user = [] if again else ["DROP USER IF EXISTS :USER", "CREATE USER :USER", f"GRANT ALL ON `{db}`.* TO :USER"]
        rc, _, err = self._run("", [*user, f"DROP DATABASE IF EXISTS `{db}`", f"CREATE DATABASE `{db}` {options}"])
        if rc != 0:
            raise Trouble(f"cannot make the database: {err[:500]}")
        return []

    def remove(self, db=None):
        self._run("", [f"DROP DATABASE IF EXISTS `{db or self.db}`"])

    def run(self, statements, db=None):
        _, _, err = self._run(db or self.db, statements)
        return [line for line in err.splitlines() if line.startswith("ERROR")]

    def _dump_text(self, db=None):
        # --force: goes on behind a view that is not valid, but tells of it by its exit status.
        rc, self.text, err = call([*self.dumper, *self.DUMP.split(), "--force", db or self.db])
        if rc != 0 and ("references invalid" not in err or "-- Dump completed" not in self.text):
            raise Trouble(f"{self.dumper[0]} ended with status {rc}: {err[:800]}")
        return self.text

    def dump(self, db=None):
        entries = self.entries(self._dump_text(db))
        rc, out, err = self._run(
            db or self.db, ["SELECT default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name = database()"], "-N", "-B"
        )
        if rc != 0:
            raise Trouble(err[:500])
        return sorted(entries + [("the database", out.strip()), *self._views(db or self.db)])

    def outside(self):
        """What a restore has to leave as it is: rights are the server's, and no snapshot has them."""
        _, grants, _ = self._run("", ["SHOW GRANTS FOR :USER"], "-N", "-B", "-r")
        return sorted(grants.splitlines())

    @staticmethod
    def stays(grant, text):
        """Rights on a routine go with it where the snapshot does not have it."""
        match = re.match(r"GRANT .* ON (PROCEDURE|FUNCTION) `[^`]*`\.(`(?:[^`]|``)*`) TO", grant)
        return match is None or f"{match.group(1)} {match.group(2)}" in text or f"{match.group(1)} IF EXISTS {match.group(2)}" in text

    def only_inside(self, entries):
        return entries

    def _views(self, db):
        """The dump leaves out views that are not valid."""
        columns = "table_name, view_definition, check_option, definer, security_type, character_set_client, collation_connection"
        rc, out, err = self._run(db, [f"SELECT {columns} FROM information_schema.views WHERE table_schema = database() ORDER BY 1"], "-N", "-B")
        if rc != 0:
            raise Trouble(err[:500])
        return [("view " + line.split("\t")[0], line) for line in out.splitlines()]

    def only_inside(self, entries):
        """Without grants: they are not the database's."""
        return [e for e in entries if e[0] != "grants"]

    @staticmethod
    def entries(text):
        """Cut at the comments of the dump; what is in one is compared line by line."""
        result, title, body = [], "head", []
        for line in text.split("\n"):
            if line.startswith("-- ") and not line.startswith("-- -"):
                if line.startswith(("-- MySQL dump", "-- MariaDB dump", "-- Host:", "-- Server version", "-- Dump completed", "-- failed on view")):
                    continue
                if any(body):
                    result.append((title, body))
                title, body = line[3:], []
            elif line not in ("", "--"):
                body.append(line)
        if any(body):
            result.append((title, body))
        merged = {}
        for title, body in result:
            rows = sorted(b for b in body if b.startswith("INSERT INTO "))
            merged.setdefault(title, []).extend([b for b in body if not b.startswith("INSERT INTO ")] + rows)
        return sorted((t, "\n".join(b)) for t, b in merged.items())

    def rows(self):
        counts = {}
        text = self.text
        for name in re.findall(r"(?m)^CREATE TABLE `((?:[^`]|``)*)` \($", text):
            counts[name.replace("``", "`")] = (Counter(), None)
        for match in re.finditer(r"(?m)^INSERT (?:IGNORE )?INTO `((?:[^`]|``)*)` (.*)$", text):
            counts[match.group(1).replace("``", "`")][0][match.group(2)] += 1
        keys = {}
        rc, out, err = self._run(
            self.db,
            [
                "SELECT hex(s.table_name), hex(group_concat(concat('hex(cast(`', replace(s.column_name, '`', '``'), '` as binary))') ORDER BY seq_in_index SEPARATOR ', ''-'', ')),"
                " sum(s.sub_part IS NOT NULL), sum(c.extra LIKE '%GENERATED%' AND c.extra NOT LIKE '%DEFAULT_GENERATED%')"
                " FROM information_schema.statistics s JOIN information_schema.columns c ON c.table_schema = s.table_schema AND c.table_name = s.table_name AND c.column_name = s.column_name"
                " WHERE s.table_schema = database() AND s.index_name = 'PRIMARY' GROUP BY s.table_name"
            ],
            "-N",
            "-B",
        )
        if rc != 0:
            raise Trouble(err[:500])
        queries = []
        for line in out.splitlines():
            table, columns, parts, generated = line.split("\t")
            if parts == "0" and generated == "0":
                name, columns = bytes.fromhex(table).decode(), bytes.fromhex(columns).decode()
                keys[name] = set()
                quoted = name.replace("`", "``")
                queries.append(f"SELECT '{table}', concat({columns}, '') FROM `{quoted}`")
        rc, out, err = self._run(self.db, queries, "-N", "-B")
        if rc != 0:
            raise Trouble(err[:500])
        for line in out.splitlines():
            table, key = line.split("\t")
            keys[bytes.fromhex(table).decode()].add(key)
        return {t: (rows, keys.get(t)) for t, (rows, _) in counts.items()}

    def reference(self):
        return self.text

    def load_reference(self, text, statements):
        self.make(statements, self.reference_db, again=True)
        _, _, err = call([*self.client, "--default-character-set=utf8mb4", "--force", "--binary-mode", self.reference_db], encode(text))
        failed = [line for line in err.splitlines() if line.startswith("ERROR")]
        # Some definitions name the database.
        entries = [tuple(x.replace(self.reference_db, self.db) for x in e) for e in self.dump(self.reference_db)]
        self.remove(self.reference_db)
        return entries, failed


class MariaDB(MySQL):
    name = "mariadb"


class SQLite:
    name = "sqlite"

    def __init__(self, work, tag):
        self.path = os.path.join(work, f"prop_{tag}.sqlite")

    def source(self):
        return f"url=sqlite:{self.path}\n"

    def prepare(self, statements):
        pass

    def make(self, statements, path=None, again=False):
        path = path or self.path
        self.remove(path)
        with open(path, "wb"):
            pass
        return self.run(statements, path) if statements else []

    def remove(self, path=None):
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                os.unlink((path or self.path) + suffix)
            except FileNotFoundError:
                pass

    def run(self, statements, path=None):
        text = "".join(s + ";\n" for s in statements)
        _, _, err = call(["sqlite3", "-cmd", ".timeout 20000", path or self.path], encode(text))
        return [line for line in err.splitlines() if "rror" in line]

    def dump(self, path=None):
        """Definitions as they are stored, rows as .dump has them."""
        command = ["sqlite3", "-bail", "-cmd", ".timeout 20000", path or self.path]
        self.text = must([*command, ".dump"])
        pragmas = "PRAGMA user_version; PRAGMA application_id; PRAGMA encoding; PRAGMA page_size; PRAGMA auto_vacuum; PRAGMA journal_mode;"
        entries = [("pragmas", must([*command, pragmas]).strip())]
        schema = "SELECT hex(type), hex(name), hex(tbl_name), coalesce(hex(sql), '') FROM sqlite_schema WHERE name <> 'sqlite_sequence'"
        for line in must([*command, "-separator", "\t", schema]).splitlines():
            kind, name, table, sql = (bytes.fromhex(x).decode(errors="surrogateescape") for x in line.split("\t"))
            entries.append((f"{kind} {name}; on {table}", sql))
        rows = [s for s in self.statements(must([*command, ".dump --data-only"])) if s.startswith("INSERT INTO ")]
        return sorted(entries + [("row", s) for s in rows])

    @staticmethod
    def statements(text):
        """A statement ends with a semicolon at the end of a line that is in no quotes. There are no comments among rows."""
        result, start, quote = [], 0, None
        for i, c in enumerate(text):
            if quote:
                quote = None if c == quote else quote
            elif c in "'\"`":
                quote = c
            elif c == "\n" and text[i - 1] == ";":
                result.append(text[start:i].strip("\n"))
                start = i + 1
        return result

    def outside(self):
        return []

    def only_inside(self, entries):
        return entries

    def rows(self):
        import sqlite3

        counts = {}
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as db:
            db.text_factory = bytes
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").fetchall():
                name = name.decode()
                quoted = '"' + name.replace('"', '""') + '"'
                infos = db.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
                columns = [(i[1].decode(), i[5], i[6], i[3]) for i in infos if i[6] in (0, 2, 3)]
                chosen = ", ".join("quote(" + '"' + c[0].replace('"', '""') + '")' for c in columns)
                key = [n for n, c in sorted(enumerate(columns), key=lambda x: x[1][1]) if c[1]]
                hidden = any(columns[n][2] for n in key)
                # An alias of the rowid has no index; WITHOUT ROWID makes the columns NOT NULL.
                alias = not any(i[3] == b"pk" for i in db.execute(f"PRAGMA index_list({quoted})"))
                if hidden or not alias and not all(columns[n][3] for n in key):
                    key = []  # NULL may be in it more than once
                content, keys = Counter(), set() if key else None
                for row in db.execute(f"SELECT {chosen} FROM {quoted}"):
                    content[row] += 1
                    if key:
                        keys.add(tuple(row[n] for n in key))
                counts[name] = (content, keys)
        db.close()
        return counts

    def only_inside(self, entries):
        return entries

    def reference(self):
        return self.text

    def load_reference(self, text, statements):
        path = self.path + ".ref"
        self.make(statements, path)
        _, _, err = call(["sqlite3", path], encode(text))
        failed = [line for line in err.splitlines() if "rror" in line]
        entries = self.dump(path)
        self.remove(path)
        return entries, failed


ENGINES = {c.name: c for c in (PostgreSQL, MySQL, MariaDB, SQLite)}
