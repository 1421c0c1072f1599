"""Who may reach what through the proxy: the policy, decided before and after the name lookup."""

import functools
import ipaddress
from dataclasses import dataclass

from relay.access_conditions import Need
from relay.access_ports import parse_ports
from relay.access_request import Asked
from relay.access_rule import Rule
from relay.addresses import embedded, of_this_machine
from relay.route import Endpoint

__all__ = ["Access", "Need", "embedded", "parse_ports"]


@dataclass(frozen=True)
class Access:
    """The rules.

    allow_ports: the only ports that a target may have, of CONNECT and of http URIs; empty means every port.
    allow_local: whether targets on this machine and its link may be reached; None leaves it to the proxy,
        which allows it when it listens on loopback only.
    rules: the first that fits decides. allow_others: what holds when none does.
    tell_reason: whether the client is told which rule refused it; the log always is.
    """

    allow_ports: tuple[range, ...] = ()
    allow_local: bool | None = None
    rules: tuple[Rule, ...] = ()
    allow_others: bool = True
    tell_reason: bool = True

    @functools.cached_property
    def asks_for_user(self) -> bool:
        """Whether any rule is about users."""
        return any(rule.asks_for_user for rule in self.rules)

    def refuses(self, target: Endpoint) -> str | None:
        """Why the target's port is refused whoever asks, or None."""
        if self.allow_ports and not any(target.port in ports for ports in self.allow_ports):
            return f"port {target.port} is not allowed"
        return None

    def decide(self, asked: Asked) -> str | Need | None:
        """Why a request is refused; None when it is not; or what must be known first.

        With Need.ADDRESS the target is to be looked up, and `refuses_at` decides for each of its addresses.
        """
        return self.refuses(asked.target) or self._by_rules(asked, None)

    def refuses_at(self, asked: Asked, host: str) -> str | None:
        """Why a request whose target has this address is refused, or None."""
        address = ipaddress.ip_address(host.partition("%")[0])
        refused = self._by_rules(asked, address)
        # Nobody can be asked to log in so late
        return "no login" if refused is Need.USER else refused if isinstance(refused, str) else None

    def refuses_address(self, host: str) -> str | None:
        """Why this resolved address is refused, or None: the address that is checked is the one dialled."""
        return None if self.allow_local else of_this_machine(host)

    def _by_rules(
        self, asked: Asked, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    ) -> str | Need | None:
        for rule in self.rules:
            fits = rule.fits(asked, address)
            if fits is True:
                return None if rule.allows else rule.words
            if fits is not False:
                return fits
        return None if self.allow_others else "no rule allows it"
