"""`relay check`: say what stops Framework traffic, who can mend it, and what to send to them."""

import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relay.catalogue import causes
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser, add_key_option, add_proxy_options, route_of, seconds
from relay.commands.result_file import write_result
from relay.diagnosis import Verdict, diagnose
from relay.failure import SettingsError
from relay.finding import Findings, RecordMalformed, read_findings
from relay.keys import load_key
from relay.report import REPORTS, Told
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint

EXIT_UNTESTED = 3
MAX_RECORD_BYTES = 8 * 2**20
"""Of a saved record; one takes some 50 kB."""

_EXIT = {Verdict.GOOD: EXIT_GOOD, Verdict.BROKEN: EXIT_BAD, Verdict.UNTESTED: EXIT_UNTESTED}


def run(arguments: Sequence[str], program: str) -> int:
    """Check one path: 0 it is good, 1 it is broken and the verdict says why, 3 it could not be tested."""
    import relay.reports  # noqa: F401 - enters every form of report into REPORTS

    options = _parser(program).parse_args(arguments)
    reports = [_report_of(value) for value in options.report]
    if (options.target is None) == (options.saved is None):
        raise SettingsError("expected either HOST:PORT to check, or --from FILE to judge what was saved")
    found = _read(options.saved) if options.saved else _survey(options)
    told = Told(found, diagnose(found, causes()))
    if options.json:
        print(REPORTS["json"](told), end="", flush=True)
    elif not any(file is None for _, file in reports):
        from relay.reports.terminal import show

        show(told, options.explain)
    for name, file in reports:
        write_result(REPORTS[name](told), file, "--report")
    return _EXIT[told.diagnosis.verdict]


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Say what stops Framework traffic on its way, and who can mend it.")
    parser.add_argument("target", nargs="?", metavar="HOST[:PORT]", help="the Framework Server (port 5000)")
    add_proxy_options(parser)
    add_key_option(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS", help="for all (default 10)"
    )
    parser.add_argument(
        "--idle",
        type=seconds,
        metavar="SECONDS",
        help="also leave a connection alone for so long, then use it",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the whole record and its diagnosis as JSON"
    )
    parser.add_argument("--explain", action="store_true", help="say for each excluded cause what excluded it")
    parser.add_argument(
        "--report", action="append", default=[], metavar="FORMAT[=FILE]",
        help="html, json, junit, markdown, text or ticket; to FILE, or to stdout in place of the usual text",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="saved", metavar="FILE", help="judge a saved JSON report; nothing is sent"
    )
    return parser


def _survey(options: Any) -> Findings:
    from relay.survey import survey

    target = Endpoint.parse(options.target, "HOST:PORT", FRAMEWORK_PORT)
    if target.port == 0:
        raise SettingsError(f"HOST:PORT: port 0 in {options.target!r}; expected 1 to {MAX_PORT}")
    route = route_of(options, target)
    key = load_key(options.key_file)
    idle_seconds = options.idle or 0.0

    async def measure() -> Findings:
        # SIGTERM ends it as ^C does
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await survey(route, key, timeout_seconds=options.timeout, idle_seconds=idle_seconds)

    try:
        return asyncio.run(measure())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _report_of(value: str) -> tuple[str, str | None]:
    name, equals, file = value.partition("=")
    if name not in REPORTS or (equals and not file):
        raise SettingsError(
            f"--report: {value[:80]!r}; expected one of {', '.join(sorted(REPORTS))}, then =FILE or not"
        )
    return name, file or None


def _read(file: str) -> Findings:
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(MAX_RECORD_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"--from: cannot read {file!r}: {why}") from None
    if len(content) > MAX_RECORD_BYTES:
        raise SettingsError(
            f"--from: {file!r} is over {MAX_RECORD_BYTES} bytes; expected a report of relay check"
        )
    try:
        document = json.loads(content)
        return read_findings(document.get("record", document) if isinstance(document, dict) else document)
    except RecordMalformed as error:
        raise SettingsError(f"--from: {file!r}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--from: {file!r} is no JSON: {str(error)[:100]}") from None
