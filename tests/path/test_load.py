"""Load: the blocking client without repeats, also among greenlets; and Locust itself, distributed."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.packet import CloseHow, Packet
from relay.blocking_framework_client import BlockingFrameworkClient, Connecting
from relay.failure import AnswerLost, ProxyRefused, Reason, Stage, TimedOut
from relay.places import FarServer
from relay.reconnection import ONCE, what_ended
from relay.route import Route
from tests.path.real import environment, free_endpoint

Start = Callable[..., Any]
LOCUSTFILE = Path(__file__).parents[2] / "examples" / "load" / "locustfile.py"


def test_a_connection_that_ended_while_idle_is_made_anew(
    connect_proxy: Start, framework_server: FarServer
) -> None:
    """Somebody's idle limit loses no request."""
    proxy = connect_proxy(faults="idle_timeout:seconds=1")
    with BlockingFrameworkClient(Route(framework_server.endpoint, (proxy.hop,)), backoff=ONCE) as client:
        client.ping()
        assert 200 == proxy.entry()["status"]  # told when the tunnel has ended
        client.ping()
        assert 2 == client.connections_made


def test_a_late_answer_is_not_the_next_ones(framework_server: FarServer) -> None:
    """A request that was given up takes its connection with it."""
    route = Route(framework_server.endpoint)
    with BlockingFrameworkClient(route, timeout_seconds=1.0, backoff=ONCE) as client:
        with pytest.raises(TimedOut):
            client.request(Packet.hold(1200))
        assert b"mine" == client.request(Packet.echo(b"mine")).argument


def test_who_listens_is_told_of_connections(framework_server: FarServer) -> None:
    """That it is the second one; how the first ended is in what the request raised, sent once and lost."""
    told: list[Connecting] = []
    route = Route(framework_server.endpoint)
    with BlockingFrameworkClient(route, backoff=ONCE, on_connect=told.append) as client:
        client.connect()
        client.ping()
        assert 1 == len(told)
        with pytest.raises(AnswerLost) as caught:
            client.request(Packet.close(CloseHow.FIN), safe_to_repeat=True)
        assert Reason.CLOSED == what_ended(caught.value).reason
        assert b"again" == client.request(Packet.echo(b"again")).argument
        assert 2 == client.connections_made
    assert [(1, None), (2, None)] == [(one.number, one.failure) for one in told]


@pytest.mark.route(faults="refuse:nth=2-3")
def test_attempts_that_fail_are_told(framework_route: Route) -> None:
    """A refused reconnect raises, keeps its number, and the next request tries again."""
    told: list[Connecting] = []
    with BlockingFrameworkClient(framework_route, backoff=ONCE, on_connect=told.append) as client:
        client.ping()
        with pytest.raises(AnswerLost):
            client.request(Packet.close(CloseHow.FIN))
        for _ in range(2):
            with pytest.raises(ProxyRefused):
                client.ping()
        client.ping()
    failures = [one.failure and one.failure.reason for one in told]
    assert [None, Reason.DENIED, Reason.DENIED, None] == failures
    assert [1, 2, 2, 2] == [one.number for one in told]


COOPERATIVE = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
from protocol.packet import Packet
from relay import Endpoint, Hop, Route
from relay import BlockingFrameworkClient

route = Route(Endpoint("localhost", int(sys.argv[1])), (Hop.parse(sys.argv[2]),))
done = []

def work(name, packet):
    with BlockingFrameworkClient(route) as client:
        client.ping()
        client.request(packet)
        done.append(name)

both = {"held": Packet.hold(1500), "echoed": Packet.echo(b"x")}
gevent.joinall([gevent.spawn(work, *one) for one in both.items()], raise_error=True)
print(*done)
"""


def test_it_works_among_greenlets(framework_server: FarServer, connect_proxy: Start) -> None:
    """Under gevent's monkey patching, names, CONNECT with a login, and waits leave the others to go on."""
    proxy = connect_proxy(login="alice:secret")
    url = proxy.url.replace("http://", "http://alice:secret@")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COOPERATIVE, str(framework_server.port), url],
        capture_output=True, text=True, timeout=50, env=environment(),
    )  # fmt: skip
    assert ("echoed held\n", "") == (done.stdout, done.stderr)


USERS = """
from locust import constant
from relay.load import FrameworkUser

class Client(FrameworkUser):
    wait_time = constant(0.05)
    def work(self):
        self.ping()
        self.echo(300)
    tasks = [work]
"""


def locust(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with (folder / f"{len(list(folder.iterdir()))}.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "locust", *arguments], cwd=folder, stdout=output, stderr=output,
            env=environment(),
        )  # fmt: skip


def test_a_master_with_two_workers(
    tmp_path: Path, framework_server: FarServer, connect_proxy: Start
) -> None:
    """Its reports have latencies, failures by cause and reconnects, and agree with the server's journal."""
    (tmp_path / "locustfile.py").write_text(USERS)
    proxy = connect_proxy(faults=["reset:after_bytes=400,nth=1-3", "refuse:nth=9-10"])
    at = free_endpoint()
    master = locust(
        tmp_path, "--master", "--expect-workers=2", "--headless", "-u8", "-r8", "-t3s", "--stop-timeout=10",
        f"--master-bind-host={at.host}", f"--master-bind-port={at.port}", "--exit-code-on-error=0",
        f"--host={framework_server.endpoint}", f"--relay-proxy={proxy.url}", "--csv=out", "--html=out.html",
    )  # fmt: skip
    workers = [
        locust(tmp_path, "--worker", f"--master-host={at.host}", f"--master-port={at.port}") for _ in range(2)
    ]
    try:
        status = [process.wait(50) for process in (master, *workers)]
    finally:
        for process in (master, *workers):
            process.kill()
            process.wait()
    assert [0, 0, 0] == status, [path.read_text() for path in tmp_path.glob("*.log")]
    with (tmp_path / "out_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert {"connect", "reconnect", "ping", "echo 300 bytes", "Aggregated"} == set(rows)
    # The percentiles are of whole milliseconds, which a ping here may take less than half of
    assert float(rows["ping"]["99%"]) >= float(rows["ping"]["50%"])
    assert 0 < float(rows["ping"]["Average Response Time"])
    assert 0 < float(rows["ping"]["Average Content Size"]) <= 44
    with (tmp_path / "out_failures.csv").open() as file:
        failures = {(row["Name"], row["Error"]): int(row["Occurrences"]) for row in csv.DictReader(file)}
    causes = {f"{stage}:{reason}" for stage in Stage for reason in Reason}
    assert set() == {error for _, error in failures} - causes
    denied = sum(count for (_, error), count in failures.items() if error == "proxy:denied")
    assert (2, 3) == (denied, sum(failures.values()) - denied), failures
    assert 3 <= int(rows["reconnect"]["Request Count"])
    sent = sum(record["pings"] for record in framework_server.records)
    assert sent >= int(rows["ping"]["Request Count"]) - int(rows["ping"]["Failure Count"]) > 8
    assert "reconnect" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--host: expected HOST:PORT of the Framework Server"),
        (("--host", "127.0.0.1", "--relay-proxy", "ftp://a.example"), "--relay-proxy: scheme 'ftp'; expe"),
    ],
)
def test_settings_that_no_user_can_be_made_with(arguments: tuple[str, ...], words: str) -> None:
    """The run ends at once, with status 2 and one line that says why; no traceback."""
    command = ["-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--users", "3", "--run-time", "40s"]
    done = subprocess.run(
        [sys.executable, *command, *arguments], capture_output=True, text=True, timeout=30, env=environment()
    )
    assert 2 == done.returncode, done.stderr
    assert (1, 0) == (done.stderr.count(words), done.stderr.count("Traceback")), done.stderr


def test_the_example_is_a_locustfile() -> None:
    """Locust finds its user class and what that does."""
    arguments = ["-m", "locust", "-f", str(LOCUSTFILE), "--show-task-ratio-json"]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=50)
    assert 0 == done.returncode, done.stderr
    assert [] == [name for name in ("ping_the_server", "send_a_packet") if name not in done.stdout]
