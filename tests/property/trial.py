"""One scenario done with the real programs, and everything that is not as it must be."""

import difflib
import os
import re
import shutil
import time
from collections import Counter
from urllib.parse import unquote_to_bytes

from engines import call


class Failure:
    """stage: where; kind: what; words: the first line that tells it; detail: for who reads it."""

    def __init__(self, stage, kind, words, detail=""):
        self.stage, self.kind, self.words, self.detail = stage, kind, words, detail

    def signature(self, names):
        words = self.words
        for name in sorted(names, key=len, reverse=True):
            if len(name) > 1:
                words = words.replace(name, "N")
        words = re.sub(r'"[^"]*"|“[^”]*”|`[^`]*`', "Q", words)
        words = re.sub(r"[0-9]+", "0", words)
        return f"{self.stage}: {self.kind}: {words[:160]}"

    def __str__(self):
        return f"{self.stage}: {self.kind}: {self.words}"


def entry_kind(title):
    match = re.search(r"; Type: ([A-Z ]+);", title)
    if match:
        return ("DATA " if title.startswith("Data for") else "") + match.group(1)
    return re.match(r"[a-z]*(?: (?:structure|data|events|routines|of))?", title).group() or re.match(r"[A-Z][a-z]* ?[a-z]*", title).group()


def difference_of_dumps(before, after):
    """None, or (words, detail)."""
    a, b = Counter(before), Counter(after)
    gone, new = a - b, b - a
    if not gone and not new:
        return None
    kinds = sorted({"-" + entry_kind(t) for t, _ in gone} | {"+" + entry_kind(t) for t, _ in new})
    lines = []
    for title in sorted({t for t, _ in gone} | {t for t, _ in new}):
        old = [line for (t, text), n in sorted(gone.items()) if t == title for line in (text.split("\n")) * n]
        fresh = [line for (t, text), n in sorted(new.items()) if t == title for line in (text.split("\n")) * n]
        lines.append(f"@ {title}")
        lines += [line for line in difflib.unified_diff(old, fresh, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]
    return ", ".join(kinds), "\n".join(lines)


def allowed_by_reference(before, after, reference):
    """Both with what the server's own dump and load change put in: the lines that dump | load | dump prints otherwise."""
    once = Counter(t for t, _ in before)
    new, twice = dict(reference), Counter(t for t, _ in reference)
    change = {}
    for title, text in before:
        if once[title] == twice[title] == 1 and new[title] != text:
            change[(title, text)] = new[title]
    return [(t, change.get((t, x), x)) for t, x in before], [(t, change.get((t, x), x)) for t, x in after]


def stat(text):
    """Of `diff --stat`: {table: (added, removed, changed, before, after, note)} and (same tables, same rows)."""
    tables, same = {}, None
    for line in text.splitlines()[1:]:
        match = re.match(r" *(\d+) +(\d+) +(\d+) +(\d+) +(\d+)  (?=.{7}  )(\S+) *", line)
        if not match:
            continue
        numbers = tuple(int(match.group(i)) for i in range(1, 6))
        note, name = match.group(6), line[match.start(6) + 9 :]  # a name may begin with a space
        if note == "same":
            same = (int(name.split()[0]), numbers[3])
        elif note != "total":
            tables[unquote_to_bytes(name.encode(errors="surrogateescape")).decode(errors="surrogateescape")] = (*numbers, note)
    return tables, same


class Trial:
    """work: a directory for the catalog. only: the stage that matters; short: nothing is done that it does not need."""

    def __init__(self, engine, scenario, metasnap, work, only=None, short=True, only_rows=False, everything=True):
        self.only_rows, self.all = only_rows, everything
        self.short = short
        self.engine, self.scenario, self.metasnap, self.work, self.only = engine, scenario, metasnap, work, only
        self.failures, self.errors, self.statements = [], [], 0
        self.conf = os.path.join(work, "metasnap.conf")
        self.dumps, self.texts, self.references = {}, {}, {}
        self.seconds = Counter()

    def fail(self, stage, kind, words, detail=""):
        self.failures.append(Failure(stage, kind, words.strip(), detail))

    # ---- programs

    def ms(self, *args):
        start = time.monotonic()
        # A sanitizer's report, a crash: anything but an exit code of the contract is a failure by itself.
        rc, out, err = call([self.metasnap, "-c", self.conf, *args], None, None, 120)
        self.seconds["metasnap " + args[0]] += time.monotonic() - start
        if rc < 0 or rc > 2:
            self.fail(args[0], "crash", f"status {rc}", err)
        return rc, out, err

    def do(self, stage, *args):
        rc, out, err = self.ms(*args)
        if rc != 0:
            lines = [line for line in err.splitlines() if line.strip()] or [out.strip() or "no words"]
            self.fail(stage, f"{args[0]} ends with {rc}", lines[0], out + err)
            return None
        return out + err

    def timed(self, what, function, *args):
        start = time.monotonic()
        result = function(*args)
        self.seconds[what] += time.monotonic() - start
        return result

    def phase(self, name):
        statements = self.scenario.sql(name)
        if statements:
            self.errors += self.timed("statements", self.engine.run, statements)
            self.statements += len(statements)

    def make(self, again=False):
        self.errors += self.timed("statements", self.engine.make, self.scenario.sql("database"), None, again)

    def dump(self):
        return self.timed("dump", self.engine.dump)

    # ---- stages

    def run(self):
        """Everything; afterwards self.failures."""
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(f"[catalog]\npath={self.work}/catalog.db\n[source prod]\n{self.engine.source()}restore=replace\n")
        os.chmod(self.conf, 0o600)
        try:
            self._stages()
        finally:
            self.timed("statements", self.engine.remove)
        return self.failures

    def _stages(self):
        if self.only is not None and self.short:
            return self._only()
        self.make()
        self.phase("setup")
        # Every third time one of these three: they are the same things once more with another snapshot.
        more = ("difference back", "object forward", "empty later") if self.all else (("difference back", "object forward", "empty later")[self.scenario.seed % 3],)
        if not self.snapshot("s0"):
            return None
        rows = {"s0": self.timed("rows", self.engine.rows)}
        for a, b, phase in (("s0", "s1", "rows1"), ("s1", "s2", "rows2")):
            self.phase(phase)
            if not self.snapshot(b):
                return None
            rows[b] = self.timed("rows", self.engine.rows)
            self.diff(f"diff {phase}", a, b, rows[a], rows[b])
        self.restore("difference", "s0", rebuild=False)
        if "difference back" in more:
            self.restore("difference back", "s2", rebuild=False)
        if self.only_rows:
            return None
        self.phase("schema")
        if not self.snapshot("s3"):
            return None
        self.restore("object", "s0")
        if "object forward" in more:
            self.restore("object forward", "s3")
        for stage, name in (("empty", "s0"), ("empty later", "s3")):
            if stage == "empty" or stage in more:
                self.make(again=True)
                self.restore(stage, name)
        self.do("verify", "verify")
        self.do("verify", "check")
        return None

    def _only(self):
        """Just what one stage needs: what is done many times when a failure is made smaller."""
        later = self.only in ("object forward", "empty later", "difference back", "snapshot s3")
        self.make()
        self.phase("setup")
        if self.only != "empty later" and not self.snapshot("s0"):
            return
        if self.only.startswith("diff rows"):
            before = self.timed("rows", self.engine.rows)
            self.phase("rows1")
            if self.only == "diff rows2":
                before = self.timed("rows", self.engine.rows)
                self.do("snapshot s1", "snapshot", "prod", "s1")
                self.phase("rows2")
            self.do("snapshot s2", "snapshot", "prod", "s2")
            self.diff(self.only, "s0" if self.only == "diff rows1" else "s1", "s2", before, self.timed("rows", self.engine.rows))
            return
        if self.only != "empty":
            for phase in ("rows1", "rows2") + (() if self.only.startswith("difference") else ("schema",)):
                self.phase(phase)
        name = "s0"
        if later:
            name = "s2" if self.only == "difference back" else "s3"
            if not self.snapshot(name):
                return
        if self.only in ("object forward", "difference back"):
            self.do("", "restore", "prod", "s0", "--yes")
        if self.only.startswith("empty"):
            self.make(again=True)
        if not self.only.startswith(("snapshot", "verify")):
            self.restore(self.only, name, not self.only.startswith("difference"))

    def snapshot(self, name):
        out = self.do("snapshot " + name, "snapshot", "prod", name)
        if out is not None:
            self.dumps[name] = self.dump()
            self.texts[name] = self.timed("dump", self.engine.reference)
        return out is not None

    def diff(self, stage, a, b, before, after):
        rc, out, err = self.ms("diff", "prod", a, b, "--stat")
        if rc not in (0, 1):
            return self.fail(stage, "diff ends with 2", (err.splitlines() or ["no words"])[0], out + err)
        tables, same = stat(out)
        want, n_same, same_rows = {}, 0, 0
        for table in sorted(set(before) | set(after)):
            old, old_keys = before.get(table, (Counter(), set()))
            new, new_keys = after.get(table, (Counter(), set()))
            only_old, only_new = sum((old - new).values()), sum((new - old).values())
            if not only_old and not only_new and table in before and table in after:
                n_same += 1
                same_rows += sum(old.values())
                continue
            added = removed = None
            if old_keys is not None and new_keys is not None:
                added, removed = len(new_keys - old_keys), len(old_keys - new_keys)
            want[table] = (only_old, only_new, added, removed, sum(old.values()), sum(new.values()))
        wrong = []
        for table, (only_old, only_new, added, removed, n_old, n_new) in want.items():
            got = tables.pop(table, None)
            if got is None:
                wrong.append(f"{table}: said to be same, {only_old} rows gone, {only_new} new")
                continue
            if (got[3], got[4]) != (n_old, n_new):
                wrong.append(f"{table}: {got[3]} -> {got[4]} rows, by SQL {n_old} -> {n_new}")
            if got[0] + got[2] != only_new or got[1] + got[2] != only_old:
                wrong.append(f"{table}: {got[0]} added {got[1]} removed {got[2]} changed, by SQL {only_new} rows are new and {only_old} gone")
            elif added is not None and (got[0], got[1]) != (added, removed):
                wrong.append(f"{table}: {got[0]} added {got[1]} removed, by SQL {added} and {removed} keys")
        wrong += [f"{t}: {g}, by SQL nothing differs" for t, g in tables.items()]
        if not wrong and same != (n_same, same_rows):
            wrong.append(f"same: {same}, by SQL {(n_same, same_rows)}")
        if wrong:
            self.fail(stage, "diff --stat", re.sub(r"^.*?: ", "", wrong[0]), "\n".join(wrong) + "\n" + out)
        return None

    def restore(self, stage, name, rebuild=True):
        before = len(self.failures)
        outside = self.engine.outside()
        out = self.do(stage, "restore", "prod", name, "--yes")
        # Refused, with the name of what lies outside of the schema and needs a table that must be made anew: as promised.
        if out is None and re.search(r"\bother\.[^\n]*depends on ", self.failures[-1].words):
            self.failures.pop()
        if out is None:
            return
        lost = sorted(g for g in set(outside) - set(self.engine.outside()) if self.engine.stays(g, self.texts[name]))
        if lost:
            self.fail(stage, "outside", "; ".join(lost)[:200], out)
        if not rebuild and "made anew" in out and "CREATE TABLE" in self.texts[name]:
            self.fail(stage, "rebuild", "rows only have changed and the schema was made anew", out)
        if len(self.failures) > before:
            return
        self.compare(stage, name, out)
        if len(self.failures) > before or "it is left out where it is not there already" in out:
            return
        rc, verify, err = self.ms("verify", "prod", name, "--live")
        if rc != 0:
            schema = self.schemas_differ(name)
            changed = [line for line in schema if line[:1] in "+-"]
            words = " | ".join(changed[:2]) if changed else (err.splitlines() or verify.splitlines() or ["no words"])[0]
            self.fail(stage, "verify --live", words, verify + err + "\n".join(schema))

    def schemas_differ(self, name):
        """What a snapshot's schema.sql says and what one of now says."""
        now = f"now{len(self.failures)}"
        texts = []
        for snapshot in (name, now):
            folder = os.path.join(self.work, f"{now}-{snapshot}")
            if snapshot == now and self.ms("snapshot", "prod", now)[0] != 0 or self.ms("export", "prod", snapshot, folder)[0] != 0:
                return []
            with open(os.path.join(folder, "schema.sql"), encoding="utf-8", errors="surrogateescape") as f:
                texts.append(f.read().split("\n"))
        return [line for line in difflib.unified_diff(*texts, lineterm="", n=1) if not line.startswith(("---", "+++", "@@"))]

    def compare(self, stage, name, out):
        want, got = self.dumps[name], self.dump()
        if stage.startswith("empty"):
            want, got = self.engine.only_inside(want), self.engine.only_inside(got)
        # A view that is not valid cannot be made where it is not there already: it is named.
        for view in re.findall(r"(?s)metasnap: view ([^\n]*(?:\n[^\n:]*)?): it uses a table, column or function that is not in the snapshot either", out):
            want = [e for e in want if not e[0].endswith((f"view `{view}`", f"view {view}"))]
        found = difference_of_dumps(want, got)
        if found is None:
            return
        if name not in self.references:
            self.references[name] = self.engine.load_reference(self.texts[name], self.scenario.sql("database"))
        reference, _failed = self.references[name]
        want, got = allowed_by_reference(want, got, reference)
        found = difference_of_dumps(want, got)
        if found is not None:
            self.fail(stage, "dump", found[0], found[1] + "\n--- what the restore said\n" + out)
