#!/usr/bin/env python3
"""tests/property/property.py ENGINE FROM-TO - random databases: snapshots, changes, restores; what came back is compared.

  --metasnap PROGRAM   default: $METASNAP_BUILD/metasnap
  --work DIR           catalogs and small scripts of failures; default: $CASE_DIR
  --jobs N             seeds at a time
  --stop N             ends after N seeds that failed
  --shrink SECONDS     for each failure of another kind; 0: not at all
  --most N             failures of one seed that are made smaller
  --without KINDS      with commas: kinds of objects that are left out; --only KINDS: no others
  --all                each seed restores each snapshot in each way; else every third one does
  --rows               only changes of rows
  --print              only prints the scripts
  FROM-TO may be one of the FILE.json written beside a small script: it is done again, and made smaller still

The server is the one of the environment (SERVER_URL ..., see tests/lib.sh: use_db). The same seed gives the same script.
A failure is made smaller while the same thing goes wrong, and written to DIR/ENGINE-SEED.sql with what was found.
"""

import argparse
import importlib
import json
import os
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from engines import ENGINES  # noqa: E402
from scenario import PHASES, Scenario, shrink  # noqa: E402
from trial import Trial  # noqa: E402


class Run:
    def __init__(self, options, module):
        self.o, self.module = options, module
        if options.seeds.endswith(".json"):
            self.seeds = iter([options.seeds])
        else:
            first, _, last = options.seeds.partition("-")
            self.seeds = iter(range(int(first), int(last or first) + 1))
        self.lock = threading.Lock()
        self.known, self.seconds, self.errors, self.statements = Counter(), Counter(), 0, 0
        self.done = self.failed = 0
        self.trouble = None

    def next_seed(self):
        with self.lock:
            if self.trouble or self.failed >= self.o.stop:
                return None
            return next(self.seeds, None)

    def worker(self, number):
        tag = f"{os.path.basename(self.o.work)[:20]}_{self.o.engine}_{number}".replace("-", "_").replace(".", "_").lower()
        engine = ENGINES[self.o.engine](self.o.work, tag)
        work = os.path.join(self.o.work, f"trial-{number}")
        try:
            while (seed := self.next_seed()) is not None:
                self.one(engine, work, seed)
        except Exception as e:  # whatever it is: a run that ends early has not passed
            self.trouble = repr(e)
            raise

    def scenario(self, seed):
        if isinstance(seed, int):
            return self.module.generate(seed, self.o.without, self.o.only)
        with open(seed, encoding="utf-8") as f:
            told = json.load(f)
        scenario = Scenario(self.o.engine, told["seed"])
        scenario.names = told["names"]
        for phase, statements in told["phases"].items():
            for statement in statements:
                scenario.add(phase, statement)
        return scenario

    def one(self, engine, work, seed):
        scenario = self.scenario(seed)
        trial = Trial(engine, scenario, self.o.metasnap, work, only_rows=self.o.rows, everything=self.o.all)
        failures = trial.run()
        with self.lock:
            self.done += 1
            self.failed += bool(failures)
            self.seconds.update(trial.seconds)
            self.errors += len(trial.errors)
            self.statements += trial.statements
            fresh = []
            for f in failures:
                signature = f.signature(scenario.names)
                if signature not in self.known and signature not in [x.signature(scenario.names) for x in fresh]:
                    fresh.append(f)
                self.known[signature] += 1
            for f in failures:
                print(f"seed {seed}: {f}", flush=True)
            if self.o.verbose:
                for e in trial.errors:
                    print("   ", e)
        for f in fresh[:3]:
            self.tell(engine, work, seed, scenario, f)

    def tell(self, engine, work, seed, scenario, failure):
        small, found, tries = scenario, failure, 0
        if self.o.shrink:
            end = time.monotonic() + self.o.shrink
            signature = failure.signature(scenario.names)
            last = [failure]

            short = [True]

            def still(candidate):
                candidate.names = scenario.names
                for f in Trial(engine, candidate, self.o.metasnap, work, failure.stage, short[0]).run():
                    if f.signature(scenario.names) == signature:
                        last[0] = f
                        return True
                return False

            short[0] = still(scenario)
            small = shrink(scenario, still, lambda: time.monotonic() > end)
            found = last[0]
        seed = scenario.seed
        path = os.path.join(self.o.work, f"{self.o.engine}-{seed}-{failure.stage.replace(' ', '-')}-{failure.kind.split()[0]}.sql")
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
            told = "\n".join("-- " + line for line in f"{found}\n{found.detail}".split("\n"))
            f.write(f"-- seed {seed} of {self.o.engine}; kinds: {', '.join(scenario.kinds)}\n{told}\n\n{small.script()}")
        with open(path[:-4] + ".json", "w", encoding="utf-8") as f:
            json.dump({"seed": seed, "names": scenario.names, "phases": {p: small.sql(p) for p in PHASES}}, f, indent=1)
        print(f"seed {seed}: {failure.stage}: {small.size()} of {scenario.size()} statements are left: {path}", flush=True)

    def summary(self):
        total = sum(self.seconds.values())
        print(f"{self.o.engine}: {self.done} seeds ({self.o.seeds}), {self.failed} failed; {self.statements} statements, {self.errors} refused by the server")
        print("  " + ", ".join(f"{k} {v:.1f} s" for k, v in self.seconds.most_common()) + f"; {total:.1f} s in all")
        for signature, n in self.known.most_common():
            print(f"  {n} x {signature}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("engine", choices=sorted(ENGINES))
    p.add_argument("seeds")
    p.add_argument("--metasnap", default=os.path.join(os.environ.get("METASNAP_BUILD", "build"), "metasnap"))
    p.add_argument("--work", default=os.environ.get("CASE_DIR", "."))
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--stop", type=int, default=5)
    p.add_argument("--shrink", type=float, default=60)
    p.add_argument("--most", type=int, default=3)
    p.add_argument("--without", type=lambda s: s.split(","), default=[])
    p.add_argument("--only", type=lambda s: s.split(","), default=None)
    p.add_argument("--all", action="store_true")
    p.add_argument("--rows", action="store_true")
    p.add_argument("--print", action="store_true")
    p.add_argument("--verbose", action="store_true")
    o = p.parse_args()
    o.work = os.path.abspath(o.work)
    module = importlib.import_module("gen_" + {"mariadb": "mysql"}.get(o.engine, o.engine))
    if o.engine == "mariadb":
        module.MARIADB = True
    run = Run(o, module)
    if o.print:
        while (seed := run.next_seed()) is not None:
            print(run.scenario(seed).script())
        return 0
    os.makedirs(o.work, exist_ok=True)
    ENGINES[o.engine](o.work, "prepare").prepare(getattr(module, "PREPARE", []))
    threads = [threading.Thread(target=run.worker, args=(i,)) for i in range(o.jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    run.summary()
    if run.trouble:
        print(f"trouble: {run.trouble}")
    return 1 if run.failed or run.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
