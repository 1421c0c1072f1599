"""Any protocol over CONNECT without asyncio: raw_tunnel_in_a_thread.py HOST:PORT PROXY_URL < bytes."""

import sys

from relay import Endpoint, Hop, RelayError, Route
from relay.blocking import open_tunnel


def main(target: str, proxy: str) -> int:
    try:
        stream = open_tunnel(Route(Endpoint.parse(target), (Hop.parse(proxy),)), timeout_seconds=10)
    except RelayError as error:
        print(error, file=sys.stderr)
        return 1
    stream.write(sys.stdin.buffer.read())
    # squid and tinyproxy drop an answer that comes after this; Apache and `relay proxy` do not
    stream.half_close()
    while data := stream.read():
        sys.stdout.buffer.write(data)
    stream.close()
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
