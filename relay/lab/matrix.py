"""What many trials say together: the confusion matrix, docs/accuracy.md, and the test vectors."""

import json
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay import __version__
from relay.lab.runner import Tally
from relay.lab.trial import ALLOWED_SECONDS, Outcome, Trial

VERSIONS = {
    "squid": ["squid", "-v"],
    "squid-openssl": ["squid-openssl", "-v"],
    "tinyproxy": ["tinyproxy", "-v"],
    "apache": ["apache2", "-v"],
    "privoxy": ["privoxy", "--version"],
    "dante": ["danted", "-v"],
    "haproxy": ["haproxy", "-v"],
    "nftables": ["nft", "--version"],
}
SPEEDS = {
    "healthy": "a healthy path",
    "at-once": "a fault that shows itself at once",
    "silent": "a fault that shows itself by silence",
}


def matrix(tally: Tally) -> str:
    """Expected against named first, what differs in full; the rest as counts."""
    counts = tally.confusion()
    wrong = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
    right = sum(count for pair, count in counts.items() if pair not in wrong)
    expected = {pair[0] for pair in counts} - {""}
    lines = [
        f"{right} of {sum(counts.values())} right; {len(expected)} causes, and none at all, were expected",
        *(
            f"  expected {wanted or 'good'}, named {got or 'nothing'}: {count}"
            for (wanted, got), count in sorted(wrong.items())
        ),
    ]
    lines += [
        f"  wrong: {one.scenario.id}: {one.why} ({', '.join(one.named)})" for one in tally.of(Outcome.WRONG)
    ]
    for outcome in (Outcome.IMPOSSIBLE, Outcome.FAILED):
        lines += [f"  {outcome}: {one.scenario.id}: {one.why}" for one in tally.of(outcome)]
    lines += [
        f"  right at the second try: {one.scenario.id}" for one in tally.of(Outcome.RIGHT) if one.tries > 1
    ]
    slow = [one for one in tally.trials if one.is_slow]
    lines += [f"  slow: {one.scenario.id}: {max(one.seconds):.1f} s" for one in slow]
    return "\n".join(lines)


def accuracy_page(tally: Tally) -> str:
    """docs/accuracy.md."""
    checks = sum(len(one.reports) for one in tally.trials)
    right = f"{len(tally.of(Outcome.RIGHT))} of {len(tally.trials)} scenarios right"
    lines = [
        "# How often relay check is right",
        "",
        "Made by `make lab`; do not edit. Each row is a network that was really built and really broken",
        "([lab.md](lab.md)); `relay check` ran on its client and knew nothing of it.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, framework-relay {__version__}, Linux {platform.release()}, "
        f"Python {platform.python_version()}: **{right}**, {checks} checks.",
        "",
        *_times(tally),
        "",
        "## Confusion matrix",
        "",
        "A row is right when the expected cause is named first, or in the set of those that look the same",
        'from the client (*in the set*). "good" means: no cause at all.',
        "",
        "| expected | right | as | scenarios |",
        "| --- | --- | --- | --- |",
        *_rows(tally),
        "",
        "## Scenarios",
        "",
        "| scenario | what is broken | verdict | seconds |",
        "| --- | --- | --- | --- |",
        *(_row(one) for one in sorted(tally.trials, key=lambda one: (one.scenario.kind, one.scenario.id))),
        "",
        "## Versions",
        "",
        *(f"- {name}: {version}" for name, version in versions().items()),
    ]
    return "\n".join(lines) + "\n"


def _times(tally: Tally) -> list[str]:
    lines = ["| | may take | median | longest |", "| --- | --- | --- | --- |"]
    for speed, words in SPEEDS.items():
        took = [second for one in tally.trials if one.scenario.speed == speed for second in one.seconds]
        if took:
            middle, longest = statistics.median(took), max(took)
            lines.append(f"| {words} | {ALLOWED_SECONDS[speed]:g} s | {middle:.2f} s | {longest:.2f} s |")
    return lines


def _rows(tally: Tally) -> list[str]:
    rows = []
    for expected in sorted({one.scenario.expect for one in tally.trials}):
        trials = [one for one in tally.trials if one.scenario.expect == expected]
        right = [one for one in trials if one.outcome is Outcome.RIGHT]
        first = [one for one in right if next(iter(one.named), "") == expected]
        told = "first" if len(first) == len(right) else "in the set" if not first else "first or in the set"
        others = ", ".join(
            f"{next(iter(one.named), 'nothing')} instead" for one in trials if one.outcome is Outcome.WRONG
        )
        cell = f"{len(right)}/{len(trials)}"
        rows.append(f"| {expected or 'good'} | {cell} | {others or told} | {len(trials)} |")
    return rows


def _row(one: Trial) -> str:
    seconds = f"{max(one.seconds):.2f}" if one.seconds else ""
    named = one.named[0] if one.named else "good"
    if one.outcome in (Outcome.IMPOSSIBLE, Outcome.FAILED):
        named = str(one.outcome)
    note = f" (noted: {one.scenario.note})" if one.scenario.note else ""
    mark = "" if one.outcome is not Outcome.WRONG else " **wrong**"
    return f"| {one.scenario.id} | {one.scenario.broken} | {named}{note}{mark} | {seconds} |"


def versions() -> dict[str, str]:
    """The first line that each program says of itself."""
    told = {}
    for name, command in VERSIONS.items():
        path = shutil.which(command[0], path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if path is not None:
            done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=10)
            told[name] = (done.stdout or done.stderr).splitlines()[0].strip()[:100]
    return told


def vectors(tally: Tally) -> str:
    """What was seen of each scenario that came out right, one line for each: tests/vectors/lab.json."""
    lines = []
    for one in sorted(tally.of(Outcome.RIGHT), key=lambda one: one.scenario.id):
        record = dict(one.reports[0]["record"])
        record["findings"] = [_slim(finding) for finding in record["findings"]]
        first = one.named[0] if one.named else ""
        vector = {"name": one.scenario.id, "expect": one.scenario.expect, "cause": first, "record": record}
        lines.append(json.dumps(vector))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _slim(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding with the evidence that the engine judges: words and numbers, no lists and tables."""
    kept = {name: one for name, one in finding["evidence"].items() if isinstance(one, str | int)}
    return {**finding, "words": "", "seconds": 0.0, "began_seconds": 0.0, "evidence": kept}
