"""The admin listener of a proxy inside the test."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from relay.admin import Admin, Subject
from relay.exposition import exposition
from relay.listening import bound_endpoint, listen_on
from relay.metrics import Metrics
from relay.proxy import ConnectProxy
from relay.proxy_answers import answers_of
from relay.route import Endpoint
from relay.siblings import BEGAN, Siblings, answer_siblings, make_pairs

LOOPBACK = Endpoint("127.0.0.1", 0)


class Both:
    """A proxy and its admin listener."""

    def __init__(self, proxy: ConnectProxy, address: Endpoint) -> None:
        self.proxy = proxy
        self.address = address

    async def ask(self, port: int, request: str) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        reply = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return int(reply.split()[1]), reply

    async def get(self, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str]:
        lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", "", "")
        return await self.ask(self.address.port, "\r\n".join(lines))


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    sock = listen_on([LOOPBACK])[0]
    address = bound_endpoint(sock)
    async with ConnectProxy((LOOPBACK,), metrics=Metrics(), own=[address]) as proxy:
        admin = Admin(Subject(partial(answers_of, proxy), exposition, "tunnels"), sock)
        await admin.start()
        yield Both(proxy, address)
        await admin.aclose()


async def test_who_may_ask(both: Both) -> None:
    """By address and as localhost; a name that a web page has led here is misdirected, whatever it asks."""
    for host in ("127.0.0.1", "127.0.0.1:9", "localhost", "LOCALHOST:9", "[::1]:9", "[::1]"):
        assert 200 == (await both.get("/healthz", host))[0]
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", ""):
        assert 421 == (await both.get("/tunnels", host))[0]


async def test_what_may_be_asked(both: Both) -> None:
    """Three paths, read only, never cached."""
    assert [404, 405] == [(await both.get("/"))[0], (await both.get("/healthz", method="DELETE"))[0]]
    for path in ("/healthz", "/metrics", "/tunnels"):
        status, reply = await both.get(path)
        assert (200, True) == (status, "Cache-Control: no-store" in reply)
    assert "text/plain; version=0.0.4" in (await both.get("/metrics"))[1]


async def test_a_proxy_that_drains_is_not_healthy(both: Both) -> None:
    """So that nobody sends it clients."""
    await both.proxy.drain(0.0)
    status, reply = await both.get("/healthz")
    assert (503, "draining") == (status, json.loads(reply.partition("\r\n\r\n")[2])["status"])


async def test_nobody_gets_there_through_the_proxy(both: Both) -> None:
    """Neither by CONNECT nor by a forwarded request."""
    target = str(both.address)
    for line in (f"CONNECT {target} HTTP/1.1", f"GET http://{target}/tunnels HTTP/1.1"):
        status, reply = await both.ask(both.proxy.endpoint.port, f"{line}\r\nHost: {target}\r\n\r\n")
        assert (502, True) == (status, "proxy_loop_detected" in reply)


async def test_the_list_of_all_workers_is_in_the_order_of_their_beginnings(both: Both) -> None:
    """However late a worker answers: each says when a tunnel began, and one clock says how long ago."""
    began = time.monotonic() - 100

    def entries(*after: int) -> list[dict[str, Any]]:
        return [{"client": f"{seconds} s later", BEGAN: began + seconds} for seconds in after]

    pairs = make_pairs(3)
    later = [
        asyncio.create_task(answer_siblings(sock, lambda _, after=after: entries(*after)))
        for (_, sock), after in zip(pairs, ((1, 4), (2,)), strict=True)
    ]
    admin_sock = listen_on([LOOPBACK])[0]
    port = bound_endpoint(admin_sock).port
    subject = Subject(lambda _: entries(0, 3), exposition, "tunnels")
    admin = Admin(subject, admin_sock, Siblings([sock for sock, _ in pairs]))
    await admin.start()
    reply = (await both.ask(port, "GET /tunnels HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))[1]
    await admin.aclose()
    await asyncio.gather(*later)
    tunnels = json.loads(reply.partition("\r\n\r\n")[2])["tunnels"]
    assert [f"{seconds} s later" for seconds in range(5)] == [tunnel["client"] for tunnel in tunnels]
    seconds = [tunnel["seconds"] for tunnel in tunnels]
    assert {1.0} == {round(older - younger, 3) for older, younger in pairwise(seconds)}
    assert all({"client", "seconds"} == set(tunnel) for tunnel in tunnels)
