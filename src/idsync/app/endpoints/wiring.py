"""Endpoints and destinations, from the settings."""

import base64
import secrets as randomness
from collections.abc import Mapping

from idsync.app.dialects import dialect_of, parse_secrets
from idsync.app.limits import retry_of
from idsync.app.peers import Peer
from idsync.config import EndpointSettings, Settings
from idsync.errors import ConfigError
from idsync.model.destination import Destination, DestinationKind
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.values import PeerName
from idsync.pipeline.parts.endpoint import Endpoint
from idsync.pipeline.parts.routes import endpoint_name, target_name
from idsync.ports import Registry
from idsync.wire.signing import Secret

SECRET_BYTES = 32
"""Length of a secret we make ourselves; Standard Webhooks asks for 24 to 64."""


async def read_secrets(settings: Settings, registry: Registry) -> tuple[dict[str, tuple[Secret, ...]], dict[str, str]]:
    """Gather each endpoint's secrets; one without gets one made, kept, and shown once.

    Returns:
        The secrets by endpoint, and the texts of those that were made just now.
    """
    ready: dict[str, tuple[Secret, ...]] = {}
    made: dict[str, str] = {}
    for name, one in settings.endpoints.items():
        where = f"endpoints.{name}.secret"
        dialect = dialect_of(one.dialect, f"endpoints.{name}.dialect")
        texts = tuple(secret.reveal() for secret in one.secret)
        if not texts:
            kept = await registry.setting(f"endpoint_secret:{name}")
            if kept is None:
                made[name] = "whsec_" + base64.b64encode(randomness.token_bytes(SECRET_BYTES)).decode()
                kept = made[name].encode()
                await registry.put_setting(f"endpoint_secret:{name}", kept)
            texts = (kept.decode(),)
        ready[name] = parse_secrets(texts, dialect, where)
        if not ready[name][0].may_sign:
            raise ConfigError(f"{where}: a public key can only verify; give the key that signs")
    return ready, made


def endpoint_of(name: str, one: EndpointSettings, settings: Settings, secrets: tuple[Secret, ...]) -> Endpoint:
    """Translate one endpoint's settings."""
    delivery = settings.delivery
    return Endpoint(
        name=name,
        url=one.url.reveal(),
        secrets=secrets,
        dialect=dialect_of(one.dialect, f"endpoints.{name}.dialect"),
        headers=tuple((header, value.reveal()) for header, value in one.headers.items()),
        timeout_s=one.timeout_s if one.timeout_s is not None else delivery.timeout_s,
        concurrency=one.concurrency if one.concurrency is not None else delivery.endpoint_concurrency,
        retry=retry_of(settings),
    )


def destinations_of(
    settings: Settings, peers: Mapping[PeerName, Peer], mappings: Mapping[str, KindMapping]
) -> list[Destination]:
    """Name every place that deliveries go to: the endpoints, and the peers that some kind is written to."""
    found = [
        Destination(
            name=endpoint_name(name),
            kind=DestinationKind.ENDPOINT,
            lanes=settings.delivery.lanes_endpoint,
            events=one.events,
            is_enabled=one.enabled,
        )
        for name, one in settings.endpoints.items()
    ]
    for name, peer in peers.items():
        is_written = any(view.writes for one in mappings.values() if (view := one.peers.get(name)) is not None)
        if peer.target is not None and is_written:
            lanes = settings.delivery.lanes_target
            found.append(Destination(name=target_name(name), kind=DestinationKind.TARGET, lanes=lanes))
    return found
