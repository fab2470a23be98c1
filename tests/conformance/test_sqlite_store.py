"""The SQLite store keeps the contract of every Store, in a file and in memory."""

import inspect
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from idsync.model.entity import Action, Entity, Field, Hold, Intent, Link, LinkState, Shadow, Stamp, Tombstone
from idsync.model.event import Version
from idsync.model.values import EntityId, ExternalId, Instant, PeerName, Value
from idsync.stores.sqlite import SqliteStore, open_store
from idsync.testing import store_suite
from idsync.testing.store_suite import CHECKS, DURABLE_CHECKS, Check, DurableCheck
from idsync.testing.store_suite.directory import check_round_trip
from idsync.testing.store_suite.samples import Line, begin


class SqliteRig:
    """A store in a file; a killed process leaves the database and its log as they are at that moment."""

    def __init__(self, path: Path, store: SqliteStore) -> None:
        """Begin with an open store."""
        self.path = path
        self.store = store
        self.opened = [store]

    async def reopen(self) -> SqliteStore:
        """Close and open the same file."""
        await self.store.close()
        return await self._open(self.path)

    async def crash(self) -> SqliteStore:
        """Open a copy of what is in the files now, without a word to the process that has them open."""
        copy = self.path.with_name(f"crashed-{self.path.name}")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self.path}{suffix}", f"{copy}{suffix}")
        return await self._open(copy)

    async def read_at_rest(self) -> bytes:
        """The database and its log."""
        return self._read_files()

    def _read_files(self) -> bytes:
        return b"".join(Path(f"{self.path}{suffix}").read_bytes() for suffix in ("", "-wal"))

    async def _open(self, path: Path) -> SqliteStore:
        self.store = await open_store(path)
        self.opened.append(self.store)
        return self.store


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty store of each kind."""
    opened = await open_store(tmp_path / "idsync.db" if request.param == "file" else ":memory:")
    yield opened
    await opened.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    """An empty store that can end; one in memory ends with its process, so only a file is put through this."""
    made = SqliteRig(tmp_path / "idsync.db", await open_store(tmp_path / "idsync.db"))
    yield made
    for opened in made.opened:
        await opened.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_store_keeps_the_contract(check: Check, store: SqliteStore) -> None:
    """Each check of the suite passes."""
    await check(store)


@pytest.mark.parametrize("check", DURABLE_CHECKS, ids=lambda check: check.__name__)
async def test_file_keeps_the_contract_of_what_lasts(check: DurableCheck, rig: SqliteRig) -> None:
    """Each check of the suite that ends the store passes."""
    await check(rig)


def test_suite_lists_every_check_it_has() -> None:
    """A check that is written but not listed would never run."""
    modules = [part for _, part in inspect.getmembers(store_suite, inspect.ismodule)]
    written = {one.__name__ for module in modules for one in _checks_in(module)}
    listed = [one.__name__ for one in (*CHECKS, *DURABLE_CHECKS)]
    assert len(listed) == len(set(listed))
    assert written - {"begin", "check_round_trip"} == set(listed)
    assert len(listed) >= 40


def _checks_in(module: ModuleType) -> list[Callable[..., object]]:
    coroutines = inspect.getmembers(module, inspect.iscoroutinefunction)
    return [one for name, one in coroutines if not name.startswith("_") and one.__module__ == module.__name__]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
INSTANTS = st.integers(0, 253_402_300_799_999).map(Instant)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Value] = st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS | st.lists(TEXTS, max_size=3)
PEERS = st.sampled_from(["auth", "app", "cms"]).map(PeerName)
NAMED_VALUES = st.dictionaries(TEXTS, VALUES, max_size=4)
FIELDS = st.dictionaries(
    TEXTS, st.builds(Field, VALUES, st.builds(Stamp, INSTANTS, INTEGERS, TEXTS), PEERS), max_size=4
)
EXTERNAL_IDS = TEXTS.map(ExternalId)
VERSIONS = st.builds(Version, TEXTS, TEXTS, INTEGERS)
INTENTS = st.builds(
    Intent,
    id=TEXTS,
    action=st.sampled_from(Action),
    epoch=INTEGERS,
    version=INTEGERS,
    fields=NAMED_VALUES,
    external_id=st.none() | EXTERNAL_IDS,
    expires_at=INSTANTS,
    seen_at=INSTANTS,
)
LINKS = st.builds(
    Link,
    state=st.sampled_from(LinkState),
    external_id=st.none() | EXTERNAL_IDS,
    version=st.none() | VERSIONS,
    event_at=INSTANTS,
    rev=INTEGERS,
    shadow=st.dictionaries(TEXTS, st.builds(Shadow, VALUES, VALUES, INSTANTS), max_size=3),
    intents=st.lists(INTENTS, max_size=2).map(tuple),
    confirmed_at=INSTANTS,
    former=st.lists(EXTERNAL_IDS, max_size=2).map(tuple),
)
ENTITIES = st.builds(
    Entity,
    id=st.just(EntityId("")),
    kind=TEXTS,
    version=st.integers(0, 2**62),
    rev=st.integers(0, 2**62),
    incarnation=INTEGERS,
    fields=FIELDS,
    links=st.dictionaries(PEERS, LINKS, max_size=3),
    holds=st.dictionaries(TEXTS, st.builds(Hold, INSTANTS, st.dictionaries(PEERS, FIELDS, max_size=2)), max_size=2),
    deleted=st.none() | st.builds(Tombstone, INSTANTS, PEERS, TEXTS),
    created_at=INSTANTS,
    updated_at=INSTANTS,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_line() -> AsyncIterator[Line]:
    """One store for every example of a property: each writes under an id and a kind of its own."""
    opened = await open_store(":memory:")
    yield await begin(opened)
    await opened.close()


@pytest.mark.asyncio(loop_scope="module")
@given(entity=ENTITIES)
async def test_entity_is_read_as_it_was_written(shared_line: Line, entity: Entity) -> None:
    """Whatever an entity holds survives, missing apart from null apart from empty."""
    fresh = str(uuid4())
    one = msgspec.structs.replace(entity, id=EntityId(fresh), kind=entity.kind + fresh)
    await check_round_trip(shared_line, one)
