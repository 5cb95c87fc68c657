"""A scenario: the statements of one seed, by phase. It prints itself as a script and can be made smaller.

Statements may fail: what fails is left out by the server, and the rest goes on. So any statement can be taken away
without the others being thought about, which is all that shrinking needs.
"""

PHASES = ("database", "setup", "rows1", "rows2", "schema")


class Text:
    """A statement that is one piece."""

    def __init__(self, sql):
        self.sql = sql

    def pieces(self):
        return 0

    def render(self, gone, _table_gone):
        return self.sql


class Create:
    """CREATE TABLE: its columns and constraints can be taken away one by one. items: (column or None, text)."""

    def __init__(self, table, head, items, tail):
        self.table, self.head, self.items, self.tail = table, head, items, tail

    def pieces(self):
        return len(self.items)

    def render(self, gone, _table_gone):
        kept = [text for i, (_, text) in enumerate(self.items) if i not in gone]
        return f"{self.head} (\n  " + ",\n  ".join(kept) + f"\n){self.tail}"

    def columns_gone(self, gone):
        return {(self.table, self.items[i][0]) for i in gone if self.items[i][0] is not None}


class Insert:
    """One row; it follows its table when columns are taken away there. values: (column, quoted column, literal)."""

    def __init__(self, table, head, values, tail=""):
        self.table, self.head, self.values, self.tail = table, head, values, tail

    def pieces(self):
        return 0

    def render(self, _gone, table_gone):
        kept = [v for v in self.values if (self.table, v[0]) not in table_gone]
        if not kept:
            return None
        return f"{self.head} (" + ", ".join(v[1] for v in kept) + ")" + self.tail + " VALUES (" + ", ".join(v[2] for v in kept) + ")"


class Scenario:
    """engine, seed and the statements of each phase; `steps` names what is done with them (see trial.py)."""

    def __init__(self, engine, seed):
        self.engine, self.seed = engine, seed
        self.phases = {p: [] for p in PHASES}
        self.kinds = []
        self.gone = {}  # statement -> set of pieces that were taken away

    def add(self, phase, statement):
        if isinstance(statement, str):
            statement = Text(statement)
        self.phases[phase].append(statement)

    def copy(self):
        other = Scenario(self.engine, self.seed)
        other.phases = {p: list(s) for p, s in self.phases.items()}
        other.kinds = self.kinds
        other.gone = dict(self.gone)
        return other

    def sql(self, phase):
        """The phase's statements as text, without the semicolon."""
        table_gone = set()
        for statements in self.phases.values():
            for s in statements:
                if isinstance(s, Create) and s in self.gone:
                    table_gone |= s.columns_gone(self.gone[s])
        texts = (s.render(self.gone.get(s, ()), table_gone) for s in self.phases[phase])
        return [t for t in texts if t is not None]

    def script(self):
        lines = []
        for phase in PHASES:
            statements = self.sql(phase)
            if statements:
                lines.append(f"-- {phase}")
                lines += [s + ";" for s in statements]
        return "\n".join(lines) + "\n"

    def size(self):
        return sum(len(s) for s in self.phases.values())


def shrink(scenario, still_fails, out_of_time):
    """The smallest scenario found for which still_fails(scenario) is true: halves, quarters, ... single statements,
    then single columns; again until nothing goes any more or the time is over."""
    best = scenario.copy()
    changed = True
    while changed and not out_of_time():
        before = best
        best = _fewer_statements(best, still_fails, out_of_time)
        best = _fewer_pieces(best, still_fails, out_of_time)
        changed = best is not before
    return best


def _fewer_statements(best, still_fails, out_of_time):
    chunk = max(1, best.size() // 2)
    while chunk >= 1 and not out_of_time():
        removed = False
        flat = [(p, s) for p in PHASES for s in best.phases[p]]
        start = len(flat)
        while start > 0 and not out_of_time():
            start = max(0, start - chunk)
            flat = [(p, s) for p in PHASES for s in best.phases[p]]
            drop = {id(s) for _, s in flat[start : start + chunk]}
            if not drop:
                continue
            smaller = best.copy()
            smaller.phases = {p: [s for s in ss if id(s) not in drop] for p, ss in best.phases.items()}
            if still_fails(smaller):
                best, removed = smaller, True
        if chunk == 1 and not removed:
            break
        chunk = chunk // 2 if chunk > 1 else (1 if removed else 0)
    return best


def _fewer_pieces(best, still_fails, out_of_time):
    for phase in PHASES:
        for s in best.phases[phase]:
            for i in range(s.pieces()):
                if i in best.gone.get(s, ()) or out_of_time():
                    continue
                smaller = best.copy()
                smaller.gone[s] = set(best.gone.get(s, ())) | {i}
                if still_fails(smaller):
                    best = smaller
    return best
