"""A run on the terminal."""

import sys
from collections.abc import Sequence

from benchmarks.figures import Run, codec_rows, idle_rows, ratio_text, workload_rows
from benchmarks.goals import Checked


def tell(line: str) -> None:
    """Progress, on stderr: stdout belongs to the figures."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def show(run: Run, checked: Sequence[Checked]) -> None:
    """Print every table, and the goals last, where they are still on the screen."""
    for key, about in run["workloads"].items():
        head, rows = workload_rows(run, key)
        if rows:
            _table(about["title"], head, rows)
    if run["idle"]:
        _table("idle tunnels", *idle_rows(run))
    if run["codec"]:
        _table("packet codec, CPU per packet", *codec_rows(run))
    show_goals(checked)


def show_goals(checked: Sequence[Checked]) -> None:
    """Print what must hold, beside what was measured."""
    rows = [
        [one.title, goal_text(one), f"{one.must:.3g}{one.unit}", f"{one.aim:.3g}{one.unit}", one.verdict]
        for one in checked
    ]
    _table("goals (median and quartiles; at most)", ["figure", "measured", "must", "aim", "reached"], rows)


def goal_text(one: Checked) -> str:
    """What was measured, with quartiles where there is more than one value."""
    if one.spread is None:
        return "-"
    return ratio_text(one.spread) if one.spread.count > 1 else f"{one.spread.median:.3g}{one.unit}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [
        max(len(row[column]) for row in [head, *rows] if not _is_failure(row)) for column in range(len(head))
    ]
    print(f"\n{title}")
    for row in [head, *rows]:
        if _is_failure(row):
            print("  " + row[0].ljust(widths[0]) + "  " + "  ".join(filter(None, row[1:])))
            continue
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip())
    sys.stdout.flush()


def _is_failure(row: Sequence[str]) -> bool:
    return any(text.startswith(("failed: ", "not tried: ")) for text in row)
