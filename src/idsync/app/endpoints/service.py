"""The service of endpoints."""

from collections.abc import Mapping, Sequence

from idsync.app.endpoints.states import (
    Changed,
    Created,
    DisabledReason,
    EndpointState,
    FilterSpan,
    Invalid,
    NotFound,
    ReadOnly,
    Removed,
    Rotated,
    Taken,
)
from idsync.config import EndpointSettings
from idsync.pipeline.parts.endpoint import Endpoint
from idsync.pipeline.parts.health import EndpointHealth


class Endpoints:
    """Every endpoint of the service, whoever defined it."""

    async def list(self) -> Sequence[EndpointState]:
        """Every endpoint, by name."""
        raise NotImplementedError

    async def get(self, name: str) -> EndpointState | NotFound:
        """One endpoint as it stands."""
        raise NotImplementedError

    async def create(self, name: str | None, settings: EndpointSettings) -> Created | Taken | Invalid:
        """Make an endpoint; None makes a name, too."""
        raise NotImplementedError

    async def replace(
        self, name: str, settings: EndpointSettings, rev: int | None = None
    ) -> EndpointState | NotFound | Changed | ReadOnly | Invalid:
        """Give an endpoint another definition; its secrets stay, unless the definition has some."""
        raise NotImplementedError

    async def change(
        self, name: str, patch: Mapping[str, object], rev: int | None = None
    ) -> EndpointState | NotFound | Changed | ReadOnly | Invalid:
        """Change parts of a definition (JSON merge patch, RFC 7396: null is back to the default)."""
        raise NotImplementedError

    async def remove(self, name: str, rev: int | None = None) -> Removed | NotFound | Changed | ReadOnly:
        """Remove an endpoint; what is queued for it becomes skipped."""
        raise NotImplementedError

    async def enable(self, name: str) -> EndpointState | NotFound | ReadOnly:
        """Deliver to it again."""
        raise NotImplementedError

    async def disable(
        self, name: str, reason: DisabledReason = DisabledReason.OPERATOR
    ) -> EndpointState | NotFound | ReadOnly:
        """Deliver to it no more; what is queued is kept."""
        raise NotImplementedError

    async def rotate(
        self, name: str, secret: str | None = None, overlap_s: float = 86_400.0
    ) -> Rotated | NotFound | ReadOnly | Invalid:
        """Give it a new secret; the old ones sign too for `overlap_s` seconds."""
        raise NotImplementedError

    async def filters(self, name: str) -> Sequence[FilterSpan]:
        """What it was to get when, oldest first; empty where there never was such an endpoint."""
        raise NotImplementedError

    def health(self, name: str) -> EndpointHealth:
        """How it does, as of the last look (a second at most)."""
        raise NotImplementedError

    def wired(self, name: str) -> Endpoint | None:
        """The endpoint as the deliver side needs it, as of the last look; None: there is none."""
        raise NotImplementedError
