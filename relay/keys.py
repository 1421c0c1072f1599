"""Where the Framework key comes from: a file, the environment, or the public default."""

import os
from pathlib import Path

from protocol.errors import LocalWireError
from protocol.sealing import Key
from relay.failure import SettingsError

KEY_FILE_VARIABLE = "RELAY_KEY_FILE"
# 64 hexadecimal digits and white space; whatever is larger is another file.
MAX_KEY_FILE_BYTES = 4096


def load_key(path: str | None, what: str = "--key-file") -> Key:
    """The key in `path`, else in the file that RELAY_KEY_FILE names, else the public one.

    Args:   what: names `path` in errors.
    Raises: SettingsError that names the file and what was expected, never its content.
    """
    source = KEY_FILE_VARIABLE if path is None else what
    if path is None:
        path = os.environ.get(KEY_FILE_VARIABLE)
        if not path:
            return Key.public()
    elif not path:
        # An empty variable in somebody's script must not mean the public key
        raise SettingsError(f"{source}: no file is named; expected one with 64 hexadecimal digits")
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{source}: cannot read {path!r}: {why}") from None
    try:
        if len(content) > MAX_KEY_FILE_BYTES:
            raise LocalWireError("too large for a key")
        return Key.from_hex(content.decode("ascii"))
    except (LocalWireError, UnicodeDecodeError):
        raise SettingsError(
            f"{source}: {path!r} does not hold a key; expected 64 hexadecimal digits"
        ) from None
