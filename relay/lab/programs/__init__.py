"""Every program of the lab; importing this folder enters them all into relay.lab.program.PROGRAMS."""

from relay.lab.programs import (
    apache,
    balancer,
    dante,
    framework,
    misbehaving,
    privoxy,
    services,
    squid,
    tinyproxy,
)

__all__ = [
    "apache",
    "balancer",
    "dante",
    "framework",
    "misbehaving",
    "privoxy",
    "services",
    "squid",
    "tinyproxy",
]
