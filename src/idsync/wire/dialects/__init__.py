"""Every way of signing webhooks that this version speaks, by its name in the configuration (R02)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from idsync.wire.dialects import authon, bearer, body, qstash, standard, timestamped
from idsync.wire.signing import Dialect

_ALL: Final[tuple[Dialect, ...]] = (
    *standard.DIALECTS,
    *body.DIALECTS,
    *timestamped.DIALECTS,
    *authon.DIALECTS,
    *bearer.DIALECTS,
    *qstash.DIALECTS,
)

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType({dialect.name: dialect for dialect in _ALL})
"""Every one signs and verifies."""

KNOWN_LATER: Final = frozenset({"fusionauth", "neon", "ory"})
"""Dialects that this version does not speak yet: to be told apart from a misspelt name."""
