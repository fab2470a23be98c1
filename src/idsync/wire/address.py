"""Which addresses a delivery may connect to: the SSRF policy, pure and without a resolver.

What the IANA special-purpose address registries call globally reachable passes, less what leads inside all
the same. The tables are written out because `ipaddress.is_global` changes with the Python release.

Not seen: a NAT64 prefix of the operator's own (RFC 6052 §3.1), which looks like any global IPv6 address.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host (RFC 1122)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598); Alibaba's metadata service lives here
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service: a public address that is answered by the host itself
        "169.254.0.0/16",  # link-local (RFC 3927), where most metadata services live
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments (RFC 6890); Oracle's metadata service lives here
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # 6to4 relays, deprecated (RFC 7526)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # the one block of global unicast: all else is refused unread
_REFUSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments (RFC 2928): Teredo and ORCHID among them
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4, deprecated: hides an IPv4 address
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # how an IPv6-only host reaches the public IPv4 net (RFC 6052)
_ISATAP: Final = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read CIDR texts such as `10.0.0.0/8`; a bare address is a network of one.

    Raises:
        ValueError: a text is no network or has host bits set; the message names it.
    """
    return tuple(ip_network(text) for text in texts)


def is_address(host: str) -> bool:
    """Whether a host is a numeric address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def may_connect(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a numeric address, as it is given to `connect`, is public or in an allowed network.

    An IPv4 address within an IPv6 one (mapped, or behind the well-known NAT64 prefix) is judged as IPv4.
    What is no numeric address is refused. One that names a zone is not public: only an allowed network has it.
    """
    try:
        outer = ip_address(address)
    except ValueError:
        return False
    inner = _unwrap(outer)
    is_allowed = any(outer in network or inner in network for network in allowed)
    return is_allowed or ("%" not in address and _is_public(inner))


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6):
        return False
    # ISATAP puts an IPv4 address into the last half of any IPv6 address (RFC 5214 §6.1).
    return address.packed[8:12] not in _ISATAP or _is_public(IPv4Address(address.packed[-4:]))
