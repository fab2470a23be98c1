"""An application's connections to a database, whichever server it is on."""

from typing import Any, TypeAlias

import asyncmy
import asyncpg

from idsync.testing.mariadb import MariadbServer, run_script, run_sql
from idsync.testing.postgres import PostgresServer

Server: TypeAlias = PostgresServer | MariadbServer


class PostgresApp:
    """One connection of an application to PostgreSQL."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", url: str) -> None:
        self.connection = connection
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[Any]]:
        """Run one statement and give its rows."""
        return [list(row.values()) for row in await self.connection.fetch(sql, *values)]

    async def script(self, sql: str) -> None:
        """Run many statements."""
        await self.connection.execute(sql)

    async def close(self) -> None:
        """End the connection."""
        await self.connection.close()


class MariadbApp:
    """One connection of an application to MariaDB."""

    def __init__(self, connection: asyncmy.Connection, url: str) -> None:
        self.connection = connection
        self.url = url

    async def run(self, sql: str, *values: object) -> list[list[Any]]:
        """Run one statement and give its rows."""
        return [list(row) for row in await run_sql(self.connection, sql, *values)]

    async def script(self, sql: str) -> None:
        """Run many statements, each on lines of its own."""
        await run_script(self.connection, sql)

    async def close(self) -> None:
        """End the connection."""
        self.connection.close()


App: TypeAlias = PostgresApp | MariadbApp


async def connect_app(server: Server, url: str) -> App:
    """Open a connection to a database; names may stand in double quotes."""
    if isinstance(server, PostgresServer):
        return PostgresApp(await asyncpg.connect(url), url)
    app = MariadbApp(await server.connect(url.rpartition("/")[2]), url)
    await app.run("SET sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')")
    return app
