"""What is asked of each peer in a round: fixed amounts, so that CPU per unit of work can be compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MIB = 1_048_576
SLOW_DIVISOR = 4
"""A slow peer gets this part of the amount: less precise, but a round stays short."""

Result = Mapping[str, Any]
Options = Mapping[str, int | str]


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    Args:
        command: of the load generator, with `options`.
        unit: what the CPU is divided by; `units` counts them in a result.
        amount: the option that is divided for a slow peer or a smaller trial; "" leaves the time fixed.
        visits: so many turns in each round, all of them compared one by one: short ones, close to each other,
            tell more on a machine whose speed changes within seconds.
    """

    key: str
    title: str
    unit: str
    command: str
    options: Options
    units: Callable[[Result, Options], float]
    amount: str = ""
    reference: str = "squid"
    visits: int = 1

    def options_for(self, *, scale: float, is_slow: bool) -> dict[str, int | str]:
        """Options with the amount scaled, at least 1."""
        options = dict(self.options)
        if self.amount:
            whole = int(options[self.amount]) * scale / (SLOW_DIVISOR if is_slow else 1)
            options[self.amount] = max(1, round(whole))
        elif scale < 1:
            for name, least in (("milliseconds", 60), ("lead_milliseconds", 10)):
                options[name] = max(least, round(int(options[name]) * scale))
        return options


def _gigabytes(result: Result, options: Options) -> float:
    return float(result["moved_bytes"]) / 1e9


def _answers(result: Result, options: Options) -> float:
    return float(result["latencies"])


def _bulk(key: str, title: str, direction: str, tunnels: int) -> Workload:
    options: Options = {"direction": direction, "conns": tunnels, "bytes": 128 * MIB // tunnels}
    return Workload(key, title, "GB", "bulk", options, _gigabytes, "bytes", visits=2)


def _round_trips(key: str, title: str, tunnels: int, count: int) -> Workload:
    options = {"conns": tunnels, "count": count, "size": 1}
    return Workload(key, title, "round trip", "rtt", options, _answers, "count", visits=4)


def _set_up(key: str, title: str, at_once: int, count: int) -> Workload:
    options = {"at_once": at_once, "count": count}
    return Workload(key, title, "tunnel", "setup", options, _answers, "count", visits=3)


PING_BYTES = 44


def _pings(key: str, title: str, connections: int, count: int) -> Workload:
    options: Options = {
        "conns": connections,
        "count": count,
        "size": PING_BYTES,
        "warm": 0,
        "messages": "{messages}",
    }
    return Workload(key, title, "ping", "rtt", options, _answers, "count", "streams_asyncio", visits=3)


MIXED_OPTIONS: Options = {
    "bulk_conns": 16, "conns": 4, "size": PING_BYTES,
    "gap_microseconds": 2_000, "lead_milliseconds": 100, "milliseconds": 700,
}  # fmt: skip

WORKLOADS = (
    _bulk("bulk_down_1", "bulk down, 1 tunnel", "D", 1),
    _bulk("bulk_up_1", "bulk up, 1 tunnel", "U", 1),
    _bulk("bulk_down_64", "bulk down, 64 tunnels", "D", 64),
    _bulk("bulk_up_64", "bulk up, 64 tunnels", "U", 64),
    _round_trips("round_trip_1", "1-byte round trips, 1 tunnel", 1, 500),
    _round_trips("round_trip_64", "1-byte round trips, 64 tunnels", 64, 40),
    Workload("mixed", "44-byte round trips beside 16 bulk tunnels", "GB", "mixed", MIXED_OPTIONS, _gigabytes),
    _set_up("set_up", "set-up and teardown, 16 at a time", 16, 400),
    _set_up("set_up_1", "set-up and teardown, 1 at a time", 1, 150),
    _pings("ping_1", "pings, 1 connection", 1, 1_000),
    _pings("ping_64", "pings, 64 connections", 64, 50),
)
BY_KEY = {workload.key: workload for workload in WORKLOADS}
