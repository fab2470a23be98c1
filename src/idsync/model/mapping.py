"""How the peers' views of one kind are made one: who owns which field, what moves together, whose delete counts."""

from enum import StrEnum

import msgspec

from idsync.model.values import PeerName


class Rule(StrEnum):
    """What decides a field group when two peers changed it without knowing of each other (DESIGN §4.5)."""

    OWNER = "owner"
    NEWEST = "newest"
    FILL = "fill"
    MANUAL = "manual"


class Others(StrEnum):
    """What a delete means at a peer that does not own the lifecycle (DESIGN §4.6)."""

    UNLINK = "unlink"
    RESTORE = "restore"
    PROPAGATE = "propagate"


class Match(StrEnum):
    """How an identity that no id links may be linked by its e-mail (DESIGN §4.7)."""

    EMAIL = "email"
    EMAIL_UNVERIFIED = "email-unverified"
    NEVER = "never"


class FieldRule(msgspec.Struct, frozen=True):
    """The rule of one canonical field. Fields of one group are merged as a unit and come from one writer."""

    rule: Rule = Rule.NEWEST
    owner: PeerName | None = None
    group: str | None = None


class PeerView(msgspec.Struct, frozen=True):
    """What one peer holds of a kind, as far as merge and dispatch must know."""

    reads: frozenset[str]
    """Canonical fields its observations may carry."""
    writes: frozenset[str] = frozenset()
    """Canonical fields that can be written there; empty for a peer that is only a Source."""
    is_readable: bool = True
    """Whether a Reader exists: an unversioned event is then a doorbell, else the body is the parcel (DESIGN §4.3)."""
    is_email_verified: bool = False
    """`email_verified = "always"`: only operators set e-mails at this peer."""
    names_writers: bool = False
    """Whether its events name each write of ours: what none of them names by now has not happened by now."""
    has_link: bool = False
    """Whether it has a column for the first peer's id."""
    may_create: bool = True
    """Whether identities first met at this peer become new entities."""


BAN_FIELDS = ("banned", "ban_reason", "ban_expires_at")
"""Always one group: a ban without its reason and expiry would be a state nobody set."""

DEFAULT_RULE = FieldRule()


class Mapping(msgspec.Struct, frozen=True):
    """Everything merge needs to know about one kind."""

    kind: str
    peers: dict[PeerName, PeerView]
    """In order of precedence: the first wins ties. Its first peer's ids are what `link` columns hold."""
    rules: dict[str, FieldRule] = {}
    lifecycle_owner: PeerName | None = None
    others: Others = Others.UNLINK
    match: Match = Match.EMAIL
    skew_ms: int = 5_000
    """How far a peer's clock may run ahead of ours before its stamps are cut (DESIGN §4.5)."""

    @property
    def first_peer(self) -> PeerName | None:
        """The peer whose ids `link` columns hold."""
        return next(iter(self.peers), None)

    def rule_of(self, field: str) -> FieldRule:
        """The field's rule; `newest` where the configuration says nothing (DESIGN §9)."""
        return self.rules.get(field, DEFAULT_RULE)

    def group_of(self, field: str) -> str:
        """The group a field moves with; its own name where it moves alone."""
        if field in BAN_FIELDS:
            return "ban"
        return self.rule_of(field).group or field

    def precedence_of(self, peer: PeerName) -> int:
        """Higher wins a tie; 0 for a peer that this kind does not sync."""
        names = list(self.peers)
        return len(names) - names.index(peer) if peer in self.peers else 0
