"""The pictures of docs/performance.md, each as PNG and as SVG."""

from pathlib import Path
from typing import Any

from benchmarks import compare
from benchmarks.figures import OURS, Run

OURS_COLOR, OTHERS_COLOR = "#c2410c", "#475569"


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw all that the run has figures for; return the files. Raises: ImportError without matplotlib."""
    import matplotlib as mpl

    mpl.use("agg")
    # The same figures give the same bytes, so that a new run shows as what changed
    mpl.rcParams.update({"svg.hashsalt": "relay", "font.size": 9})
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, make in (("cpu", _cpu), ("latency", _latency), ("idle", _idle), ("codec", _codec)):
        figure = make(run)
        if figure is not None:
            made += _save(figure, folder / name)
    return made


def _save(figure: Any, stem: Path) -> list[Path]:
    from matplotlib import pyplot

    paths = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
    pyplot.close(figure)
    return paths


def _color(peer: str) -> str:
    return OURS_COLOR if peer in OURS else OTHERS_COLOR


def _cpu(run: Run) -> Any:
    from matplotlib import pyplot

    keys = [
        key
        for key, about in run["workloads"].items()
        if about["reference"] == "squid" and compare.good_cells(run["cells"], key, "squid")
    ]
    if not keys:
        return None
    columns = 3
    lines = -(-len(keys) // columns)
    figure, grid = pyplot.subplots(lines, columns, figsize=(11, 2.7 * lines), squeeze=False)
    for axes in grid.flat[len(keys) :]:
        axes.set_visible(False)
    for axes, key in zip(grid.flat, keys, strict=False):
        _cpu_of_one(axes, run, key)
    figure.suptitle("CPU per unit of work, ratio to squid (median and quartiles of rounds; left is better)")
    figure.tight_layout()
    return figure


def _cpu_of_one(axes: Any, run: Run, workload: str) -> None:
    names: list[str] = []
    for peer, about in run["peers"].items():
        spread = compare.ratio(run["cells"], workload, peer, "squid", compare.cpu)
        if spread is None or peer in ("direct", "squid"):
            continue
        around = [[spread.median - spread.low], [spread.high - spread.median]]
        axes.errorbar(
            spread.median, len(names), xerr=around, fmt="o", color=_color(peer), capsize=2, markersize=4
        )
        names.append(about["label"])
    axes.axvline(1, color="#94a3b8", linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(run["workloads"][workload]["title"], fontsize=9)


def _latency(run: Run) -> Any:
    from matplotlib import pyplot

    rows = []
    for peer, about in run["peers"].items():
        middle = compare.absolute(run["cells"], "mixed", peer, compare.p50)
        slow = compare.absolute(run["cells"], "mixed", peer, compare.p99)
        if middle and slow:
            rows.append((about["label"], middle.median / 1e6, slow.median / 1e6, _color(peer)))
    if not rows:
        return None
    figure, axes = pyplot.subplots(figsize=(8, 0.38 * len(rows) + 1.2))
    for line, (_, middle_ms, slow_ms, color) in enumerate(rows):
        axes.plot([middle_ms, slow_ms], [line, line], color=color, linewidth=1)
        axes.plot(middle_ms, line, "o", color=color, markersize=5)
        axes.plot(slow_ms, line, "|", color=color, markersize=12)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("ms: p50 (dot) to p99 (bar)")
    axes.set_title("44-byte round trips while 16 bulk tunnels run (left is better)")
    return figure


def _idle(run: Run) -> Any:
    from matplotlib import pyplot

    good = [one for one in run["idle"] if "error" not in one]
    if not good:
        return None
    most = max(one["tunnels"] for one in good)
    rows = sorted(
        (max(one["memory_bytes"] / 1e6, 0.01), run["peers"][one["peer"]]["label"], _color(one["peer"]))
        for one in good
        if one["tunnels"] == most
    )
    figure, axes = pyplot.subplots(figsize=(8, 0.38 * len(rows) + 1.2))
    bars = axes.barh([row[1] for row in rows], [row[0] for row in rows], color=[row[2] for row in rows])
    axes.bar_label(bars, [f"{row[0]:.1f} MB" for row in rows], padding=3)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_title(f"Memory (RSS) that {most:,} idle tunnels add")
    return figure


def _codec(run: Run) -> Any:
    from matplotlib import pyplot

    records = [one for one in run["codec"] if one["bytes"]]
    if not records:
        return None
    figure, grid = pyplot.subplots(1, 2, figsize=(9, 3), sharey=True)
    for axes, way in zip(grid, ("encode", "decode"), strict=True):
        for kind, style in (("JSON", "o"), ("random", "s")):
            own = [one for one in records if one["payload"] == kind]
            sizes = [one["bytes"] for one in own]
            for prefix, color, who in (("", OURS_COLOR, "relay"), ("plain_", OTHERS_COLOR, "plain zlib")):
                speeds = [one["bytes"] / one[f"{prefix}{way}_us"] for one in own]
                line = "-" if kind == "JSON" else "--"
                axes.plot(sizes, speeds, style + line, color=color, markersize=4, label=f"{who}, {kind}")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("bytes")
        axes.set_title(f"{way}, MB per CPU-second")
    grid[0].legend(fontsize=8)
    figure.tight_layout()
    return figure
