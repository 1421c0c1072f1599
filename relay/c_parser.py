"""aiohttp's C parser: what the takeover of connections cannot do without."""

from aiohttp.http_parser import HttpRequestParser


class ParserMissing(RuntimeError):
    """aiohttp runs without its C parser."""


def require_c_parser() -> None:
    """aiohttp's Python parser keeps part of an early burst inside itself, where nobody can fetch it.

    Raises: ParserMissing
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise ParserMissing(
            "aiohttp runs without its C parser (no binary wheel, or AIOHTTP_NO_EXTENSIONS is set): "
            "it would lose bytes that follow a CONNECT head; install aiohttp from a binary wheel"
        )
