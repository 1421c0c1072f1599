"""Imports go one way, and aiohttp stays where it belongs: read from the sources of the packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import protocol
import relay

PROTOCOL = Path(protocol.__file__).parent
RELAY = Path(relay.__file__).parent

LAYERS = (
    # What the system and the peers tell; how a failure and an end are named.
    {"answered", "aside", "c_parser", "cause", "channel_binding", "clear_text", "deadlines", "dial",
     "evidence", "failure", "fault", "finding", "journal", "kerberos_words", "leaving", "line_log",
     "log_format", "login", "login_hashes", "metrics", "own_loop", "persona_words", "pipes", "pump_end",
     "quoted", "reading", "shown", "tls", "toml_lines", "tunnel_loop", "vanished"},
    # Values, and open connections.
    {"access_networks", "arrivals", "asides", "backoff", "catalogue", "diagnosis", "exposition", "far_record",
     "fault_answer", "fault_end", "foreign", "host_guard", "http2_errors", "kerberos_ticket", "keys",
     "link", "list_file", "lookup", "operations", "pipe", "probe", "race", "reconnection", "recording",
     "refusal", "resetting", "siblings", "stream", "throwaway_ca", "toml_table", "trace", "turned_away"},
    # What may be opened where, what carries bytes, and what a walk along a route asks for.
    {"addresses", "catalogue_page", "faults", "given", "http2_pipe", "http2_stream", "intake", "limits",
     "lookups", "own_addresses", "packet_answers", "packet_stream", "persona_reply", "probe_metrics", "pump",
     "recorded_stream", "refused", "report", "security_context", "stdio", "stream_transport", "users",
     "watching", "young_links"},
    # Logins, routes; faults and personas, which are data.
    {"accepting_context", "client_logins", "fault_rule", "interception", "report_difference", "splice",
     "token_keys"},
    {"accounts", "fault_plan", "persona", "route", "toxics"},
    {"hop_files", "live_faults", "suite", "tls_listen", "token_login"},
    {"logins", "suite_outcome", "suite_proxy", "toxic_link"},
    # Open tunnels, with faults or without, and what goes through one; the legs of a walk.
    {"access_ports", "access_request", "authority", "baseline", "credentials", "data_plane", "fault_path",
     "hop_evidence", "listening", "moves", "pac_child", "persona_target", "proxy_source",
     "reports", "serving", "suite_file", "suite_report"},
    {"access_conditions", "connect_tunnel", "emulator", "exporter_file", "greeter", "hop_carrier",
     "hop_dial", "hop_refusal", "hop_socks", "listener", "pac", "regression", "request_head",
     "suite_reports", "toxic_proxy"},
    # One request of the proxy, from its head to its reply.
    {"access_rule", "fields", "message_body", "persona_plain", "places", "probe_request",
     "profile_listeners", "walk", "workers"},
    {"access", "blocking", "origin", "reply_head", "request_gate", "tunnel", "upstream"},
    {"blocking_framework_client", "check", "client_request", "dialler", "forward",
     "framework_client", "http2_side", "persona_gate", "ping", "plain_port", "replay"},
    {"admission", "checks", "login_gate", "login_steps", "outbound", "pac_page", "persona_way",
     "profile_access", "takeover"},
    {"passage"},
    {"outcomes"},
    {"exchange", "gatekeeper", "profile_login", "profile_upstreams", "survey"},
    {"absolute_form", "doorman", "express", "profile", "suite_run"},
    {"answering", "reception"},
    # What a command starts.
    {"desk", "front", "http2_door"},
    {"proxy"},
    {"admin", "demo", "exporter", "proxy_answers", "server_answers", "testbed", "toxiproxy_api"},
    {"commands", "lab", "load", "pytest_plugin"},
    {"__main__"},
)
"""A module imports from the rows above its own only."""

AIOHTTP_MODULES = {"admin", "answered", "c_parser", "exporter", "host_guard", "takeover", "toxiproxy_api"}
"""The proxy's side, and what Prometheus asks by HTTP; every other command starts without aiohttp."""

NOT_BYTES = {
    "aiohttp", "asyncio", "datetime", "logging", "multiprocessing", "pathlib", "random", "relay", "select",
    "selectors", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uvloop",
}  # fmt: skip
"""What `protocol` does without: it sees bytes only."""


def sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """Return every node, but none below `if TYPE_CHECKING:`, which no program ever runs."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        found += [node, *runtime_nodes(node)]
    return found


def imports(path: Path) -> set[str]:
    """Return the full names of all modules that the file at `path` imports, wherever in it that stands."""
    found = set()
    for node in runtime_nodes(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, f"{path.name}: relative imports hide the layer"
            # `from relay import tunnel` imports relay.tunnel; any other name after it is in no layer.
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def relay_parts(path: Path) -> set[str]:
    """Return the modules of `relay` that `path` imports, by their first name: "route", "commands"."""
    known = {name for row in LAYERS for name in row}
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("relay.")}
    return parts & known


def part_of(path: Path) -> str:
    return path.relative_to(RELAY).with_suffix("").parts[0]


@pytest.mark.parametrize("path", sources(PROTOCOL), ids=lambda path: path.name)
def test_protocol_sees_bytes_only(path: Path) -> None:
    """`protocol` awaits nothing, and knows no clock, socket, log, file, environment, nor `relay`."""
    assert set() == {name.split(".")[0] for name in imports(path)} & NOT_BYTES
    nodes = runtime_nodes(ast.parse(path.read_text("utf-8")))
    assert [] == [node for node in nodes if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    names = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    assert set() == {name for name in names if name.startswith("os.")} - {"os.urandom"}
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert set() == called & {"open", "print", "input"}


@pytest.mark.parametrize("path", sources(RELAY), ids=lambda path: str(path.relative_to(RELAY)))
def test_imports_go_one_way(path: Path) -> None:
    """A module of `relay` imports from lower layers only; only catalogues share within."""
    part = part_of(path)
    if part == "__init__":
        assert set() == relay_parts(path)
        return
    rows = [row for row in LAYERS if part in row]
    assert 1 == len(rows), f"{part} has no place in LAYERS yet: say which modules it stands above"
    allowed = set().union(*LAYERS[: LAYERS.index(rows[0])])
    itself = {"checks", "faults", "logins", "reports", "suite_reports"} & {part}
    # The lab runs commands, and one command runs the lab
    itself |= {"commands", "lab"} if part in ("commands", "lab") else set()
    assert set() == relay_parts(path) - allowed - itself


def test_layers_name_only_what_is_there() -> None:
    """No module is left in the table after it was moved or renamed."""
    assert set() == {name for row in LAYERS for name in row} - {part_of(path) for path in sources(RELAY)}


@pytest.mark.parametrize("path", sources(RELAY), ids=lambda path: str(path.relative_to(RELAY)))
def test_aiohttp_stays_on_the_proxys_side(path: Path) -> None:
    """Only the proxy's modules import aiohttp, and only the takeover looks behind its public names."""
    uses_aiohttp = any(name.split(".")[0] == "aiohttp" for name in imports(path))
    assert part_of(path) in AIOHTTP_MODULES or not uses_aiohttp
    if uses_aiohttp and part_of(path) != "takeover":
        assert set() == foreign_private_names(path)


def foreign_private_names(path: Path) -> set[str]:
    """Return `thing._name` wherever the thing is not `self` or `cls`, and imports of such names."""
    found = {name for name in imports(path) if any(part.startswith("_") for part in name.split("."))}
    for node in runtime_nodes(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls"):
                found.add(f"{owner}.{node.attr}")
    return found - {"relay.__version__"}


def test_ping_starts_without_asyncio_and_aiohttp() -> None:
    """TMSS10Ping is on the screen at once: its command imports neither, in a fresh interpreter."""
    program = "import sys, relay.commands.ping; print(*{'aiohttp', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()


def test_the_wire_starts_without_sockets() -> None:
    """Importing all of `protocol` brings in no event loop, HTTP server or TLS, even indirectly."""
    names = [
        f"protocol.{'.'.join(path.relative_to(PROTOCOL).with_suffix('').parts)}".removesuffix(".__init__")
        for path in sources(PROTOCOL)
    ]
    program = f"import sys, {', '.join(names)}; print(*{{'aiohttp', 'asyncio', 'ssl'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()
