"""Which addresses a delivery may connect to."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.wire.address import may_connect, parse_networks

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::",
    "2001:200::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::",
    "2606:4700:4700::1111",
    "3ffe:ffff::",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

INSIDE = [
    "0.0.0.0",  # noqa: S104 - an address to be judged, not bound to
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:100.64.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::1:8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "1fff:ffff::",
    "2001::",
    "2001:0:808:808::",
    "2001:2::1",
    "2001:10::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2002::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff:ffff::",
    "4000::",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]

NOT_ADDRESSES = [
    "",
    " ",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "010.0.0.1",
    "1.2.3.4/32",
    "[::1]",
    "8.8.8.8 ",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_passes(address: str) -> None:
    """Up to the very edges of what is refused."""
    assert may_connect(address, ())


@pytest.mark.parametrize("address", INSIDE)
def test_address_inside_is_refused(address: str) -> None:
    """In every form that an IPv4 address can hide in, too."""
    assert not may_connect(address, ())


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_text_that_is_no_address_is_refused(text: str) -> None:
    """Even where everything is allowed: what we cannot judge may not pass."""
    assert not may_connect(text, parse_networks(["0.0.0.0/0", "::/0"]))


@given(st.ip_addresses(v=4))
def test_ipv4_address_is_judged_alike_in_every_form_that_reaches_it(address: IPv4Address) -> None:
    """Mapped and through NAT64 it is the same host."""
    verdict = may_connect(str(address), ())
    assert may_connect(f"::ffff:{address}", ()) is verdict
    assert may_connect(f"64:ff9b::{address}", ()) is verdict


@given(st.ip_addresses(v=6))
def test_ipv6_address_that_python_calls_private_never_passes(address: IPv6Address) -> None:
    """The library's list may only be shorter than ours, except for the forms that hold an IPv4 address."""
    if address.is_private and address.ipv4_mapped is None:
        assert not may_connect(str(address), ())


@given(st.ip_addresses(v=4))
def test_ipv4_address_that_python_calls_private_never_passes(address: IPv4Address) -> None:
    """The library's list may only be shorter than ours."""
    if address.is_private or address.is_multicast or address.is_reserved:
        assert not may_connect(str(address), ())


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("10.1.0.0/16", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.0.0/16", "::ffff:10.1.2.3"),
        ("10.1.0.0/16", "64:ff9b::10.1.2.3"),
        ("fd00::/8", "fd12::1"),
        ("::1/128", "::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"),
        ("::ffff:0:0/96", "::ffff:10.1.2.3"),
    ],
)
def test_address_of_an_allowed_network_passes(network: str, address: str) -> None:
    """Whether the network is written for the outer or for the inner address."""
    assert may_connect(address, parse_networks([network]))


@pytest.mark.parametrize("address", ["10.2.0.0", "::1", "fd00::1", "127.0.0.1"])
def test_allowed_network_allows_nothing_beside_it(address: str) -> None:
    """One exception is one exception."""
    assert not may_connect(address, parse_networks(["10.1.0.0/16"]))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "example.com", "", "10.0.0.0/8,::/0"])
def test_text_that_is_no_network_is_named_in_the_error(text: str) -> None:
    """The operator sees which one it was."""
    with pytest.raises(ValueError, match=r"network|Address|host bits") as caught:
        parse_networks(["127.0.0.0/8", text])
    assert text in str(caught.value)
