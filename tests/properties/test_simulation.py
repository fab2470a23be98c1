"""Whole histories of small worlds: whatever users, network and crashes do, calm ends in the same truth everywhere."""

from random import Random

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from idsync.testing.peer import Form
from tests.properties import oracles
from tests.properties.settings import make_setting
from tests.properties.world import Move, Setting, World

SETTINGS = st.integers(0, 2**32).map(lambda seed: make_setting(Random(seed)))
UNSHRUNK = settings(phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""A failed history is reported as it is: to shrink it takes longer than a test may run."""
MOVES = st.lists(st.tuples(*[st.integers(0, 255)] * 4), min_size=15, max_size=60)


@UNSHRUNK
@given(SETTINGS, MOVES)
def test_after_any_history_all_sides_end_equal(setting: Setting, moves: list[Move]) -> None:
    """All rules, all kinds of peers, wrong clocks, lost, late and repeated events, crashes around every write."""
    oracles.check(World.of(setting).play(moves).calm())


@UNSHRUNK
@given(SETTINGS, MOVES)
def test_peers_that_rewrite_what_they_are_given_come_to_rest(setting: Setting, moves: list[Move]) -> None:
    """Where every peer changes the texts it stores, nothing is written back and forth, and two rounds are enough."""
    services = {
        name: msgspec.structs.replace(one, habits=msgspec.structs.replace(one.habits, forms=tuple(Form)))
        for name, one in setting.services.items()
    }
    world = World.of(msgspec.structs.replace(setting, services=services)).play(moves).calm()
    oracles.converges_within_two_rounds(world)
    oracles.check(world)
