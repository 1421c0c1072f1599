"""What only the kernel can tell about a connection; feature-detected, Linux first."""

import contextlib
import errno
import fcntl
import socket
import struct
import sys
import termios
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# struct tcp_info of linux/tcp.h, in its order (tcp(7), TCP_INFO): eight u8, then groups of one size.
# A kernel gives as many as it knows; what is beyond is left out.
_GROUPS = (
    ("B", ("state", "ca_state", "retransmits", "probes", "backoff", "options", "wscale", "flags")),
    ("I", (
        "rto_us", "ato_us", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
        "last_data_sent_ms", "last_ack_sent_ms", "last_data_recv_ms", "last_ack_recv_ms", "pmtu",
        "rcv_ssthresh", "rtt_us", "rttvar_us", "snd_ssthresh", "snd_cwnd", "advmss", "reordering",
        "rcv_rtt_us", "rcv_space",
        "total_retrans",
    )),
    ("Q", ("pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received")),
    ("I", ("segs_out", "segs_in", "notsent_bytes", "min_rtt_us", "data_segs_in", "data_segs_out")),
    ("Q", ("delivery_rate", "busy_time_us", "rwnd_limited_us", "sndbuf_limited_us")),
    ("I", ("delivered", "delivered_ce")),
    ("Q", ("bytes_sent", "bytes_retrans")),
    ("I", ("dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd")),
)  # fmt: skip
_WHOLE_BYTES = 256
_KEPT = ("rtt_us", "rttvar_us", "snd_mss", "rcv_mss", "pmtu", "unacked", "lost", "total_retrans", "snd_cwnd")
_MORE = (
    *_KEPT, "state", "options", "advmss", "bytes_acked", "bytes_received", "segs_out", "segs_in",
    "min_rtt_us", "data_segs_in", "data_segs_out", "notsent_bytes", "bytes_retrans", "reord_seen", "snd_wnd",
)  # fmt: skip

# linux/errqueue.h: who made the error; ip(7) and ipv6(7): IP_RECVERR, IPV6_RECVERR.
_ORIGINS = {1: "local", 2: "icmp", 3: "icmp6"}
_RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_MSG_ERRQUEUE = 0x2000
# A queue longer than this tells nothing that its first entries do not.
MAX_QUEUED_ERRORS = 16


@dataclass(frozen=True)
class QueuedError:
    """One entry of a socket's error queue: what made it, ICMP type and code, who sent it ("" unknown)."""

    origin: str
    icmp_type: int
    icmp_code: int
    sender: str
    errno_name: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tcp_info(sock: socket.socket) -> dict[str, Any]:
    """The kernel's view of a connection: times in microseconds, sizes in bytes; {} where it has none."""
    whole = whole_tcp_info(sock)
    return {name: whole[name] for name in _KEPT if name in whole}


def full_tcp_info(sock: socket.socket) -> dict[str, Any]:
    """As `tcp_info`, with the counters that tell a drop from a reset; fewer on older kernels."""
    whole = whole_tcp_info(sock)
    return {name: whole[name] for name in _MORE if name in whole}


def whole_tcp_info(sock: socket.socket) -> dict[str, int]:
    """Every field that this kernel fills; {} where there is none."""
    if not sys.platform.startswith("linux"):
        return {}
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WHOLE_BYTES)
    except OSError:
        return {}
    named: dict[str, int] = {}
    offset = 0
    for letter, names in _GROUPS:
        size = struct.calcsize(letter if letter != "Q" else "=Q")
        for name in names:
            if offset + size > len(raw):
                return named
            named[name] = struct.unpack_from("=" + letter, raw, offset)[0]
            offset += size
    return named


def want_errors(sock: socket.socket) -> bool:
    """Ask the kernel to queue the ICMP errors of this socket; no rights are needed. False where it cannot."""
    option = _RECVERR.get(socket.AddressFamily(sock.family))
    if option is None or not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(*option, 1)
    except OSError:
        return False
    return True


def queued_errors(sock: socket.socket) -> list[QueuedError]:
    """Take what the error queue holds, oldest first. Source: ip(7), struct sock_extended_err."""
    found: list[QueuedError] = []
    if not sys.platform.startswith("linux"):
        return found
    with contextlib.suppress(OSError):
        while len(found) < MAX_QUEUED_ERRORS:
            _, ancillary, _, _ = sock.recvmsg(512, 512, _MSG_ERRQUEUE)
            for level, kind, data in ancillary:
                if (level, kind) in _RECVERR.values() and len(data) >= _EXTENDED_ERROR.size:
                    found.append(_queued(data))
    return found


def _queued(data: bytes) -> QueuedError:
    number, origin, icmp_type, icmp_code, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    offender = data[_EXTENDED_ERROR.size :]
    sender = ""
    family = int.from_bytes(offender[:2], sys.byteorder)
    # struct sockaddr_in: the address stands behind family and port; sockaddr_in6: also behind the flow
    with contextlib.suppress(OSError, ValueError):
        if family == socket.AF_INET:
            sender = socket.inet_ntop(socket.AF_INET, offender[4:8])
        elif family == socket.AF_INET6:
            sender = socket.inet_ntop(socket.AF_INET6, offender[8:24])
    name = errno.errorcode.get(number, str(number))
    return QueuedError(_ORIGINS.get(origin, str(origin)), icmp_type, icmp_code, sender, name)


def unsent_bytes(sock: socket.SocketType) -> int:
    """Bytes in the send queue that the peer has not acknowledged (tcp(7), SIOCOUTQ); 0 when unknown."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError):  # ValueError: it is closed
        return 0


def damaged_segments() -> int | None:
    """TCP segments with a wrong checksum that this machine has had (RFC 4022 has none; Linux counts them)."""
    try:
        lines = Path("/proc/net/snmp").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return None
    rows = [line.split() for line in lines if line.startswith("Tcp:")]
    if len(rows) != 2:
        return None
    count = dict(zip(*rows, strict=False)).get("InCsumErrors", "")
    return int(count) if count.isdigit() else None
