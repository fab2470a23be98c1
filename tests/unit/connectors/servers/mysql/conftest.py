"""What is asked of MariaDB alone."""

import pytest

from idsync.testing.mariadb import MariadbServer


@pytest.fixture
def server(mariadb: MariadbServer) -> MariadbServer:
    """Where the application has its database."""
    return mariadb
