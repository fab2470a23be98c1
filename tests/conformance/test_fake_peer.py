"""The fake peer keeps the contract of every Target: one that real Targets would not agree with proves nothing.

A service that knows no intents stands outside: it finds only by e-mail whom it has made already, and leaves it to merge
to say whose identity that is.
"""

import pytest

from idsync.model.delivery import Effect
from idsync.model.values import ExternalId
from idsync.testing.peer import Habits
from idsync.testing.target_suite import CHECKS, Check, create_of
from tests.unit.testing.rig import FIELDS, Rig

KINDS = {
    "table": Habits(fields=FIELDS, is_email_unique=True),
    "table-with-its-own-keys": Habits(fields=FIELDS, is_email_unique=True, gives_ids=True),
    "table-without-link": Habits(fields=FIELDS, is_email_unique=True, has_links=False),
    "feed-without-versions": Habits(fields=FIELDS, is_email_unique=True, has_versions=False),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_fake_peer_keeps_the_contract(check: Check, kind: str) -> None:
    """Each check on each kind of peer that records our intents."""
    await check(Rig(KINDS[kind]))


async def test_service_without_intents_shows_whom_it_has_found_by_email() -> None:
    """Ours or a stranger's: nothing is made a second time, nothing is overwritten, and the image goes to merge."""
    rig = Rig(Habits(fields=FIELDS, is_email_unique=True, has_origins=False, gives_ids=True))
    stranger = await rig.create({"email": "u1@example.com", "name": "Already there"})
    (made,) = await rig.target.write([create_of(2)])
    assert (made.effect, made.image is not None) == (Effect.WRITTEN, True)
    again = await rig.target.write([create_of(1), create_of(2)])
    assert [one.effect for one in again] == [Effect.DIVERGED, Effect.DIVERGED]
    assert [one.image.external_id for one in again if one.image is not None] == [stranger, ExternalId("app-2")]
    assert len(rig.peer.journal) == 2
