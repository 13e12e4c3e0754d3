"""Runs 1,000 cases of one 1-second step at --jobs 100 and checks what the log says of it. See ../thousand-cases.sh."""

import collections
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid

CASES = int(os.environ.get("CASES", "1000"))
JOBS = int(os.environ.get("JOBS", "100"))
SECONDS_EACH = os.environ.get("SECONDS_EACH", "1")
# Ends the names of the figures: nothing for SQLite, `_mongodb` for MongoDB.
OF_STORE = os.environ.get("SHOW_OF_STORE", "")
OVERHEAD_P99_LIMIT_MS = 200
OVERHEAD_P99_AIM_MS = 50 if OF_STORE else 20
# Of an append that turns an execution from one status to another.
TRANSITION_P99_LIMIT_MS = 50
# A run that takes so long hangs; never a measure of speed.
HANG_SECONDS = 600
MARKER = "TESTLEDGER_SHOW_MARKER"

# What the stream of each case holds, in this order.
OF_A_CASE = [
    "ExecutionRequested",
    "ExecutionReady",
    "ExecutionClaimed",
    "ExecutionStarted",
    "StepStarted",
    "StepFinished",
    "ExecutionPassed",
]
OF_THE_SUITE = ["ExecutionRequested", "ExecutionReady", "ExecutionClaimed", "ExecutionStarted", "ExecutionPassed"]
OF_THE_ENGINE = ["WorkerStarted", "WorkerStopped"]


def marked(marker):
    """The processes with this marker in their environment: those of the run, whatever their name or parent."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if marker in environ.read():
                    found.append(int(pid))
        except OSError:
            continue  # it has ended, or is another user's
    return found


def plain_spawns():
    """Milliseconds until so many plain `sleep`s run that are started at once, without any engine: what this machine
    needs for the first wave anyway, as it is loaded now."""
    sleep = shutil.which("sleep")
    began = time.monotonic()
    started = [os.posix_spawn(sleep, ["sleep", SECONDS_EACH], os.environ) for _ in range(JOBS)]
    took = time.monotonic() - began
    for pid in started:
        os.waitpid(pid, 0)
    return took * 1000


class Run:
    """One run of the plan, with what was seen of its processes while it went on."""

    def __init__(self, testledger, work, store):
        self.testledger = testledger
        self.store = store
        self.plan = os.path.join(work, "thousand-cases.yaml")
        self.marker = uuid.uuid4().hex
        with open(self.plan, "w", encoding="utf-8") as plan:
            plan.write("suite: thousand-cases\ncases:\n")
            for case in range(CASES):
                plan.write(f'  - {{ id: c{case:04}, steps: [{{ id: sleep, run: [sleep, "{SECONDS_EACH}"] }}] }}\n')

    def call(self, *arguments, environment=None):
        command = [self.testledger, *arguments, "--store", self.store]
        return subprocess.run(
            command, check=False, stdout=subprocess.PIPE, text=True, timeout=HANG_SECONDS, env=environment
        )

    def go(self):
        """Runs the plan. Afterwards `most` is the largest number of its processes seen at once, `left` what is left."""
        environment = {**os.environ, MARKER: self.marker}
        needle = f"{MARKER}={self.marker}".encode()
        self.most, over = 0, threading.Event()

        def look():
            # One look in the middle of the run is enough to show that the look finds them, and disturbs it little.
            if not over.wait(min(5.0, float(SECONDS_EACH) * CASES / JOBS / 2)):
                self.most = len(marked(needle))

        looker = threading.Thread(target=look)
        looker.start()
        began = time.monotonic()
        run = self.call("run", self.plan, "--jobs", str(JOBS), "--json", environment=environment)
        self.wall = time.monotonic() - began
        over.set()
        looker.join()
        self.left = marked(needle)
        self.exit_code = run.returncode
        self.result = json.loads(run.stdout.strip().splitlines()[-1])

    def events(self):
        listed = self.call("events", "--json")
        assert listed.returncode == 0, "events --json"
        return [json.loads(line) for line in listed.stdout.splitlines()]


def missing_or_too_many(events):
    """How many streams do not hold exactly what they should; the positions must be dense, too."""
    streams = collections.defaultdict(list)
    for event in events:
        streams[event["stream"]].append(event)
    wrong, cases, expected = 0, 0, None
    for of_stream in streams.values():
        first = of_stream[0]
        if first["execution_id"] is None:
            expected = OF_THE_ENGINE
        elif first["data"].get("parent_id"):
            expected, cases = OF_A_CASE, cases + 1
        else:
            expected = OF_THE_SUITE
        names = [event["type"] for event in of_stream]
        versions = [event["version"] for event in of_stream]
        wrong += names != expected or versions != list(range(1, len(names) + 1))
    wrong += [event["position"] for event in events] != list(range(1, len(events) + 1))
    return wrong + abs(cases - CASES) + abs(len(streams) - CASES - 2)


def starts_before_last_request(events):
    """How many executions had started before the last request was durable."""
    requests = [event["position"] for event in events if event["type"] == "ExecutionRequested"]
    starts = [event["position"] for event in events if event["type"] == "ExecutionStarted"]
    assert len(requests) == CASES + 1, "all requests are there"
    return sum(start < max(requests) for start in starts)


def show(name, value, limit, met):
    commit = os.environ.get("SHOW_COMMIT", "none")
    verdict = "met" if met else "MISSED"
    print(f"SHOW thousand_cases{OF_STORE}_{name} value={value} limit={limit} seed=- commit={commit} {verdict}")
    return met


def ms(microseconds):
    return round(microseconds / 1000, 1)


def main():
    run = Run(*sys.argv[1:])
    load_before = os.getloadavg()[0]
    plain = [plain_spawns()]
    run.go()
    plain.append(plain_spawns())
    events = run.events()
    verified = run.call("audit", "verify", "--expect", run.result["anchor"])
    overhead, appends, transitions = (run.result[name] for name in ("overhead", "appends", "transitions"))
    ideal = float(SECONDS_EACH) * -(-CASES // JOBS)
    print(f"{CASES} cases of {SECONDS_EACH} s at --jobs {JOBS}, {os.cpu_count()} cores, load before {load_before:.1f}")
    print(f"wall time {run.wall:.2f} s (ideal {ideal:.0f} s), exit code {run.exit_code}")
    slots = (run.wall - ideal) / (CASES / JOBS) * 1000
    print(f"cross-check from outside: {slots:.0f} ms for each turn of a slot, start and end of the program included")
    print(f"control: {JOBS} plain spawns of `sleep` at once, no engine: {plain[0]:.0f} ms before, {plain[1]:.0f} ms after")
    for name, found in (("overhead", overhead), ("append", appends), ("transition", transitions)):
        print(f"{name}: n={found['count']} p50 {ms(found['p50_us'])} ms, p99 {ms(found['p99_us'])} ms, "
              f"max {ms(found['max_us'])} ms")
    for part in ("start", "end"):
        found = run.result["overhead_parts"][part]
        print(f"  {part}: p50 {ms(found['p50_us'])} ms, p99 {ms(found['p99_us'])} ms, max {ms(found['max_us'])} ms")

    p99, turn = ms(overhead["p99_us"]), ms(transitions["p99_us"])
    passed = run.result["cases"].get("PASSED", 0)
    met = [
        show("passed", passed, CASES, passed == CASES and run.exit_code == 0),
        show("overheads_measured", overhead["count"], CASES, overhead["count"] == CASES),
        show("overhead_p99_ms", p99, f"<{OVERHEAD_P99_LIMIT_MS}", p99 < OVERHEAD_P99_LIMIT_MS),
        # A case goes from PENDING to RUNNING to PASSED, and so does the suite.
        show("transitions_measured", found := transitions["count"], 2 * CASES + 2, found == 2 * CASES + 2),
        show("transition_append_p99_ms", turn, f"<{TRANSITION_P99_LIMIT_MS}", turn < TRANSITION_P99_LIMIT_MS),
        show("starts_before_last_request", early := starts_before_last_request(events), 0, early == 0),
        show("streams_not_as_expected", wrong := missing_or_too_many(events), 0, wrong == 0),
        show("audit_verify_exit_code", verified.returncode, 0, verified.returncode == 0),
        show("processes_seen_during_run", run.most, f">{JOBS}", run.most > JOBS),
        show("processes_left", len(run.left), 0, not run.left),
    ]
    reached = "reached" if p99 < OVERHEAD_P99_AIM_MS else "not reached"
    print(f"the aim of {OVERHEAD_P99_AIM_MS} ms for the overhead's p99 is {reached}")
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
