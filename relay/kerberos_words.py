"""What Kerberos' error numbers mean for a login to a proxy, and what to do about each."""

from typing import Final

_BASE: Final = -1_765_328_384
"""The first of MIT krb5's error numbers; those that a KDC answers with are RFC 4120's, counted from here."""

NO_TICKET: Final = {_BASE + 141: "KRB5_CC_NOTFOUND", _BASE + 195: "KRB5_FCC_NOFILE"}
EXPIRED: Final = {_BASE + 32: "KRB5KRB_AP_ERR_TKT_EXPIRED"}
CLOCK: Final = {
    _BASE + 33: "KRB5KRB_AP_ERR_TKT_NYV",
    _BASE + 37: "KRB5KRB_AP_ERR_SKEW",
    _BASE + 148: "KRB5_KDCREP_SKEW",
}
UNKNOWN_SERVICE: Final = {_BASE + 7: "KDC_ERR_S_PRINCIPAL_UNKNOWN"}
UNKNOWN_USER: Final = {_BASE + 6: "KDC_ERR_C_PRINCIPAL_UNKNOWN"}
WRONG_PASSWORD: Final = {_BASE + 24: "KDC_ERR_PREAUTH_FAILED", _BASE + 31: "KRB_AP_ERR_BAD_INTEGRITY"}
LOCKED: Final = {_BASE + 18: "KDC_ERR_CLIENT_REVOKED", _BASE + 23: "KDC_ERR_KEY_EXPIRED"}
NO_SERVER: Final = {_BASE + 154: "KRB5_REALM_UNKNOWN", _BASE + 156: "KRB5_KDC_UNREACH"}
NO_REALM: Final = {_BASE + 224: "KRB5_CONFIG_NODEFREALM", _BASE + 220: "KRB5_REALM_CANT_RESOLVE"}


def kerberos_code(error: BaseException) -> int | None:
    """Return the error number inside pyspnego's errors, signed as in krb5.h; None when there is none."""
    inner: object = error
    for _ in range(8):  # pyspnego wraps what it got, once for each of its layers
        code = getattr(inner, "err_code", None) or getattr(inner, "min_code", None)
        if isinstance(code, int):
            return code - 2**32 if code >= 2**31 else code
        inner = getattr(inner, "base_error", None)
    return None


def kerberos_words(code: int | None, spn: str, *, has_password: bool) -> tuple[str, bool]:
    """Return a sentence for people, and whether a KDC has refused the password.

    Source: RFC 4120 section 7.5.9; MIT krb5's error tables.
    """
    if code in NO_TICKET:
        return "there is no Kerberos ticket here: get one with kinit, or give user and password", False
    if code in EXPIRED:
        return "the Kerberos ticket has expired: renew it with kinit", False
    if code in CLOCK:
        clocks = "this machine's clock and that of the Kerberos server differ by more than it allows"
        return f"{clocks}, mostly 5 minutes: set the clock", False
    if code in UNKNOWN_SERVICE:
        where = f"the Kerberos server does not know the service {spn}"
        return f"{where}: if the proxy goes by another name, give it with --proxy-spn", False
    if code in UNKNOWN_USER:
        return "the Kerberos server does not know the user", False
    if code in WRONG_PASSWORD:
        return "the Kerberos server did not accept the password", has_password
    if code in LOCKED:
        locked = "the account is locked, or its password has expired"
        return f"the Kerberos server says that {locked}", has_password
    if code in NO_SERVER:
        return "no Kerberos server of the realm can be found or reached", False
    if code in NO_REALM:
        return "this machine has no Kerberos realm (krb5.conf); write the user as USER@REALM", False
    return "Kerberos failed" + (f" (error {code})" if code is not None else ""), False
