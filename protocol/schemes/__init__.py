"""The login schemes, one file each; `protocol.scheme` says what a scheme is."""

from protocol.schemes.basic import Basic

__all__ = ["Basic"]
