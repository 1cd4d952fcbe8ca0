"""Which IP addresses may be connected to: a table of our own.

Belongs here: the table and two questions about it. Does not belong here: names, ports and who asks
(`media.urls`, `media.network`).

`ipaddress.is_global` is no guard: on Python 3.11 it is true for 2002:7f00:1:: (6to4 of loopback),
64:ff9b::7f00:1 (NAT64 of loopback), fec0::1, all multicast and 168.63.129.16 (a cloud's own).
"""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


def _ipv4(networks: Iterable[str]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(network) for network in networks)


def _ipv6(networks: Iterable[str]) -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(network) for network in networks)


# IANA's special-purpose registry (RFC 6890 and its successors), and what clouds add to it.
_NOT_PUBLIC_IPV4 = _ipv4(
    (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is a metadata service in it
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's wire server, on an address that looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST_IPV6 = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = _ipv6(
    (
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_PRIVATE_IPV4 = _ipv4(
    ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_PRIVATE_IPV6 = _ipv6(("::1/128", "fc00::/7"))
# Metadata services that live in private networks: never what anybody means by a picture host.
_METADATA_SERVICES = frozenset(
    ipaddress.ip_address(address)
    for address in ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254")
)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address strictly, with IPv4-mapped IPv6 taken for the IPv4 address it is.

    Returns:
        The address; None for anything else, scoped IPv6 ("fe80::1%eth0") included.
    """
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_public_address(text: str) -> bool:
    """Tell whether an address belongs to the public internet for certain."""
    address = parse_address(text)
    if address is None:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_IPV4)
    return address in _GLOBAL_UNICAST_IPV6 and not any(
        address in network for network in _NOT_PUBLIC_IPV6
    )


def is_trustable_address(text: str) -> bool:
    """Tell whether an address may be reached when its host was trusted by name.

    Loopback, private networks and public addresses may be; link-local addresses, multicast and the
    metadata services of clouds may not, whoever is trusted.
    """
    address = parse_address(text)
    if address is None or address in _METADATA_SERVICES:
        return False
    if isinstance(address, IPv4Address):
        is_private = any(address in network for network in _PRIVATE_IPV4)
    else:
        is_private = any(address in network for network in _PRIVATE_IPV6)
    return is_private or is_public_address(text)
