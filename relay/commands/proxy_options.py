"""-x and the options of single proxies: which of them belong to which proxy of a chain."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relay.commands.options import seconds
from relay.failure import SettingsError
from relay.hop_files import checked_hop
from relay.route import Endpoint, Hop

# Option of the command line -> field of Hop.
_FIELDS = {
    "--proxy-ca": "ca_file",
    "--proxy-cert": "cert_file",
    "--proxy-key": "key_file",
    "--proxy-sni": "server_name",
    "--proxy-system-trust": "system_trust",
    "--proxy-insecure": "verify",
    "--proxy-http2": "http2",
    "--proxy-timeout": "timeout_seconds",
    "--proxy-lookup-here": "looks_up_here",
    "--proxy-old-form": "old_form",
    "--proxy-unbound": "binds_logins",
}
_OPTIONS = {field: option for option, field in _FIELDS.items()}


class OfOneProxy(argparse.Action):
    """Keeps each value with the number of proxies named before it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        value = self.const if self.nargs == 0 else values
        namespace.of_proxies = [*namespace.of_proxies, (len(namespace.proxy), self.option_strings[0], value)]


def add_hop_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how to speak with one proxy."""
    parser.set_defaults(of_proxies=[])
    group = parser.add_argument_group(
        "options of a proxy", "given once, for every proxy; given more than once, each for the -x before it"
    )

    def add(name: str, words: str, **more: Any) -> None:
        group.add_argument(name, action=OfOneProxy, help=words, default=argparse.SUPPRESS, **more)

    add("--proxy-ca", "trust the certificates in FILE (PEM) for https:// proxies", metavar="FILE")
    add("--proxy-cert", "our certificate for https:// proxies (PEM; the key may be in it)", metavar="FILE")
    add("--proxy-key", "the key of --proxy-cert (PEM, without a password)", metavar="FILE")
    add("--proxy-sni", "the name that its certificate is for, when it is not the URL's", metavar="NAME")
    add(
        "--proxy-system-trust", "trust what this system trusts (extra truststore), not OpenSSL's own list",
        nargs=0, const=True,
    )  # fmt: skip
    add(
        "--proxy-insecure", "do NOT verify the certificate of an https:// proxy: anybody on the way can read "
        "the login; a warning says so each time", nargs=0, const=False,
    )  # fmt: skip
    add("--proxy-http2", "offer HTTP/2 to an https:// proxy, and use it if it agrees", nargs=0, const=True)
    add("--proxy-timeout", "for each step with it: connection, TLS, login and answer", metavar="SECONDS",
        type=seconds)  # fmt: skip
    add("--proxy-lookup-here", "look up here what it is asked for, and name the address", nargs=0, const=True)
    add("--proxy-old-form", "ask it in HTTP/1.0 and without Host, as old clients do", nargs=0, const=True)
    add(
        "--proxy-unbound", "do not bind NTLM and Negotiate to its certificate: another machine does its TLS",
        nargs=0, const=False,
    )  # fmt: skip


def with_options(hops: Sequence[Hop], given: Sequence[tuple[int, str, Any]]) -> list[Hop]:
    """Each hop with what was said of it. Raises: SettingsError."""
    # Without any -x they are for nobody, but a bad file is still a mistake worth a word
    changed = list(hops) or [Hop(Endpoint("localhost", 1))]
    for option, field in _FIELDS.items():
        values = [(place, value) for place, name, value in given if name == option]
        if len(values) == 1:
            changed = [replace(hop, **{field: values[0][1]}) for hop in changed]
            continue
        for place, value in values:
            if place == 0 or place > len(changed):
                raise SettingsError(f"{option}: given more than once, so each must follow the -x it is for")
            if [other for other, _ in values].count(place) > 1:
                raise SettingsError(f"{option}: given twice for {changed[place - 1]}")
            changed[place - 1] = replace(changed[place - 1], **{field: value})
    # A bad file would come up as a fault of the proxy's
    return [checked_hop(hop, _OPTIONS) for hop in changed][: len(hops)]
