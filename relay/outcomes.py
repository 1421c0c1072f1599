"""Outcomes: tells the access log and the metrics how each tunnel and each request ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.client_request import ClientRequest
from relay.log_format import tunnel_as_json, utc_now
from relay.metrics import Metrics
from relay.passage import AnyTunnel, Passage
from relay.refusal import Refusal

_OPEN = 200
Entry = dict[str, Any]
Log = Callable[[Entry], None]
# What these say of a client that does not come to an end: too slowly, or with too much.
_CUT_BY = {408: "slow", 414: "endless", 431: "endless"}


@dataclass(slots=True)
class Asking:
    """One request as log and metrics name it.

    certificate: the subject of the client's.
    user: who has logged in.
    upstream: the parents it went through. reached: the target's address.
    details: of the head, where a log wants them.
    """

    client: str
    method: str = "-"
    target: str = "-"
    certificate: str = ""
    user: str | None = None
    upstream: str = ""
    reached: str = ""
    details: dict[str, str] = field(default_factory=dict)
    began_seconds: float = field(default_factory=time.monotonic)


class Outcomes:
    """Args: log: called with one entry each. has_details: its format wants more than JSON has.
    json_log: called in place of `log` with entries that are JSON already.
    """

    def __init__(
        self, log: Log | None, metrics: Metrics | None, *, has_details: bool = False,
        json_log: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.log = log
        self._json_log = json_log
        self.metrics = metrics
        self.is_off = log is None and metrics is None
        self.names_ends = log is not None or json_log is not None
        self._is_terse = log is None or json_log is not None
        self.has_details = has_details

    def asking(self, request: ClientRequest) -> Asking:
        """What is known of a request when it comes."""
        line = request.line
        if line is None:
            return Asking(request.peer, certificate=request.certificate)
        asking = Asking(request.peer, line.method, line.target, request.certificate)
        if self.has_details:
            asking.details = _details(request)
        return asking

    def was_silent(self) -> None:
        """A client was cut that sent nothing."""
        if self.metrics is not None:
            self.metrics.cut["silent"] += 1

    def tunnel_ended(self, tunnel: AnyTunnel, asking: Asking | None) -> None:
        """A tunnel has ended. Args: asking: None: nobody asked for more than the tunnel says itself."""
        if asking is None:
            began = tunnel.began_seconds
            asking = Asking(tunnel.client, "CONNECT", str(tunnel.target), began_seconds=began)
        counters = tunnel.counters
        self.ended(
            asking, tunnel.status, tunnel.ended, counters.up, counters.down,
            refusal=tunnel.refusal, way=tunnel.way if self.log is not None else {},
        )  # fmt: skip

    def passage_ended(self, passage: Passage) -> None:
        """As `tunnel_ended`, with less work for what most tunnels are."""
        if not self._is_terse or passage.status != _OPEN:
            self.tunnel_ended(passage, None)
            return
        seconds = time.monotonic() - passage.began_seconds
        ended, up, down = passage.ended, passage.up.count, passage.down.count
        if self.metrics is not None:
            self.metrics.passed(ended, up, down, seconds)
        if self._json_log is not None:
            self._json_log(
                tunnel_as_json(passage.client, passage.to.name, up, down, ended, passage.outgoing, seconds)
            )

    def ended(
        self, asking: Asking, status: int, ended: str, up: int = 0, down: int = 0,
        refusal: Refusal | None = None, way: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """It has ended: by a reply with this status, or 0 when none came to the client."""
        seconds = time.monotonic() - asking.began_seconds
        if self.metrics is not None:
            self.metrics.ended(asking.method, status, refusal.error if refusal else ended, up, down)
            if refusal is not None and refusal.status in _CUT_BY:
                self.metrics.cut[_CUT_BY[refusal.status]] += 1
            if asking.method == "CONNECT" and status == 200:
                self.metrics.tunnels.see(seconds)
        if self.log is None:
            return
        entry: Entry = {
            "time": utc_now(),
            "client": asking.client, "method": asking.method, "target": asking.target, "status": status,
            "bytes_up": up, "bytes_down": down, "ended": ended, **(way or {}),
        }  # fmt: skip
        if refusal is not None:
            entry |= {"error": refusal.error, "words": refusal.words}
        if asking.certificate:
            entry["certificate"] = asking.certificate
        if asking.upstream:
            entry["upstream"] = asking.upstream
        if asking.user is not None:
            entry["user"] = asking.user
        if self.has_details:
            entry |= {**asking.details, "reached": asking.reached}
        entry["seconds"] = round(seconds, 6)
        self.log(entry)


def _details(request: ClientRequest) -> dict[str, str]:
    """What the combined format has beside the request line; a head that was refused early has none."""
    line = request.line
    found = {"version": "{}.{}".format(*line.version)} if line is not None else {}
    if request.has_head:
        for name in (b"referer", b"user-agent"):
            values = request.head.values(name)
            if values:
                found[name.decode()] = values[0].decode("latin-1")
    return found
