"""User names and passwords as octets: which characters may be in them, and how they are encoded."""

import unicodedata
from typing import Literal

from protocol.errors import LocalWireError

Charset = Literal["utf-8", "latin-1"]


def octets(text: str, what: str, charset: Charset = "utf-8") -> bytes:
    """Return `text` in Unicode's NFC, encoded.

    Raises: LocalWireError for control characters and what `charset` does not have; it names `what` and never
        quotes `text`, but for the one character.
    Source: RFC 7613 section 4.2 (OpaqueString: NFC, no control characters), which RFC 7616 and 7617 name.
    """
    for character in text:
        if unicodedata.category(character) == "Cc":
            raise LocalWireError(f"the {what} has the control character U+{ord(character):04X} in it")
        if unicodedata.category(character) == "Cs":
            raise LocalWireError(f"the {what} has bytes in it that are no text (U+{ord(character):04X})")
    try:
        return unicodedata.normalize("NFC", text).encode(charset)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise LocalWireError(f"the {what} has U+{ord(character):04X} in it, which Latin-1 lacks") from None
