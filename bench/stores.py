"""The stores that are measured, each with empty places for all that is measured, ready before anything runs.

PostgreSQL is a server of our own, started before the cores are shared out: it may use both of them, and what it uses is
not in the CPU time of what is measured.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from idsync.testing.postgres import PostgresServer, open_postgres

PLACES: Final = ("ingest", "line", "peers", "webhooks", "spread", "backlog")
COUNTS: Final = (1, 2, 4)
"""How many processes share one PostgreSQL."""

SIZES: Final = (10_000, 100_000, 1_000_000)
"""Stored events at which the cost of one more is measured."""
SIZE_FULL: Final = 5_000_000

Urls = Mapping[str, str]
"""What is measured → where its store is."""


class Measured(NamedTuple):
    """One store, and what must hold on it."""

    open: Callable[[Path], AbstractContextManager[Urls]]
    least_of_client: float
    """The rate of the line beside the bare client's, at least."""
    least_of_ordinary: float | None = None
    """Likewise beside the ordinary stack's; None: no bound, for that one writes to a file."""
    has_latency_bound: bool = False
    has_webhook_bounds: bool = False
    """Whether the bounds of `bench.webhooks` are for it."""
    is_server: bool = False
    """Whether it is one: then also its relay, several processes on it, and its growth are measured."""


@contextmanager
def open_files(folder: Path) -> Iterator[Urls]:
    """Name one SQLite file for each place."""
    yield {place: f"sqlite:///{folder / place}.db" for place in PLACES}


@contextmanager
def open_databases(folder: Path) -> Iterator[Urls]:  # noqa: ARG001  # the server has a folder of its own
    """Make one database for each place, on one server."""
    with open_postgres() as server:
        yield asyncio.run(_make_databases(server))


async def _make_databases(server: PostgresServer) -> Urls:
    shared = [name for count in COUNTS for name in (f"processes-{count}", f"application-{count}")]
    stored = [f"stored-{size}" for size in (*SIZES, SIZE_FULL)]
    return {place: await server.new_database() for place in (*PLACES, "application", *shared, *stored)}


STORES: Final[Mapping[str, Measured]] = {
    "sqlite": Measured(
        open_files, least_of_client=0.5, least_of_ordinary=1.2, has_latency_bound=True, has_webhook_bounds=True
    ),
    "postgres": Measured(open_databases, least_of_client=0.45, is_server=True),
}
