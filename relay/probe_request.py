"""One request for a probe, as Prometheus makes it, read: what is to be probed, how, and in what time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.exporter_file import DEFAULT_MODULE, Allowed, ExporterFile, Module
from relay.failure import SettingsError
from relay.route import FRAMEWORK_PORT, Endpoint, Hop, Route

PARAMETERS: Final = ("target", "proxy", "module", "debug")
MAX_VALUE_CHARACTERS: Final = 300
# Prometheus gives up at its own timeout; a probe that keeps no share of it is of no use to it.
LEAST_SHARE: Final = 0.5


class ProbeRefused(Exception):
    """This cannot be probed; the message is for whoever has written the scrape configuration.

    `reason` is one of a closed list: target, proxy, module, malformed.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True)
class ProbeRequest:
    """What to do. `name` is the module's."""

    name: str
    module: Module
    route: Route
    timeout_seconds: float
    debug: bool


def read_request(
    query: Sequence[tuple[str, str]],
    scrape_timeout: str | None,
    settings: ExporterFile,
    *,
    offset_seconds: float,
    is_public: bool,
) -> ProbeRequest:
    """Read `?target=&proxy=&module=&debug=` and the value of X-Prometheus-Scrape-Timeout-Seconds.

    Args:   offset_seconds: taken off what Prometheus waits, for the way back. is_public: others than this
            machine can ask: then only what the file names may be connected to.
    Raises: ProbeRefused.
    """
    given = _once_each(query)
    name = given.get("module", DEFAULT_MODULE)
    if name not in settings.modules:
        raise ProbeRefused("module", f"module: there is no {name!r:.80}")
    module = settings.modules[name]
    if "target" not in given:
        raise ProbeRefused("target", "target: is missing; expected HOST:PORT")
    try:
        target = Endpoint.parse(given["target"], "target", FRAMEWORK_PORT)
        hops = (_hop(given["proxy"], settings, is_public),) if given.get("proxy") else module.hops
    except SettingsError as error:
        raise ProbeRefused("malformed", str(error)) from None
    if target.port == 0 or not _may(settings.targets, target, is_public):
        raise ProbeRefused("target", f"target: {target} is not one that [exporter] targets allows")
    seconds = _seconds(module.timeout_seconds, scrape_timeout, offset_seconds)
    return ProbeRequest(name, module, Route(target, hops), seconds, _truth(given.get("debug", "false")))


def _once_each(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for key, value in query:
        if key not in PARAMETERS:
            raise ProbeRefused("malformed", f"{key[:40]!r}: unknown; expected one of {', '.join(PARAMETERS)}")
        if key in given or len(value) > MAX_VALUE_CHARACTERS:
            limit = f"{MAX_VALUE_CHARACTERS} characters"
            raise ProbeRefused("malformed", f"{key}: expected once, with at most {limit}")
        given[key] = value
    return given


def _hop(text: str, settings: ExporterFile, is_public: bool) -> Hop:
    """A proxy of the file by its name, or one that stands in the request, which has no login.

    Raises: SettingsError, ProbeRefused.
    """
    if text in settings.hops:
        return settings.hops[text]
    if "@" in text:
        # Query strings stand in configurations, logs and labels
        raise ProbeRefused("proxy", "proxy: a login belongs into the file, [proxy.NAME]; expected none here")
    hop = Hop.parse(text, "proxy")
    if not _may(settings.proxies, hop.endpoint, is_public):
        words = f"proxy: {hop} is no [proxy.NAME], and none that [exporter] proxies allows"
        raise ProbeRefused("proxy", words)
    return hop


def _may(allowed: Allowed | None, endpoint: Endpoint, is_public: bool) -> bool:
    return not is_public if allowed is None else allowed.permits(endpoint)


def _seconds(own_seconds: float, scrape_timeout: str | None, offset_seconds: float) -> float:
    if scrape_timeout is None:
        return own_seconds
    try:
        theirs = float(scrape_timeout)
    except ValueError:
        theirs = math.nan
    if not (math.isfinite(theirs) and theirs > 0):
        raise ProbeRefused("malformed", "X-Prometheus-Scrape-Timeout-Seconds: expected seconds above 0")
    return min(own_seconds, max(theirs - offset_seconds, theirs * LEAST_SHARE))


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ProbeRefused("malformed", f"debug: {text!r:.40}; expected true or false")
    return text == "true"
