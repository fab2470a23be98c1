"""Which URLs a request may be sent to, as far as their text says."""

import re
from ipaddress import IPv4Address
from typing import Final

from yarl import URL

_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_NUMBER_LAST: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")


def parse_url(text: str) -> URL | None:
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
        f"{url.raw_path_qs}{url.host_port_subcomponent}".encode()
    except (ValueError, IndexError):  # yarl 1.25 looks for a host behind the @ of "http://[]@"
        return None
    if url.scheme not in {"http", "https"} or not host or not port or (_NUMBER_LAST.search(host) and not _is_v4(host)):
        return None
    return None if url.raw_user is not None or url.raw_password is not None else url


def _is_v4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
