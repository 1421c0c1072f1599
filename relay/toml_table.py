"""Reads tables of a TOML file strictly, by the signature of what they are for.

A table fills the parameters of a function or a dataclass: the keys are their names, the annotations say what
may stand there. Known are bool, int, float, str, Literal, `tuple[..., ...]` of these, `| None` (a key that
may be left out), and Annotated with `Between`.
"""

import inspect
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from relay.failure import SettingsError
from relay.toml_lines import broken_at

T = TypeVar("T")
Table = Mapping[str, Any]
# A profile is written by people; lists that are longer have files of their own.
MAX_PROFILE_BYTES = 2**20
MAX_SHOWN_CHARACTERS = 60


class KeyMistaken(SettingsError):
    """One key of a table is unknown, or has a value that cannot be; `key` is its name."""

    def __init__(self, words: str, key: str) -> None:
        super().__init__(words)
        self.key = key


@dataclass(frozen=True)
class Between:
    """A number must be from `low` to `high`; a text must have so many characters, a list so many values."""

    low: float
    high: float


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises: SettingsError that names the file, and the line where TOML is broken."""
    return parse_toml(read_text(path), path)


def read_text(path: Path) -> str:
    """Read a file of text. Raises: SettingsError that names it, and the line that is no UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_PROFILE_BYTES:
        raise SettingsError(f"{path}: expected at most {MAX_PROFILE_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: this is no UTF-8") from None


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The tables of a text of TOML. Raises: SettingsError that names the file, and the broken line."""
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # Also of a number of thousands of digits, which Python does not take (sys.set_int_max_str_digits)
        is_readers = isinstance(error, tomllib.TOMLDecodeError)
        said = str(error) if is_readers else "a number has too many digits"
        line, began = broken_at(text, said)
        words = f"{path}:{line}: this is no TOML: {said}"
        raise SettingsError(words + (f"; it begins in line {began}" if began < line else "")) from None
    except RecursionError:
        raise SettingsError(f"{path}: tables or lists are nested too deeply") from None


def fill(make: Callable[..., T], table: Table, where: str, /, **given: Any) -> T:
    """Call `make` with the keys of `table`; `given` are parameters that no key may set.

    Args:    where: file and table, for errors: "proxy.toml: [limits]".
    Raises:  SettingsError for a key that is unknown or missing, or a value of the wrong type or size.
    """
    return make(**read_keys(make, table, where, given), **given)


def read_keys(
    make: Callable[..., Any], table: Table, where: str, given: typing.Collection[str] = ()
) -> dict[str, Any]:
    """The keys of `table` as `make` wants them; `given` are parameters of it that no key may set.

    Raises: SettingsError, as `fill`.
    """
    hints = typing.get_type_hints(make.__init__ if inspect.isclass(make) else make, include_extras=True)
    known = {
        name: parameter
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in given and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    check_keys(table, known, where)
    required = [name for name, parameter in known.items() if parameter.default is parameter.empty]
    missing = [name for name in required if name not in table]
    if missing:
        raise SettingsError(f"{where}: {missing[0]}: is missing; expected {_expected(hints[missing[0]])}")
    return {name: _read_key(table[name], hints[name], where, name) for name in table}


def _read_key(value: Any, hint: Any, where: str, name: str) -> Any:
    try:
        return read_value(value, hint, f"{where}: {name}")
    except SettingsError as error:
        raise KeyMistaken(str(error), name) from None


def check_keys(table: Table, known: typing.Iterable[str], where: str) -> None:
    """Raises: SettingsError for the first key that is not known."""
    names = list(known)
    for key in table:
        if key not in names:
            words = f"{where}: {show(key)}: no such key; expected one of {', '.join(names)}"
            raise KeyMistaken(words, key)


def subtable(value: Any, where: str) -> dict[str, Any]:
    """A value that must be a table. Raises: SettingsError."""
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: {show(value)}; expected a table")
    return value


def read_value(value: Any, hint: Any, what: str) -> Any:
    """The value as the annotation wants it. Raises: SettingsError."""
    found = _fit(value, hint)
    if found is _MISFIT:
        raise SettingsError(f"{what}: {show(value)}; expected {_expected(hint)}")
    return found


def show(value: Any) -> str:
    """A value on one line, bounded, without control characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


_MISFIT = object()


def _fit(value: Any, hint: Any) -> Any:
    hint, limits = _without_limits(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _fit_list(value, hint, limits)
    if origin is Literal:
        return value if isinstance(value, str) and value in typing.get_args(hint) else _MISFIT
    if origin in (types.UnionType, typing.Union):
        fitting = (_fit(value, kind) for kind in typing.get_args(hint))
        return next((found for found in fitting if found is not _MISFIT), _MISFIT)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        return _MISFIT
    if limits is None:
        return value
    size = value if isinstance(value, int | float) else len(value)
    return value if limits.low <= size <= limits.high else _MISFIT


def _fit_list(value: Any, hint: Any, limits: Between | None) -> Any:
    if not isinstance(value, list):
        return _MISFIT
    found = tuple(_fit(one, typing.get_args(hint)[0]) for one in value)
    is_sized = limits is None or limits.low <= len(found) <= limits.high
    return found if is_sized and _MISFIT not in found else _MISFIT


def _without_limits(hint: Any) -> tuple[Any, Between | None]:
    """Take Annotated apart, and leave None out of a union: TOML has no such value."""
    limits = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        limits = next((note for note in notes if isinstance(note, Between)), None)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        if len(kinds) == 1:
            inner, inner_limits = _without_limits(kinds[0])
            return inner, limits or inner_limits
    return hint, limits


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


def _expected(hint: Any) -> str:
    hint, limits = _without_limits(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        words = f"a list, each {_expected(typing.get_args(hint)[0])}"
    elif origin is Literal:
        words = "one of " + ", ".join(f'"{choice}"' for choice in typing.get_args(hint))
    elif origin in (types.UnionType, typing.Union):
        words = " or ".join(_expected(kind) for kind in typing.get_args(hint))
    else:
        words = _WORDS[hint]
    if limits is None:
        return words
    unit = {str: " characters"}.get(hint, "") if origin is None else " values"
    link = " from" if unit == "" else " of"
    return f"{words}{link} {limits.low:g} to {limits.high:g}{unit}"
