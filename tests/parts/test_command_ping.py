"""TMSS10Ping as a person sees it: its lines to the byte, its exit status, its sentences."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.packet import Packet
from protocol.sealing import Key
from relay.emulator import EmulatedServer
from relay.foreign import UNANSWERED
from relay.proxy import ConnectProxy
from relay.route import Endpoint
from tests.parts.beside import beside
from tests.parts.framework_peers import FREE, Conversed, ScriptedServer
from tests.parts.ping_lines import lines
from tests.parts.scripted_proxy import Played, ScriptedProxy

Ping = Callable[..., tuple[int, str, str]]


def test_four_lines_and_the_statistics(ping: Ping, server: Endpoint) -> None:
    """Without -c: four pings, each a line of 44 bytes, then the statistics; exit 0, nothing on stderr."""
    status, out, err = ping("-P", server.port, "-i", "0.01", "127.0.0.1")
    assert re.fullmatch(lines("127.0.0.1", 1, 2, 3, 4, packets="4 packets transmitted"), out)
    assert (0, "") == (status, err)


@pytest.mark.parametrize("count", [1, 2])
def test_counts(ping: Ping, server: Endpoint, count: int) -> None:
    """-c gives as many lines; -P may repeat the port of HOST:PORT."""
    status, out, _ = ping("-c", count, "-i", ".01", "-P", server.port, server)
    assert re.fullmatch(lines("127.0.0.1", *range(1, count + 1), packets=f"{count} packets transmitted"), out)
    assert 0 == status


@pytest.mark.parametrize("form", ["{host}", "[{host}]:{port}"])
def test_ipv6(ping: Ping, form: str) -> None:
    """An IPv6 literal is taken bare with -P, and in brackets with a port; it is shown bare."""
    with beside(lambda: EmulatedServer((Endpoint("::1", 0),))) as server:
        host = form.format(host="::1", port=server.endpoint.port)
        status, out, err = ping("-c", 1, "-P", server.endpoint.port, host)
    assert re.fullmatch(lines("::1", 1, packets="1 packets transmitted"), out)
    assert (0, "") == (status, err)


def test_a_name_is_shown_as_the_address_it_led_to(ping: Ping, server: Endpoint) -> None:
    """Direct, the lines name the address that answered, which a name does not tell."""
    status, out, _ = ping("-c", 1, f"localhost:{server.port}")
    assert re.fullmatch(lines("127.0.0.1", 1, packets="1 packets transmitted"), out)
    assert 0 == status


def test_through_proxies(ping: Ping, server: Endpoint) -> None:
    """Through a proxy each line says so, without its login; the name is looked up there and stays a name."""
    with beside(lambda: ConnectProxy((FREE,))) as proxy, beside(lambda: ConnectProxy((FREE,))) as second:
        near, far = proxy.endpoint, second.endpoint
        options = ("-c", 2, "-i", "0.01", "-x", f"http://user:secret@{near}")
        status, out, err = ping(*options, f"localhost:{server.port}")
        via = f" (via http://{near})"
        assert re.fullmatch(lines("localhost", 1, 2, packets="2 packets transmitted", via=via), out)
        assert (0, "") == (status, err)
        status, out, err = ping(*options, "-x", far, server)
        via = f" (via http://{near} -> http://{far})"
        assert re.fullmatch(lines("127.0.0.1", 1, 2, packets="2 packets transmitted", via=via), out)
        assert (0, "") == (status, err)


def test_a_loss_is_told(ping: Ping) -> None:
    """Three answers of four: the loss stands in the statistics, its reason on stderr, and the status is 1."""

    async def two(peer: Conversed) -> None:
        for _ in range(2):
            packet = await peer.receive()
            assert packet is not None
            await peer.send(packet)
        await peer.receive()

    with beside(lambda: ScriptedServer(two, Conversed.answer_all)) as server:
        status, out, err = ping("-i", "0.01", server.endpoint)
    packets = "4 packets transmitted, 3 received, 25% packet loss"
    assert re.fullmatch(lines("127.0.0.1", 1, 2, 4, packets=packets), out)
    peer = server.endpoint
    words = "before it answered; it had answered 2 times on this connection"
    said = f"TMSS10Ping: seq=3: framework: {peer} closed the connection ({words})\n"
    assert (1, said) == (status, err)


def test_an_idle_timeout_between_pings_loses_none(ping: Ping) -> None:
    """A connection that was closed between two pings is made anew, which is told, and no ping is lost."""

    async def one(peer: Conversed) -> None:
        packet = await peer.receive()
        assert packet is not None
        await peer.send(packet)

    with beside(lambda: ScriptedServer(one, one, Conversed.answer_all)) as server:
        status, out, err = ping("-i", "0.2", "-c", 3, server.endpoint)
        shown = json.loads(ping("--json", "-c", 1, server.endpoint)[1])
    assert re.fullmatch(lines("127.0.0.1", 1, 2, 3, packets="3 packets transmitted"), out)
    words = f"framework: {server.endpoint} closed the connection (while the connection was idle)"
    said = [f"TMSS10Ping: seq={seq}: a new connection: {words}" for seq in (2, 3)]
    assert (0, said) == (status, err.splitlines())
    assert "made_anew" not in shown["answers"][0]


def test_json(ping: Ping, server: Endpoint) -> None:
    """--json prints one object and nothing else: what was asked, each answer, the statistics."""
    with beside(lambda: ConnectProxy((FREE,))) as proxy:
        via = f"http://{proxy.endpoint}"
        status, out, err = ping("--json", "-c", 2, "-i", "0.01", "-x", via, server)
    told = json.loads(out)
    assert (0, "") == (status, err)
    assert (str(server), "127.0.0.1", [via]) == (told["target"], told["address"], told["via"])
    assert (2, 2, 0) == (told["transmitted"], told["received"], told["loss_percent"])
    assert not told["interrupted"]
    assert [(1, 44), (2, 44)] == [(answer["seq"], answer["bytes"]) for answer in told["answers"]]
    assert {"min", "avg", "max"} == set(told["round_trip_ms"])


def test_json_of_a_failure(ping: Ping) -> None:
    """Failures are in the object, with stage and reason as words to compare."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    status, out, err = ping("--json", "-c", 1, f"127.0.0.1:{port}")
    told = json.loads(out)
    assert (1, "", 100.0, None) == (status, err, told["loss_percent"], told["round_trip_ms"])
    assert ("connect", "refused") == tuple(told["answers"][0]["failure"][k] for k in ("stage", "reason"))


ELSE = "where a Framework packet belongs: something else answers there"
CUT = "the stream ended after 0 of the 40 bytes of a frame"


def told_of(ping: Ping, *arguments: object) -> str:
    """The one sentence on stderr of a single ping that gets no answer."""
    status, out, err = ping("-c", 1, *arguments)
    assert "1 packets transmitted, 0 received, 100% packet loss\n" == out.split("\n", 1)[1]
    assert 1 == status
    prefix = "TMSS10Ping: seq=1: "
    assert err.startswith(prefix)
    assert 1 == err.count("\n")
    return err.removeprefix(prefix).removesuffix("\n")


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", f"sent an HTTP reply {ELSE}"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", f"sent an SSH banner {ELSE}"),
        (b"", f"closed the connection ({UNANSWERED})"),
        (b"\x00\x00\x00\x28", f"closed the connection in the middle of its answer ({CUT})"),
    ],
    ids=["web", "ssh", "closing", "cut"],
)
def test_what_else_answers(ping: Ping, greeting: bytes, words: str) -> None:
    """Another kind of server on that port is named for what it is."""

    async def greet(peer: Conversed) -> None:
        await peer.receive()
        await peer.write(greeting)

    with beside(lambda: ScriptedServer(greet)) as server:
        assert f"framework: {server.endpoint} {words}" == told_of(ping, server.endpoint)


def test_a_proxy_instead_of_a_server(ping: Ping) -> None:
    """HOST is really an HTTP proxy: it answers in HTTP, and that is said."""
    with beside(lambda: ConnectProxy((FREE,))) as proxy:
        assert f"framework: {proxy.endpoint} sent an HTTP reply {ELSE}" == told_of(ping, proxy.endpoint)


def test_another_key(ping: Ping, tmp_path: Path) -> None:
    """With the wrong key the server drops us; with the right one it answers."""
    path = tmp_path / "key"
    path.write_text("6b" * 32)
    with beside(lambda: EmulatedServer((FREE,), key=Key(b"k" * 32))) as server:
        said = told_of(ping, server.endpoint)
        assert f"framework: {server.endpoint} closed the connection ({UNANSWERED})" == said
        status, _, err = ping("-c", 1, "--key-file", path, server.endpoint)
        assert (0, "") == (status, err)


def test_a_server_with_another_key(ping: Ping) -> None:
    """An answer sealed with another key is told as what it is."""
    other = Key(b"o" * 32)

    async def answer(peer: Conversed) -> None:
        await peer.receive()
        await peer.write(Conversed(peer.sock, other).packets.send(Packet.ping()))

    with beside(lambda: ScriptedServer(answer)) as server:
        said = told_of(ping, server.endpoint)
    words = "sent a packet that does not open: another key, or bytes changed on the way"
    assert said.startswith(f"framework: {server.endpoint} {words} (packet 0 of the server, ")


def test_nobody_there(ping: Ping) -> None:
    """Refused, silent, and a name that does not exist, are three different sentences."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint(*silent.getsockname()[:2])
        said = told_of(ping, "-W", "0.1", endpoint)
        assert f"framework: {endpoint} did not answer in time (no reply within 0.1 s)" == said
    words = "refused the connection: nothing listens on that port, or a firewall rejects it (ECONNREFUSED)"
    assert f"connect: {endpoint} {words}" == told_of(ping, endpoint)
    said = told_of(ping, "no.such.name.invalid")
    words = r"the name (does not exist|could not be looked up)"
    assert re.match(rf"resolve: no\.such\.name\.invalid {words} \(", said)


def test_a_proxy_that_does_not_help(ping: Ping, server: Endpoint) -> None:
    """With a proxy the sentence names the proxy's stage: it is silent, not there, or cannot reach HOST."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gone = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = "did not answer in time (after 1.5 s, the limit for all)"
        assert f"proxy: {gone} {words}" == told_of(ping, "-W", "1.5", "-x", gone, server)
    assert told_of(ping, "-x", gone, server).startswith(f"connect: {gone} refused the connection")
    with beside(lambda: ConnectProxy((FREE,))) as proxy:
        said = told_of(ping, "-x", proxy.endpoint, "127.0.0.1:1")
        words = "answered 502 Bad Gateway to CONNECT 127.0.0.1:1"
        assert said.startswith(f"proxy: http://{proxy.endpoint} {words}")


def test_two_ports_are_refused(ping: Ping) -> None:
    """-P and HOST:PORT that differ: nobody can know which was meant."""
    status, out, err = ping("-P", "5001", "127.0.0.1:5000")
    assert (2, "") == (status, out)
    assert "-P 5001 and HOST '127.0.0.1:5000' name two ports" in err


def test_a_user_without_a_password_is_refused(ping: Ping) -> None:
    """No password in the URL, none in the environment, no terminal to ask at: nothing is sent."""
    status, out, err = ping("-x", "http://bob@127.0.0.1:1", "127.0.0.1")
    assert (2, "") == (status, out)
    assert "no password for http://127.0.0.1:1: set RELAY_PROXY_PASSWORD" in err


def test_a_refused_login_is_not_tried_again(ping: Ping) -> None:
    """The account must not be locked: one wrong password is sent once, whatever -c says."""
    refusal = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"

    def deny(played: Played) -> None:
        while True:
            played.head()
            played.write(refusal)

    with ScriptedProxy(deny) as proxy:
        status, out, err = ping("-i", ".01", "-x", f"http://bob:wrong@{proxy.endpoint}", "127.0.0.1")
    assert 1 == sum(b"Proxy-Authorization" in head for head in proxy.heads)
    assert (1, 1) == (status, len(err.splitlines()))
    assert "user or password were not accepted" in err
    assert "1 packets transmitted, 0 received, 100% packet loss" in out


def test_a_stage_has_its_own_limit(ping: Ping) -> None:
    """--limit ends it long before -W would, and the sentence names that limit."""
    with ScriptedProxy(lambda played: (played.head(), played.wait_for_end())) as proxy:
        words = ["-c", 1, "--limit", "proxy=0.2", "-x", f"http://{proxy.endpoint}"]
        status, _, err = ping(*words, "dest.example")
    assert 1 == status
    assert "after 0.2 s, the limit for proxy" in err
