"""Run the `relay` command of the Python that runs this: `launch.py asyncio|default COMMAND ...`.

`default` is what a user gets: TunnelLoop for the proxy, uvloop for the server. `asyncio` hides both.
"""

import os
import sys


def run() -> int:
    """Choose the event loop, then be `relay`."""
    loop, *arguments = sys.argv[1:]
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]
        os.environ["RELAY_LOOP"] = "asyncio"
    else:
        import uvloop  # noqa: F401 - fails at once where it is missing, rather than measuring the wrong loop
    from relay.commands import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(run())
