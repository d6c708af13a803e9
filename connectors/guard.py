"""Which addresses the telephone may dial: never this machine's own network, unless it's a sandbox in demo mode.
Pure."""

from __future__ import annotations

import functools
import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@functools.lru_cache(maxsize=256)  # asked of each call, of a handful of addresses
def refuse_address(address: str, *, allows_private: bool) -> str | None:
    """Why this IP address may not be dialled, or None.

    With `allows_private` (a sandbox connection in demo or test) loopback and private ranges pass; link-local ones,
    where
    clouds keep their metadata service, never do. IPv4 addresses dressed up as IPv6 are undressed first.
    """
    ip = _undressed(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
        return f"{address} isn't an address of a vendor"
    if not ip.is_global and not allows_private:
        return f"{address} is in a private range"
    return None


def refuse_scheme(scheme: str, *, allows_private: bool) -> str | None:
    """Why this URL scheme may not be used, or None: plain http carries credentials in the open."""
    if scheme == "https" or (scheme == "http" and allows_private):
        return None
    return f"{scheme or 'no scheme'}: only https leaves the house"


def _undressed(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip.sixtofour is not None:
            return ip.sixtofour
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
