"""`relay report`: show a saved report of `relay check` in another form, or what changed between two."""

import json
from collections.abc import Sequence

from relay.catalogue import causes
from relay.commands import EXIT_BAD, EXIT_GOOD
from relay.commands.options import Parser
from relay.commands.report_options import write_report
from relay.commands.saved_report import read_record
from relay.diagnosis import diagnose
from relay.report import REPORTS, Told
from relay.report_difference import as_dict, difference, text


def run(arguments: Sequence[str], program: str) -> int:
    """Show: 0. Diff: 0 the verdict is the same or better, 1 it has changed to worse."""
    import relay.reports  # noqa: F401 - enters every form of report into REPORTS

    options = _parser(program).parse_args(arguments)
    if options.what == "show":
        write_report(REPORTS[options.format](_told(options.file, "FILE")), options.output, "--output")
        return EXIT_GOOD
    made = difference(_told(options.before, "BEFORE"), _told(options.after, "AFTER"))
    document = json.dumps(as_dict(made), indent=2, ensure_ascii=False) + "\n"
    write_report(document if options.json else text(made), options.output, "--output")
    return EXIT_BAD if made.is_worse else EXIT_GOOD


def _told(file: str, what: str) -> Told:
    found = read_record(file, what)
    return Told(found, diagnose(found, causes()))


def _parser(program: str) -> Parser:
    parser = Parser(program, description="Show saved reports of relay check, or what changed between two.")
    commands = parser.add_subparsers(dest="what", required=True, metavar="show|diff", parser_class=Parser)
    show = commands.add_parser(
        "show", description="Show a saved JSON report in another form.", help="one report in another form"
    )
    show.add_argument("file", metavar="FILE", help="what relay check --json has printed")
    show.add_argument("--format", choices=sorted(REPORTS), default="text", help="default text")
    diff = commands.add_parser(
        "diff", description="What has changed? Exit 0: not to worse; 1: to worse, or to another fault.",
        help="what has changed between two",
    )  # fmt: skip
    diff.add_argument("before", metavar="BEFORE", help="the earlier JSON report")
    diff.add_argument("after", metavar="AFTER", help="the later JSON report")
    diff.add_argument("--json", action="store_true", help="for machines")
    for one in (show, diff):
        one.add_argument("--output", metavar="FILE", help="write there instead of to stdout")
    return parser
