"""The oscillation breaker: two systems that rewrite each other for ever are stopped, and users who hurry are not."""

from idsync.model.entity import Action, Intent
from idsync.model.values import Instant
from idsync.policy.oscillation import Beat, OscillationPolicy, beat, rests_until
from tests.unit.policy.words import APP, NOW, after, announced, in_step, said, written

POLICY = OscillationPolicy()


def write(name: str, seen_at: int = 0) -> Intent:
    """Make the intent of one write."""
    return Intent(
        id="e1:1:x",
        action=Action.UPDATE,
        epoch=1,
        version=1,
        fields={"name": name},
        seen_at=Instant(seen_at),
        expires_at=Instant(0),
    )


def at(delay_ms: int) -> Instant:
    """Some time after now."""
    return Instant(NOW + delay_ms)


def test_same_truth_again_and_again_rests() -> None:
    """A peer that changes back what it is given, each time, is left alone until the first write is a window old."""
    beats: tuple[Beat, ...] = ()
    for number in range(POLICY.same_max):
        assert rests_until(beats, write("Ada"), at(number), POLICY) is None
        beats = beat(beats, write("Ada"), at(number), POLICY)
    until = rests_until(beats, write("Ada"), at(100), POLICY)
    assert until == NOW + POLICY.window_ms
    assert rests_until(beats, write("Ada"), until, POLICY) is None


def test_new_truth_is_written_though_the_old_one_rests() -> None:
    """Somebody outside has said something: that is another matter, even with an old value."""
    beats: tuple[Beat, ...] = ()
    for _ in range(POLICY.same_max):
        beats = beat(beats, write("Ada"), at(0), POLICY)
    assert rests_until(beats, write("Ada"), at(1), POLICY) is not None
    assert rests_until(beats, write("Ada", seen_at=1), at(1), POLICY) is None
    assert rests_until(beats, write("Bo"), at(1), POLICY) is None


def test_too_many_writes_of_anything_rest() -> None:
    """Two peers that answer each other say something new each time; their number gives them away."""
    beats = tuple(Beat(at(number), str(number).encode()) for number in range(POLICY.all_max))
    assert rests_until(beats, write("x", seen_at=9_999), at(700), POLICY) == NOW + POLICY.window_ms
    assert rests_until(beats[1:], write("x", seen_at=9_999), at(700), POLICY) is None


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Memory of a link is bounded by the window."""
    beats = beat((), write("Ada"), at(0), POLICY)
    beats = beat(beats, write("Bo"), at(POLICY.window_ms), POLICY)
    assert [one.at for one in beats] == [at(POLICY.window_ms)]


def test_memory_of_a_write_does_not_grow_with_its_size() -> None:
    """A field of a megabyte is remembered in as few bytes as a name."""
    (short,) = beat((), write("Ada"), at(0), POLICY)
    (long,) = beat((), write("x" * 1_000_000), at(0), POLICY)
    assert len(short.truth) == len(long.truth) < 100


def test_clock_that_is_set_back_makes_nobody_rest_for_longer() -> None:
    """What seems to lie in the future is forgotten: a rest is never longer than the window."""
    beats: tuple[Beat, ...] = ()
    for _ in range(POLICY.same_max):
        beats = beat(beats, write("Ada"), at(3_600_000), POLICY)
    assert rests_until(beats, write("Ada"), at(0), POLICY) is None


def test_peer_that_puts_its_own_value_back_for_ever_is_stopped() -> None:
    """Merge puts the truth back each time, as it must; the breaker ends it after a few."""
    entity = in_step()
    beats: tuple[Beat, ...] = ()
    for number in range(1, 100):
        entity = after(entity, said(APP, version=10 * number, at=number, email="mine@x.io"))
        intent = announced(entity, APP).links[APP].intents[-1]
        if rests_until(beats, intent, at(number), POLICY) is not None:
            break
        entity = written(entity, APP, at=number)
        beats = beat(beats, intent, at(number), POLICY)
    assert len(beats) == POLICY.same_max
