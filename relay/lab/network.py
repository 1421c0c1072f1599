"""The network of every scenario: client - router - firewall - server, with proxies beside the router.

    client .1.2 --- .1.1 router .2.1 --- .2.2 firewall .3.1 --- .3.2 server
                         router .4.1 --- .4.2 proxy
                         router .5.1 --- .5.2 parent

All of it is 10.231.LINK.HOST; the same in IPv6, as fd00:231:LINK::HOST. A host's way out is the router.
"""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.lab.room import CannotPlay, Room

PREFIX_BITS = {4: 24, 6: 64}
# linux/if_addr.h: an address is there at once, not after a second of asking whether others have it
IFA_F_NODAD = 2


@dataclass(frozen=True)
class Link:
    """A cable: host `number` 1 at one end, 2 at the other, as the addresses say."""

    net: int
    one: str
    one_port: str
    other: str
    other_port: str


LINKS = (
    Link(1, "router", "lan", "client", "eth0"),
    Link(2, "router", "wan", "firewall", "lan"),
    Link(3, "firewall", "wan", "server", "eth0"),
    Link(4, "router", "dmz", "proxy", "eth0"),
    Link(5, "router", "dmz2", "parent", "eth0"),
)
ALWAYS = ("client", "router", "firewall", "server")
PLACES = (*ALWAYS, "proxy", "parent")
ROUTERS = ("router", "firewall")


def address(net: int, host: int, version: int = 4) -> str:
    """The address of a host on a link."""
    return f"10.231.{net}.{host}" if version == 4 else f"fd00:231:{net}::{host}"


ADDRESSES = {
    "client": address(1, 2), "router": address(1, 1), "firewall": address(2, 2), "server": address(3, 2),
    "proxy": address(4, 2), "parent": address(5, 2),
}  # fmt: skip
"""What scenarios call a place: `{server}`; the router and the firewall by the side that the client sees."""
ADDRESSES6 = {
    "client6": address(1, 2, 6), "server6": address(3, 2, 6), "router6": address(1, 1, 6),
    "firewall6": address(2, 2, 6),
}  # fmt: skip

ROUTES: dict[str, list[tuple[str | int, int, int]]] = {
    "client": [("default", 1, 1)],
    "router": [(3, 2, 2)],
    "firewall": [("default", 2, 1)],
    "server": [("default", 3, 1)],
    "proxy": [("default", 4, 1)],
    "parent": [("default", 5, 1)],
}
"""Place -> (where, the link and the host it goes through); where is "default" or the number of a link."""


def build(room: Room, extra: Collection[str], *, without: Collection[int] = ()) -> None:
    """Make the places that every scenario has, and the `extra` ones; `without` leaves links out.

    Raises: CannotPlay without pyroute2.
    """
    try:
        from pyroute2 import IPRoute
    except ImportError:
        raise CannotPlay("pyroute2 is not installed: pip install 'framework-relay[lab]'") from None
    places = [place for place in PLACES if place in ALWAYS or place in extra]
    for place in places:
        room.add_place(place)
        _configure(room, place)
    with ExitStack() as stack:
        talks: dict[str, Any] = {}
        for place in places:
            with room.inside(place):
                talks[place] = stack.enter_context(IPRoute())
        for link in LINKS:
            if link.other in places and link.net not in without:
                _connect(room, talks, link)
        for place in places:
            talks[place].link("set", index=1, state="up")
            # Links that a scenario lays itself bring their routes with them
            if not any(link.net in without and place in (link.one, link.other) for link in LINKS):
                _add_routes(talks[place], place)


def _connect(room: Room, talks: dict[str, Any], link: Link) -> None:
    peer = {"ifname": link.other_port, "net_ns_fd": str(link.other)}
    talks[link.one].link("add", ifname=link.one_port, kind="veth", peer=peer)
    for place, port, host in ((link.one, link.one_port, 1), (link.other, link.other_port, 2)):
        talk = talks[place]
        (index,) = talk.link_lookup(ifname=port)
        for version, bits in PREFIX_BITS.items():
            flags = {"flags": IFA_F_NODAD} if version == 6 else {}
            talk.addr("add", index=index, address=address(link.net, host, version), prefixlen=bits, **flags)
        # One packet is one packet: else what is cut into packets only by the receiver is larger on the way
        talk.link("set", index=index, state="up", gso_max_segs=1)


def _add_routes(talk: Any, place: str) -> None:
    for where, net, host in ROUTES[place]:
        for version, bits in PREFIX_BITS.items():
            whole = {4: "0.0.0.0/0", 6: "::/0"}[version]
            target = whole if where == "default" else f"{address(int(where), 0, version)}/{bits}"
            talk.route("add", dst=target, gateway=address(net, host, version))


def _configure(room: Room, place: str) -> None:
    """Set what the kernel must know before there are links: /proc/sys/net is that of the place we are in."""
    settings = {"ipv6/conf/default/accept_dad": "0"}
    if place in ROUTERS:
        settings |= {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}
        # A lab asks faster than a router of the world would answer (icmp(7))
        settings |= {"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0"}
    with room.inside(place):
        for name, value in settings.items():
            Path("/proc/sys/net", name).write_text(value, "ascii")
