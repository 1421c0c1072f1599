"""docs/performance.md, made from one run's JSON."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import compare
from benchmarks.figures import Lost, Run, codec_rows, idle_rows, lost, workload_rows
from benchmarks.goals import Checked
from benchmarks.terminal import goal_text

HERE = Path(__file__).parent
INTRODUCTION, REMARKS = HERE / "introduction.md", HERE / "remarks.toml"


def write(run: Run, checked: Sequence[Checked], path: Path, plots: Sequence[Path]) -> None:
    """Write the document; `plots` are named as they lie beside it."""
    parts = [
        "# Performance\n",
        f"<!-- made by `{run['command']}`; its words: benchmarks/introduction.md, remarks.toml -->\n",
        INTRODUCTION.read_text("utf-8"),
        _made_with(run),
        "## What must hold\n",
        _goals(checked),
        "## All proxies: CPU per unit of work, ratio to squid\n",
        "Medians; below 1 is less CPU than squid. The quartiles are in the tables further down.\n",
        _matrix(run),
        *(f"![{plot.stem}]({plot.parent.name}/{plot.name})\n" for plot in plots if plot.suffix == ".svg"),
        "## Where we do not win, and why\n",
        "By CPU; by the wall clock where somebody waits for one answer; by p50 and p99 beside bulk.\n",
        _losses(run),
    ]
    for key, about in run["workloads"].items():
        head, rows = workload_rows(run, key)
        if rows:
            parts += [f"## {about['title'].capitalize()}\n", _about(about), markdown(head, rows)]
    if run["idle"]:
        parts += ["## Idle tunnels\n", markdown(*idle_rows(run))]
    if run["codec"]:
        parts += ["## Packet codec, CPU per packet\n", markdown(*codec_rows(run))]
    path.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts), "utf-8")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its first column is text, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _made_with(run: Run) -> str:
    machine, plan = run["machine"], run["plan"]
    pinned = "the peers on one, the generator on another" if plan["pinned"] else "not pinned"
    rows = [
        ["date", machine["date"]],
        ["command", f"`{run['command']}`"],
        [
            "rounds",
            f"{plan['rounds']}, orders shuffled with seed {plan['seed']}; {run['seconds']:.0f} s in all",
        ],
        ["machine", f"{machine['processors']} x {machine['processor']} ({pinned}), {machine['memory']}"],
        ["load average at the start", machine["load_average"]],
        ["system", f"{machine['system']}, {machine['kernel']}"],
        ["network", machine["network"]],
        ["relay", f"{machine['commit']}, Python {machine['python']}, {machine['libraries']}"],
    ]
    rows += [[peer["label"], peer["version"]] for peer in run["peers"].values() if peer["version"]]
    rows += [["left out", words] for words in run["left_out"].values()]
    return "## This run\n\n" + "\n".join(
        ["| what | which |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows)]
    )


def _goals(checked: Sequence[Checked]) -> str:
    rows = [
        [one.title, goal_text(one), f"{one.must:.3g} {one.unit}", f"{one.aim:.3g} {one.unit}", _verdict(one)]
        for one in checked
    ]
    return markdown(["figure", "measured", "must be at most", "aim", "verdict"], rows)


def _verdict(one: Checked) -> str:
    return {"aim": "holds, and the aim is reached", "ok": "holds", "MISS": "**missed**"}.get(one.verdict, "-")


def _matrix(run: Run) -> str:
    keys = [key for key, about in run["workloads"].items() if about["reference"] == "squid"]
    rows = []
    for peer, about in run["peers"].items():
        row = [about["label"]]
        for key in keys:
            spread = compare.ratio(run["cells"], key, peer, "squid", compare.cpu)
            row.append(f"{spread.median:.2f}" if spread and peer != "direct" else "-")
        if any(text != "-" for text in row[1:]):
            rows.append(row)
    return markdown(["peer", *(run["workloads"][key]["title"] for key in keys)], rows)


def _about(about: dict[str, Any]) -> str:
    options = ", ".join(f"{name} {value}" for name, value in about["options"].items() if name != "messages")
    return f"{options}\n"


def _losses(run: Run) -> str:
    """One line for each figure in which somebody is better: who, by how much, and why."""
    remarks = tomllib.loads(REMARKS.read_text("utf-8")).get("remark", [])
    lines: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for loss in lost(run):
        name = f"{loss.title}, {loss.what}"
        lines.setdefault(name, []).append(loss.words)
        # Each reason once, however many peers it is about
        known = reasons.setdefault(name, [])
        known += [why for why in _reasons(remarks, loss) if why not in known]
    if not lines:
        return "In this run no peer was better in any column that it can do.\n"
    return "\n".join(
        f"- **{name}**: {'; '.join(words)}. {' '.join(reasons[name]) or 'Why is not known yet.'}"
        for name, words in lines.items()
    )


def _reasons(remarks: Sequence[dict[str, str]], loss: Lost) -> list[str]:
    return [
        one["why"]
        for one in remarks
        if one["workload"] in (loss.workload, "*")
        and one.get("peer", loss.peer) == loss.peer
        and one.get("what", loss.what) == loss.what
    ]
