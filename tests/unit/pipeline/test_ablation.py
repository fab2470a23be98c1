"""The inbox switched off must be noticed: the other safeguards' ablations are in tests/properties."""

import pytest

from idsync.errors import StoreError
from idsync.model.event import Op, Verdict
from idsync.testing.ablation import Safeguard, without
from tests.unit.pipeline.conftest import AUTH, Door


@pytest.mark.parametrize("safeguard", [Safeguard.INBOX])
async def test_without_a_safeguard_a_repeat_is_not_recognised(door: Door, safeguard: Safeguard) -> None:
    """The store refuses to accept one id twice, so the sender of a repeat is never answered."""
    arrival = door.seen(AUTH, "u_1", Op.CREATED, {"email": "ada@example.com", "name": "Ada"})
    await door.take(arrival)
    with without(safeguard), pytest.raises(StoreError):
        await door.take(arrival)
    (again,) = await door.take(arrival)
    assert again.verdict is Verdict.DUPLICATE
