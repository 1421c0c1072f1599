"""Services that are no Framework Server: ssh, TLS; and the lab's own name server."""

import os
import subprocess
from pathlib import Path

from relay.lab.certificates import proxy_pem
from relay.lab.program import Command, Given, program
from relay.lab.room import find


@program("ssh", 22)
def ssh(given: Given) -> Command:
    """OpenSSH's server; nobody can log in."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    key = given.folder / "host"
    keygen = find("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    settings = given.write(
        "sshd.conf", f"Port {given.port}", f"HostKey {key}", "UsePAM no", "PidFile none", "StrictModes no"
    )
    return Command([find("sshd", "openssh-server"), "-D", "-e", "-f", str(settings)])


@program("tls", 443)
def tls(given: Given) -> Command:
    """A server that speaks TLS and says nothing: openssl s_server."""
    certificate = proxy_pem(given.folder)
    options = ["-quiet", "-accept", str(given.port), "-cert", str(certificate)]
    return Command([find("openssl", "openssl"), "s_server", *options])


@program("stunnel", 3130)
def stunnel(given: Given) -> Command:
    """TLS before another program; lines: `connect = HOST:PORT`."""
    settings = given.write(
        "stunnel.conf",
        "foreground = yes",
        "syslog = no",
        "pid =",
        "[lab]",
        f"accept = {given.port}",
        f"cert = {proxy_pem(given.folder)}",
        *given.lines,
    )
    return Command(given.room.as_nobody(find("stunnel4", "stunnel4"), str(settings)))
