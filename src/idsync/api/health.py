"""How endpoints do now: read from the store, for what the service of endpoints knows of it is as of its last look."""

from collections.abc import Mapping, Sequence

import msgspec

from idsync.app.endpoints import EndpointState
from idsync.pipeline.parts.health import EndpointHealth, health_setting, read_health
from idsync.ports import Registry


async def healths_of(registry: Registry) -> Mapping[str, EndpointHealth]:
    """Read how each endpoint does, by its name; one that never failed is not among them."""
    prefix = health_setting("")
    kept = await registry.settings(prefix)
    return {name.removeprefix(prefix): read_health(body) for name, body in kept.items()}


async def with_health(registry: Registry, states: Sequence[EndpointState]) -> list[EndpointState]:
    """Give endpoints with how each does now."""
    known = await healths_of(registry)
    return [msgspec.structs.replace(one, health=known.get(one.name, EndpointHealth())) for one in states]
