"""Set a scenario up in a room: its network, its firewalls, its programs."""

import json
import os
import secrets
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import relay.lab.programs  # noqa: F401 - enters every program into PROGRAMS
from relay.lab.network import ADDRESSES, address, build
from relay.lab.program import PAUSE_SECONDS, PROGRAMS, START_SECONDS, Given, wait_until_listening
from relay.lab.room import FOLDER, NOBODY, PLACES_FOLDER, CannotPlay, Room, StagingFailed, find, is_real_root
from relay.lab.scenario import OTHER_KEY_FILE, Chain, Program, Scenario, with_addresses

SHIM_LINK = 2
"""The link between router and firewall, which a shim takes the place of."""

RESOLV_CONF = Path("/etc/resolv.conf")


def stage(scenario: Scenario, room: Room) -> None:
    """Set it up. Raises: CannotPlay where this machine has not what it takes, StagingFailed."""
    _check_wants(scenario)
    find("nft", "nftables")
    find("sysctl", "procps")
    build(room, scenario.places, without=[SHIM_LINK] if scenario.shim is not None else [])
    if scenario.shim is not None:
        _start_shim(scenario, room)
    OTHER_KEY_FILE.write_text(secrets.token_hex(32) + "\n", "ascii")
    _set_names(scenario, room)
    _run_all(room, scenario.do)
    for number, program in enumerate(scenario.programs):
        _start(program, room, FOLDER / f"{number}-{program.run}")
    for place, rules in (scenario.nft or {}).items():
        room.run(place, ["nft", "-f", "-"], with_addresses(rules))
    for chain in scenario.chains:
        room.run(chain.at, ["nft", "-f", "-"], ruleset(chain))
    _run_all(room, scenario.then)


def ruleset(chain: Chain) -> str:
    """A table with one chain, as nft(8) reads it."""
    lines = "\n".join(map(with_addresses, chain.rules))
    policy = f"type filter hook {chain.hook} priority 0; policy accept;"
    return f"table inet lab_{chain.hook} {{\nchain lab {{\n{policy}\n{lines}\n}}\n}}\n"


def _check_wants(scenario: Scenario) -> None:
    if "root" in scenario.wants and not is_real_root():
        raise CannotPlay("this one needs root")
    if scenario.shim is not None and not (is_real_root() and os.access("/dev/net/tun", os.W_OK)):
        raise CannotPlay("a link that loses packets needs /dev/net/tun and root")


def _run_all(room: Room, lines: tuple[str, ...]) -> None:
    for line in lines:
        place, _, command = with_addresses(line).partition(": ")
        room.run(place, shlex.split(command))


def _start(program: Program, room: Room, folder: Path) -> None:
    entry = PROGRAMS.get(program.run)
    if entry is None:
        raise StagingFailed(f"run: {program.run!r} is no program of the lab: {', '.join(sorted(PROGRAMS))}")
    folder.mkdir(mode=0o755)
    if is_real_root():
        os.chown(folder, NOBODY, NOBODY)
    port = program.port or entry.port
    given = Given(room, program.at, port, folder, tuple(map(with_addresses, program.lines)))
    command = entry.make(given)
    if command.is_ours:
        room.start_ours(program.at, command.arguments, folder)
    else:
        room.start(program.at, command.arguments, folder, **command.environment)
    if command.waits:
        wait_until_listening(room, program.at, port, folder)


def _set_names(scenario: Scenario, room: Room) -> None:
    """Whoever asks for a name asks the router, where the lab's name server is, if there is one."""
    names = dict(scenario.names or {})
    text = names.pop("resolv.conf", f"nameserver {ADDRESSES['router']}\n")
    room.set_file(RESOLV_CONF, with_addresses(text))
    room.set_file(Path("/etc/nsswitch.conf"), "hosts: files dns\n")
    room.set_file(Path("/etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")
    if names:
        where = ADDRESSES["router"]
        folder = FOLDER / "names"
        folder.mkdir()
        told = [f"{name}={with_addresses(answer)}" for name, answer in names.items()]
        room.start("router", [sys.executable, "-m", "relay.lab.nameserver", where, *told], folder)
        _wait(lambda: ":0035 " in _sockets(room, "udp"), "the lab's name server does not come up")


def _sockets(room: Room, kind: str) -> str:
    return Path(f"/proc/{room.processes[-1].pid}/net/{kind}").read_text("ascii")


def _start_shim(scenario: Scenario, room: Room) -> None:
    folder = FOLDER / "shim"
    folder.mkdir()
    places = [str(PLACES_FOLDER / place) for place in ("router", "firewall")]
    room.start("router", [sys.executable, "-m", "relay.lab.shim", json.dumps(scenario.shim), *places], folder)
    _wait(lambda: b"ready" in (folder / "output").read_bytes(), "the shim does not come up")
    for place, port, host, other in (("router", "wan", 1, 2), ("firewall", "lan", 2, 1)):
        here = address(SHIM_LINK, host)
        room.run(place, ["ip", "addr", "add", f"{here}/24", "dev", port])
        room.run(place, ["ip", "link", "set", port, "up"])
        where = "10.231.3.0/24" if place == "router" else "default"
        room.run(place, ["ip", "route", "add", where, "via", address(SHIM_LINK, other)])


def _wait(is_there: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise StagingFailed(otherwise)
        time.sleep(PAUSE_SECONDS)
