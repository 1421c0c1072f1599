"""`python -m benchmarks`: measure, print, and write JSON, plots and docs/performance.md."""

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import document, terminal
from benchmarks.bench import FULL, QUICK, Settings, run
from benchmarks.figures import OURS
from benchmarks.goals import Checked, check_all
from benchmarks.peers import BY_KEY as PEERS
from benchmarks.workloads import BY_KEY as WORKLOADS

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
OUTPUT = ROOT / "build" / "bench"


def main() -> int:
    """Do what the command line says."""
    options = _parser().parse_args()
    # Ended from outside, the programs that were started end too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.document is not None:
        found = json.loads(options.document.read_text("utf-8"))
    else:
        found = run(_settings(options), _made(OUTPUT), options.command, terminal.tell)
        path = OUTPUT / f"{found['kind']}.json"
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        terminal.tell(f"all figures: {path}")
    checked = _check(found)
    if options.quick:
        terminal.show_goals(checked)
    else:
        terminal.show(found, checked)
    if options.write_document or options.document is not None:
        _write_document(found, checked)
    return 1 if OURS & found["left_out"].keys() else 0


def _check(found: dict[str, Any]) -> list[Checked]:
    titles = {key: about["title"] for key, about in found["workloads"].items()}
    labels = {key: about["label"] for key, about in found["peers"].items()}
    return check_all(found["cells"], found["idle"], titles, labels)


def _write_document(found: dict[str, Any], checked: list[Checked]) -> None:
    from benchmarks import plots

    try:
        made = plots.draw(found, DOCUMENT.with_suffix(""))
    except ImportError:
        terminal.tell("no plots: matplotlib is not installed (extra `bench`)")
        made = []
    document.write(found, checked, DOCUMENT, made)
    terminal.tell(f"written: {DOCUMENT.relative_to(ROOT)}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _settings(options: argparse.Namespace) -> Settings:
    settings = QUICK if options.quick else FULL
    plan = settings.plan
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    if options.workloads:
        plan = replace(plan, workloads=tuple(WORKLOADS[key] for key in options.workloads.split(",")))
    settings = replace(settings, plan=replace(plan, seed=options.seed), pin=not options.no_pin)
    if options.peers:
        settings = replace(settings, peers=tuple(PEERS[key] for key in options.peers.split(",")))
    if options.rounds or options.workloads or options.peers or options.only_rounds:
        settings = replace(settings, kind="trial")
    if options.only_rounds:
        settings = replace(settings, idle_counts=(), with_codec=False)
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks", description="Compare the proxy and the server with real peers."
    )
    parser.add_argument("--quick", action="store_true", help="squid and us only, in less than a minute")
    parser.add_argument("--rounds", type=int, metavar="N", help="default 11; quick 7")
    parser.add_argument("--peers", metavar="KEY,KEY", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--workloads", metavar="KEY,KEY", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--only-rounds", action="store_true", help="no idle tunnels, no codec")
    parser.add_argument("--seed", type=int, default=1, help="of the order within rounds")
    parser.add_argument("--no-pin", action="store_true", help="leave the choice of processors to the kernel")
    parser.add_argument("--write-document", action="store_true", help="make docs/performance.md of this run")
    parser.add_argument(
        "--document", type=Path, metavar="JSON", help="measure nothing; make it of an earlier run"
    )
    parser.add_argument("--command", default="python -m benchmarks", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
