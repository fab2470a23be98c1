"""URLs and DNS answers by which somebody might reach inside: one case each, refused by every sender."""

from typing import Final

import msgspec

from idsync.ports import SendError

BLOCKED: Final = (SendError.BLOCKED,)
INVALID: Final = (SendError.INVALID_URL,)
FAILED: Final = (SendError.CONNECT, SendError.BLOCKED)
"""Where some addresses are public: the fast sender names the failure of those, the reference that of the last."""
PUBLIC: Final = "93.184.215.14"
"""An address that the guard lets pass; the tests never connect to it."""
NAME: Final = "http://hook.example/"


class Case(msgspec.Struct, frozen=True):
    """One attempt to reach inside."""

    id: str
    url: str
    answers: tuple[tuple[str, ...], ...] = ()
    """What DNS says, one answer for each look-up and the last for ever; none: the host as the C library reads it."""
    errors: tuple[SendError, ...] = BLOCKED
    """What the last request may end with."""
    tried: tuple[str, ...] = ()
    """What may be connected to meanwhile, because it is public."""


def _answered(name: str, *addresses: str) -> Case:
    return Case(f"dns-{name}", NAME, (addresses,))


def _spelt(name: str, host: str) -> Case:
    return Case(f"url-{name}", f"http://{host}/")


def _misspelt(name: str, host: str) -> Case:
    return Case(f"url-{name}", f"http://{host}/", errors=INVALID)


def _refused(name: str, url: str) -> Case:
    return Case(f"url-{name}", url, ((PUBLIC,),), INVALID)


_SPELLINGS: Final = (
    _spelt("loopback", "127.0.0.1"),
    _spelt("loopback-far", "127.255.255.254"),
    _misspelt("decimal", "2130706433"),
    _misspelt("decimal-metadata", "2852039166"),
    _misspelt("octal", "0177.0.0.1"),
    _misspelt("octal-whole", "017700000001"),
    _misspelt("octal-long", "000000177.0.0.01"),
    _misspelt("hex", "0x7f.0x0.0x0.0x1"),
    _misspelt("hex-whole", "0x7f000001"),
    _misspelt("hex-metadata", "0xa9fea9fe"),
    _misspelt("mixed-bases", "0xa9.254.0251.254"),
    _misspelt("short-two-parts", "127.1"),
    _misspelt("short-three-parts", "127.0.1"),
    _misspelt("short-private", "10.1"),
    _misspelt("zero", "0"),
    _spelt("unspecified", "0.0.0.0"),  # noqa: S104  # to be refused, not bound to
    _spelt("this-network", "0.1.2.3"),
    _spelt("fullwidth-digits", "１２７.０.０.１"),  # noqa: RUF001  # the point of the case
    _spelt("circled-digits", "①②⑦.⓪.⓪.①"),
    _spelt("superscript-digits", "¹²⁷.⁰.⁰.¹"),
    _spelt("ideographic-dots", "127。0。0。1"),
    _spelt("halfwidth-dots", "127｡0｡0｡1"),
    _spelt("fullwidth-dots", "169．254．169．254"),  # noqa: RUF001
    Case("url-trailing-dot", "http://127.0.0.1./", (("127.0.0.1",),), INVALID),
    Case("url-localhost", "http://localhost/", (("::1", "127.0.0.1"),)),
    Case("url-localhost-upper", "https://LOCALHOST/", (("::1", "127.0.0.1"),)),
    Case("url-localhost-dot", "http://localhost./", (("127.0.0.1",),)),
    Case("url-localhost-fullwidth", "http://ｌｏｃａｌｈｏｓｔ/", (("127.0.0.1",),)),  # noqa: RUF001
    Case("url-sub-localhost", "http://hook.localhost/", (("127.0.0.1",),)),
    Case("url-localdomain", "http://localhost.localdomain/", (("127.0.0.1",),)),
    Case("url-address-in-a-name", "http://127.0.0.1.nip.example/", (("127.0.0.1",),)),
    Case("url-metadata-name", "http://metadata.google.internal/computeMetadata/v1/", (("169.254.169.254",),)),
    Case("url-percent-dots", "http://127%2E0%2E0%2E1/", (("127.0.0.1",),)),
    _spelt("v6-loopback", "[::1]"),
    _spelt("v6-loopback-long", "[0:0:0:0:0:0:0:1]"),
    _spelt("v6-unspecified", "[::]"),
    _spelt("v6-mapped", "[::ffff:127.0.0.1]"),
    _spelt("v6-mapped-hex", "[::ffff:7f00:1]"),
    _spelt("v6-compatible", "[::127.0.0.1]"),
    _spelt("v6-nat64", "[64:ff9b::127.0.0.1]"),
    _spelt("v6-link-local", "[fe80::1]"),
    _spelt("v6-link-local-zone", "[fe80::1%25lo]"),
    _spelt("v6-public-zone", "[2606:4700:4700::1111%25lo]"),
    _spelt("v6-ula", "[fd00::1]"),
    Case("url-user-empty", "http://@127.0.0.1/"),
    Case("url-port-22", "http://127.0.0.1:22/"),
    Case("url-port-of-a-database", "http://[::1]:5432/"),
)

_ANSWERS: Final = (
    _answered("loopback", "127.0.0.1"),
    _answered("private-10", "10.0.0.1"),
    _answered("private-172", "172.31.255.254"),
    _answered("private-192", "192.168.1.1"),
    _answered("link-local", "169.254.0.1"),
    _answered("carrier-grade", "100.64.0.1"),
    _answered("carrier-grade-last", "100.127.255.255"),
    _answered("benchmark", "198.18.0.1"),
    _answered("benchmark-last", "198.19.255.255"),
    _answered("benchmark-v6", "2001:2::1"),
    _answered("documentation", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
    _answered("documentation-v6", "2001:db8::1", "3fff::1"),
    _answered("multicast", "224.0.0.1"),
    _answered("multicast-last", "239.255.255.255"),
    _answered("multicast-v6", "ff02::1"),
    _answered("multicast-v6-global", "ff0e::1"),
    _answered("broadcast", "255.255.255.255"),
    _answered("reserved", "240.0.0.1"),
    _answered("unspecified", "0.0.0.0"),  # noqa: S104
    _answered("unspecified-v6", "::"),
    _answered("relay-6to4", "192.88.99.1"),
    _answered("metadata", "169.254.169.254"),
    _answered("metadata-ecs", "169.254.170.2"),
    _answered("metadata-eks", "169.254.170.23", "fd00:ec2::23"),
    _answered("metadata-v6-aws", "fd00:ec2::254"),
    _answered("metadata-v6-google", "fd20:ce::254"),
    _answered("metadata-v6-openstack", "fe80::a9fe:a9fe"),
    _answered("metadata-alibaba", "100.100.100.200"),
    _answered("metadata-oracle", "192.0.0.192"),
    _answered("platform-azure", "168.63.129.16"),
    _answered("mapped-private", "::ffff:10.0.0.1"),
    _answered("mapped-metadata", "::ffff:169.254.169.254"),
    _answered("translated-loopback", "::ffff:0:127.0.0.1"),
    _answered("compatible-private", "::10.0.0.1"),
    _answered("nat64-private", "64:ff9b::10.0.0.1"),
    _answered("nat64-metadata", "64:ff9b::169.254.169.254"),
    _answered("nat64-mapped-carrier-grade", "64:ff9b::6440:1"),
    _answered("nat64-local-use", "64:ff9b:1::7f00:1"),
    _answered("nat64-local-use-public", "64:ff9b:1::808:808"),
    _answered("6to4-private", "2002:a00:1::1"),
    _answered("6to4-loopback", "2002:7f00:1::1"),
    _answered("teredo", "2001:0:7f00:1::"),
    _answered("teredo-client-loopback", "2001:0:5db8:d70e:0:0:80ff:fffe"),
    _answered("isatap-link-local", "fe80::5efe:10.0.0.1"),
    _answered("isatap-private", "2606:4700::5efe:10.0.0.1"),
    _answered("isatap-global-bit", "2606:4700::200:5efe:169.254.169.254"),
    _answered("orchid", "2001:20::1"),
    _answered("discard", "100::1"),
    _answered("segment-routing", "5f00::1"),
    _answered("ula-fc", "fc00::1"),
    _answered("ula-fd", "fd12:3456:789a::1"),
    _answered("site-local", "fec0::1"),
    _answered("link-local-v6", "fe80::1"),
    _answered("zone-by-name", "fe80::1%lo"),
    _answered("zone-by-number", "fe80::1%1"),
    _answered("zone-on-public", "2606:4700:4700::1111%lo"),
    _answered("zone-on-mapped", "::ffff:127.0.0.1%1"),
    _answered("not-an-address", "localhost"),
    _answered("octal-address", "0177.0.0.1"),
    _answered("decimal-address", "2130706433"),
    _answered("all-inside", "10.0.0.1", "::1", "127.0.0.1", "fd00::1"),
    Case("dns-one-of-several", NAME, ((PUBLIC, "10.0.0.1"),), FAILED, (PUBLIC,)),
    Case("dns-inside-first", NAME, (("127.0.0.1", "::1", PUBLIC),), FAILED, (PUBLIC,)),
    Case("dns-rebinding", NAME, ((PUBLIC,), ("127.0.0.1",)), BLOCKED, (PUBLIC,)),
    Case("dns-rebinding-metadata", NAME, ((PUBLIC,), ("169.254.169.254",)), BLOCKED, (PUBLIC,)),
    Case("dns-rebinding-v6", NAME, (("2606:4700::1111",), ("::1",)), BLOCKED, ("2606:4700::1111",)),
    Case("dns-rebinding-back", NAME, (("10.0.0.1",), ("10.0.0.1",), (PUBLIC,)), BLOCKED),
)

_MALFORMED: Final = (
    _refused("user", "http://user@hook.example/"),
    _refused("user-and-password", "http://user:word@hook.example/"),
    _refused("password-only", "http://:word@127.0.0.1/"),
    _refused("user-like-a-host", "http://hook.example@127.0.0.1/"),
    _refused("user-like-host-and-port", "http://hook.example:80@127.0.0.1/"),
    _refused("two-at-signs", "http://hook.example@hook.example@127.0.0.1/"),
    _refused("backslash-before-at", "http://hook.example\\@127.0.0.1/"),
    _refused("backslashes", "http:\\\\127.0.0.1\\"),
    _refused("space-and-at", "http://hook.example &@127.0.0.1/"),
    _refused("port-0", f"http://{PUBLIC}:0/"),
    _refused("port-0-by-name", "http://hook.example:0/"),
    _refused("port-too-large", "http://hook.example:65536/"),
    _refused("port-that-wraps", "http://hook.example:65616/"),
    _refused("port-negative", "http://hook.example:-80/"),
    _refused("port-word", "http://hook.example:http/"),
    _refused("port-and-host", "http://hook.example:80:127.0.0.1/"),
    _refused("scheme-file", "file:///etc/passwd"),
    _refused("scheme-gopher", "gopher://127.0.0.1:6379/_FLUSHALL"),
    _refused("scheme-ftp", "ftp://hook.example/"),
    _refused("scheme-dict", "dict://127.0.0.1:11211/stats"),
    _refused("scheme-ws", "ws://hook.example/"),
    _refused("scheme-unix", "http+unix://%2Fvar%2Frun%2Fdocker.sock/"),
    _refused("scheme-data", "data:text/plain,a"),
    _refused("scheme-javascript", "javascript:alert(1)"),
    _refused("scheme-absent", "//127.0.0.1/"),
    _refused("scheme-only", "http://"),
    _refused("path-only", "/etc/passwd"),
    _refused("empty", ""),
    _refused("host-empty", "http:///127.0.0.1"),
    _refused("bracket-open", "http://[::1/"),
    _refused("bracket-empty", "http://[]/"),
    _refused("line-ends-in-path", "http://hook.example/\r\nX-Evil: 1"),
    _refused("line-ends-in-host", "http://hook.example\r\nX-Evil: 1/"),
    _refused("line-feed-at-the-end", "http://hook.example/\n"),
    _refused("line-feed-in-host", "http://127.0.0.1\n.hook.example/"),
    _refused("tab-in-scheme", "ht\ttp://hook.example/"),
    _refused("nul-in-host", "http://127.0.0.1\0.hook.example/"),
    _refused("delete-in-path", "http://hook.example/\x7f"),
    _refused("lone-surrogate", "http://hook.example/\ud800"),
    _refused("slash-that-is-a-letter", "http://127.0.0.1\u2100.hook.example/"),
)

CASES: Final = (*_SPELLINGS, *_ANSWERS, *_MALFORMED)
