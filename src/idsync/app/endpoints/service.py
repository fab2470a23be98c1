"""The service of endpoints: every verb that makes, changes, shows or removes one, while the line runs.

Whatever is changed is durable, and known to this process, when the verb returns. Other processes look every half second
(`tick`), and before they take in anything more: what is committed after the change goes where it says (decision 0019).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from idsync.app.endpoints import edits
from idsync.app.endpoints.book import Book, Submit
from idsync.app.endpoints.documents import Document
from idsync.app.endpoints.edits import Change
from idsync.app.endpoints.files import line_up
from idsync.app.endpoints.states import (
    Changed,
    Created,
    DisabledReason,
    EndpointState,
    FilterSpan,
    Invalid,
    NotFound,
    Origin,
    ReadOnly,
    Removed,
    Rotated,
    Taken,
)
from idsync.app.endpoints.vault import open_vault
from idsync.app.endpoints.wiring import check_address, check_signing, destination_of, endpoint_of
from idsync.config import EndpointSettings, InvalidEndpoint, Settings, endpoint_body, parse_endpoint
from idsync.config.names import NAME_PATTERN
from idsync.errors import ConfigError, StoreBusy
from idsync.model.destination import Destination
from idsync.model.event import Receipt
from idsync.model.plan import REVISION
from idsync.model.values import Instant
from idsync.pipeline.ingest import Submission
from idsync.pipeline.parts.health import EndpointHealth, health_setting, read_health
from idsync.pipeline.parts.wake import wait_for
from idsync.pipeline.sending.endpoint import Endpoint
from idsync.ports import Clock, Store

DAY_S: Final = 86_400
LOOK_S: Final = 0.5
"""How often a process looks whether another one has changed an endpoint."""
REVISIONS: Final = "endpoints_"
"""What the names of the settings begin with that say whether to read anything: `REVISION` and `HEALTH_REVISION`."""
ENDPOINTS_MAX: Final = 10_000
OVERLAP_S_MAX: Final = 30 * DAY_S
OVERLAP_S: Final = float(DAY_S)
_NAME: Final = re.compile(NAME_PATTERN)
OnChange = Callable[[frozenset[str]], Awaitable[None]]
R = TypeVar("R")


class Endpoints:
    """Every endpoint of the service, whoever defined it."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        """Know none yet: `look` reads what the store has.

        Args:
            settings: the configuration.
            store: where the endpoints are kept.
            clock: time and ids.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        vault = open_vault(settings)
        self.is_sealed = vault.has_key
        self._book = Book(store, clock, vault, kept_s=settings.retention.inbox_days * DAY_S)
        self._known: dict[str, tuple[bytes, Document]] = {}
        """By name, as stored and as read; those that are ending included."""
        self._health: dict[str, EndpointHealth] = {}
        self.revision = b""
        """The `REVISION` as of the last look; empty: there was none."""
        self._revisions: Mapping[str, bytes] = {REVISION: b"never read"}
        """As of the last look that was followed to its end."""
        self._expires_at: Instant | None = None
        self._looking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._submit: Submit = _nowhere
        self._on_change: OnChange = _nobody
        self._changed: frozenset[str] = frozenset()
        """What has changed, until all that follows from it is done."""

    def join(self, submit: Submit, on_change: OnChange) -> None:
        """Take a place in the line.

        Args:
            submit: ingests what changes are written with.
            on_change: told which endpoints are others than before, or do otherwise, before the verb returns.
        """
        self._submit, self._on_change = submit, on_change

    # --- What there is

    async def list(self) -> Sequence[EndpointState]:
        """Every endpoint, by name."""
        found = [self._book.read(name, stored) for name, stored in sorted((await self._book.all()).items())]
        return [self._state(one) for one in found if one.removed_at is None]

    async def get(self, name: str) -> EndpointState | NotFound:
        """One endpoint as it stands."""
        found = await self._book.find(name)
        return NotFound(name) if found is None or found.removed_at is not None else self._state(found)

    async def filters(self, name: str) -> Sequence[FilterSpan]:
        """What it was to get when, oldest first; empty where there never was such an endpoint.

        Between two spans, and after one that has ended, there was none. It reaches as far back as events are kept.
        """
        return await self._book.history(name)

    def health(self, name: str) -> EndpointHealth:
        """How it does, as of the last look (half a second ago at most)."""
        return self._health.get(name, EndpointHealth())

    def wired(self, name: str) -> Endpoint | None:
        """The endpoint as the deliver side needs it, as of the last look; None: there is none."""
        found = self._known.get(name)
        if found is None or found[1].removed_at is not None:
            return None
        return endpoint_of(found[1], self._settings, self._clock.now())

    def destinations(self) -> Sequence[Destination]:
        """Where deliveries go to, as of the last look; those that are ending have no place any more."""
        found = [one for _, one in self._known.values() if one.removed_at is None]
        return [destination_of(one, self._settings) for one in found]

    def ending(self) -> Mapping[str, Instant]:
        """Endpoints that were removed, with when, and for which something may still be queued."""
        return {name: one.removed_at for name, (_, one) in self._known.items() if one.removed_at is not None}

    # --- What may be done

    async def create(self, name: str | None, settings: EndpointSettings) -> Created | Taken | Invalid:
        """Make an endpoint; None makes a name, too. Its definition is checked already, by `parse_endpoint`."""
        chosen = name if name is not None else f"ep-{self._clock.new_id()}"
        if _NAME.fullmatch(chosen) is None:
            return Invalid(("name: a name is a-z first, then a-z 0-9 _ -, at most 63",))
        if len(self._known) >= ENDPOINTS_MAX:
            return Invalid((f"name: there are {len(self._known)} endpoints already; remove one first",))
        given = edits.texts_of(settings.secret)
        if (problem := _problem(settings, given, self._settings)) is not None:
            return problem
        secret = None if given else edits.make_secret()

        def edit(before: Document | None) -> Document | Taken:
            if before is not None:
                return Taken(chosen, is_ending=before.removed_at is not None)
            texts = given if secret is None else (secret,)
            return edits.made(chosen, settings, Origin.API, texts, self._clock.now())

        after = await self._edit(chosen, edit)
        return Created(self._state(after), secret) if isinstance(after, Document) else after

    async def replace(
        self, name: str, settings: EndpointSettings, rev: int | None = None
    ) -> EndpointState | NotFound | Changed | ReadOnly | Invalid:
        """Give an endpoint another definition; its secrets stay, unless the definition has some.

        Args:
            name: which one.
            settings: its definition, checked by `parse_endpoint`.
            rev: the one it must still have; None: any.
        """

        def edit(before: Document | None) -> Document | NotFound | Changed | ReadOnly | Invalid:
            found = self._ours(name, before, rev)
            return self._redefine(found, settings) if isinstance(found, Document) else found

        return self._shown(await self._edit(name, edit))

    async def change(
        self, name: str, patch: Mapping[str, object], rev: int | None = None
    ) -> EndpointState | NotFound | Changed | ReadOnly | Invalid:
        """Change parts of a definition.

        Args:
            name: which one.
            patch: a JSON merge patch (RFC 7396) of the definition: null is back to the default.
            rev: the one it must still have; None: any.
        """

        def edit(before: Document | None) -> Document | NotFound | Changed | ReadOnly | Invalid:
            found = self._ours(name, before, rev)
            if not isinstance(found, Document):
                return found
            settings = parse_endpoint(edits.merge_patch(endpoint_body(found.settings), patch), self._settings)
            if isinstance(settings, InvalidEndpoint):
                return Invalid(settings.problems)
            return self._redefine(found, settings)

        return self._shown(await self._edit(name, edit))

    async def remove(self, name: str, rev: int | None = None) -> Removed | NotFound | Changed | ReadOnly:
        """Remove an endpoint; what is queued for it becomes skipped, and its name is free after that."""

        def edit(before: Document | None) -> Document | NotFound | Changed | ReadOnly:
            found = self._ours(name, before, rev)
            if not isinstance(found, Document):
                return found
            return edits.removed(found, self._clock.now())

        after: Document | NotFound | Changed | ReadOnly = await self._edit(name, edit)
        if not isinstance(after, Document):
            return after
        return Removed(name)

    async def enable(self, name: str) -> EndpointState | NotFound | ReadOnly:
        """Deliver to it again, whatever it was disabled for, and begin anew with its health.

        The one verb for endpoints of the configuration, too: what the service itself did is lifted.
        """

        def edit(before: Document | None) -> Document | NotFound | ReadOnly:
            found = _existing(name, before)
            if isinstance(found, NotFound):
                return found
            after = edits.enabled(found, self._clock.now())
            is_possible = after.is_enabled and found.stopped is not DisabledReason.REMOVED
            return after if is_possible else ReadOnly(name)

        return self._shown(await self._edit(name, edit))

    async def disable(
        self, name: str, reason: DisabledReason = DisabledReason.OPERATOR
    ) -> EndpointState | NotFound | ReadOnly:
        """Deliver to it no more; what is queued is kept, what comes later is recorded and can be replayed.

        Of an endpoint of the configuration only the service itself does this, for another reason than `OPERATOR`.
        """

        def edit(before: Document | None) -> Document | NotFound | ReadOnly:
            found = _existing(name, before)
            if isinstance(found, NotFound):
                return found
            if found.is_read_only and reason is DisabledReason.OPERATOR:
                return ReadOnly(name)
            return edits.disabled(found, reason, self._clock.now())

        return self._shown(await self._edit(name, edit))

    async def rotate(
        self, name: str, secret: str | None = None, overlap_s: float = OVERLAP_S
    ) -> Rotated | NotFound | ReadOnly | Invalid:
        """Give it a new secret; the old ones sign too for `overlap_s` seconds (0 to 30 days).

        Where its dialect has room for one signature only, that is the newest one's: the receiver must know it first.
        """
        if not 0 <= overlap_s <= OVERLAP_S_MAX:
            return Invalid((f"overlap_s: expected 0 to {OVERLAP_S_MAX} seconds",))
        text = secret.rstrip("\r\n") if secret is not None else edits.make_secret()

        def edit(before: Document | None) -> Document | NotFound | ReadOnly | Invalid:
            found = _existing(name, before)
            if isinstance(found, NotFound):
                return found
            if not found.is_secret_ours:
                return ReadOnly(name)
            return _problem(found.settings, (text,)) or edits.rotated(found, text, overlap_s, self._clock.now())

        after: Document | NotFound | ReadOnly | Invalid = await self._edit(name, edit)
        if not isinstance(after, Document):
            return after
        return Rotated(self._state(after), text if secret is None else None)

    async def finish(self, name: str) -> None:
        """Forget a removed endpoint for which nothing is queued any more: its name is free from now on."""
        async with self._book.turn() as fences:
            found = await self._book.find(name)
            if found is not None and found.removed_at is not None:
                await self._book.forget(name, fences, self._submit)
        if name in self._settings.endpoints:
            await self.line_up(self._submit)
        await self.look()

    # --- Keeping up

    async def tick(self) -> float:
        """Look whether another process has changed an endpoint, or an old secret has ended."""
        self._wake.clear()
        await self.look()
        return LOOK_S

    async def wait(self, timeout_s: float) -> None:
        """Return when it is time to look, at the latest after `timeout_s` seconds."""
        await wait_for(self._wake, timeout_s)

    async def look(self) -> None:
        """Take in what has changed in the store; nothing is read where no revision has moved.

        Ingest waits for this, so nothing that follows from a change may wait for ingest.
        """
        async with self._looking:
            revisions = await self._store.settings(REVISIONS)
            if revisions != self._revisions:
                changed = self._changed = self._changed | await self._read()
            elif self._expires_at is not None and self._clock.now() >= self._expires_at:
                changed = frozenset(self._known)
            else:
                return
            expiries = [at for _, one in self._known.values() if (at := one.expires_at(self._clock.now())) is not None]
            self.revision = revisions.get(REVISION, b"")
            if changed or self.revision != self._revisions.get(REVISION, b""):
                await self._on_change(changed)
                self._changed = frozenset()
            self._expires_at = min(expiries, default=None)
            self._revisions = revisions

    async def line_up(self, submit: Submit) -> Mapping[str, str]:
        """Bring the endpoints of the configuration into the store; see `files.line_up`."""
        made = await line_up(self._settings, self._store, self._book, self._clock, submit)
        await self.look()
        return made

    async def _read(self) -> frozenset[str]:
        """Read what is kept; return the endpoints that are others than before."""
        stored = await self._book.all()
        before, healthy = self._known, self._health
        kept = await self._store.settings(health_setting(""))
        self._health = {
            name: read_health(kept[health_setting(name)]) for name in stored if health_setting(name) in kept
        }
        self._known = {
            name: before[name] if name in before and before[name][0] == body else (body, self._book.read(name, body))
            for name, body in stored.items()
        }
        names = before.keys() | self._known.keys()
        return frozenset(
            name
            for name in names
            if before.get(name) is not self._known.get(name) or healthy.get(name) != self._health.get(name)
        )

    async def _edit(self, name: str, edit: Callable[[Document | None], Document | R]) -> Document | R:
        """Read, change and write one endpoint, and bring this process in line, while nobody else changes any.

        Others look meanwhile, too: however many changes follow one another, between two each can take in what it has.
        """
        async with self._book.turn() as fences:
            before = await self._book.find(name)
            after = edit(before)
            if not isinstance(after, Document) or after == before:
                return after
            is_announced = after.settings.operational or any(one.is_operational for one in self.destinations())
            await self._book.write([Change(before, after)], fences, self._submit, is_announced=is_announced)
            await self.look()
        return after

    def _ours(self, name: str, before: Document | None, rev: int | None) -> Document | NotFound | Changed | ReadOnly:
        """Take a document that may be changed here, and is as whoever asks has read it."""
        found = _existing(name, before)
        if isinstance(found, NotFound):
            return found
        if found.is_read_only:
            return ReadOnly(name)
        return found if rev in {None, found.rev} else Changed(self._state(found))

    def _redefine(self, before: Document, settings: EndpointSettings) -> Document | Invalid:
        now = self._clock.now()
        texts = edits.texts_of(settings.secret) or before.texts_at(now)
        return _problem(settings, texts, self._settings) or edits.redefined(before, settings, now)

    def _state(self, document: Document) -> EndpointState:
        return document.state(self._clock.now(), self.health(document.name))

    def _shown(self, after: Document | R) -> EndpointState | R:
        return self._state(after) if isinstance(after, Document) else after


def _existing(name: str, document: Document | None) -> Document | NotFound:
    """Take a document that is one of an endpoint: not of one that is ending."""
    return NotFound(name) if document is None or document.removed_at is not None else document


def _problem(one: EndpointSettings, texts: tuple[str, ...], service: Settings | None = None) -> Invalid | None:
    """Say why a definition cannot sign with these secrets, or may not be reached by the service; None: it is good."""
    try:
        check_signing(one, texts)
        if service is not None:
            check_address(one, service)
    except ConfigError as error:
        return Invalid(error.problems)
    return None


async def _nowhere(submission: Submission) -> list[Receipt]:
    """Refuse what is written before the service has its place in the line."""
    raise StoreBusy(f"the service is starting; {len(submission.settings)} values were not written")


async def _nobody(changed: frozenset[str]) -> None:
    """Tell nobody."""
