"""Quoted strings of header fields (RFC 9110 section 5.6.4)."""


def quoted(text: str) -> str:
    """`text` in quotes; what is not printable ASCII becomes a question mark."""
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
