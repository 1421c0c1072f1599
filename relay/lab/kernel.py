"""What the lab asks of Linux: namespaces, mounts, and the end of a process with its parent.

By ctypes: `os.unshare` and `os.setns` came with Python 3.12 only, and mount(2) is in no Python.
"""

import ctypes
import os
from pathlib import Path

# linux/sched.h
CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
# linux/mount.h
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
# linux/prctl.h
PR_SET_PDEATHSIG = 1
SIGKILL = 9


def _call(name: str, *arguments: object) -> None:
    """Raises: OSError with the kernel's errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; a new PID namespace is for the children. Source: unshare(2)."""
    _call("unshare", flags)


def enter_network(path: Path) -> None:
    """Move this thread into a network namespace. Source: setns(2)."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", handle, CLONE_NEWNET)
    finally:
        os.close(handle)


def mount(source: str, target: Path, kind: str | None = None, flags: int = 0) -> None:
    """Source: mount(2)."""
    _call("mount", source.encode(), os.fsencode(target), kind.encode() if kind else None, flags, None)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends. Source: prctl(2)."""
    _call("prctl", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)


def become_root_of_a_user_namespace() -> None:
    """Be root where nobody else is: what an ordinary user needs to make the other namespaces.

    Source: user_namespaces(7). Raises: OSError where the kernel, or its administrator, does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", "ascii")
