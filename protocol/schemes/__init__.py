"""The login schemes, one file each; `protocol.scheme` says what a scheme is."""

from protocol.schemes.basic import Basic
from protocol.schemes.digest import Digest
from protocol.schemes.negotiate import Negotiate
from protocol.schemes.ntlm import Ntlm

__all__ = ["Basic", "Digest", "Negotiate", "Ntlm"]
