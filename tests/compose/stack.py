"""One project of the compose file, for a test: started by the command that COMPOSE names."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose"))


class Stack:
    """One project of its own of the compose file: containers and networks that no other test shares."""

    def __init__(self, name: str, **settings: str) -> None:
        # An image of its own as well: a user's one is never replaced by a test's.
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"relay{os.getpid()}{name}",
            "RELAY_IMAGE": f"relay{os.getpid()}:test",
            "PEER_IMAGE": f"relaypeers{os.getpid()}:test",
            **settings,
        }

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(*COMPOSE, *arguments)

    def prove(self) -> subprocess.CompletedProcess[str]:
        """What the README tells a user to run."""
        return self.compose("up", "--build", "--exit-code-from", "client")

    def inspect(self, service: str) -> Any:
        container = self.compose("ps", "-a", "-q", service).stdout.strip()
        return json.loads(self.run("docker", "inspect", container).stdout)[0]

    def networks(self, service: str) -> dict[str, Any]:
        """Short names of the service's networks, with what it has there."""
        found = self.inspect(service)["NetworkSettings"]["Networks"]
        return {name.rpartition("_")[2]: network for name, network in found.items()}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans")
