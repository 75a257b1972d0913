"""How many control connections there may be, in all and from one host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_SITE = 64
"""Bits of an IPv6 address that are its network: whoever has one has all the addresses in it."""


def host_of(address: str | None) -> str | None:
    """Who it is that connects, as far as an address says: an IPv4 address, or an IPv6 network.

    None for this machine itself, where a fleet of bots or a proxy may be: only the limit for all holds there.
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None  # a Unix socket
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return None
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, _SITE), strict=False))


def refusal(host: str | None, present: Iterable[str | None], *, most: int, most_per_host: int) -> str | None:
    """Why one more connection is refused; None if it is not. ``present``: the hosts of those there are."""
    hosts = list(present)
    if len(hosts) >= most:
        return "too many connections"
    if host is not None and hosts.count(host) >= most_per_host:
        return "too many connections from this host"
    return None
