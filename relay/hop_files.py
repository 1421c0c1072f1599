"""What a proxy's settings name on this machine, looked at before anything is sent: certificates, packages."""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from relay.failure import SettingsError
from relay.route import Hop, checked_host

Names = Mapping[str, str]
"""Field of Hop -> how the user has called it: an option, or a key of a file."""


def checked_hop(hop: Hop, names: Names) -> Hop:
    """The hop, with its server name as an A-label.

    Raises: SettingsError for a file that cannot be used, or a package that is not installed.
    """
    if hop.ca_file is not None:
        _check_file(names["ca_file"], hop.ca_file, lambda tls, path: tls.load_verify_locations(path), "")
    if hop.key_file is not None and hop.cert_file is None:
        raise SettingsError(f"{names['key_file']}: given without {names['cert_file']}")
    if hop.cert_file is not None:
        name = names["cert_file"] if hop.key_file is None else f"{names['cert_file']} and {names['key_file']}"
        more = " with its key, or the key wants a password"
        # A key with a password would ask for it at the terminal
        _check_file(
            name, hop.cert_file, lambda tls, path: tls.load_cert_chain(path, hop.key_file, lambda: b""), more
        )
    _check_installed(hop, names)
    if hop.server_name is not None:
        return replace(hop, server_name=checked_host(hop.server_name, names["server_name"]))
    return hop


def _check_file(name: str, path: str, load: Any, more: str) -> None:
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
    except ssl.SSLError:
        why = f"it holds no certificate{more}"
    except OSError as error:
        why = str(error.strerror)
    else:
        return
    quoted = ascii(path if len(path) <= 80 else path[:77] + "...")
    raise SettingsError(f"{name}: cannot use {quoted}: {why}; expected a PEM file")


def _check_installed(hop: Hop, names: Names) -> None:
    wanted = (
        (names["system_trust"], "truststore", hop.system_trust),
        (names["http2"], "h2", hop.http2),
    )
    for name, package, is_wanted in wanted:
        if is_wanted and find_spec(package) is None:
            extra = {"h2": "http2"}.get(package, package)
            mend = f"pip install 'framework-relay[{extra}]'"
            raise SettingsError(f"{name}: {package} is not installed: {mend}")
