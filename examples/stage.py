"""What both examples share: a folder with an application's database, a configuration, and a running idsync."""

import fcntl
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / "playground"
IDSYNC = str(Path(sys.executable).with_name("idsync"))

CONFIGURATION = """\
[store]
url = "sqlite:///idsync.db"

[server]
listen = "127.0.0.1:{port}"
api_keys = ["file:api-key"]

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
fields = {{ email = "email", email_verified = "verified", name = "full_name", roles = "role" }}
on_delete = "soft:deleted_at"
on_ban = "flag:suspended"

[sync.user]
peers = ["auth", "app"]
lifecycle = {{ owner = "auth", others = "unlink" }}
[sync.user.fields]
email = {{ owner = "auth", group = "mail" }}
email_verified = {{ owner = "auth", group = "mail" }}
name = {{ rule = "newest" }}
roles = {{ owner = "auth" }}
"""

APP_TABLE = """
CREATE TABLE users (
  id INTEGER PRIMARY KEY, auth_id TEXT UNIQUE, email TEXT UNIQUE NOT NULL, verified INTEGER NOT NULL DEFAULT 0,
  full_name TEXT, role TEXT, suspended INTEGER NOT NULL DEFAULT 0, deleted_at TEXT
)"""


def prepare() -> None:
    """Begin with an empty folder: the application's table, a configuration, a key for the API.

    Raises:
        SystemExit: a service works in the folder: nobody takes it from under it.
    """
    if _is_in_use():
        raise SystemExit("playground/ is in use: stop the other `make run` or `make demo` first, with Ctrl-C.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with closing(sqlite3.connect(FOLDER / "app.db")) as app:
        app.executescript(APP_TABLE)
    (FOLDER / "api-key").write_text(secrets.token_urlsafe(24))
    (FOLDER / "idsync.toml").write_text(CONFIGURATION.format(port=_port(8787)))


def _is_in_use() -> bool:
    """Whether a service holds the store of the folder."""
    with suppress(FileNotFoundError), (FOLDER / "idsync.db.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _port(wanted: int) -> int:
    """The usual port, or a free one where it is taken."""
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def start_idsync() -> "subprocess.Popen[bytes]":
    """Install the triggers, then start the service; it prints its URL and what happens, as it happens."""
    subprocess.run([IDSYNC, "capture", "install"], cwd=FOLDER, check=True)
    idsync = subprocess.Popen([IDSYNC, "up", "--watch"], cwd=FOLDER)
    while not is_ready() and idsync.poll() is None:
        time.sleep(0.02)
    return idsync


def is_ready() -> bool:
    """Whether the service answers that every part of it runs."""
    listen = tomllib.loads((FOLDER / "idsync.toml").read_text())["server"]["listen"]
    with suppress(OSError), urllib.request.urlopen(f"http://{listen}/readyz", timeout=1) as answer:
        return bool(answer.status == HTTPStatus.OK)
    return False


def execute(database: str, sql: str, *values: object) -> None:
    """Edit a database as its own application would, in a transaction of its own."""
    with closing(sqlite3.connect(FOLDER / database, timeout=10)) as connection, connection:
        connection.execute(sql, values)


def find(database: str, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Look into a database from outside."""
    with closing(sqlite3.connect(FOLDER / database, timeout=10)) as connection:
        return connection.execute(sql, values).fetchall()


def expect(what: str, check: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait until something is seen on the other side, and say how long that took.

    Raises:
        SystemExit: it was not seen in time.
    """
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > within_s:
            raise SystemExit(f"NOT seen within {within_s:.0f} s: {what}")
        time.sleep(0.002)
    print(f"seen after {(time.monotonic() - began) * 1000:.0f} ms: {what}", flush=True)


def stay(idsync: "subprocess.Popen[bytes]", hint: str) -> None:
    """Leave everything running until Ctrl-C, or until the service ends by itself."""
    print(hint, flush=True)
    try:
        idsync.wait()
    except KeyboardInterrupt:
        idsync.wait()
