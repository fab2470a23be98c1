"""What is asked of PostgreSQL alone."""

import pytest

from idsync.testing.postgres import PostgresServer


@pytest.fixture
def server(postgres: PostgresServer) -> PostgresServer:
    """Where the application has its database."""
    return postgres
