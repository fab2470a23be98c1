"""The heart of merge: one field group, one claim of one peer, one decision (DESIGN §4.2, §4.4, §4.5). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from idsync.model.entity import Conflict, Entity, Field, Hold, Intent, Link, Shadow, Stamp
from idsync.model.event import Observation
from idsync.model.mapping import FieldRule, Rule
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.values import Instant, PeerName, Value

GRANTS: dict[str, Value] = {"email_verified": False, "roles": []}
"""Owned fields that give somebody power, and what stands in for them when a peer that does not own them brings a new
person: a stranger's word may name a person but never raise him (pre-hijacking, arXiv 2205.10174)."""


_UNSEEN = Shadow(None, None, Instant(-1))
"""Stands for no shadow at all: the peer has seen no truth of the field yet."""


class Decision(Enum):
    """What becomes of one claim."""

    AGREE = auto()
    REPEAT = auto()
    """An edit that says what is the truth already, from one who need not have known."""
    TAKE = auto()
    REFUSE = auto()
    YIELD = auto()
    """Refused without a conflict: the peer had nothing to say, or did not know."""
    HOLD = auto()


@dataclass(frozen=True, slots=True)
class Claim:
    """One peer's word on one whole group: coupled fields always come from one writer."""

    values: dict[str, Value]
    """What would become the truth."""
    seen: dict[str, Value]
    """What the peer showed; the fields of the group that it spoke of."""
    stamp: Stamp
    is_unknown: bool
    """Whether nothing of it is an edit, and some field had no shadow: first contact."""
    is_concurrent: bool
    """Whether the truth had moved without the peer knowing."""


@dataclass(slots=True)
class FieldDraft:
    """The entity's fields while one observation is being merged; lives only inside one call of merge."""

    entity: Entity
    link: Link
    observation: Observation
    mapping: KindMapping
    fields: dict[str, Field]
    shadow: dict[str, Shadow]
    holds: dict[str, Hold]
    changed: set[str]
    conflicts: list[Conflict]
    is_owed: bool = False
    """Whether the peer showed what is not the truth, and is to get the truth back."""
    is_made_by_us: bool = False
    """Whether the identity is one that we have created: its blank columns are nobody's word."""

    @classmethod
    def of(cls, entity: Entity, link: Link, observation: Observation, mapping: KindMapping) -> "FieldDraft":
        """Begin with the entity as it is."""
        fields, shadow, holds = dict(entity.fields), dict(link.shadow), dict(entity.holds)
        return cls(entity, link, observation, mapping, fields, shadow, holds, set(), [])

    def absorb_echo(self, name: str, value: Value) -> bool:
        """Whether the value is no edit: the peer is known to hold it, or an open intent put it there."""
        known = self.shadow.get(name)
        if known is not None and known.held == value:
            return True
        if known is None and self.is_made_by_us and not value and value != self.value_of(name):
            self.shadow[name] = Shadow(value, value, Instant(-1))
            return True
        for intent in self.link.intents:
            if name in intent.fields and intent.fields[name] == value and self._may_come_from(intent):
                self.shadow[name] = Shadow(value, value, intent.seen_at)
                return True
        return False

    def _may_come_from(self, intent: Intent) -> bool:
        """Whether an unanswered write can have had this effect: not on another id, nor long after its end."""
        seen, skew_ms = self.observation, self.mapping.skew_ms
        if seen.names_writer and seen.origin != intent.id:
            return False
        is_elsewhere = intent.external_id not in {None, seen.external_id}
        is_over = min(seen.received_at, seen.event_at - skew_ms) > intent.expires_at and not seen.is_read
        return not is_elsewhere and not is_over

    def note_blanks(self) -> None:
        """A look is whole: what it does not show of an unknown field is not there, so nobody has to look again."""
        view = self.mapping.peers.get(self.observation.peer)
        for name in view.reads - self.observation.fields.keys() - self.shadow.keys() if view is not None else ():
            self.shadow[name] = _UNSEEN

    def note_seen(self) -> None:
        """A look that began after the truth last moved shows what the peer held when it had come back, if it had."""
        for name, known in self.shadow.items():
            field = self.fields.get(name)
            if field is not None and field.value == known.sent and known.seen_at < field.stamp.at:
                self.shadow[name] = Shadow(known.sent, known.held, field.stamp.at)

    def value_of(self, name: str) -> Value:
        """The truth of a field so far."""
        field = self.fields.get(name)
        return None if field is None else field.value


def merge_group(draft: FieldDraft, group: str) -> None:
    """Merge one peer's claim on one group into the draft."""
    claim = _claim(draft, group)
    rule = _rule_of(draft.mapping, claim)
    decision = decide(draft, group, claim, rule)
    if decision is Decision.REFUSE or (decision is Decision.TAKE and (claim.is_concurrent or claim.is_unknown)):
        _log(draft, claim, rule, is_taken=decision is Decision.TAKE)
    if decision is Decision.TAKE:
        _take(draft, claim)
    if decision is Decision.REPEAT:
        _repeat(draft, claim)
    if decision is Decision.HOLD:
        _hold(draft, group, claim)
    if decision in {Decision.REFUSE, Decision.YIELD} and draft.fields.keys() & claim.seen.keys():
        draft.is_owed = True
    _move_shadow(draft, claim, decision)


def _claim(draft: FieldDraft, group: str) -> Claim:
    names = _members(draft, group)
    seen = {name: draft.observation.fields[name] for name in names if name in draft.observation.fields}
    values = {name: _claimed(draft, name) for name in names}
    is_edited = any(name in draft.shadow and draft.shadow[name].held != value for name, value in seen.items())
    known = [(draft.fields[name], draft.shadow[name]) for name in names if name in draft.shadow.keys() & draft.fields]
    is_late = any(_told(draft) <= field.stamp.at for field, _ in known)
    return Claim(
        values=values,
        seen=seen,
        stamp=_stamp(draft, names),
        is_unknown=not is_edited and any(name not in draft.shadow for name in seen),
        is_concurrent=any(field.value != one.sent for field, one in known)
        or (is_late and came_back(draft.fields, draft.shadow, names)),
    )


def _members(draft: FieldDraft, group: str) -> list[str]:
    """The group's fields that this claim speaks for: what the peer showed, and what is coupled to it in the truth."""
    names = set(draft.observation.fields) | set(draft.fields)
    return sorted(name for name in names if draft.mapping.group_of(name) == group)


def _claimed(draft: FieldDraft, name: str) -> Value:
    """What the peer's word makes of one field: shown, or implied by what it is known to hold, or nothing."""
    known = draft.shadow.get(name)
    if name not in draft.observation.fields:
        if known is not None:
            return known.sent
        view = draft.mapping.peers.get(draft.observation.peer)
        return (view is not None and view.is_email_verified) if name == "email_verified" else None
    value = draft.observation.fields[name]
    return known.sent if known is not None and known.held == value else value


def came_back(fields: Mapping[str, Field], shadow: Mapping[str, Shadow], names: Iterable[str]) -> bool:
    """Whether a group's truth has moved since the peer last saw it, whatever it is now (decision 0009)."""
    known = [(fields[name], shadow[name]) for name in names if name in fields and name in shadow]
    newest = max((field.stamp.at for field, _ in known), default=Instant(-1))
    return max((one.seen_at for _, one in known), default=newest) < newest


def _told(draft: FieldDraft) -> Instant:
    """The peer's own time of the claim, cut from above."""
    observation = draft.observation
    return Instant(min(observation.event_at, observation.received_at + draft.mapping.skew_ms))


def _stamp(draft: FieldDraft, names: list[str]) -> Stamp:
    """When the claim was made: the peer's time, but later than what it had seen (DESIGN §4.4, §4.5)."""
    observation, mapping = draft.observation, draft.mapping
    told = _told(draft)
    seen = max((draft.shadow[name].seen_at for name in names if name in draft.shadow), default=Instant(-1))
    return Stamp(Instant(max(told, seen + 1)), mapping.precedence_of(observation.peer), observation.event_id)


def _rule_of(mapping: KindMapping, claim: Claim) -> FieldRule:
    """The group's rule: the configuration allows only one for all its fields."""
    return mapping.rule_of(min(claim.values))


def decide(draft: FieldDraft, group: str, claim: Claim, rule: FieldRule) -> Decision:
    """Say who is right. Every branch is one sentence of DESIGN §4.4 and §4.5."""
    truth = {name: draft.value_of(name) for name in claim.values}
    if group in draft.holds:
        return Decision.HOLD
    if all(name in draft.fields and truth[name] == claim.values[name] for name in claim.seen):
        is_compared = rule.rule in {Rule.NEWEST, Rule.MANUAL} and not claim.is_unknown
        return Decision.REPEAT if is_compared else Decision.AGREE
    is_empty_truth = not any(is_filled(value) for value in truth.values())
    if rule.rule is Rule.OWNER:
        return _decide_owned(draft, claim, rule, is_empty_truth=is_empty_truth)
    if claim.is_unknown and not _says_anything(draft, claim):
        return Decision.YIELD
    if rule.rule is Rule.FILL:
        return Decision.TAKE if is_empty_truth else Decision.REFUSE
    if not claim.is_concurrent and (is_empty_truth or not claim.is_unknown):
        return Decision.TAKE
    return _decide_unknown(draft, claim) if claim.is_unknown else _decide_concurrent(draft, claim, rule)


def _decide_owned(draft: FieldDraft, claim: Claim, rule: FieldRule, *, is_empty_truth: bool) -> Decision:
    if rule.owner == draft.observation.peer:
        return Decision.TAKE
    owner = draft.entity.links.get(rule.owner) if rule.owner is not None else None
    if is_empty_truth and (owner is None or not owner.is_live):
        return Decision.TAKE
    return Decision.REFUSE if any(is_filled(value) for value in claim.seen.values()) else Decision.YIELD


def _says_anything(draft: FieldDraft, claim: Claim) -> bool:
    """Whether a first contact says something: blank columns do not, where anybody has spoken."""
    news = [value for name, value in claim.seen.items() if name not in draft.shadow]
    return any(is_filled(value) for value in news) or not draft.fields.keys() & claim.seen.keys()


def _decide_unknown(draft: FieldDraft, claim: Claim) -> Decision:
    """First contact: nobody knows who changed what, so of two that say something the peer that comes first wins."""
    ranks = [draft.mapping.precedence_of(draft.fields[name].peer) for name in claim.values if name in draft.fields]
    is_first = claim.stamp.precedence > max(ranks, default=-1)
    return Decision.TAKE if is_first else Decision.REFUSE


def _decide_concurrent(draft: FieldDraft, claim: Claim, rule: FieldRule) -> Decision:
    """Two changed it without knowing of each other: an operator decides, or the later stamp."""
    if rule.rule is Rule.MANUAL:
        return Decision.HOLD
    return Decision.TAKE if claim.stamp > _truth_stamp(draft, claim) else Decision.REFUSE


def _truth_stamp(draft: FieldDraft, claim: Claim) -> Stamp:
    return max(draft.fields[name].stamp for name in claim.values if name in draft.fields)


def is_filled(value: Value) -> bool:
    """Whether a value says something; False is a word too."""
    return value is not None and value not in ("", [])


def _take(draft: FieldDraft, claim: Claim) -> None:
    stamps = [draft.fields[name].stamp.at for name in claim.values if name in draft.fields]
    stamp = Stamp(
        claim.stamp.at if claim.is_concurrent else Instant(max(claim.stamp.at, max(stamps, default=-1) + 1)),
        claim.stamp.precedence,
        claim.stamp.event_id,
    )
    for name, value in claim.values.items():
        granted = _granted(draft, name, value)
        # Where nobody has spoken yet, nothing and no are no news: a peer's blank columns tell nobody anything.
        if draft.fields[name].value != granted if name in draft.fields else bool(granted):
            draft.changed.add(name)
        draft.fields[name] = Field(granted, stamp, draft.observation.peer)


def _repeat(draft: FieldDraft, claim: Claim) -> None:
    """Two said the same, each for himself: the truth is as new as the later word, whichever came in first."""
    if claim.stamp > _truth_stamp(draft, claim):
        for name in draft.fields.keys() & claim.values:
            draft.fields[name] = Field(draft.fields[name].value, claim.stamp, draft.observation.peer)


def _granted(draft: FieldDraft, name: str, value: Value) -> Value:
    rule = draft.mapping.rule_of(name)
    is_stranger = rule.rule is Rule.OWNER and rule.owner != draft.observation.peer
    return GRANTS[name] if is_stranger and name in GRANTS else value


def _hold(draft: FieldDraft, group: str, claim: Claim) -> None:
    """Keep every side's word until an operator decides; the group is written to no peer meanwhile."""
    held = draft.holds.get(group)
    claims: dict[PeerName, dict[str, Field]] = dict(held.claims) if held is not None else {}
    if held is None:
        _log(draft, claim, FieldRule(rule=Rule.MANUAL), is_taken=False)
        for name in claim.values:
            if name in draft.fields:
                claims.setdefault(draft.fields[name].peer, {})[name] = draft.fields[name]
    peer = draft.observation.peer
    claims[peer] = {name: Field(value, claim.stamp, peer) for name, value in claim.values.items()}
    draft.holds[group] = Hold(since=held.since if held is not None else draft.observation.received_at, claims=claims)


def _move_shadow(draft: FieldDraft, claim: Claim, decision: Decision) -> None:
    """The peer now holds what it showed. Where that is not the truth, `sent` differs and dispatch brings it back."""
    for name, shown in claim.seen.items():
        seen_at = draft.shadow.get(name, _UNSEEN).seen_at
        if decision in {Decision.TAKE, Decision.AGREE}:
            seen_at = draft.fields[name].stamp.at
        if decision is Decision.REPEAT:
            seen_at = claim.stamp.at
        draft.shadow[name] = Shadow(claim.values[name], shown, seen_at)


def _log(draft: FieldDraft, claim: Claim, rule: FieldRule, *, is_taken: bool) -> None:
    observation = draft.observation
    for name, value in claim.values.items():
        if name not in draft.fields or name not in claim.seen:
            continue
        truth = draft.fields[name]
        if truth.value == value or (claim.is_unknown and is_taken and not is_filled(truth.value)):
            continue
        draft.conflicts.append(
            Conflict(
                entity=draft.entity.id,
                field=name,
                rule=rule.rule.value,
                peer=truth.peer if is_taken else observation.peer,
                refused=truth.value if is_taken else value,
                kept=value if is_taken else truth.value,
                kept_peer=observation.peer if is_taken else truth.peer,
                at=observation.received_at,
                event_id=observation.event_id,
            )
        )
