"""Run the `relay` command of the Python that runs this: `launch.py asyncio|uvloop COMMAND ...`.

uvloop is taken by `relay` itself where it is installed; for `asyncio` it is hidden.
"""

import sys


def run() -> int:
    """Choose the event loop, then be `relay`."""
    loop, *arguments = sys.argv[1:]
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    else:
        import uvloop  # noqa: F401 - fails at once where it is missing, rather than measuring the wrong loop
    from relay.commands import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(run())
