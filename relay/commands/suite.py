"""`relay suite`: check a matrix of paths, each against what is expected of it, and tell CI."""

import asyncio
import fnmatch
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from relay.baseline import BaselineMalformed, Measured, Tolerance, baseline_text, doubts, read_baseline, some
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, count, file_name
from relay.commands.report_options import EXIT_UNTESTED, read_bounded, reports_of, see_writable, write_report
from relay.commands.suite_progress import Progress
from relay.failure import SettingsError
from relay.regression import compared
from relay.suite import Suite
from relay.suite_file import MAX_JOBS, MAX_REPEAT, read_suite
from relay.suite_outcome import Outcome, SuiteRun
from relay.suite_report import SUITE_REPORTS

DEFAULT_FILE = "relay.toml"
MAX_BASELINE_BYTES = 16 * 2**20


def run(arguments: Sequence[str], program: str) -> int:
    """Run a suite: 0 all as expected, 1 not, 2 wrong usage, 3 something could not be tested."""
    import relay.suite_reports  # noqa: F401 - enters every form of report into SUITE_REPORTS

    options = _parser(program).parse_args(arguments)
    reports = reports_of(options.report, SUITE_REPORTS)
    tolerance = tolerance_of(options.tolerance)
    whole = read_suite(Path(options.file), os.environ)
    suite = _chosen(whole, options)
    if options.list:
        for cell in suite.cells:
            print(f"{cell.name}: {' or '.join(cell.expect)}")
        return EXIT_GOOD
    see_writable([("--report", file or "-") for _, file in reports] + [("--save", options.save)])
    before = _baseline(options.compare) if options.compare else None
    is_quiet = any(file in (None, "-") for _, file in reports)
    is_measured = bool(options.save or options.compare)
    found = _run(suite, options.fail_fast, is_quiet, is_measured=is_measured)
    if before is not None:
        known = {cell.name for cell in whole.cells}
        found = compared(found, before, options.compare, tolerance, known)
    if options.save and (said := doubts(found, options.save)):
        found = replace(found, notes=(*found.notes, *said))
        if is_quiet:
            print("\n".join(f"{program}: warning: {one}" for one in said), file=sys.stderr, flush=True)
    with _each_in_turn() as write:
        _tell(found, reports, is_quiet, write)
        if options.save:
            write(partial(write_report, baseline_text(found), options.save, "--save"))
    if found.is_good:
        return EXIT_GOOD
    is_bad = found.failed or found.changes
    return EXIT_BAD if is_bad or not found.count(Outcome.UNTESTED) else EXIT_UNTESTED


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Check a matrix of paths, each against what is expected of it.")
    parser.add_argument(
        "-f", "--file", type=file_name, default=DEFAULT_FILE, metavar="FILE",
        help=f"the suite (default {DEFAULT_FILE})",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="GLOB",
        help="only paths whose ROUTE/TARGET fits, such as 'squid/*'; repeat for more",
    )  # fmt: skip
    parser.add_argument("--jobs", type=count, metavar="N", help="so many paths at the same time")
    parser.add_argument("--repeat", type=count, metavar="N", help="each path so many times")
    parser.add_argument("--fail-fast", action="store_true", help="end after the first that fails")
    parser.add_argument("--list", action="store_true", help="name the paths and what is expected; check none")
    parser.add_argument(
        "--report", action="append", default=[], metavar="FORMAT[=FILE]",
        help="github, html, json, junit, markdown, text or ticket; to FILE, or to stdout in place of the "
        "usual lines; repeat for more",
    )  # fmt: skip
    parser.add_argument(
        "--save", type=file_name, metavar="FILE", help="keep verdicts, latency and throughput as a baseline"
    )
    parser.add_argument(
        "--compare", type=file_name, metavar="FILE", help="fail on what is worse than in this baseline"
    )
    parser.add_argument(
        "--tolerance", default="", metavar="LIST",
        help="how much worse is not worse: 'latency=50%%,throughput=50%%,floor=10ms' (the default); "
        "one number is for both",
    )  # fmt: skip
    return parser


def _chosen(suite: Suite, options: Any) -> Suite:
    """The suite as the options want it. Raises: SettingsError."""
    for name, value, most in (("--jobs", options.jobs, MAX_JOBS), ("--repeat", options.repeat, MAX_REPEAT)):
        if value is not None and value > most:
            raise SettingsError(f"{name}: {value}; expected at most {most}")
    cells = suite.cells
    if options.only:
        cells = tuple(
            cell for cell in cells if any(fnmatch.fnmatchcase(cell.name, glob) for glob in options.only)
        )
        if not cells:
            names = [cell.name for cell in suite.cells]
            raise SettingsError(f"--only: no path fits; there are {some(names)}")
    return replace(
        suite, cells=cells, jobs=options.jobs or suite.jobs, repeat=options.repeat or suite.repeat
    )


def tolerance_of(text: str) -> Tolerance:
    """Read --tolerance. Raises: SettingsError."""
    tolerance = Tolerance()
    for part in filter(None, text.split(",")):
        name, equals, value = part.strip().rpartition("=")
        number = value.removesuffix("ms" if name == "floor" else "%")
        is_known = name in ("latency", "throughput", "floor") or not equals
        if not is_known or not _is_number(number):
            raise SettingsError(
                f"--tolerance: {part[:60]!a}; expected N%, latency=N%, throughput=N% or floor=Nms"
            )
        share = float(number) / 100
        if name == "floor":
            tolerance = replace(tolerance, floor_milliseconds=float(number))
        if name in ("", "latency"):
            tolerance = replace(tolerance, latency=share)
        if name in ("", "throughput"):
            tolerance = replace(tolerance, throughput=share)
    return tolerance


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit() and text.isascii() and float(text) <= 1_000_000


def _run(suite: Suite, fail_fast: bool, is_quiet: bool, *, is_measured: bool) -> SuiteRun:
    from relay.suite_run import run_suite

    async def measure() -> SuiteRun:
        # SIGTERM ends it as ^C does
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with Progress(suite, is_quiet) as progress:
            return await run_suite(
                suite, fail_fast=fail_fast, on_result=progress.take, measure=is_measured
            )

    try:
        return asyncio.run(measure())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@contextmanager
def _each_in_turn() -> Iterator[Callable[[Callable[[], None]], None]]:
    """One file that cannot be written does not cost the others. Raises: SettingsError of the first, last."""
    mistakes: list[SettingsError] = []

    def write(one: Callable[[], None]) -> None:
        try:
            one()
        except SettingsError as error:
            mistakes.append(error)

    yield write
    if mistakes:
        raise mistakes[0]


def _tell(
    found: SuiteRun,
    reports: Sequence[tuple[str, str | None]],
    is_quiet: bool,
    write: Callable[[Callable[[], None]], None],
) -> None:
    from relay.suite_reports.text import summary_lines

    if not is_quiet:
        print("\n".join(summary_lines(found)), flush=True)
    for name, file in reports:
        write(partial(write_report, SUITE_REPORTS[name](found), file))
    if os.environ.get("GITHUB_ACTIONS") == "true" and not is_quiet:
        print(SUITE_REPORTS["github"](found), end="", flush=True)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        write(partial(_append, SUITE_REPORTS["markdown"](found), summary))


def _append(text: str, summary: str) -> None:
    try:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise SettingsError(f"GITHUB_STEP_SUMMARY: cannot write {summary!a}: {error.strerror}") from None


def _baseline(file: str) -> dict[str, Measured]:
    try:
        return read_baseline(read_bounded("--compare", file, MAX_BASELINE_BYTES, "a file of --save"))
    except BaselineMalformed as error:
        raise SettingsError(f"--compare: {file!a}: {error}; expected a file of --save") from None
