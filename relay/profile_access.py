"""Reads `[access]` of a profile: what holds when no rule fits, and the rules."""

from pathlib import Path
from typing import Any, Literal

from relay.access import Access
from relay.access_conditions import CONDITIONS, Values
from relay.access_rule import Rule
from relay.failure import SettingsError
from relay.list_file import read_lines
from relay.toml_table import Table, check_keys, fill, show, subtable

# Block lists of the web have a few hundred thousand entries.
MAX_LIST_BYTES = 64 * 2**20
MAX_RULES = 1000
_RULE_KEYS = ("action", "reason", *CONDITIONS)


def read_access(table: Table, where: str, folder: Path) -> Access:
    """The policy. Raises: SettingsError that names the rule by its number, from 1."""

    def access(
        *,
        default: Literal["allow", "deny"] = "allow",
        allow_local: bool | None = None,
        tell_reason: bool = True,
    ) -> Access:
        return Access(
            allow_local=allow_local, rules=rules, allow_others=default == "allow", tell_reason=tell_reason
        )

    rows = table.get("rule", [])
    if not isinstance(rows, list) or len(rows) > MAX_RULES:
        raise SettingsError(f"{where}: rule: expected at most {MAX_RULES} tables [[access.rule]]")
    place = where.replace("[access]", "[[access.rule]]")
    rules = tuple(_rule(row, f"{place} {number}", folder) for number, row in enumerate(rows, 1))
    return fill(access, {key: value for key, value in table.items() if key != "rule"}, where)


def _rule(row: Any, where: str, folder: Path) -> Rule:
    row = subtable(row, where)
    check_keys(row, _RULE_KEYS, where)
    action, reason = row.get("action"), row.get("reason")
    if action not in ("allow", "deny"):
        raise SettingsError(f'{where}: action: {show(action)}; expected "allow" or "deny"')
    if reason is not None and not (isinstance(reason, str) and reason.isprintable() and len(reason) <= 200):
        raise SettingsError(f"{where}: reason: expected one line of at most 200 characters")
    conditions = read_conditions(row, where, folder)
    words = reason or f"rule {where.rpartition(' ')[2]} denies it"
    try:
        return Rule.of(conditions, allows=action == "allow", words=words, what=where)
    except SettingsError:
        _find_line(row, folder)
        raise


def read_conditions(row: Table, where: str, folder: Path) -> dict[str, Values]:
    """The values of each condition of a row. Raises: SettingsError."""
    return {
        name: _values(value, f"{where}: {name}", folder)
        for name, value in row.items()
        if name in CONDITIONS
    }


def _find_line(row: Table, folder: Path) -> None:
    """Raises: SettingsError for the first entry of a list file that is wrong, with file and line."""
    for name, value in row.items():
        if name in CONDITIONS and isinstance(value, dict):
            path = folder / value["file"]
            for number, entry in read_lines(path, MAX_LIST_BYTES):
                CONDITIONS[name]([entry], f"{path}: line {number}", False)


def _values(value: Any, what: str, folder: Path) -> Values:
    """A list of values, one value in place of a list of one, or a file with one on each line."""
    if isinstance(value, dict):
        check_keys(value, ("file",), what)
        name = value.get("file")
        if not isinstance(name, str) or not name:
            raise SettingsError(f"{what}: file: {show(name)}; expected a path in quotes")
        return [entry for _, entry in read_lines(folder / name, MAX_LIST_BYTES, what)]
    values = value if isinstance(value, list) else [value]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, str | int):
            raise SettingsError(f"{what}: {show(one)}; expected text, a whole number, or a list of them")
    if not values:
        raise SettingsError(f"{what}: the list is empty; leave the key out to ask for nothing")
    return values
