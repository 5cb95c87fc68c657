"""tests/bench/bench.py - what the benchmarks share: throw-away servers, measured commands, tables of medians.

Times are wall clock, caches are warm (each command is run once before it counts), and the entries of a group take turns, so
that what else the machine does falls on all of them.
"""
import os, resource, shlex, shutil, statistics, subprocess, time

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(HERE, "..", "servers")


def sh(command, **kw):
    return subprocess.run(["bash", "-c", "set -o pipefail; " + command], check=True, stdout=subprocess.PIPE, text=True, **kw).stdout


def measure(command, env):
    """Wall seconds, CPU seconds of the children, peak KiB of the largest child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    p = subprocess.Popen(["/usr/bin/time", "-f", "%M", "-o", env["BENCH_TMP"] + "/mem", "bash", "-c", "set -o pipefail; " + command],
                         env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    err = p.communicate()[1]
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode:
        raise SystemExit("failed: %s\n%s" % (command, err[-2000:]))
    with open(env["BENCH_TMP"] + "/mem") as f:
        memory = int(f.read().split()[-1])
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory


class Group:
    """Commands that do the same job; `ours` is the one the others are compared with."""

    def __init__(self, title, env, rounds):
        self.title, self.env, self.rounds, self.entries, self.missing = title, env, rounds, [], []

    def add(self, name, command, setup="", size="", needs=None):
        if needs and not shutil.which(needs):
            self.missing.append(name + " (not installed)")
            return
        self.entries.append({"name": name, "command": command, "setup": setup, "size": size, "runs": []})

    def run(self):
        for i in range(self.rounds + 1):
            for e in self.entries:
                if e["setup"]:
                    sh(e["setup"], env=self.env)
                m = measure(e["command"], self.env)
                if i or self.rounds == 1:  # the first round warms caches
                    e["runs"].append(m)
                if e["size"]:
                    e["bytes"] = int(sh(e["size"], env=self.env).split()[0])
        lines = ["", "### " + self.title, "", "| what | seconds (median) | min | max | CPU s | peak MiB | bytes | metasnap / this |", "|---|---|---|---|---|---|---|---|"]
        ours = statistics.median(r[0] for r in self.entries[0]["runs"])
        for e in self.entries:
            walls = [r[0] for r in e["runs"]]
            median = statistics.median(walls)
            lines.append("| %s | %.2f | %.2f | %.2f | %.2f | %d | %s | %.2f |" % (
                e["name"], median, min(walls), max(walls), statistics.median(r[1] for r in e["runs"]),
                max(r[2] for r in e["runs"]) // 1024, "{:,}".format(e["bytes"]) if "bytes" in e else "", ours / median))
        lines += ["", *["- missing: " + m for m in self.missing]]
        print("\n".join(lines), flush=True)
        return lines


def server_script(engine):
    return shlex.quote(os.path.join(SERVERS, {"postgresql": "postgres"}.get(engine, engine)))


def start_server(engine, directory):
    """Starts a throw-away server; its SERVER_* values."""
    values = {}
    for line in sh("%s start %s" % (server_script(engine), shlex.quote(directory))).splitlines():
        key, _, value = line.partition("=")
        if key.startswith("SERVER_"):
            values[key] = " ".join(shlex.split(value)) if key not in ("SERVER_CLIENT", "SERVER_MYSQLDUMP") else shlex.split(value)[0]
    return values


def stop_server(engine, directory):
    sh("%s stop %s" % (server_script(engine), shlex.quote(directory)))


def write_config(path, catalog, sources):
    """sources: (name, url, password file) of each."""
    with open(path, "w") as f:
        f.write("[catalog]\npath=%s\n" % catalog)
        for source in sources:
            f.write("[source %s]\nurl=%s\npassword_file=%s\nrestore=replace\n" % source)
