"""Options of `relay proxy` for listeners that are more than plain TCP."""

import argparse

from relay.failure import SettingsError
from relay.listener import Listener, path_of
from relay.profile_listeners import networks_of
from relay.route import Endpoint
from relay.tls_listen import TlsListen


def add_listener_options(parser: argparse.ArgumentParser) -> None:
    """--tls-listen and its companions, --unix-listen, --accept-proxy-protocol."""
    group = parser.add_argument_group(
        "more listeners", "a profile can have several of each, in [[listener]] (docs/proxy.md)"
    )
    group.add_argument(
        "--tls-listen", action="append", default=[], metavar="HOST:PORT",
        help="listen there in TLS, for clients with https:// proxies; repeat for more",
    )  # fmt: skip
    group.add_argument("--tls-cert", metavar="FILE", help="our certificate (PEM; the key may be in it)")
    group.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert (PEM, without a password)")
    group.add_argument(
        "--tls-throwaway-ca", metavar="FILE",
        help="instead of --tls-cert: make an authority for this run, and write its certificate to FILE, "
        "for clients to trust (curl --proxy-cacert FILE)",
    )  # fmt: skip
    group.add_argument(
        "--tls-name", action="append", default=[], metavar="NAME",
        help="a name or an address for the certificate of --tls-throwaway-ca, beside those of this machine; "
        "repeat for more",
    )  # fmt: skip
    group.add_argument(
        "--tls-client-ca", metavar="FILE", help="let clients in that have a certificate of these (PEM)"
    )
    group.add_argument(
        "--unix-listen", action="append", default=[], metavar="PATH",
        help="listen on this Unix socket (mode 600); repeat for more",
    )  # fmt: skip
    group.add_argument(
        "--accept-proxy-protocol", action="append", default=[], metavar="NETWORK",
        help="every listener of the command line wants a PROXY protocol header (v1, v2) first, and takes it "
        "from these addresses only; repeat for more",
    )  # fmt: skip


def listeners_of(options: argparse.Namespace) -> tuple[Listener, ...]:
    """The listeners of the command line, without the plain ones. Raises: SettingsError."""
    trusted = None
    if options.accept_proxy_protocol:
        trusted = networks_of(options.accept_proxy_protocol, "--accept-proxy-protocol")
    found = []
    if trusted is not None:
        plain = [Endpoint.parse(text, "--listen") for text in options.listen or ()]
        found += [Listener(on, None, trusted) for on in plain]
    tls = _tls(options)
    for text in options.tls_listen:
        found.append(Listener(Endpoint.parse(text, "--tls-listen"), tls, trusted))
    for text in options.unix_listen:
        path = path_of(f"unix:{text}", "--unix-listen")
        assert path is not None
        found.append(Listener(path, None, trusted))
    return tuple(found)


def _tls(options: argparse.Namespace) -> TlsListen | None:
    given = {
        "--tls-cert": options.tls_cert, "--tls-key": options.tls_key,
        "--tls-throwaway-ca": options.tls_throwaway_ca, "--tls-client-ca": options.tls_client_ca,
        "--tls-name": options.tls_name,
    }  # fmt: skip
    if not options.tls_listen:
        if lost := [name for name, value in given.items() if value]:
            raise SettingsError(f"{lost[0]}: given without --tls-listen")
        return None
    if (options.tls_cert is None) == (options.tls_throwaway_ca is None):
        raise SettingsError("--tls-listen: expected --tls-cert or --tls-throwaway-ca, and one of them only")
    tls = TlsListen(
        options.tls_cert, options.tls_key, options.tls_throwaway_ca, tuple(options.tls_name),
        options.tls_client_ca,
    )  # fmt: skip
    tls.check("--tls-listen")
    return tls
