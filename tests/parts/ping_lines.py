"""The form of TMSS10Ping's lines, as patterns."""

import re

LINE = r"44 bytes from {address}: seq={seq} time=\d+\.\d\d ms{via}\n"
CLOSING = r"--- {address} TMSS10Ping statistics ---\n{packets}\nround-trip min/avg/max = {times} ms\n"
TIMES = r"\d+\.\d\d/\d+\.\d\d/\d+\.\d\d"


def lines(address: str, *seqs: int, packets: str, via: str = "") -> str:
    """The pattern of a whole output."""
    address, via = re.escape(address), re.escape(via)
    each = [LINE.format(address=address, seq=seq, via=via) for seq in seqs]
    return "".join([*each, CLOSING.format(address=address, packets=re.escape(packets), times=TIMES)])
