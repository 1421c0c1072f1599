"""`relay route`: which proxy a target is reached through, and the rule that says so. Nothing is dialled."""

import json
from collections.abc import Sequence

from relay.commands import EXIT_GOOD
from relay.commands.options import Parser, add_proxy_options, decided, is_sourced
from relay.failure import SettingsError
from relay.proxy_source import Decision
from relay.route import FRAMEWORK_PORT, MAX_PORT, Endpoint, Hop


def run(arguments: Sequence[str], program: str) -> int:
    """Print the decision for each target; `-x auto` where no -x is given."""
    options = _parser(program).parse_args(arguments)
    options.proxy = options.proxy or ["auto"]
    told = []
    for text in options.targets:
        target = Endpoint.parse(text, "TARGET", FRAMEWORK_PORT)
        if target.port == 0:
            raise SettingsError(f"TARGET: port 0 in {text!r}; expected 1 to {MAX_PORT}")
        if is_sourced(options):
            decision = decided(options, target)
        else:
            hops = tuple(Hop.parse(url) for url in options.proxy)
            decision = Decision("argument", (hops,), "--proxy names it")
        told.append((target, decision))
    if options.json:
        print(json.dumps([_as_dict(target, decision) for target, decision in told], indent=2))
        return EXIT_GOOD
    for target, decision in told:
        print(f"{target}: {' or '.join(map(_way, decision.ways))}")
        if options.explain:
            print(f"  source: {decision.source}")
            print(f"  rule: {decision.rule}")
            for note in decision.notes:
                print(f"  note: {note}")
    return EXIT_GOOD


def _way(hops: Sequence[Hop]) -> str:
    return " -> ".join(map(str, hops)) or "DIRECT"


def _as_dict(target: Endpoint, decision: Decision) -> dict[str, object]:
    return {
        "target": str(target),
        "source": decision.source,
        "rule": decision.rule,
        "ways": [[str(hop) for hop in hops] for hops in decision.ways],
        "notes": list(decision.notes),
    }


def _parser(program: str) -> Parser:
    parser = Parser(
        program,
        description="Tell which proxy a target is reached through. Without -x: what the environment says.",
    )
    parser.add_argument(
        "targets", metavar="TARGET", nargs="+", help=f"HOST or HOST:PORT (default port {FRAMEWORK_PORT})"
    )
    add_proxy_options(parser)
    parser.add_argument("--explain", action="store_true", help="tell the source and the rule that decided")
    parser.add_argument("--json", action="store_true", help="print it as JSON, with source and rule")
    return parser
