"""Whether an address is one of this machine's, as the routing table has it; nothing is sent."""

import errno
import socket
import struct

from relay.access_networks import IpAddress

_DISCARD_PORT = 9
# rtnetlink(7), netlink(7): a question for the route to one address, and its answer
_NEWROUTE, _GETROUTE = 24, 26
_REQUEST = 1
_ATTRIBUTE_DESTINATION = 1
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_LOCAL, _ANYCAST = 2, 4
_ANSWER_BYTES = 8192
# Of the process or the machine: what the answer would be is not known
_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def is_own_address(address: IpAddress) -> bool:
    """Whether packets to it stay on this machine.

    Raises: OSError when descriptors or memory are used up, so that nobody can tell.
    """
    found = _by_route(address)
    return _by_socket(address) if found is None else found


def _by_route(address: IpAddress) -> bool | None:
    """Ask the kernel, which knows further addresses of an interface too; None where it does not say."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    packed = address.packed
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _ATTRIBUTE_DESTINATION) + packed
    body = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute
    head = _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            # It answers before send returns, if at all
            kernel.setblocking(False)
            kernel.send(head + body)
            answer = kernel.recv(_ANSWER_BYTES)
    except OSError as error:
        if error.errno in _USED_UP:
            raise
        # A sandbox without netlink
        return None
    return _kind_of(answer)


def _kind_of(answer: bytes) -> bool | None:
    if len(answer) < _HEADER.size + _ROUTE.size:
        return None
    if _HEADER.unpack_from(answer)[1] == _NEWROUTE:
        return _ROUTE.unpack_from(answer, _HEADER.size)[7] in (_LOCAL, _ANYCAST)
    # No route leads there
    code = -_ERROR.unpack_from(answer, _HEADER.size)[0]
    return False if code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES) else None


def _by_socket(address: IpAddress) -> bool:
    """Whether packets to it leave from it (ip(7)), which holds for the first address of each network.

    A bind would tell of all, but not where net.ipv4.ip_nonlocal_bind is set.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD_PORT))
            return bool(probe.getsockname()[0].partition("%")[0] == str(address))
    except OSError as error:
        if error.errno in _USED_UP:
            raise
        return False
