"""Reads `[[listener]]` of a profile: listeners that are more than plain TCP."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from relay.access_networks import IpNetwork
from relay.failure import SettingsError
from relay.listener import DEFAULT_MODE, Listener, path_of
from relay.route import Endpoint
from relay.tls_listen import TlsListen
from relay.toml_table import Between, fill, show, subtable

MAX_LISTENERS = 64
_MODE = re.compile(r"0?[0-7]{3}\Z")
_Path = Annotated[str | None, Between(1, 4096)]


def read_listeners(value: Any, where: str, folder: Path) -> tuple[Listener, ...]:
    """The listeners. Raises: SettingsError that names the table by its number, from 1, and the key."""
    if not isinstance(value, list) or len(value) > MAX_LISTENERS:
        raise SettingsError(f"{where}: {show(value)}; expected [[listener]], at most {MAX_LISTENERS} times")
    place = where.removesuffix("listener") + "[[listener]]"
    return tuple(
        _listener(subtable(row, f"{place} {number}"), f"{place} {number}", folder)
        for number, row in enumerate(value, 1)
    )


def _listener(table: Any, where: str, folder: Path) -> Listener:
    def listener(
        *,
        on: Annotated[str, Between(1, 300)],
        tls: bool = False,
        certificate: _Path = None,
        key: _Path = None,
        throwaway_ca: _Path = None,
        names: Annotated[tuple[str, ...], Between(1, 100)] = (),
        client_ca: _Path = None,
        client_certificate: Literal["required", "optional"] = "required",
        http2: bool = True,
        proxy_protocol_from: Annotated[tuple[str, ...] | None, Between(0, 100)] = None,
        mode: str | None = None,
    ) -> Listener:
        path = path_of(on, f"{where}: on")
        tls_settings = None
        if tls:
            tls_settings = TlsListen(
                _beside(folder, certificate), _beside(folder, key), _beside(folder, throwaway_ca), names,
                _beside(folder, client_ca), client_certificate == "required", http2,
            )  # fmt: skip
            tls_settings.check(where)
        elif certificate or key or throwaway_ca or client_ca:
            raise SettingsError(f"{where}: a certificate without TLS; expected tls = true as well")
        return Listener(
            (folder / path) if path is not None else Endpoint.parse(on, f"{where}: on"),
            tls_settings,
            networks_of(proxy_protocol_from, f"{where}: proxy_protocol_from"),
            _mode(mode, path is not None, f"{where}: mode"),
        )

    made: Listener = fill(listener, table, where)
    return made


def networks_of(texts: Sequence[str] | None, what: str) -> tuple[IpNetwork, ...] | None:
    """Networks in CIDR notation, None of None. Raises: SettingsError."""
    if texts is None:
        return None
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            words = f"{show(text)}; expected an address or a network such as 10.0.0.0/8"
            raise SettingsError(f"{what}: {words}") from None
    return tuple(found)


def _beside(folder: Path, name: str | None) -> str | None:
    return None if name is None else str(folder / name)


def _mode(text: str | None, is_path: bool, what: str) -> int:
    if text is None:
        return DEFAULT_MODE
    if not is_path:
        raise SettingsError(f"{what}: only a Unix socket has one; expected on = \"unix:PATH\"")
    if not _MODE.match(text):
        raise SettingsError(f'{what}: {show(text)}; expected three octal digits, such as "660"')
    return int(text, 8)
