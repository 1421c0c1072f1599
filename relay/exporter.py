"""Exporter: probes paths when Prometheus asks, by the conventions of its multi-target exporters."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from relay import __version__
from relay.catalogue import causes
from relay.diagnosis import Diagnosis, Verdict, diagnose
from relay.exporter_file import ExporterFile
from relay.exposition import registry_of
from relay.finding import Findings
from relay.host_guard import by_address_only, never_cached
from relay.listening import bound_endpoint, is_public, listen_on
from relay.probe_metrics import probe_families
from relay.probe_request import ProbeRefused, ProbeRequest, read_request
from relay.report import Told
from relay.route import Endpoint
from relay.survey import survey

# Prometheus' own default for the blackbox_exporter: a probe ends so long before the scrape does.
OFFSET_SECONDS = 0.5
STOP_SECONDS = 1.0
SCRAPE_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"
REFUSALS = ("target", "proxy", "module", "malformed", "busy")

Survey = Callable[[ProbeRequest], Awaitable[Findings]]


class Exporter:
    """Args: settings: what may be probed, and how; may be replaced while it runs."""

    def __init__(
        self, settings: ExporterFile, listen: Sequence[Endpoint], offset_seconds: float = OFFSET_SECONDS
    ) -> None:
        self._settings = settings
        self._listen = tuple(listen)
        self._offset_seconds = offset_seconds
        self._is_public = any(map(is_public, listen))
        self._running = 0
        self._sockets: list[socket.socket] = []
        self._count()
        # Names lead to a public listener as a matter of course: there the allow-list is the guard
        guards = [never_cached] if self._is_public else [never_cached, by_address_only]
        app = web.Application(middlewares=guards, client_max_size=0)
        app.router.add_get("/", self._index)
        app.router.add_get("/probe", self._probe)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/-/healthy", self._healthy)
        # A probe that nobody waits for any more ends
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=STOP_SECONDS,
            handler_cancellation=True,
        )  # fmt: skip

    def _count(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._probes = Counter(
            "relay_exporter_probes", "Probes that ended.", ["module", "verdict"], registry=registry
        )
        self._refused = Counter(
            "relay_exporter_probes_refused", "Requests that were not probed.", ["reason"], registry=registry
        )
        for reason in REFUSALS:
            self._refused.labels(reason)
        Gauge("relay_exporter_probes_running", "Probes now.", registry=registry).set_function(
            lambda: self._running
        )
        Gauge("relay_exporter_probes_limit", "Probes at once.", registry=registry).set_function(
            lambda: self._settings.probes_at_once
        )
        self.reloaded = Gauge(
            "relay_exporter_config_last_reload_successful", "1 if the file could be read.", registry=registry
        )
        self.reloaded.set(1)
        Gauge("relay_build_info", "The program.", ["version"], registry=registry).labels(__version__).set(1)
        ProcessCollector(registry=registry)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it really listens."""
        return [bound_endpoint(sock) for sock in self._sockets]

    def change(self, settings: ExporterFile) -> None:
        """Go on with other settings; probes under way keep theirs."""
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._sockets = listen_on(self._listen)
        await self._runner.setup()
        for sock in self._sockets:
            await web.SockSite(self._runner, sock).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        for sock in self._sockets:
            sock.close()

    async def _index(self, request: web.Request) -> web.StreamResponse:
        names = ", ".join(sorted(self._settings.modules))
        return web.Response(
            text=f"framework-relay exporter {__version__}\n/probe?target=HOST:PORT&module=NAME[&debug=true]\n"
            f"/metrics\n/-/healthy\nmodules: {names}\n"
        )

    async def _healthy(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="healthy\n")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        return self._encoded(request, self.registry)

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = read_request(
                list(request.query.items()), request.headers.get(SCRAPE_TIMEOUT), self._settings,
                offset_seconds=self._offset_seconds, is_public=self._is_public,
            )  # fmt: skip
        except ProbeRefused as error:
            self._refused.labels(error.reason).inc()
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        if self._running >= self._settings.probes_at_once:
            self._refused.labels("busy").inc()
            words = f"{self._running} probes are running, which is the limit ([exporter] probes_at_once)\n"
            raise web.HTTPServiceUnavailable(text=words, headers={"Retry-After": "1"})
        found, diagnosis = await self._surveyed(asked)
        registry = registry_of(probe_families(found, diagnosis, asked.timeout_seconds))
        if not asked.debug:
            return self._encoded(request, registry)
        return web.Response(text=debug_text(asked, found, diagnosis, registry))

    async def _surveyed(self, asked: ProbeRequest) -> tuple[Findings, Diagnosis]:
        self._running += 1
        try:
            found = await survey(
                asked.route, asked.module.key, timeout_seconds=asked.timeout_seconds,
                qualities=asked.module.qualities,
            )  # fmt: skip
        finally:
            self._running -= 1
        diagnosis = diagnose(found, causes())
        self._probes.labels(asked.name, str(diagnosis.verdict)).inc()
        return found, diagnosis

    def _encoded(self, request: web.Request, registry: CollectorRegistry) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})


def debug_text(
    asked: ProbeRequest, found: Findings, diagnosis: Diagnosis, registry: CollectorRegistry
) -> str:
    """The log of exactly this probe, what it means, its metrics, and what was asked; without secrets."""
    told = Told(found, diagnosis)
    encode, _ = choose_encoder("")
    answers = [
        f"{one.began_seconds:7.3f} s  {one.seconds:7.3f} s  {one.question}: {one.outcome}  {one.words}"
        for one in found.findings
    ]
    asked_for = [
        f"module {asked.name}, {asked.route}, at most {asked.timeout_seconds:g} s,"
        f" qualities {str(asked.module.qualities).lower()}"
    ]
    excluded = [f"not {out.cause.id}: {out.because}" for out in diagnosis.excluded]
    meant = [told.headline, told.sentence] if diagnosis.verdict is Verdict.BROKEN else [told.headline]
    parts = {
        "Asked": asked_for, "Answers": answers, "Meaning": [*filter(None, meant), *excluded],
        "Metrics": [encode(registry).decode()],
    }  # fmt: skip
    return "\n".join("\n".join([f"{name}:", *lines, ""]) for name, lines in parts.items())
