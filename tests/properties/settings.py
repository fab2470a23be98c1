"""Random worlds: which peers there are, what each is like, and who decides what. A seed or Hypothesis draws them."""

from random import Random

from idsync.model.mapping import FieldRule, Mapping, Match, Others, PeerView, Rule
from idsync.model.values import PeerName
from idsync.testing.peer import USER_FIELDS, Form, Habits
from tests.properties.line import KIND
from tests.properties.world import Move, Service, Setting

PEERS = (PeerName("auth"), PeerName("app"), PeerName("cms"))
GROUPS = (
    ("mail", ("email", "email_verified")),
    (None, ("name",)),
    ("card", ("picture", "preferred_username")),
    (None, ("roles",)),
    ("ban", ("banned", "ban_reason")),
)
HOUR_MS = 3_600_000


def make_setting(random: Random) -> Setting:
    """Draw a world of two or three peers of any kind, under any rules."""
    names = PEERS[: random.choice((2, 2, 3))]
    services = {name: _make_service(random, is_first=name == names[0]) for name in names}
    views = {name: _make_view(random, service, has_link=name != names[0]) for name, service in services.items()}
    mapping = Mapping(
        kind=KIND,
        peers=views,
        rules={field: rule for rule, fields in _make_rules(random, names) for field in fields},
        lifecycle_owner=random.choice((None, *names)),
        others=random.choice(tuple(Others)),
        match=random.choice((Match.EMAIL, Match.EMAIL, Match.NEVER, Match.EMAIL_UNVERIFIED)),
    )
    return Setting(mapping=mapping, services=services)


def make_moves(random: Random, length: int) -> list[Move]:
    """Draw a history."""
    return [
        (random.randrange(256), random.randrange(256), random.randrange(256), random.randrange(256))
        for _ in range(length)
    ]


def _make_service(random: Random, *, is_first: bool) -> Service:
    """Draw a table with triggers, a service with revisions, one with bare hooks, or a feed that cannot be read.

    Each stores something of ours: its id at the first peer, the id that we ask for, or our intent's.
    """
    fields = USER_FIELDS - {random.choice(("", "", "preferred_username", "roles", "email_verified", "ban_reason"))}
    forms = tuple(form for form in Form if random.random() < 0.25)
    skew_ms = random.choice((0, 0, -HOUR_MS, HOUR_MS, 3_000))
    is_email_unique = random.random() < 0.2
    kind = random.choice(("table", "table", "revisions", "hooks", "table" if is_first else "feed"))
    habits = Habits(
        fields=fields,
        forms=forms,
        skew_ms=skew_ms,
        is_email_unique=is_email_unique,
        has_versions=kind in {"table", "revisions"},
        has_origins=kind == "table",
        gives_ids=kind != "table" and not is_first,
    )
    return Service(habits=habits, is_ordered=kind == "table", is_lossy=kind == "hooks", is_readable=kind != "feed")


def _make_view(random: Random, service: Service, *, has_link: bool) -> PeerView:
    fields = service.habits.fields
    return PeerView(
        reads=fields,
        writes=fields if service.is_readable else frozenset(),
        is_readable=service.is_readable,
        names_writers=service.habits.has_origins,
        is_email_verified=random.random() < 0.15,
        has_link=has_link and random.random() < 0.7,
    )


def _make_rules(random: Random, names: tuple[PeerName, ...]) -> list[tuple[FieldRule, tuple[str, ...]]]:
    rules: list[tuple[FieldRule, tuple[str, ...]]] = []
    for group, fields in GROUPS:
        rule = random.choice((Rule.OWNER, Rule.NEWEST, Rule.NEWEST, Rule.FILL, Rule.MANUAL))
        owner = random.choice(names) if rule is Rule.OWNER else None
        rules.append((FieldRule(rule, owner, group), fields))
    return rules
