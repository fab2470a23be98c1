"""The claim of proofs/postgres/relay.py in a few seconds, also across crashes; and that the harness can tell."""

import msgspec
import pytest

from idsync.connectors.sql_postgres import source
from idsync.connectors.sql_postgres.mark import Edge
from idsync.testing.postgres import PostgresServer
from proofs.postgres.relay import compare, relay_by_cursor, relay_by_snapshots

LOAD_S = 3.0


@pytest.mark.parametrize("crashes", [0, 2])
async def test_sixteen_writers_lose_repeat_and_invert_nothing(postgres: PostgresServer, crashes: int) -> None:
    """Random lengths, savepoints, rollbacks; the server is also stopped at once in between."""
    verdict = await compare(postgres, relay_by_snapshots, LOAD_S, crashes=crashes)
    assert verdict.committed > 100
    assert (verdict.lost, verdict.duplicated, verdict.inverted) == (0, 0, 0)


async def test_cursor_on_the_number_loses(postgres: PostgresServer) -> None:
    """The ablation: what most relays do."""
    assert (await compare(postgres, relay_by_cursor, LOAD_S)).lost > 0


async def test_taking_a_snapshots_end_for_the_first_to_begin_loses(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot ends with the newest transaction that was over: some that began later were under way."""
    real = source._edge_of

    def careless(*state: object) -> Edge:
        edge = real(*state)  # type: ignore[arg-type]  # handed on as it came
        return msgspec.structs.replace(edge, end=int(edge.snapshot.split(":")[1]))

    monkeypatch.setattr(source, "_edge_of", careless)
    monkeypatch.setattr("proofs.postgres.relay.CATCH_UP_S", 2.0)
    assert (await compare(postgres, relay_by_snapshots, LOAD_S)).lost > 0
