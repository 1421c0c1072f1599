"""A Kerberos ticket for a password, kept in memory for one login."""

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.errors import LoginUnusable
from relay.kerberos_words import kerberos_code, kerberos_words


@contextmanager
def fetched_ticket(user: str, password: str, spn: str) -> Iterator[str]:
    """Ask the KDC for a ticket and give the name of the cache that holds it while the context is open.

    pyspnego would do so too, but hide the KDC's answer; and whether the password has counted must be known.

    Args:   user: "user" or "user@REALM". spn: of the service, for the words of an error.
    Raises: LoginUnusable; is_spent when the KDC has refused the password.
    """
    import krb5

    if "\\\\" in user:
        raise LoginUnusable("Kerberos has no DOMAIN\\\\USER: write the user as USER@REALM")
    try:
        context = krb5.init_context()
        principal = krb5.parse_name_flags(context, user.encode())
        options = krb5.get_init_creds_opt_alloc(context)
        krb5.get_init_creds_opt_set_canonicalize(options, True)
        found = krb5.get_init_creds_password(context, principal, options, password=password.encode())
        cache = krb5.cc_new_unique(context, b"MEMORY")
        krb5.cc_initialize(context, cache, found.client)
        krb5.cc_store_cred(context, cache, found)
    except krb5.Krb5Error as error:
        words, is_spent = kerberos_words(kerberos_code(error), spn, has_password=True)
        raise LoginUnusable(words, is_spent=is_spent) from None
    try:
        yield f"MEMORY:{(cache.name or b'').decode()}"
    finally:
        krb5.cc_destroy(context, cache)
