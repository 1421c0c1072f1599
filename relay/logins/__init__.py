"""The login schemes that a proxy can offer, by their names in `[login] schemes`."""

from collections.abc import Callable

from relay.login import LoginScheme
from relay.logins.basic import Basic
from relay.logins.digest import Digest
from relay.logins.negotiate import Negotiate
from relay.logins.ntlm import Ntlm

LOGINS: dict[str, Callable[..., LoginScheme]] = {
    "Basic": Basic,
    "Digest": Digest,
    "NTLM": Ntlm,
    "Negotiate": Negotiate,
}
