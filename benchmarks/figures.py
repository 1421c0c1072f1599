"""One run's figures as rows of text: what the terminal and the document show alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import compare
from benchmarks.compare import Metric, Spread
from benchmarks.goals import MEASURABLE_PERCENT

Run = dict[str, Any]

OURS = {"relay", "relay_asyncio", "relay_log", "server", "server_asyncio"}


@dataclass(frozen=True)
class Lost:
    """A figure in which a peer is better than we are: `title` names it, `words` compare."""

    workload: str
    peer: str
    what: str
    title: str
    words: str


def seconds_text(nanoseconds: float) -> str:
    """Three digits with the unit that suits."""
    for limit, unit in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if nanoseconds < limit:
            return f"{nanoseconds / (limit / 1e3):.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def ratio_text(spread: Spread | None) -> str:
    """Median and quartiles."""
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})" if spread else "-"


def _text(spread: Spread | None) -> str:
    return seconds_text(spread.median) if spread else "-"


def workload_rows(run: Run, workload: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one workload's table: a row for each peer that took part."""
    about = run["workloads"][workload]
    reference = run["peers"].get(about["reference"], {"label": about["reference"]})["label"]
    unit = about["unit"]
    head = [
        "peer",
        f"CPU/{unit}",
        f"ratio to {reference}",
        f"wall/{unit}",
        "ratio",
        "p50",
        "ratio",
        "p99",
        "ratio",
    ]
    head += ["slowest tunnel", "generator", "n"]
    rows = []
    for key, peer in run["peers"].items():
        good = compare.good_cells(run["cells"], workload, key)
        if good:
            rows.append([peer["label"], *_figures(run, workload, key, good)])
            continue
        failed = [
            cell["error"] for cell in run["cells"] if (cell["workload"], cell["peer"]) == (workload, key)
        ]
        if failed:
            rows.append([peer["label"], f"failed: {failed[-1]}"] + [""] * (len(head) - 2))
    return head, drop_empty_columns(head, rows)


def _figures(run: Run, workload: str, peer: str, good: list[compare.Cell]) -> list[str]:
    about = run["workloads"][workload]

    def pair(metric: Metric) -> list[str]:
        spread = compare.ratio(run["cells"], workload, peer, about["reference"], metric)
        return [_text(compare.spread(map(metric, good))), ratio_text(spread)]

    figures = pair(compare.cpu) if peer != "direct" else ["0", "-"]
    figures += pair(compare.wall)
    for metric in (compare.p50, compare.p99):
        figures += pair(metric) if good[0]["latencies"] > 0 else ["", ""]
    share, busy = compare.spread(map(compare.fairness, good)), compare.spread(map(compare.load_share, good))
    assert share is not None
    assert busy is not None
    figures.append(f"{share.median:.2f}" if about["unit"] == "GB" else "")
    figures.append(f"{_text(compare.spread(map(compare.load_cpu, good)))}, {busy.median:.0%}")
    return [*figures, str(len(good))]


def drop_empty_columns(head: list[str], rows: list[list[str]]) -> list[list[str]]:
    """Take out, in `head` too, every column in which no row has anything."""
    used = [any(row[column] for row in rows) for column in range(len(head))]
    kept = [[text for text, is_used in zip(row, used, strict=True) if is_used] for row in rows]
    head[:] = [text for text, is_used in zip(head, used, strict=True) if is_used]
    return kept


def idle_rows(run: Run) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the idle tunnels."""
    head = ["peer", "tunnels", "RSS added", "per 1,000", "descriptors each", "CPU while idle", "opened in",
            "CPU/tunnel"]  # fmt: skip
    rows = []
    for one in run["idle"]:
        label, tunnels = run["peers"][one["peer"]]["label"], one["tunnels"]
        if "error" in one:
            rows.append([label, f"{tunnels:,}", one["error"], "", "", "", "", ""])
            continue
        percent = idle_percent(one)
        rows.append([
            label, f"{tunnels:,}", f"{one['memory_bytes'] / 1e6:.1f} MB",
            f"{one['memory_bytes'] / tunnels:,.0f} KB", f"{one['descriptors'] / tunnels:.2f}",
            f"{percent:.2f} %", f"{one['wall_ns'] / 1e9:.1f} s", seconds_text(one["open_cpu_ns"] / tunnels),
        ])  # fmt: skip
    return head, sorted(rows, key=lambda row: int(row[1].replace(",", "")))


def idle_percent(record: dict[str, Any]) -> float:
    """CPU of an idle proxy, in percent of one processor."""
    return float(record["idle_cpu_ns"]) / float(record["idle_seconds"]) / 1e7


def codec_rows(run: Run) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the codec."""
    head = ["payload", "bytes", "frame", "encode", "ratio to plain zlib", "decode", "ratio to plain zlib"]
    rows = []
    for one in run["codec"]:
        rows.append([one["payload"], f"{one['bytes']:,}", f"{one['frame_bytes']:,}"])
        for way in ("encode", "decode"):
            speed = f"{seconds_text(one[way + '_us'] * 1e3)}"
            if one["bytes"]:
                speed += f", {one['bytes'] / one[way + '_us']:.3g} MB/s"
            rows[-1] += [speed, f"{one[way + '_us'] / one['plain_' + way + '_us']:.2f}"]
    return head, rows


def columns_of(unit: str, workload: str) -> Sequence[tuple[str, Metric]]:
    """What is compared in a workload: CPU always, the clock where somebody waits for it."""
    found = [("CPU", compare.cpu)]
    if unit == "round trip" or workload == "set_up_1":
        found.append(("wall clock", compare.wall))
    if workload == "mixed":
        found += [("p50", compare.p50), ("p99", compare.p99)]
    return found


def lost(run: Run) -> Iterator[Lost]:
    """Every figure in which a peer is better than our default way (nothing switched on)."""
    for key, about in run["workloads"].items():
        our = "server" if about["reference"].startswith("streams") else "relay"
        for peer, other in run["peers"].items():
            if peer in OURS or peer == "direct":
                continue
            for what, metric in columns_of(about["unit"], key):
                spread = compare.ratio(run["cells"], key, our, peer, metric)
                if spread and spread.median > 1:
                    words = f"{ratio_text(spread)} times {other['label']}'s"
                    yield Lost(key, peer, what, about["title"], words)
    yield from _lost_idle(run)


def _lost_idle(run: Run) -> Iterator[Lost]:
    good = [one for one in run["idle"] if "error" not in one]
    ours = {one["tunnels"]: one for one in good if one["peer"] == "relay"}
    for one in good:
        own = ours.get(one["tunnels"])
        if own is None or one["peer"] in OURS:
            continue
        label, title = run["peers"][one["peer"]]["label"], f"{one['tunnels']:,} idle tunnels"
        figures = (
            ("RSS", own["memory_bytes"] / 1e6, one["memory_bytes"] / 1e6, "MB"),
            ("descriptors", own["descriptors"], one["descriptors"], ""),
            ("CPU", idle_percent(own), max(idle_percent(one), MEASURABLE_PERCENT), "%"),
        )
        for what, mine, others, unit in figures:
            if mine > others * 1.001:
                at_most = "at most " if what == "CPU" and others == MEASURABLE_PERCENT else ""
                words = f"{mine:.2g} {unit} against {label}'s {at_most}{others:.2g} {unit}"
                yield Lost("idle", one["peer"], what, title, words)
