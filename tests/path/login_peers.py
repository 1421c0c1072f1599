"""Proxies with each kind of login, and a Kerberos realm of their own on loopback."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from protocol.digest_hash import base_hash
from tests.path import peers
from tests.path.real import Daemon, Tool, daemon, environment, folder, free_endpoint

USER, PASSWORD = peers.USER, peers.PASSWORD
REALM = "RELAY.TEST"
SPN = "HTTP/proxy.test"
HA1 = base_hash("MD5", USER.encode(), b"relay test", PASSWORD.encode())


def squid_digest(place: Path) -> list[str]:
    """Squid's settings for Digest (MD5, qop=auth)."""
    (place / "digests").write_text(f"{USER}:relay test:{HA1}\n")
    return [
        f"auth_param digest program {peers.squid_helper('digest_file_auth')} -c {place}/digests",
        "auth_param digest realm relay test",
        "auth_param digest children 1 startup=1",
        "auth_param digest nonce_strictness on",
    ]


def squid_ntlm(place: Path) -> list[str]:
    """Squid's settings for NTLM; its helper for tests lets everybody in who speaks NTLM."""
    return [
        f"auth_param ntlm program {peers.squid_helper('ntlm_fake_auth')}",
        "auth_param ntlm children 1 startup=1",
        "auth_param ntlm keep_alive on",
    ]


def apache_digest(place: Path) -> list[str]:
    """Apache's settings for Digest (MD5, qop=auth, nonces of 300 s)."""
    (place / "digests").write_text(f"{USER}:relay test:{HA1}\n")
    lines = ["AuthType Digest", 'AuthName "relay test"', "AuthDigestProvider file"]
    return [*lines, f"AuthUserFile {place}/digests"]


@dataclass(frozen=True)
class Realm:
    """A running KDC, and what its clients and services are told in the environment."""

    daemon: Daemon
    place: Path
    kinit_program: str
    client: dict[str, str]
    service: dict[str, str]

    def kinit(self, user: str = USER, password: str = PASSWORD, *, lifetime: str = "1h") -> None:
        """Get a ticket into the client's cache."""
        subprocess.run(
            [self.kinit_program, "-l", lifetime, user],
            input=f"{password}\n".encode(),
            env=environment(**self.client),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def squid_negotiate(self, place: Path) -> list[str]:
        """Squid's settings for Negotiate, with the service's key out of this realm."""
        keytab = place / "keytab"
        keytab.write_bytes((self.place / "keytab").read_bytes())
        keytab.chmod(0o644)
        helper = peers.squid_helper("negotiate_kerberos_auth")
        return [
            f"auth_param negotiate program {helper} -k {keytab} -s {SPN}@{REALM}",
            "auth_param negotiate children 1 startup=1",
            "auth_param negotiate keep_alive on",
        ]


@contextlib.contextmanager
def realm(tool: Tool, *, clock: str | None = None) -> Iterator[Realm]:
    """A Kerberos realm with one user and one service, unprivileged, all in one folder.

    `clock`: what faketime(1) makes the KDC believe, such as "+2h".
    """
    kdc = tool("krb5kdc", "krb5-kdc")
    util, kadmin = tool("kdb5_util", "krb5-kdc"), tool("kadmin.local", "krb5-admin-server")
    kinit = tool("kinit", "krb5-user")
    endpoint = free_endpoint()
    with folder() as place:
        place.chmod(0o755)  # the proxy, as nobody, reads its configuration here
        (place / "krb5.conf").write_text(CLIENT_SETTINGS.format(realm=REALM, kdc=endpoint))
        (place / "kdc.conf").write_text(KDC_SETTINGS.format(realm=REALM, kdc=endpoint, place=place))
        common = {"KRB5_CONFIG": f"{place}/krb5.conf"}
        own = {**common, "KRB5_KDC_PROFILE": f"{place}/kdc.conf"}

        def setup(*arguments: str) -> None:
            done = subprocess.run(arguments, env=environment(**own), capture_output=True, text=True)
            assert 0 == done.returncode, done.stderr

        setup(util, "create", "-s", "-r", REALM, "-P", "master")
        for query in (
            f'addprinc +requires_preauth -pw "{PASSWORD}" {USER}',
            f"addprinc -randkey {SPN}",
            "addprinc -randkey HTTP/stranger.test",
            f"ktadd -k {place}/keytab {SPN}",
        ):
            setup(kadmin, "-r", REALM, "-q", query)
        start = [kdc, "-n", "-r", REALM]
        if clock is not None:
            start = [tool("faketime", "faketime"), "-f", clock, *start]
        with daemon(start, endpoint, place, **own) as running:
            client = {**common, "KRB5CCNAME": f"FILE:{place}/tickets"}
            yield Realm(running, place, kinit, client, common)


CLIENT_SETTINGS = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
  kdc_timesync = 0
[realms]
  {realm} = {{
    kdc = {kdc}
  }}
[domain_realm]
  .test = {realm}
  proxy.test = {realm}
"""

KDC_SETTINGS = """\
[kdcdefaults]
  kdc_listen = {kdc}
  kdc_tcp_listen = {kdc}
[realms]
  {realm} = {{
    database_name = {place}/principal
    key_stash_file = {place}/stash
    acl_file = {place}/acl
    max_life = 10h
  }}
[logging]
  kdc = FILE:{place}/kdc.log
"""
