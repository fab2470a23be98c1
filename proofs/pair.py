"""Two peers' databases and a configuration that keeps them equal: the stage of the claims about edits on both sides."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from idsync.testing.sqlite_app import SqliteApp
from proofs import journal
from proofs.journal import APP, AUTH
from proofs.service import KEY, Service

ROOT: Final = Path(__file__).parents[1]
BETTER_AUTH: Final = ROOT / "examples" / "better-auth"
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIGURATION: Final = """
[store]
url = "{store}"
[server]
api_keys = ["{key}"]
[log]
format = "json"

[peers.auth]
connector = "better-auth"
database = "sqlite:///auth.db"

[peers.app]
connector = "sql"
database = "sqlite:///app.db"
[peers.app.user]
table = "users"
key = "id"
link = "auth_id"
fields = {{ email = "email", email_verified = "verified", name = "full_name", picture = "avatar" }}
on_ban = "flag:suspended"

[sync.user]
peers = ["auth", "app"]
lifecycle = {{ owner = "auth", others = "propagate" }}
[sync.user.fields]
email = {{ owner = "auth", group = "mail" }}
email_verified = {{ owner = "auth", group = "mail" }}
"""

# AUTOINCREMENT, so that a key in a journal names one person for ever; tests/faults has the tables that use ids again.
APP_TABLE: Final = """
CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT, auth_id TEXT UNIQUE, email TEXT UNIQUE NOT NULL,
  verified INTEGER NOT NULL DEFAULT 0, full_name TEXT, avatar TEXT, suspended INTEGER NOT NULL DEFAULT 0
)"""


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that is removed at the end, unless the block raises or asks to keep it with a file named `keep`."""
    folder = Path(tempfile.mkdtemp(prefix=f"idsync-{name}-"))
    yield folder
    if not (folder / "keep").exists():
        shutil.rmtree(folder)


class Pair:
    """Both databases, each behind applications of its own, and the service between them."""

    def __init__(
        self, folder: Path, configuration: str = "", *, store: str = "sqlite:///idsync.db", role: str = "up"
    ) -> None:
        """Write the configuration, `configuration` added; the service, which plays a role, is not started."""
        self.folder = folder
        (folder / "idsync.toml").write_text(CONFIGURATION.format(key=KEY, store=store) + configuration)
        self.service = Service(folder, role)
        self.auth = SqliteApp(folder / "auth.db")
        self.app = SqliteApp(folder / "app.db")

    def __enter__(self) -> Self:
        """Be open until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """End both applications."""
        self.auth.close()
        self.app.close()

    def open_apps(self) -> tuple[SqliteApp, SqliteApp]:
        """Two more applications, for whoever edits: those of the pair only look."""
        return SqliteApp(self.folder / "auth.db"), SqliteApp(self.folder / "app.db")

    def begin_journals(self) -> None:
        """Watch both tables; capture must be installed."""
        journal.install(self.auth, AUTH)
        journal.install(self.app, APP)

    async def until_quiet(self, within_s: float = 120.0) -> float:
        """Wait until nothing is left to be done anywhere; give the seconds that took.

        Raises:
            TimeoutError: something stayed; the message says what.
        """
        began = time.monotonic()
        calm = 0
        while calm < 2:
            left = await self._left()
            calm = calm + 1 if not left else 0
            if time.monotonic() - began > within_s:
                raise TimeoutError(f"not quiet after {within_s:.0f} s: {left}")
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def _left(self) -> dict[str, object]:
        """What is still to be done, by where."""
        stats = await self.service.get("/v1/stats")
        peers = await self.service.get("/v1/peers")
        left = {name: stats[name] for name in ("waiting", "rereads") if stats[name]}
        left |= {f"{name} {key}": n for name in ("queued", "parked", "dead") for key, n in stats[name].items() if n}
        ends = {"auth": last_captured(self.auth), "app": last_captured(self.app)}
        left |= {
            f"behind {peer['name']}": ends[peer["name"]] - (peer["position"] or 0)
            for peer in peers["items"]
            if ends[peer["name"]] != (peer["position"] or 0)
        }
        return left


def last_captured(app: SqliteApp) -> int:
    """The number of the last row that the triggers wrote."""
    found = app.run("SELECT seq FROM sqlite_sequence WHERE name = 'idsync_outbox'")
    return int(str(found[0][0])) if found else 0
