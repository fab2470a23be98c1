"""Where a request goes and how it is written: what every sender has in common."""

from typing import Final

import msgspec
from yarl import URL

from idsync.ports import Request
from idsync.wire.url import parse_url

ROUTES_MAX: Final = 4096
"""URLs whose routes a sender remembers: only a shortcut."""


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
    """Read where a URL leads; None: it is not one of ours (`parse_url`)."""
    url = parse_url(text)
    if url is None or url.raw_host is None or url.port is None:
        return None
    origin = f"{url.scheme}://{url.raw_host}|{url.port}"
    start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}"
    return Route(url, url.scheme == "https", url.raw_host, url.port, origin, start)


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
