"""Opening: what stands in its way is told without a secret; texts and bodies come back as they were."""

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.errors import StoreError
from idsync.model.plan import InboxRow
from idsync.stores.postgres import PostgresStore, open_store
from idsync.stores.postgres.db import _to_row, to_argument
from idsync.stores.postgres.lanes import BODIES_BYTES_MAX, BODIES_MAX, Bodies
from idsync.stores.postgres.pool import place_of
from idsync.testing.postgres import PostgresServer
from idsync.testing.store_suite.samples import begin, row


async def test_database_that_is_not_in_utf8_is_refused(postgres: PostgresServer) -> None:
    """Half of the world's names would not fit into it."""
    connection = await asyncpg.connect(postgres.url())
    await connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    await connection.close()
    with pytest.raises(StoreError, match="not in UTF-8"):
        await open_store(postgres.url("latin"))
    await postgres.drop_database(postgres.url("latin"))


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("postgresql://postgres:hunter2@127.0.0.1:1/x?sslmode=disable", "it cannot be reached"),
        ("postgresql://postgres:hunter2@127.0.0.1:{port}/missing", "create the database first"),
        ("postgresql://nobody_here:hunter2@127.0.0.1:{port}/postgres", "check the user"),
    ],
)
async def test_database_that_cannot_be_used_is_named_without_its_password(
    postgres: PostgresServer, url: str, advice: str
) -> None:
    """The message says what to do, and nothing secret."""
    with pytest.raises(StoreError, match=advice) as refused:
        await open_store(url.format(port=postgres.port))
    assert "hunter2" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


def test_place_names_host_and_database_only() -> None:
    """Neither user, password nor options."""
    assert (
        place_of("postgresql://user:p%40ss@db.example.com:5432/idsync?password=x")
        == "postgresql://db.example.com:5432/idsync"
    )


@given(texts=st.lists(st.text(st.sampled_from("a\x00\x10\x11\x12é")), min_size=1))
def test_every_text_comes_back_as_it_was(texts: list[str]) -> None:
    """PostgreSQL keeps no NUL: it is written by two other characters, and read as it was."""
    written = to_argument(texts)
    assert not any("\x00" in one for one in written)
    assert list(_to_row(written)) == texts
    assert [_to_row([to_argument(one)])[0] for one in texts] == texts


def test_bodies_in_memory_are_bounded_by_number_and_size() -> None:
    """The oldest go first."""
    bodies = Bodies()
    bodies.keep((number, row("e", body=b"x")) for number in range(BODIES_MAX + 5))
    assert bodies.find(4) is None
    assert bodies.find(5) is not None
    bodies.keep([(BODIES_MAX + 5, row("e", body=bytes(BODIES_BYTES_MAX)))])
    assert bodies.find(BODIES_MAX + 4) is None
    assert _body(bodies, BODIES_MAX + 5) == bytes(BODIES_BYTES_MAX)


def test_newer_body_of_an_event_replaces_the_older() -> None:
    """A waiting arrival that is settled goes out with other bytes than it came with."""
    bodies = Bodies()
    bodies.keep([(1, row("e", body=b"old"))])
    bodies.keep([(1, row("e", body=b"new"))])
    assert _body(bodies, 1) == b"new"
    bodies.forget(1)
    assert bodies.find(1) is None


def _body(bodies: Bodies, seq: int) -> bytes:
    found = bodies.find(seq)
    assert found is not None
    return found[2]


async def test_another_process_reads_what_it_has_no_body_of(store: PostgresStore, other: PostgresStore) -> None:
    """From memory or from the database: the same delivery."""
    line = await begin(store)
    sent: InboxRow = row("e1", body=b"body")
    await line.accept(sent)
    here = await line.read(line.audit[0].id)
    there = await (await begin(other)).read(line.audit[0].id)
    assert here == there
    assert there.deliveries[0].body == b"body"
