"""Documents that the service keeps for itself: by name, by prefix, compared before they are replaced, or in a plan."""

import asyncio
from itertools import groupby
from typing import Final

import msgspec

from idsync.model.plan import REVISION, Committed, EntityWrite, Fenced, Plan, Redo, Settle, Wait
from idsync.ports import Store
from idsync.testing.store_suite.samples import HOSTILE_TEXTS, Check, begin, person, row

ROUNDS: Final = 10
WRITERS: Final = 8


async def settings_are_found_by_the_beginning_of_their_names(store: Store) -> None:
    """In the order of names; no character of a prefix stands for others, and case counts."""
    line = await begin(store)
    names = ["a", "a%", "a%b", "a_", "a_b", "aXb", "a\U0001f600", "b", "A"]
    await line.commit(Plan(epoch=0, settings={name: name.encode() for name in names}))
    for prefix in ("a", "a%", "a_", "a_b", "aX", "A", "b", "c", "%", "_", "a\U0001f600"):
        found = await store.settings(prefix)
        assert list(found.items()) == [(name, name.encode()) for name in sorted(names) if name.startswith(prefix)]
    assert list(await store.settings("")) == sorted(names)


async def hostile_names_are_found_by_themselves(store: Store) -> None:
    """Whatever stands in a name, before or after where it is cut."""
    await begin(store)
    for text in HOSTILE_TEXTS[:-1]:
        assert await store.put_setting(f"{text}:{text}", b"value", None)
        assert await store.settings(f"{text}:") == {f"{text}:{text}": b"value"}
        assert await store.put_setting(f"{text}:{text}", None, b"value")
        assert not await store.settings("")


async def setting_is_written_only_where_what_was_expected_is_there(store: Store) -> None:
    """Else it stays as it is; None expects nothing, and an empty value is a value."""
    await begin(store)
    assert not await store.put_setting("name", b"new", b"old")
    assert not await store.put_setting("name", None, b"")
    assert await store.setting("name") is None
    assert await store.put_setting("name", b"", None)
    assert not await store.put_setting("name", b"new", None)
    assert not await store.put_setting("name", None, None)
    assert await store.setting("name") == b""
    assert await store.put_setting("name", b"new", b"")
    assert not await store.put_setting("name", b"newer", b"")
    assert await store.setting("name") == b"new"


async def setting_is_removed(store: Store) -> None:
    """With an expectation or without; it says whether it holds, not whether anything was there."""
    await begin(store)
    await store.put_setting("name", b"value")
    assert not await store.put_setting("name", None, b"other")
    assert await store.put_setting("name", None, b"value")
    assert await store.put_setting("name", None)
    assert await store.put_setting("name", None, None)
    assert await store.setting("name") is None


async def one_of_many_who_expect_the_same_writes(store: Store) -> None:
    """Whatever was there, and whatever they make of it: each round has one winner, and its value stays."""
    await begin(store)
    expected: bytes | None = None
    for turn in range(ROUNDS):
        values = [f"{turn}-{writer}".encode() for writer in range(WRITERS)]
        results = await asyncio.gather(*(store.put_setting("name", value, expected) for value in values))
        assert sum(results) == 1, results
        expected = await store.setting("name")
        assert expected == values[results.index(True)]
    results = await asyncio.gather(*(store.put_setting("name", None, expected) for _ in range(WRITERS)))
    assert sum(results) == 1, results


async def plan_keeps_its_settings(store: Store) -> None:
    """With all else of it; None removes one."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, inbox=(row("e1"),), settings={"gone": b"1", "kept": b"2", "moved": b"3"}))
    await line.commit(Plan(epoch=0, settings={"gone": None, "never": None, "moved": b"4"}))
    assert await store.settings("") == {"kept": b"2", "moved": b"4"}


async def plan_that_is_not_written_keeps_no_setting(store: Store) -> None:
    """Neither one that must be redone nor one that is fenced."""
    line = await begin(store)
    await line.accept(row("e1"))
    await store.put_setting("old", b"1")
    settings = {"old": None, "new": b"2"}
    assert isinstance(await line.try_commit(Plan(epoch=0, inbox=(row("e1"),), settings=settings)), Redo)
    moved = EntityWrite(person(1, rev=2), 1)
    assert isinstance(await line.try_commit(Plan(epoch=0, entities=(moved,), settings=settings)), Redo)
    assert isinstance(await line.try_commit(Plan(epoch=0, fences={"lane:1": 7}, settings=settings)), Fenced)
    assert await store.settings("") == {"old": b"1"}


async def plans_that_keep_the_same_settings_are_all_written(store: Store) -> None:
    """Whatever the order in which each names them: the last one counts, for all of them."""
    line = await begin(store)
    names = [f"n{number}" for number in range(6)]
    orders = [names, names[::-1]]
    plans = [
        Plan(epoch=0, settings=dict.fromkeys(orders[turn % 2], b"%d" % turn if turn % 3 else None))
        for turn in range(20)
    ]
    await asyncio.gather(*(line.commit(plan) for plan in plans))
    assert len(set((await store.settings("")).values())) <= 1


async def plan_that_was_routed_by_what_has_moved_is_redone(store: Store) -> None:
    """Whatever it writes: events, or the end of a waiting arrival. One that was not routed is nothing to it."""
    line = await begin(store)
    waiting = (await line.commit(Plan(epoch=0, inbox=(row("w"),), waits=(Wait(row=0, reason="later"),)))).inbox[0]
    known: bytes = b""
    for turn, moved in enumerate((b"1", b"2", b"1")):
        kept: dict[str, bytes | None] = {REVISION: moved, "kept": b"%d" % turn}
        await line.commit(Plan(epoch=0, routes=known, inbox=(row(f"e{turn}"),)))
        # Who moves it is held to what it knows, too, and not to what it makes of it.
        await line.commit(Plan(epoch=0, routes=known, inbox=(row(f"f{turn}"),), settings=kept))
        settle = Settle(seq=waiting, row=row("w"))
        for plan in (
            Plan(epoch=0, inbox=(row("late"),)),
            Plan(epoch=0, inbox=(row("late"), row(f"e{turn}")), settings={"kept": b"no", REVISION: b"no"}),
            Plan(epoch=0, settles=(settle,)),
            Plan(epoch=0, inbox=(row("late"),), settles=(settle,)),
        ):
            assert await line.try_commit(msgspec.structs.replace(plan, routes=known)) == Redo(routes=True)
        assert not await line.is_known(row("late"))
        assert await store.settings("") == kept
        await line.commit(Plan(epoch=0, inbox=(row(f"g{turn}"),)))
        known = moved
    await line.commit(Plan(epoch=0, routes=known, settles=(Settle(seq=waiting, row=row("w")),)))


async def repeated_event_is_told_from_a_change_of_the_routes(store: Store) -> None:
    """By its key: it is known whatever the routes are."""
    line = await begin(store)
    await line.commit(Plan(epoch=0, routes=b"", inbox=(row("e1"),), settings={REVISION: b"1"}))
    result = await line.try_commit(Plan(epoch=0, routes=b"1", inbox=(row("e1"),)))
    assert result == Redo(inbox=frozenset({(row("e1").peer, "e1")}))


async def no_plan_passes_a_change_of_the_routes(store: Store) -> None:
    """What is there when the change is there is all that was routed by what it changed; sequences tell it, too."""
    line = await begin(store)
    known, is_over, seen = b"", False, dict[bytes, set[str]]()

    async def route(writer: int) -> None:
        number = 0
        while not is_over:
            number, routes = number + 1, known
            event = row(f"{routes.decode()}:{writer}:{number}")
            result = await line.try_commit(Plan(epoch=0, routes=routes, inbox=(event,)))
            assert isinstance(result, Committed) or result == Redo(routes=True)
            await asyncio.sleep(0)

    routing = [asyncio.ensure_future(route(writer)) for writer in range(WRITERS)]
    for turn in range(ROUNDS):
        moved = b"%d" % turn
        await line.commit(Plan(epoch=0, inbox=(row(f"{moved.decode()}:begin"),), settings={REVISION: moved}))
        seen[known] = {one.row.id for one in await store.recent(0, 10_000)}
        known = moved
        await asyncio.sleep(0.02)  # nothing to wait for: the writers are to have a turn
    is_over = True
    await asyncio.gather(*routing)
    entries = [one.row.id for one in await store.recent(0, 10_000)]
    for routes, there in seen.items():
        assert {one for one in entries if one.startswith(f"{routes.decode()}:")} <= there
    turns = [one.partition(":")[0] for one in entries]
    assert [turn for turn, _ in groupby(turns)] == sorted(set(turns), key=lambda turn: int(turn or -1))


CHECKS: Final[tuple[Check, ...]] = (
    settings_are_found_by_the_beginning_of_their_names,
    hostile_names_are_found_by_themselves,
    setting_is_written_only_where_what_was_expected_is_there,
    setting_is_removed,
    one_of_many_who_expect_the_same_writes,
    plan_keeps_its_settings,
    plan_that_is_not_written_keeps_no_setting,
    plans_that_keep_the_same_settings_are_all_written,
    plan_that_was_routed_by_what_has_moved_is_redone,
    repeated_event_is_told_from_a_change_of_the_routes,
    no_plan_passes_a_change_of_the_routes,
)
