"""Endpoints and destinations as the line needs them, from their definitions."""

from collections.abc import Mapping

import msgspec

from idsync.app.dialects import dialect_of, parse_secrets
from idsync.app.endpoints.documents import Document
from idsync.app.endpoints.edits import texts_of
from idsync.app.limits import retry_of
from idsync.app.peers import Peer
from idsync.config import EndpointSettings, Settings
from idsync.errors import ConfigError
from idsync.model.destination import Destination, DestinationKind, Level
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.values import Instant, PeerName
from idsync.pipeline.parts.routes import endpoint_name, target_name
from idsync.pipeline.sending.endpoint import BatchPolicy, DisablePolicy, Endpoint
from idsync.policy.endpoint.breaker import BreakerPolicy
from idsync.policy.endpoint.rate import RatePolicy
from idsync.wire.address import is_address, may_connect, parse_networks
from idsync.wire.url import parse_url


def endpoint_of(document: Document, settings: Settings, now: Instant) -> Endpoint:
    """Translate one endpoint, with the secrets that sign at this moment.

    Raises:
        ConfigError: this version lacks its dialect, or a secret is not of that.
    """
    one, delivery = document.settings, settings.delivery
    where = f"endpoints.{document.name}"
    dialect = dialect_of(one.dialect, f"{where}.dialect")
    return Endpoint(
        name=document.name,
        url=one.url.reveal(),
        secrets=parse_secrets(document.texts_at(now), dialect, f"{where}.secret"),
        dialect=dialect,
        headers=tuple((header, value.reveal()) for header, value in one.headers.items()),
        timeout_s=one.timeout_s if one.timeout_s is not None else delivery.timeout_s,
        concurrency=one.concurrency if one.concurrency is not None else delivery.endpoint_concurrency,
        retry=retry_of(one.retry or delivery.retry),
        breaker=BreakerPolicy(**msgspec.structs.asdict(one.breaker)),
        rate=RatePolicy(**msgspec.structs.asdict(one.rate)) if one.rate is not None else None,
        batch=BatchPolicy(**msgspec.structs.asdict(one.batch)) if one.batch is not None else None,
        is_ordered=one.ordering == "identity",
        level=Level(one.priority),
        is_operational=one.operational,
        disable=DisablePolicy(**msgspec.structs.asdict(one.disable)),
    )


def check_signing(one: EndpointSettings, texts: tuple[str, ...], where: str = "") -> None:
    """Check that a definition can sign with these secrets.

    Args:
        one: the definition.
        texts: its secrets, newest first; none is good as well: one will be made.
        where: what its fields' names begin with, as `endpoints.audit.`.

    Raises:
        ConfigError: it cannot; the message names the field and never shows a secret.
    """
    dialect = dialect_of(one.dialect, f"{where}dialect")
    found = parse_secrets(texts, dialect, f"{where}secret")
    if found and not found[0].may_sign:
        raise ConfigError(f"{where}secret: a public key can only verify; give the key that signs")


def check_address(one: EndpointSettings, settings: Settings, where: str = "") -> None:
    """Check that the SSRF guard lets a definition's address pass; of a name that is known only when it is looked up.

    Raises:
        ConfigError: each request would be refused; `where` is as in `check_signing`.
    """
    url = parse_url(one.url.reveal())
    host = url.raw_host if url is not None else None
    if host is not None and is_address(host) and not may_connect(host, parse_networks(settings.delivery.allow_cidrs)):
        raise ConfigError(f"{where}url: this address is not public; if it is meant, list it in delivery.allow_cidrs")


def check_file(settings: Settings) -> None:
    """Check that every endpoint of the configuration can sign, and that its address may be reached.

    Raises:
        ConfigError: the first for which that is not so.
    """
    for name, one in settings.endpoints.items():
        check_signing(one, texts_of(one.secret), f"endpoints.{name}.")
        check_address(one, settings, f"endpoints.{name}.")


def destination_of(document: Document, settings: Settings) -> Destination:
    """Name the place that an endpoint's deliveries go to."""
    one = document.settings
    return Destination(
        name=endpoint_name(document.name),
        kind=DestinationKind.ENDPOINT,
        lanes=settings.delivery.lanes_endpoint,
        events=one.events,
        is_enabled=document.is_enabled,
        is_operational=one.operational,
        needs_one_owner=one.rate is not None or one.batch is not None,
        level=Level(one.priority),
    )


def targets_of(
    settings: Settings, peers: Mapping[PeerName, Peer], mappings: Mapping[str, KindMapping]
) -> list[Destination]:
    """Name the peers that some kind is written to."""
    found = []
    for name, peer in peers.items():
        is_written = any(view.writes for one in mappings.values() if (view := one.peers.get(name)) is not None)
        if peer.target is not None and is_written:
            lanes = settings.delivery.lanes_target
            found.append(Destination(name=target_name(name), kind=DestinationKind.TARGET, lanes=lanes))
    return found
