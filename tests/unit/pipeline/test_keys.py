"""One key of an endpoint: nothing of it overtakes anything of it, whatever happens to the first."""

from hypothesis import given
from hypothesis import strategies as st

from idsync.model.delivery import Delivery, Parked, ParkedState
from idsync.model.values import Instant, Subject
from idsync.pipeline.sending.keys import Key, KeyPhase

WINDOW = 4


def delivery(number: int) -> Delivery:
    """The number-th delivery of the key."""
    return Delivery(id=number, lane=1, subject=Subject("user/a"), event=number, version=number)


def parked(number: int) -> Parked:
    """The same delivery as a parked row."""
    return Parked(
        id=number,
        destination="endpoint:e",
        lane=1,
        subject=Subject("user/a"),
        event=number,
        version=number,
        event_id=str(number),
        event_type="user.updated",
        body=b"",
        reason="behind",
        attempts=0,
        retry_at=None,
        state=ParkedState.PARKED,
        parked_at=Instant(0),
        first_at=Instant(0),
    )


def phase_of(key: Key) -> KeyPhase:
    """Look at the phase anew: the type checker does not know that a call may change it."""
    return key.phase


def test_deliveries_of_a_key_are_taken_one_after_the_other() -> None:
    """The second waits until the first needs nothing more."""
    key = Key()
    assert key.add(delivery(1), WINDOW)
    assert key.add(delivery(2), WINDOW)
    assert key.current.id == 1
    key.advance()
    assert (key.current.id, key.phase) == (2, KeyPhase.ACTIVE)
    key.advance()
    assert key.phase is KeyPhase.EMPTY


def test_what_follows_a_failed_one_is_parked_behind_it() -> None:
    """The lane moves on, and the key keeps its order."""
    key = Key()
    for number in (1, 2, 3):
        key.add(delivery(number), WINDOW)
    assert [one.id for one in key.hold(parked(1))] == [2, 3]
    assert phase_of(key) is KeyPhase.WAITING
    assert not key.add(delivery(4), WINDOW)
    key.wake()
    key.advance()
    assert phase_of(key) is KeyPhase.REFILLING
    key.refill([parked(2), parked(3)])
    assert (key.current.id, key.spilled) == (2, 1)


def test_a_key_beyond_its_window_spills() -> None:
    """One hot identity does not fill the memory, nor hold up its lane."""
    key = Key()
    taken = [key.add(delivery(number), WINDOW) for number in range(1, 7)]
    assert taken == [True] * 4 + [False] * 2
    assert key.spilled == 2


def test_a_revived_row_goes_before_what_came_later() -> None:
    """An operator's requeue does not put old news after new."""
    key = Key()
    key.add(delivery(5), WINDOW)
    key.hold(parked(5))
    key.revive(parked(2))
    assert (key.current.id, key.spilled) == (2, 1)


STEPS = st.lists(st.sampled_from(["add", "good", "bad", "dead", "refill"]), max_size=60)


@given(steps=STEPS)
def test_a_key_delivers_everything_once_and_in_order(steps: list[str]) -> None:
    """Whatever fails, spills and is read again: every delivery leaves the key once, in the order it came."""
    key, store, left, count = Key(), [], [], 0
    for step in [*steps, *(["refill", "good"] * 100)]:
        if step == "add":
            count += 1
            if not key.add(delivery(count), WINDOW):
                store.append(count)
        elif step == "refill" and key.phase is KeyPhase.REFILLING:
            rows = sorted(store)[:WINDOW]
            store = sorted(store)[WINDOW:]
            key.refill([parked(number) for number in rows])
        elif key.phase in {KeyPhase.ACTIVE, KeyPhase.WAITING}:
            key.wake()
            if step == "bad":
                in_memory = [item.id for item in key.items if isinstance(item, Parked)]
                spilled = key.hold(parked(key.current.id))
                store += [one.id for one in spilled] + in_memory[(isinstance(key.current, Parked) and 1) or 0 :]
                store = sorted(set(store) - {key.current.id})
            elif step in {"good", "dead"}:
                left.append(key.current.id)
                key.advance()
    assert left == list(range(1, count + 1))
    assert key.phase is KeyPhase.EMPTY
