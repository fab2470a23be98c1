"""A fake peer with the hands of its users, as the shared suite of Targets wants it."""

from idsync.model.values import ExternalId, Value
from idsync.ports import Reader, Source, Target
from idsync.testing.clock import FakeClock
from idsync.testing.halves import FakeReader, FakeSource, FakeTarget
from idsync.testing.peer import FakePeer, Habits

FIELDS = frozenset({"email", "name", "picture"})


class Rig:
    """A peer whose e-mails are unique, unless its habits say otherwise."""

    def __init__(self, habits: Habits | None = None) -> None:
        habits = habits if habits is not None else Habits(fields=FIELDS, is_email_unique=True)
        self.peer = FakePeer("app", FakeClock().now, habits)
        self.target: Target = FakeTarget(self.peer)
        self.reader: Reader = FakeReader(self.peer)
        self.source: Source = FakeSource(self.peer)

    async def create(self, fields: dict[str, Value]) -> ExternalId:
        """Make a user."""
        return self.peer.create("user", fields)

    async def edit(self, external_id: ExternalId, fields: dict[str, Value]) -> None:
        """Change a user."""
        self.peer.edit("user", external_id, fields)

    async def count_changes(self) -> int:
        """Count what was journaled."""
        return len(self.peer.journal)

    async def set_away(self, *, is_away: bool) -> None:
        """Leave, or come back."""
        self.peer.is_away = is_away
