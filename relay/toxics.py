"""Toxics, as toxiproxy's API has them, and the faults that they are here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay.failure import SettingsError
from relay.fault import Direction
from relay.fault_rule import FaultRule, rule_from_table

# Attributes of each type in toxiproxy's units, all 0 by default: ms, KB/s (1000 bytes), bytes, microseconds.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "latency": ("latency", "jitter"),
    "bandwidth": ("rate",),
    "slow_close": ("delay",),
    "timeout": ("timeout",),
    "reset_peer": ("timeout",),
    "slicer": ("average_size", "size_variation", "delay"),
    "limit_data": ("bytes",),
}
STREAMS = {"downstream": Direction.DOWN, "upstream": Direction.UP}
MAX_NAME_CHARACTERS = 200
MAX_ATTRIBUTE = 2**53


class ToxicRefused(ValueError):
    """What a client sent makes no toxic; `status` is for HTTP."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Toxic:
    """One toxic of one proxy."""

    name: str
    kind: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.kind,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }

    def rule(self) -> FaultRule:
        """The fault that it is. Raises: ToxicRefused when a value is beyond the fault's limits."""
        name, options = _fault_of(self.kind, self.attributes)
        table = {"name": name, **options, "direction": STREAMS[self.stream], "probability": self.toxicity}
        try:
            return rule_from_table(table, "toxic")
        except SettingsError as error:
            raise ToxicRefused(f"bad request body: {error}") from None


def read_toxic(body: Any) -> Toxic:
    """Read what POST /proxies/NAME/toxics sends. Raises: ToxicRefused."""
    if not isinstance(body, dict):
        raise ToxicRefused("bad request body: expected an object")
    stream = body.get("stream") or "downstream"
    if not isinstance(stream, str) or stream.lower() not in STREAMS:
        raise ToxicRefused("stream was invalid, can be either upstream or downstream")
    kind = body.get("type")
    if not isinstance(kind, str) or kind not in ATTRIBUTES:
        raise ToxicRefused("invalid toxic type")
    name = body.get("name") or f"{kind}_{stream.lower()}"
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
        raise ToxicRefused("bad request body: name: expected a text")
    blank = Toxic(name, kind, stream.lower(), 1.0, dict.fromkeys(ATTRIBUTES[kind], 0))
    return updated(blank, body)


def updated(toxic: Toxic, body: Any) -> Toxic:
    """The same with other attributes or another toxicity; what is not named stays. Raises: ToxicRefused."""
    if not isinstance(body, dict):
        raise ToxicRefused("bad request body: expected an object")
    attributes = body.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise ToxicRefused("bad request body: attributes: expected an object")
    values = {
        name: _whole(attributes.get(name, old), f"attributes.{name}")
        for name, old in toxic.attributes.items()
    }
    toxicity = body.get("toxicity", toxic.toxicity)
    if isinstance(toxicity, bool) or not isinstance(toxicity, int | float) or not 0 <= toxicity <= 1:
        raise ToxicRefused("bad request body: toxicity: expected a number from 0 to 1")
    new = replace(toxic, attributes=values, toxicity=float(toxicity))
    new.rule()
    return new


def _whole(value: Any, what: str) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_ATTRIBUTE or int(value) != value:
        raise ToxicRefused(f"bad request body: {what}: expected a whole number from 0")
    return int(value)


def _fault_of(kind: str, given: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    match kind:
        case "latency":
            return "latency", {"seconds": given["latency"] / 1e3, "jitter_seconds": given["jitter"] / 1e3}
        case "bandwidth":
            return "bandwidth", {"bytes_per_second": given["rate"] * 1000}
        case "slow_close":
            return "slow_close", {"seconds": given["delay"] / 1e3}
        case "timeout":
            return "black_hole", {"seconds": given["timeout"] / 1e3}
        case "reset_peer":
            return "reset", {"seconds": given["timeout"] / 1e3, "waits_for_bytes": True}
        case "slicer":
            return "slicer", {
                "average_bytes": given["average_size"],
                "variation_bytes": given["size_variation"],
                "delay_seconds": given["delay"] / 1e6,
            }
        case _:
            return "limit_data", {"limit_bytes": given["bytes"]}
