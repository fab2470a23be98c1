"""What every test may need: the Hypothesis profiles, a PostgreSQL, a MariaDB."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from idsync.testing.mariadb import MariadbServer, open_mariadb
from idsync.testing.postgres import PostgresServer, open_postgres
from tests.servers import Server


def pytest_configure() -> None:
    """Load the profile that HYPOTHESIS_PROFILE names.

    "default" is quick; "all" gives the properties of merge more than 10,000 examples together; both are the same in
    every run. "full" gives as many to each, and searches anew each time.
    None watches the clock: a busy machine is not a failed property.
    """
    quick = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("default", quick, derandomize=True)
    settings.register_profile("all", quick, max_examples=2_500, derandomize=True)
    settings.register_profile("full", quick, max_examples=10_000)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_xdist_auto_num_workers() -> int:
    """Start half as many more as there are cores: tests wait for servers about as long as they compute."""
    return (os.cpu_count() or 1) * 3 // 2


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of this test session, started by the first test that asks."""
    with open_postgres() as server:
        yield server


@pytest.fixture
async def postgres_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh database, dropped after the test."""
    url = await postgres.new_database()
    yield url
    await postgres.drop_database(url)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """The MariaDB of this test session, started by the first test that asks. Such a test is `long`."""
    with open_mariadb() as server:
        yield server


@pytest.fixture
async def mariadb_url(mariadb: MariadbServer) -> AsyncIterator[str]:
    """A fresh database, dropped after the test."""
    url = await mariadb.new_database()
    yield url
    await mariadb.drop_database(url)


@pytest.fixture(params=["postgres", pytest.param("mariadb", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of them in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def server_url(server: Server) -> AsyncIterator[str]:
    """A fresh database there, dropped after the test."""
    url = await server.new_database()
    yield url
    await server.drop_database(url)
