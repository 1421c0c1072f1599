"""Options of `relay proxy` for faults."""

import argparse

from relay.commands.running import say
from relay.failure import SettingsError
from relay.fault_plan import FaultPlan
from relay.fault_rule import rule_from_text
from relay.faults import FAULTS

MAX_SEED = 2**63 - 1


def add_fault_options(parser: argparse.ArgumentParser) -> None:
    """--fault and --fault-seed."""
    group = parser.add_argument_group("faults", "what a bad network does to tunnels (docs/faults.md)")
    group.add_argument(
        "--fault", action="append", default=[], metavar="NAME:KEY=VALUE,...",
        help="a fault for every tunnel, or those that target=, user=, client=, nth= choose, as in "
        f"latency:seconds=0.2; repeat for more. Names: {', '.join(FAULTS)}",
    )  # fmt: skip
    group.add_argument(
        "--fault-seed", metavar="NUMBER",
        help="the same number makes the same faults again (default: a random one, which is told)",
    )  # fmt: skip


def faults_of(options: argparse.Namespace, program: str) -> FaultPlan | None:
    """The plan of --fault; None without one. Raises: SettingsError."""
    seed = _seed(options.fault_seed)
    rules = [rule_from_text(text) for text in options.fault]
    if not rules:
        return None
    plan = FaultPlan(rules, seed)
    say(program, f"faults: {', '.join(rule.fault.name for rule in rules)} (--fault-seed {plan.seed})")
    return plan


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SEED))
    if not is_number or int(text) > MAX_SEED:
        raise SettingsError(f"--fault-seed: {text[:40]!r}; expected a whole number from 0 to {MAX_SEED}")
    return int(text)
