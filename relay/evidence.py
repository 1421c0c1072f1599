"""What only the kernel can tell about a connection; feature-detected, Linux first."""

import fcntl
import socket
import struct
import sys
import termios
from typing import Any

# struct tcp_info of linux/tcp.h: eight u8, then u32 fields in this order (tcp(7), TCP_INFO).
_FIELDS = [
    "rto_us", "ato_us", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent_ms", "last_ack_sent_ms", "last_data_recv_ms", "last_ack_recv_ms", "pmtu", "rcv_ssthresh",
    "rtt_us", "rttvar_us", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt_us", "rcv_space",
    "total_retrans",
]  # fmt: skip
_LAYOUT = struct.Struct(f"=8B{len(_FIELDS)}I")
_KEPT = ("rtt_us", "rttvar_us", "snd_mss", "rcv_mss", "pmtu", "unacked", "lost", "total_retrans", "snd_cwnd")


def tcp_info(sock: socket.socket) -> dict[str, Any]:
    """The kernel's view of a connection: times in microseconds, sizes in bytes; {} where it has none."""
    if not sys.platform.startswith("linux"):
        return {}
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
        values = _LAYOUT.unpack(raw)
    except (OSError, struct.error):
        return {}
    named = dict(zip(_FIELDS, values[8:], strict=True))
    return {name: named[name] for name in _KEPT}


def unsent_bytes(sock: socket.socket) -> int:
    """Bytes in the send queue that the peer has not acknowledged (tcp(7), SIOCOUTQ); 0 when unknown."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError):  # ValueError: it is closed
        return 0
