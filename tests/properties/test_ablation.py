"""Each safeguard switched off must be noticed by the simulation: a property that cannot fail proves nothing."""

from random import Random

import pytest

from idsync.testing.ablation import SAFEGUARDS, Safeguard, without
from tests.properties import oracles
from tests.properties.settings import make_moves, make_setting
from tests.properties.world import World

SEEDS = range(60)
IN_POLICY = tuple(one for one, swaps in SAFEGUARDS.items() if swaps and one is not Safeguard.INBOX)


def complaint(seed: int) -> str | None:
    """Play the history of a seed; return what was found to be wrong at its end, or None."""
    random = Random(seed)
    try:
        oracles.check(World.of(make_setting(random)).play(make_moves(random, 50)).calm())
    except AssertionError as error:
        return str(error) or "an assertion failed"
    return None


def test_with_every_safeguard_nothing_is_wrong() -> None:
    """The very histories that must fail below pass as they are."""
    assert {seed: found for seed in SEEDS if (found := complaint(seed)) is not None} == {}


@pytest.mark.parametrize("safeguard", IN_POLICY)
def test_without_a_safeguard_something_is_wrong(safeguard: Safeguard) -> None:
    """Some history among a few fixed ones breaks a property."""
    with without(safeguard):
        assert any(complaint(seed) is not None for seed in SEEDS), safeguard


def test_safeguard_is_back_after_the_block() -> None:
    """What is switched off stays off no longer than the block, even when it fails."""
    before = [(swap, getattr(swap.owner, swap.name)) for swaps in SAFEGUARDS.values() for swap in swaps]
    with pytest.raises(ZeroDivisionError), without(*IN_POLICY):
        raise ZeroDivisionError
    assert [(swap, getattr(swap.owner, swap.name)) for swap, _ in before] == before
