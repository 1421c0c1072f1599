"""Proxy auto-configuration: fetch a PAC file, ask it in a child process, read its answer."""

import http.client
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from relay.failure import SettingsError
from relay.proxy_source import Decision
from relay.route import Endpoint, Hop
from relay.shown import shown

# Real ones have some hundred kilobytes at most.
MAX_PAC_BYTES = 1_048_576
FETCH_SECONDS = 10.0
# A PAC file may look names up, each of which may take 5 s; one that loops takes for ever.
EVALUATE_SECONDS = 15.0
MAX_ANSWER_CHARACTERS = 4_096
MAX_WAYS = 16

_SCHEMES = {
    "PROXY": "http", "HTTP": "http", "HTTPS": "https", "SOCKS": "socks4a", "SOCKS4": "socks4a",
    "SOCKS5": "socks5h",
}  # fmt: skip
_ENTRY = re.compile(r"([A-Za-z0-9]+)(?:[ \t]+(\S+))?\Z")


def from_pac(url: str, target: Endpoint, *, evaluate_seconds: float = EVALUATE_SECONDS) -> Decision:
    """What the PAC file at `url` ("pac+file:///...", "pac+http://...") says of `target`.

    Raises: SettingsError for everything that keeps it from being asked, or read: going straight instead is
        what nobody has said.
    """
    source = fetch(url)
    answer = evaluate(source, target, url, evaluate_seconds)
    return Decision("pac", read_answer(answer, url), f"FindProxyForURL says {answer!a}")


def fetch(url: str) -> str:
    """The text of a PAC file. Raises: SettingsError."""
    plain = url.removeprefix("pac+")
    if plain.startswith("file://"):
        if urlsplit(plain).netloc not in ("", "localhost"):
            raise SettingsError(f"--proxy: {shown(url)}; expected pac+file:///PATH, with three slashes")
        try:
            with Path(unquote(urlsplit(plain).path)).open("rb") as file:
                data = file.read(MAX_PAC_BYTES + 1)
        except (OSError, ValueError) as error:
            raise SettingsError(f"--proxy: cannot read {shown(url)}: {_why(error)}") from None
    else:
        data = _download(plain, url)
    if len(data) > MAX_PAC_BYTES:
        raise SettingsError(f"--proxy: {shown(url)} has more than {MAX_PAC_BYTES} bytes, the limit")
    return data.decode("utf-8-sig", "replace")


def _download(plain: str, url: str) -> bytes:
    try:
        parts = urlsplit(plain)
        is_fit = parts.hostname is not None and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        # Its words, as those of http.client, quote what stands for a port: it may be a part of a password
        is_fit = False
    if not is_fit:
        words = "expected pac+http://HOST[:PORT]/PATH, and no login in it"
        raise SettingsError(f"--proxy: cannot fetch {shown(url)}: {words}")
    # Straight: a proxy for the way to the file that says which proxy to take would be a circle
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(plain, timeout=FETCH_SECONDS) as reply:
            return _within(reply, time.monotonic() + FETCH_SECONDS)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SettingsError(f"--proxy: cannot fetch {shown(url)}: {_why(error)}") from None


def _within(reply: Any, ends: float) -> bytes:
    """What comes until `ends`: a byte now and then must not gain time."""
    data = bytearray()
    while len(data) <= MAX_PAC_BYTES and (piece := reply.read1(65_536)):
        data += piece
        if time.monotonic() > ends:
            raise TimeoutError(f"it has not come within {FETCH_SECONDS:g} s, the limit")
    return bytes(data)


def evaluate(source: str, target: Endpoint, url: str, limit_seconds: float = EVALUATE_SECONDS) -> str:
    """What FindProxyForURL answers, asked in a child process that is killed after `limit_seconds`.

    Raises: SettingsError.
    """
    asked = f"https://{target}/"
    command = [sys.executable, "-I", "-m", "relay.pac_child", asked, target.host]
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        words = f"it has not answered for {asked} within {limit_seconds:g} s, the limit"
        raise SettingsError(f"--proxy: {shown(url)}: {words}") from None
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode == 0:
        return said[:MAX_ANSWER_CHARACTERS]
    why = _line(done.stderr.decode("utf-8", "replace").strip())
    raise SettingsError(f"--proxy: {shown(url)}: {why or f'its evaluation ended with {done.returncode}'}")


def read_answer(answer: str, url: str) -> tuple[tuple[Hop, ...], ...]:
    """The alternatives of an answer such as `PROXY a:3128; SOCKS5 b:1080; DIRECT`, in order.

    Raises: SettingsError for an entry that is none: to leave it out could end in a way nobody has allowed.
    """
    ways: list[tuple[Hop, ...]] = []
    for entry in filter(None, (part.strip() for part in answer.split(";"))):
        match = _ENTRY.match(entry)
        kind, where = (match[1].upper(), match[2]) if match else ("", None)
        if kind == "DIRECT" and where is None:
            ways.append(())
        elif kind in _SCHEMES and where is not None and "@" not in where:
            ways.append((_hop(_SCHEMES[kind], where, url),))
        else:
            words = "expected PROXY, HTTPS, SOCKS, SOCKS4 or SOCKS5 with HOST:PORT, or DIRECT"
            raise SettingsError(f"--proxy: {shown(url)} answers {shown(entry)}; {words}")
    if not ways:
        raise SettingsError(f"--proxy: {shown(url)} answers nothing; expected a proxy or DIRECT")
    return tuple(dict.fromkeys(ways))[:MAX_WAYS]


def _hop(scheme: str, where: str, url: str) -> Hop:
    # Browsers take port 80 where a PAC file leaves it out
    has_port = ":" in where.rpartition("]")[2]
    authority = where if has_port or scheme != "http" else f"{where}:80"
    return Hop.parse(f"{scheme}://{authority}", f"--proxy: {shown(url)}")


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}"
    if isinstance(error, http.client.InvalidURL):
        return "no URL that can be asked for"  # the error quotes it
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return _line(str(reason))


def _line(text: str) -> str:
    kept = "".join(c if c.isprintable() else " " for c in text)
    return kept if len(kept) <= 300 else kept[:297] + "..."
