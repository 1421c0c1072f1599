"""Peers from PyPI, each in a venv of its own below build/: none of their dependencies meets ours."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 240


@dataclass(frozen=True)
class Installed:
    """A distribution, the versions of it that the configuration in peers.py is for, and its command."""

    name: str
    versions: str
    command: str


def install(package: Installed, build: Path) -> str | None:
    """Return the path of the command, installed now if it is not there yet; None where that fails."""
    venv = build / "venvs" / package.name
    command = venv / "bin" / package.command
    ready = venv / ".installed"
    # Made with another Python it would not be compared on the same one
    made = f"{package.versions} {sys.version}"
    if ready.exists() and ready.read_text() == made and command.exists():
        return str(command)
    python = venv / "bin" / "python"
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", venv],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", package.name + package.versions],
            check=True, capture_output=True, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    ready.write_text(made)
    return str(command)
