"""[login] of a profile, and the tables of its schemes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from relay.accounts import Accounts
from relay.failure import SettingsError
from relay.login_gate import Login
from relay.login_hashes import DEFAULT_REALM, MAX_REALM_CHARACTERS
from relay.logins import LOGINS
from relay.toml_table import Between, Table, fill, read_keys, show, subtable
from relay.users import Users, read_users

_NAMES = {name.lower(): name for name in LOGINS}
# Keys of schemes that are paths: they begin beside the profile.
_PATHS = ("keytab",)
# Parameters of schemes that no key sets.
_OURS = ("accounts", "realm", "clock")
# The scheme that can do without users of our own: a Kerberos realm has them.
_OF_A_REALM = ("Negotiate",)


def read_login(table: Table, where: str, folder: Path) -> Login:
    """The reader for `[login]`. Raises: SettingsError with table and key, and what was expected."""
    tables = {
        _NAMES[key]: subtable(value, f"{where}: {key}") for key, value in table.items() if key in _NAMES
    }
    places = {name: where.replace("[login]", f"[login.{name.lower()}]") for name in LOGINS}

    def login(
        *,
        users: Annotated[str | None, Between(1, 4096)] = None,
        realm: Annotated[str, Between(1, MAX_REALM_CHARACTERS)] = DEFAULT_REALM,
        schemes: Annotated[tuple[str, ...], Between(1, 8)] = ("Basic",),
        before_access: bool = True,
    ) -> Login:
        if not (realm.isascii() and realm.isprintable()):
            raise SettingsError(f"{where}: realm: expected printable ASCII")
        offered = _offered(schemes, where)
        options = {
            name: _beside(read_keys(LOGINS[name], given, places[name], _OURS), folder)
            for name, given in tables.items()
        }
        if users is None and offered != _OF_A_REALM:
            raise SettingsError(f"{where}: users: is missing; expected text in quotes, the path of a file")
        known = Users() if users is None else read_users(folder / users, f"{where}: users")
        for name in offered:
            _check(name, known, realm, options.get(name, {}), places[name])
        return Login(known, realm, offered, options, before_access)

    return fill(login, {key: value for key, value in table.items() if key not in _NAMES}, where)


def _offered(schemes: Sequence[str], where: str) -> tuple[str, ...]:
    """Their own names, each once, in the order given."""
    for scheme in schemes:
        if scheme.lower() not in _NAMES:
            raise SettingsError(f"{where}: schemes: {show(scheme)}; expected of {', '.join(LOGINS)}")
    return tuple(dict.fromkeys(_NAMES[scheme.lower()] for scheme in schemes))


def _beside(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {
        key: str(folder / value) if key in _PATHS and value is not None else value
        for key, value in options.items()
    }


def _check(name: str, users: Users, realm: str, options: Mapping[str, Any], place: str) -> None:
    """Make the scheme once: what nobody could log in with is told before the proxy starts."""
    try:
        LOGINS[name](Accounts(users), realm, **options)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from None
