"""The table of addresses: what may be connected to, and what never."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene_pipeline.media.addresses import is_public_address, is_trustable_address

PUBLIC = ("8.8.8.8", "1.1.1.1", "151.101.1.140", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e")
NOT_PUBLIC = (
    "0.0.0.1", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
    "2620:4f:8000::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "fec0::1",
    "ff02::1",
)  # fmt: skip
NO_ADDRESS = (
    "",
    "localhost",
    "127.1",
    "0x7f.1",
    "2130706433",
    "1.2.3.4 ",
    "2606::%eth0",
    "1.2.3.04",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address: str) -> None:
    assert is_public_address(address)
    assert is_trustable_address(address)


@pytest.mark.parametrize("address", [*NOT_PUBLIC, *NO_ADDRESS])
def test_everything_else_is_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.0.9", "100.64.3.4", "::1", "fd12::1"],
)
def test_a_trusted_host_may_be_in_a_private_network(address: str) -> None:
    assert is_trustable_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16",
        "fe80::1", "224.0.0.1", "0.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:169.254.1.1",
    ],
)  # fmt: skip
def test_no_trust_reaches_metadata_services_and_tunnels(address: str) -> None:
    assert not is_trustable_address(address)


@given(st.ip_addresses(v=4))
def test_every_public_ipv4_address_is_global_to_the_standard_library(
    address: ipaddress.IPv4Address,
) -> None:
    if is_public_address(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert is_public_address(f"::ffff:{address}")


@given(st.ip_addresses(v=6))
def test_every_public_ipv6_address_is_global_unicast(address: ipaddress.IPv6Address) -> None:
    if is_public_address(str(address)):
        assert address.ipv4_mapped is not None or address in ipaddress.ip_network("2000::/3")
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses())
def test_public_addresses_stay_allowed_for_trusted_hosts(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public_address(str(address)):
        assert is_trustable_address(str(address))
