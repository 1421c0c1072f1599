"""Peers that no honest program is: silent, resetting, portals (relay/lab/peers.py)."""

import sys

from relay.lab.peers import MODES
from relay.lab.program import Command, Given, Make, program


def _entered(mode: str) -> Make:
    def misbehave(given: Given) -> Command:
        """Run relay/lab/peers.py."""
        arguments = [sys.executable, "-m", "relay.lab.peers", mode, str(given.port), *given.lines]
        return Command(arguments)

    return misbehave


for _mode in MODES:
    program(_mode, 5000)(_entered(_mode))
