"""`relay check`: say what stops Framework traffic, who can mend it, and what to send to them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay.catalogue import causes
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.check_extras import add_extras, alone, decision_of, extras_of
from relay.commands.check_watch import Watch, until_ended, watched
from relay.commands.options import (
    Parser,
    add_key_option,
    add_proxy_options,
    count,
    file_name,
    route_of,
    seconds,
)
from relay.commands.report_options import EXIT_UNTESTED, reports_of, see_writable, write_report
from relay.commands.saved_report import read_far_journal, read_record
from relay.diagnosis import Verdict, diagnose
from relay.failure import SettingsError
from relay.far_record import compare
from relay.finding import Finding, Findings
from relay.given import given, seen_elsewhere
from relay.keys import load_key
from relay.report import REPORTS, Told
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint

EXIT = {Verdict.GOOD: EXIT_GOOD, Verdict.BROKEN: EXIT_BAD, Verdict.UNTESTED: EXIT_UNTESTED}


def run(arguments: Sequence[str], program: str) -> int:
    """Check one path: 0 it is good, 1 it is broken and the verdict says why, 3 it could not be tested."""
    import relay.reports  # noqa: F401 - enters every form of report into REPORTS

    options = _parser(program).parse_args(arguments)
    if options.replay is not None:
        from relay.commands.check_replay import run_replay

        return run_replay(options)
    if options.recording is not None:
        raise SettingsError("--recording: only with --replay FILE")
    reports = reports_of(options.report, REPORTS, has_json=options.json)
    see_writable(("--report", file or "-") for _, file in reports)
    _refuse_contradictions(options)
    further = _further(options)
    found = read_record(options.saved, "--from") if options.saved else _survey(options)
    found = replace(found, findings=(*found.findings, *further))
    if options.journal:
        record = compare(found, read_far_journal(options.journal))
        found = replace(found, findings=(*found.findings, record))
    return _tell(Told(found, diagnose(found, causes())), options, reports)


def _refuse_contradictions(options: Any) -> None:
    if (options.target is None) == (options.saved is None):
        raise SettingsError("expected either HOST:PORT to check, or --from FILE to judge what was saved")
    if options.count and not options.watch:
        raise SettingsError("--count: expected --watch SECONDS with it")
    for flag in ("watch", "control"):
        if options.saved and getattr(options, flag):
            raise SettingsError(f"--{flag}: expected HOST:PORT to check, not --from")


def _further(options: Any) -> list[Finding]:
    """What a person knows beside; read before anything is sent, so that a wrong file wastes nobody's time."""
    found = [given("client", "fails")] if options.client_fails else []
    if options.elsewhere:
        there = read_record(options.elsewhere, "--elsewhere")
        seen = seen_elsewhere(there, diagnose(there, causes()).verdict)
        found += [seen] if seen is not None else []
    return found


def _tell(told: Told, options: Any, reports: Sequence[tuple[str, str | None]]) -> int:
    if options.json:
        print(REPORTS["json"](told), end="", flush=True)
    elif not any(file is None for _, file in reports):
        from relay.reports.terminal import show

        show(told, options.explain)
    for name, file in reports:
        write_report(REPORTS[name](told), file)
    return EXIT[told.diagnosis.verdict]


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Say what stops Framework traffic on its way, and who can mend it.")
    parser.add_argument("target", nargs="?", metavar="HOST[:PORT]", help="the Framework Server (port 5000)")
    add_proxy_options(parser)
    add_key_option(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS", help="for all (default 10)"
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
        "--from", dest="saved", type=file_name, metavar="FILE",
        help="judge a saved JSON report; nothing is sent",
    )  # fmt: skip
    add_extras(parser)
    parser.add_argument(
        "--replay", type=file_name, metavar="FILE",
        help="say again what `relay tunnel --record FILE` has kept, to HOST:PORT or the recorded target, "
        "directly and through -x, and compare length and time of the replies",
    )  # fmt: skip
    parser.add_argument("--recording", type=count, metavar="N", help="the Nth in that file")
    return parser


def _survey(options: Any) -> Findings:
    from relay.survey import survey

    target = Endpoint.parse(options.target, "HOST:PORT", FRAMEWORK_PORT)
    if target.port == 0:
        raise SettingsError(f"HOST:PORT: port 0 in {options.target!r}; expected 1 to {MAX_PORT}")
    key = load_key(options.key_file)
    extras = extras_of(options)
    decision, settings = decision_of(options, target)
    if settings is not None and settings.outcome == "proxy-invalid":
        return alone(target, settings)
    route = route_of(options, target, decision=decision)

    async def measure() -> Findings:
        return await survey(
            route, key, timeout_seconds=options.timeout, extras=extras, settings=settings
        )

    if options.watch:
        return watched(Watch(route, key, measure), options)
    return until_ended(measure)
