"""Where and with what a run was made: whoever reads a figure wants to know."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

LIBRARIES = ("aiohttp", "cryptography", "uvloop", "zlib-ng")


def describe() -> dict[str, str]:
    """Return date, machine, kernel, interpreter, libraries and commit."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "processors": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "network": _network(),
        "python": sys.version.split()[0],
        "libraries": ", ".join(_libraries()),
        "commit": _commit(),
        "load_average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _network() -> str:
    """What the kernel does to every packet on loopback, ours and the peers' alike."""
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    tracked = Path("/proc/sys/net/netfilter/nf_conntrack_count").exists()
    words = control.read_text().strip() if control.exists() else "unknown"
    return f"TCP congestion control {words}, connection tracking {'loaded' if tracked else 'not loaded'}"


def _libraries() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return found


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True, text=True, timeout=30, cwd=Path(__file__).parent,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"
