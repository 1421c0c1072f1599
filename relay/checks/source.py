"""Compare the address that traffic leaves from with the one that it should leave from. Sends nothing."""

import socket

from relay.check import CannotTest, Trip, check, found
from relay.dial import literal_addresses
from relay.finding import Finding

WORDS = {
    "right": "traffic leaves from the address that it should leave from",
    "missing": "the address that traffic should leave from does not exist on this machine",
    "other-interface": "traffic leaves from another address than it should",
}


@check("source", WORDS, on_request="source", needs={"resolve": "literal found sinkhole"}, connections=0)
async def source(trip: Trip) -> Finding:
    """Does traffic leave from the address of --source?"""
    wanted = trip.extras.source
    (expected,) = literal_addresses(wanted, 0) or []
    fitting = [address for address in trip.addresses if address[0] == expected[0]]
    if not fitting:
        raise CannotTest(f"the target has no address of the kind of {wanted}")
    with socket.socket(expected[0], socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(expected[1])
        except OSError as error:
            return found("source", "missing", f"{wanted}: {error.strerror}", wanted=wanted)
    with socket.socket(expected[0], socket.SOCK_DGRAM) as sock:
        # Connecting UDP sends nothing: the kernel only looks into its routes (udp(7))
        sock.connect(fitting[0][1])
        used = str(sock.getsockname()[0])
    word = "right" if used == wanted else "other-interface"
    return found("source", word, f"traffic leaves from {used}", wanted=wanted, used=used)
