"""Our own: the emulated Framework Server, and the proxy with its faults and personas."""

from relay.lab.program import Command, Given, program


@program("framework", 5000)
def framework(given: Given) -> Command:
    """`relay server`; lines are its options."""
    listen = ["--listen", f"0.0.0.0:{given.port}", "--listen", f"[::]:{given.port}"]
    if "--listen" in given.lines:
        listen = []
    return Command(["server", *listen, *given.lines], is_ours=True)


@program("relay-proxy", 3128)
def relay_proxy(given: Given) -> Command:
    """`relay proxy`; lines are its options: --fault, --persona, --allow-port."""
    return Command(
        ["proxy", "--allow-local", "--listen", f"0.0.0.0:{given.port}", *given.lines], is_ours=True
    )
