"""`relay lab`: networks that are really broken, to try `relay check` on, and to prove it right."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, count, file_name
from relay.commands.report_options import see_writable, write_report
from relay.failure import SettingsError
from relay.lab.network import ADDRESSES
from relay.lab.room import CannotPlay, Room, StagingFailed, clean_environment, in_a_room
from relay.lab.runner import MAX_JOBS, Tally, chosen, play_again, play_all
from relay.lab.scenario import Scenario, read_scenarios
from relay.lab.trial import Outcome, Trial
from relay.shown import shown

EXIT_UNTESTED = 3
HEALTHY_RUNS = 2
MAX_RUNS = 100


def run(arguments: Sequence[str], program: str) -> int:
    """List, run or enter scenarios; 0 when every verdict was the expected one."""
    options = _parser(program).parse_args(arguments)
    scenarios = read_scenarios(Path(file) for file in options.scenarios)
    status: int = options.do(options, scenarios, program)
    return status


_FILES = (
    ("--json", "FILE", "write all that was seen; - is stdout"),
    ("--record", "FILE.json", "keep what was seen of each as a test vector"),
    ("--accuracy", "FILE.md", "write the confusion matrix, times and versions"),
)


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Broken networks made for real, on this machine (docs/lab.md).")
    commands = parser.add_subparsers(required=True, metavar="list|run|shell")
    listing = commands.add_parser("list", help="every scenario: what is broken, and the verdict expected")
    listing.add_argument("names", nargs="*", metavar="NAME")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(do=_list)
    running = commands.add_parser("run", help="play scenarios and compare what `relay check` says")
    running.add_argument("names", nargs="*", metavar="NAME")
    running.add_argument("--all", action="store_true", help="every scenario")
    running.add_argument(
        "--jobs", type=count, default=4 * (os.cpu_count() or 1), metavar="N",
        help=f"so many at once, at most {MAX_JOBS} (default: 4 for each processor; they mostly wait)",
    )  # fmt: skip
    running.add_argument(
        "--healthy-runs", type=count, default=HEALTHY_RUNS, metavar="N",
        help=f"check each healthy network so many times (default {HEALTHY_RUNS})",
    )  # fmt: skip
    running.add_argument(
        "--complete", action="store_true", help="fail, too, when this machine cannot play a scenario"
    )
    for name, metavar, words in _FILES:
        running.add_argument(name, type=file_name, metavar=metavar, help=words)
    running.set_defaults(do=_run)
    shell = commands.add_parser("shell", help="a shell, or a COMMAND, on the client of a scenario")
    shell.add_argument("name", metavar="NAME")
    shell.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="instead of a shell")
    shell.set_defaults(do=_shell, only_kind=[])
    for one in (listing, running, shell):
        one.add_argument(
            "--scenarios", action="append", default=[], metavar="FILE.toml", help="also those of this file"
        )
    for one in (listing, running):
        one.add_argument(
            "--only-kind", action="append", default=[], metavar="KIND", help="only these; repeat"
        )
    return parser


def _chosen(options: Any, scenarios: dict[str, Scenario]) -> list[Scenario]:
    kinds = {one.kind for one in scenarios.values()}
    for name in options.names:
        if name not in scenarios:
            raise SettingsError(f"NAME: there is no scenario {shown(name)}; see relay lab list")
    for kind in options.only_kind:
        if kind not in kinds:
            raise SettingsError(f"--only-kind: {shown(kind)}; expected one of {', '.join(sorted(kinds))}")
    return chosen(list(scenarios.values()), options.names, options.only_kind)


def _list(options: Any, scenarios: dict[str, Scenario], program: str) -> int:
    found = _chosen(options, scenarios)
    if options.json:
        rows = [{"id": one.id, "kind": one.kind, "broken": one.broken, "expect": one.expect} for one in found]
        print(json.dumps(rows, indent=1))
        return EXIT_GOOD
    width = max((len(one.id) for one in found), default=0)
    for kind in dict.fromkeys(one.kind for one in found):
        print(f"{kind}:")
        for one in found:
            if one.kind == kind:
                expected = one.expect or (f"good, noted: {one.note}" if one.note else "good")
                print(f"  {one.id:<{width}}  {one.broken} -> {expected}")
    print(f"{len(found)} scenarios")
    return EXIT_GOOD


def _run(options: Any, scenarios: dict[str, Scenario], program: str) -> int:
    if not (options.names or options.all or options.only_kind):
        raise SettingsError("expected NAME, --only-kind or --all; see relay lab list")
    if options.healthy_runs > MAX_RUNS:
        raise SettingsError(f"--healthy-runs: {options.healthy_runs}; expected at most {MAX_RUNS}")
    see_writable([(f"--{name}", getattr(options, name)) for name in ("json", "record", "accuracy")])
    from relay.lab.matrix import accuracy_page, matrix, vectors

    tally, found = Tally(), _chosen(options, scenarios)
    for trial in play_all(found, options.jobs, options.healthy_runs):
        tally.trials.append(trial)
        _say(trial, len(tally.trials), len(found))
    for trial in play_again(tally.doubtful(), options.healthy_runs):
        tally.replace(trial)
        _say(trial, len(tally.trials), len(found))
    if options.json:
        write_report(json.dumps([one.as_dict() for one in tally.trials]) + "\n", options.json, "--json")
    if options.json != "-":
        print(matrix(tally))
    if options.record:
        write_report(vectors(tally), options.record, "--record")
    if options.accuracy:
        write_report(accuracy_page(tally), options.accuracy, "--accuracy")
    return _status(tally, options)


def _status(tally: Tally, options: Any) -> int:
    bad = [*tally.of(Outcome.WRONG), *tally.of(Outcome.FAILED)]
    impossible = tally.of(Outcome.IMPOSSIBLE)
    if bad or (impossible and options.complete):
        return EXIT_BAD
    return EXIT_UNTESTED if len(impossible) == len(tally.trials) else EXIT_GOOD


def _say(trial: Trial, number: int, of: int) -> None:
    seconds = f"{max(trial.seconds):.1f} s" if trial.seconds else ""
    first = trial.named[0] if trial.named else "" if not trial.seconds else "good"
    why = f": {trial.why}" if trial.why else ""
    named = f" ({', '.join(trial.named)})" if trial.outcome is Outcome.WRONG else ""
    line = f"{number:>3}/{of} {trial.outcome:<15} {trial.scenario.id:<34} {seconds:>6}  {first}{why}{named}"
    print(line, file=sys.stderr, flush=True)


def _shell(options: Any, scenarios: dict[str, Scenario], program: str) -> int:
    if options.name not in scenarios:
        raise SettingsError(f"NAME: there is no scenario {shown(options.name)}; see relay lab list")
    scenario = scenarios[options.name]
    command = [one for one in options.command if one != "--"]
    try:
        return in_a_room(lambda: _work_in(scenario, command))
    except CannotPlay as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_UNTESTED


def _work_in(scenario: Scenario, command: list[str]) -> int:
    from relay.lab.staging import stage

    room = Room()
    try:
        stage(scenario, room)
    except (CannotPlay, StagingFailed) as error:
        print(f"relay lab: {scenario.id}: {error}", file=sys.stderr)
        return EXIT_UNTESTED
    places = [place for place in ADDRESSES if place not in ("proxy", "parent") or place in scenario.places]
    print(f"{scenario.id}: {scenario.broken}", file=sys.stderr)
    print("  " + ", ".join(f"{place} {ADDRESSES[place]}" for place in places), file=sys.stderr)
    print(f"  try: relay check {' '.join(scenario.arguments())}", file=sys.stderr)
    print("  ip netns exec PLACE COMMAND works in any place; exit ends it all", file=sys.stderr, flush=True)
    wanted = command or [os.environ.get("SHELL", "/bin/sh")]
    environment = clean_environment()
    # The very relay that runs here, also where its venv is not active
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
    status = subprocess.call(room.command("client", *wanted), env=environment)
    return status if 0 <= status < 256 else EXIT_BAD
