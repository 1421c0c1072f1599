"""Make docs/transcripts.md: three broken paths through real proxies, as `relay check` tells of them.

python -m tests.path.transcripts > docs/transcripts.md
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import trustme

import relay.reports  # noqa: F401 - enters every form of report into REPORTS
from relay import report
from relay.catalogue import causes
from relay.check import CHECKS
from relay.diagnosis import diagnose
from relay.finding import read_findings
from relay.survey import HEALTHY, SPINE
from tests.path import peers
from tests.path.real import RUN_SECONDS, SCRIPTS, Daemon, Tool, environment, relay_command

TARGET, PROXY, TIME = "framework.example:5000", "http://proxy.example:3128", "2026-01-01T12:00:00Z"
IDLE_SECONDS, CUT_SECONDS = 2, 1
ORDER = ["route", *SPINE, *HEALTHY, *(name for name in CHECKS if name not in (*SPINE, *HEALTHY))]


@dataclass(frozen=True)
class Case:
    """One broken path: what is told of it, how its proxy is started, and what else is asked."""

    title: str
    told: str
    cause: str
    proxy: Callable[[Tool], AbstractContextManager[Daemon]]
    options: tuple[str, ...] = ()


def only_443(tool: Tool) -> AbstractContextManager[Daemon]:
    return peers.squid(tool, allow_ports="443")


@contextmanager
def opening_tls(tool: Tool) -> Iterator[Daemon]:
    authority = trustme.CA(organization_name="Example Company", organization_unit_name="Proxy")
    pem = authority.private_key_pem.bytes() + authority.cert_pem.bytes()
    with peers.squid(tool, authority=pem) as running:
        yield running


def cutting_idle(tool: Tool) -> AbstractContextManager[Daemon]:
    return peers.squid(tool, more=[f"read_timeout {CUT_SECONDS} second"])


CASES = (
    Case(
        "A proxy that lets only port 443 out",
        "squid as it comes: `http_access deny CONNECT !SSL_ports`, and SSL_ports is 443.",
        "proxy-port-policy",
        only_443,
    ),
    Case(
        "A proxy that opens TLS and ends everything else",
        "squid with `ssl_bump bump all`. It says 200 before it has connected: the closed port is the proof.",
        "tls-inspection-kills-nontls",
        opening_tls,
    ),
    Case(
        "A proxy that closes what rests",
        f"squid with `read_timeout {CUT_SECONDS} second` (15 minutes, as it comes), asked with `--idle`.",
        "tunnel-idle-timeout",
        cutting_idle,
        ("--idle", str(IDLE_SECONDS)),
    ),
)


@dataclass(frozen=True)
class Told:
    """What is told of one run, with names of a manual in place of this machine's, and without its times."""

    text: str
    ticket: str


def run(case: Case, tool: Tool) -> Told:
    """Break the path for real and check it; then tell of the record in which the names are changed."""
    with ExitStack() as stack:
        server = stack.enter_context(relay_command("server", listen="127.0.0.1:0"))
        proxy = stack.enter_context(case.proxy(tool))
        target = str(server.endpoint)
        arguments = [SCRIPTS / "relay", "check", target, "-x", proxy.url, *case.options, "--json"]
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=RUN_SECONDS, env=environment()
        )
        assert (1, "") == (done.returncode, done.stderr), done
    record = json.loads(renamed(done.stdout, target, proxy.url))["record"]
    # Those that were put side by side are answered in any order
    record["findings"].sort(key=lambda one: (ORDER.index(one["question"]), one["question"]))
    found = read_findings({**record, "seconds": 1.0})
    told = report.Told(found, diagnose(found, causes()))
    return Told(report.REPORTS["text"](told), report.REPORTS["ticket"](told))


def renamed(text: str, target: str, proxy: str) -> str:
    """The same with the names of a manual; what differs from one run to the next is made the same."""
    host, _, port = target.rpartition(":")
    there = proxy.removeprefix("http://").rpartition(":")[0]
    text = text.replace(proxy, PROXY).replace(target, TARGET)
    text = text.replace(proxy.removeprefix("http://"), "192.0.2.7:3128").replace(there, "192.0.2.7")
    text = re.sub(rf"\b{port}\b", "5000", text)
    text = re.sub(rf"{re.escape(host)}:(443|1)\b", r"framework.example:\1", text)
    text = re.sub(r"127(\.\d+){3}", "198.51.100.20", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", TIME, text)
    text = re.sub(r'"local_port": \d+', '"local_port": 51234', text)
    text = re.sub(r'"lasted_seconds": [\d.]+', f'"lasted_seconds": {CUT_SECONDS}.0', text)
    return re.sub(
        r"survives [\d.]+ s of silence, and not [\d.]+ s", "survives 0.9 s of silence, and not 1.1 s", text
    )


def page(told: dict[str, Told]) -> str:
    """The whole page."""
    lines = [
        "# Three broken paths",
        "",
        "Each was broken for real and checked; names, times, addresses are changed, the rest is as it was.",
        "Made by `python -m tests.path.transcripts > docs/transcripts.md`; a test keeps it true.",
    ]
    for case in CASES:
        options = "".join(f" {one}" for one in case.options)
        lines += ["", f"## {case.title}", "", case.told, "", "```console"]
        lines += [f"$ relay check {TARGET} -x {PROXY}{options}", told[case.cause].text.rstrip(), "```", ""]
        lines += ["The ticket (`--report ticket`):", "", "```text", told[case.cause].ticket.rstrip(), "```"]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def main() -> None:
    def tool(name: str, package: str) -> str:
        return shutil.which(name) or f"/usr/sbin/{name}"

    print(page({case.cause: run(case, tool) for case in CASES}), end="")


if __name__ == "__main__":
    main()
