"""The claim of proofs/postgres/mariadb.py in a few seconds, also across crashes; and that the harness can tell."""

import pytest

from idsync.connectors.sql_mysql import source
from idsync.testing.mariadb import MariadbServer
from proofs.postgres.mariadb import compare, relay_by_cursor, relay_what_is_visible

pytestmark = pytest.mark.long

LOAD_S = 3.0


@pytest.mark.parametrize("crashes", [0, 2])
async def test_sixteen_writers_lose_repeat_and_invert_nothing(mariadb: MariadbServer, crashes: int) -> None:
    """Random lengths, savepoints, rollbacks; the server is also killed in between."""
    verdict = await compare(mariadb, relay_what_is_visible, LOAD_S, crashes=crashes)
    assert verdict.committed > 100
    assert (verdict.lost, verdict.duplicated, verdict.inverted) == (0, 0, 0)


async def test_cursor_on_the_number_loses(mariadb: MariadbServer) -> None:
    """The ablation: what most relays do."""
    assert (await compare(mariadb, relay_by_cursor, LOAD_S)).lost > 0


async def test_deleting_whatever_lies_between_two_rows_that_were_read_loses(
    mariadb: MariadbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of transactions that were under way are among them."""
    real = source._spans_of

    def careless(seqs: list[int]) -> tuple[tuple[int, int], ...]:
        spans = real(seqs)
        return ((spans[0][0], spans[-1][1]),) if spans else ()

    monkeypatch.setattr(source, "_spans_of", careless)
    monkeypatch.setattr("proofs.postgres.relay.CATCH_UP_S", 2.0)
    assert (await compare(mariadb, relay_what_is_visible, LOAD_S)).lost > 0
