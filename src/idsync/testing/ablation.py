"""Safeguards switched off, one at a time: a suite that does not notice is blind (DESIGN §3).

    with without(Safeguard.SHADOW):
        ...  # at least one test of yours must fail in here

A safeguard is a function; it is replaced where it is looked up. No setting can do it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import ModuleType
from typing import Final

import msgspec

from idsync.model.entity import Entity, LinkState
from idsync.model.event import Arrival, Observation
from idsync.model.mapping import Mapping
from idsync.model.values import Value
from idsync.pipeline import ingest
from idsync.pipeline.parts.draft import Draft
from idsync.policy import existence, linking, merge
from idsync.policy.fields import FieldDraft


class Safeguard(StrEnum):
    """What stands between a fault and its damage."""

    INBOX = "inbox"
    """An event id is accepted once."""
    SHADOW = "shadow"
    """What a peer is known to hold already is no edit."""
    VERSION = "version"
    """What is older than what was merged changes nothing."""
    TOMBSTONE = "tombstone"
    """The dead come back by a newer create only."""
    GROUP = "group"
    """Coupled fields move as one."""
    INTENT = "intent"
    """A write is announced, so that its echo confirms it."""
    LINK_PROOF = "link_proof"
    """Two identities are linked by an e-mail that both sides verified."""


class Swap(msgspec.Struct, frozen=True):
    """One function and what stands in for it."""

    owner: type | ModuleType
    name: str
    instead: Callable[..., object]


def _know_nothing(_draft: Draft, _arrival: Arrival) -> None:
    return None


def _is_never_an_echo(_draft: FieldDraft, _name: str, _value: Value) -> bool:
    return False


def _is_always_in_order(*_: object, **__: object) -> None:
    return None


def _let_anybody_in(entity: Entity, observation: Observation) -> Entity:
    link = entity.link_at(observation.peer)
    if entity.deleted is not None:
        return existence.reopen(entity, link, observation)
    return existence.relink(entity, link, observation) if link.state is not LinkState.LIVE else entity


def _move_alone(_mapping: Mapping, field: str) -> str:
    return field


def _confirm_nothing(entity: Entity, _observation: Observation) -> Entity:
    return entity


def _believe_everybody(_entity: Entity, _observation: Observation, _mapping: Mapping) -> bool:
    return True


SAFEGUARDS: Final[dict[Safeguard, tuple[Swap, ...]]] = {
    Safeguard.INBOX: (Swap(ingest, "known_as", _know_nothing),),
    Safeguard.SHADOW: (Swap(FieldDraft, "absorb_echo", _is_never_an_echo),),
    Safeguard.VERSION: (Swap(merge, "_order", _is_always_in_order),),
    Safeguard.TOMBSTONE: (Swap(existence, "admit", _let_anybody_in),),
    Safeguard.GROUP: (Swap(Mapping, "group_of", _move_alone),),
    Safeguard.INTENT: (Swap(merge, "settle_intent", _confirm_nothing),),
    Safeguard.LINK_PROOF: (Swap(linking, "_is_proven", _believe_everybody),),
}
"""Every safeguard and the functions that are it."""


@contextmanager
def without(*safeguards: Safeguard) -> Iterator[None]:
    """Replace the functions of some safeguards until the block ends, for the whole process.

    Raises:
        LookupError: no function is named for one of them.
    """
    if empty := [one for one in safeguards if not SAFEGUARDS[one]]:
        raise LookupError(f"no function is named for the safeguard {empty[0]}; add it to SAFEGUARDS")
    swaps = [swap for one in safeguards for swap in SAFEGUARDS[one]]
    kept = [(swap, getattr(swap.owner, swap.name)) for swap in swaps]
    try:
        for swap in swaps:
            setattr(swap.owner, swap.name, swap.instead)
        yield
    finally:
        for swap, function in kept:
            setattr(swap.owner, swap.name, function)
