"""Where a request goes and how it is written: what every sender has in common."""

import re
from ipaddress import IPv4Address
from typing import Final

import msgspec
from yarl import URL

from idsync.ports import Request

ROUTES_MAX: Final = 4096
"""URLs whose routes a sender remembers: only a shortcut."""
_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_NUMBER_LAST: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")


class Route(msgspec.Struct, frozen=True):
    """What all requests to one URL share."""

    url: URL
    is_tls: bool
    host: str
    """A name in its ASCII form, or an address without brackets."""
    port: int
    origin: str
    """Scheme, host and port in one: connections are shared among equal ones."""
    start: str
    """The request line and the Host field, without the last line end."""


def parse_route(text: str) -> Route | None:
    """Read an absolute http or https URL; None: it is none, or names a user, which belongs in a header.

    What programs read in different ways is none either: control characters, backslashes, lone surrogates, and a host
    that ends in a number without being an address (WHATWG URL §3.5): a resolver may read that as octal, hexadecimal or
    in a short form.
    """
    if _AMBIGUOUS.search(text):
        return None
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
        start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}"
        start.encode()
    except (ValueError, IndexError):  # yarl 1.25 looks for a host behind the @ of "http://[]@"
        return None
    if url.scheme not in {"http", "https"} or not host or not port or (_NUMBER_LAST.search(host) and not _is_v4(host)):
        return None
    if url.raw_user is not None or url.raw_password is not None:
        return None
    return Route(url, url.scheme == "https", host, port, f"{url.scheme}://{host}|{port}", start)


def _is_v4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def render_request(route: Route, request: Request) -> bytes:
    """Write a request as it goes over the wire.

    Raises:
        ValueError: a header holds CR, LF, NUL or a lone surrogate; such text is refused where it enters.
    """
    fields = "".join([f"\r\n{name}: {value}" for name, value in request.headers])
    line_ends = len(request.headers)
    if fields.count("\r") != line_ends or fields.count("\n") != line_ends or "\0" in fields:
        raise ValueError("a request header holds CR, LF or NUL; refuse such text where it enters")
    return f"{route.start}{fields}\r\nContent-Length: {len(request.body)}\r\n\r\n".encode() + request.body
