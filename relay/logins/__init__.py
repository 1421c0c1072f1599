"""The login schemes that a proxy can offer, by their names in `[login] schemes`."""

from collections.abc import Callable

from relay.login import LoginScheme
from relay.logins.basic import Basic

LOGINS: dict[str, Callable[..., LoginScheme]] = {
    "Basic": Basic,
}
