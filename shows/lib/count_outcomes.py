"""Compares what the log says of a test run with what the tool printed itself.

Reads `testledger events --json` lines: the results that `StepResultsReported` events hold, and the tool's own summary
line in the output excerpt of `StepFinished`. Prints one SHOW line for each outcome; exit code 1 where one is missed.

JUnit XML cannot tell everything, and the comparison says so instead of hiding it:
- pytest writes an expected failure that passed (xpass) as a pass: passed + xpassed stands against PASSED;
- a test that passed and whose clean-up failed is one ERROR (`teardown error`), and a pass and an error to pytest;
- nextest leaves ignored tests out of its report: its `skipped` count has no counterpart.
"""

import collections
import json
import os
import re
import sys

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def load(path):
    """Counts by (outcome, detail), the number of unpaired teardown errors, and the text the step printed."""
    counts, teardown_only, texts, chunks = collections.Counter(), 0, [], 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            content = event.get("content") or {}
            content = content.get("value", content)
            if event["type"] == "StepResultsReported":
                chunks += 1
                names = [case["name"] for case in content["cases"]]
                results = event["data"]["results"]
                assert len(names) == len(results), "each result has its name"
                for name, result in zip(names, results):
                    key = result["outcome"], result.get("detail")
                    counts[key] += 1
                    teardown_only += key == ("ERROR", "teardown error") and not name.endswith("#2")
            elif event["type"] == "StepFinished":
                texts += [excerpt["head"] + "\n" + excerpt["tail"] for excerpt in content["excerpts"]]
    assert chunks, "no StepResultsReported event"
    return counts, teardown_only, ANSI.sub("", "\n".join(texts))


def numbers(line):
    """`3 failed, 5 passed` as a dictionary."""
    return collections.Counter({word: int(count) for count, word in re.findall(r"(\d+) (timed out|[a-z]+)", line)})


def last(pattern, text):
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        sys.exit(f"the tool's summary line was not found in its recorded output:\n{text[-2000:]}")
    return found[-1]


def pytest_rows(counts, teardown_only, text):
    says = numbers(last(r"^=*\s?(\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s", text))
    skipped = sum(n for (outcome, detail), n in counts.items() if outcome == "SKIPPED" and detail != "xfail")
    return [
        ("passed", of(counts, "PASSED") + teardown_only, says["passed"] + says["xpassed"]),
        ("failed", of(counts, "FAILED"), says["failed"]),
        ("errors", of(counts, "ERROR"), says["error"] + says["errors"]),
        ("skipped", skipped, says["skipped"]),
        ("xfailed", counts["SKIPPED", "xfail"], says["xfailed"]),
    ]


def nextest_rows(counts, _, text):
    line = last(r"Summary \[[^]]*\] (.*)$", text)
    says, flaky = numbers(line), re.search(r"\((\d+) flaky\)", line)
    return [
        ("run", sum(counts.values()), int(re.match(r"(\d+)", line).group(1))),
        ("passed", of(counts, "PASSED"), says["passed"]),
        ("flaky", counts["PASSED", "flaky"], int(flaky.group(1)) if flaky else 0),
        ("failed", of(counts, "FAILED"), says["failed"]),
        ("timed-out", of(counts, "TIMEOUT"), says["timed out"]),
        ("exec-failed", of(counts, "ERROR"), says["exec"]),
    ]


def of(counts, outcome):
    return sum(n for (found, _), n in counts.items() if found == outcome)


def main():
    tool, path = sys.argv[1:]
    rows = {"pytest": pytest_rows, "nextest": nextest_rows}[tool](*load(path))
    missed = False
    for name, value, limit in rows:
        verdict = "met" if value == limit else "MISSED"
        missed |= value != limit
        commit, store = os.environ.get("SHOW_COMMIT", "none"), os.environ.get("SHOW_OF_STORE", "")
        print(f"SHOW published{store}-{tool}-{name} value={value} limit={limit} seed=- commit={commit} {verdict}")
    sys.exit(missed)


main()
