"""A real Better Auth server on an SQLite file or on PostgreSQL, started as a child and called over HTTP.

For tests, proofs and the demo. `directory` is `examples/better-auth`; its README says how its packages are
installed: nothing is downloaded here.
"""

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import aiohttp
import orjson

from idsync.errors import PeerError

ADMIN_EMAIL: Final = "admin@example.com"
ADMIN_PASSWORD: Final = "correct horse battery"  # noqa: S105 - it guards invented people only
READY_TIMEOUT_S: Final = 30.0
CALL_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0
PAGE_USERS: Final = 500
TAIL_LINES: Final = 40
LINE_BYTES_MAX: Final = 1 << 20


class CallRefused(PeerError):
    """Better Auth answered, with a status that is not 2xx.

    Attributes:
        path: the route below `/api/auth`.
        status: the HTTP status.
        code: Better Auth's own error code, "" if it gave none.
    """

    def __init__(self, path: str, status: int, code: str, printed: str) -> None:
        """Name the call, not its body. `printed`: what the server said last, "" unless it failed itself."""
        super().__init__(f"Better Auth answered {status} {code} to {path}{printed}")
        self.path, self.status, self.code = path, status, code


class SignedIn(NamedTuple):
    """A user and the bearer token of their session."""

    user_id: str
    token: str


class BetterAuthServer:
    """One server, alive inside `async with`. Its calls raise `CallRefused` unless the answer is 2xx.

    Attributes:
        url: where it listens, `http://127.0.0.1:<port>`; "" before it started.
        admin: the administrator, signed in.
        statuses: the answers so far, counted by path and HTTP status; status 0 is a call without an answer.
    """

    def __init__(self, directory: Path, database: Path | str, env: Mapping[str, str] | None = None) -> None:
        """Start nothing yet.

        Args:
            directory: `examples/better-auth`, with its packages.
            database: an SQLite file, or the address of a PostgreSQL database.
            env: more settings of the server, for one `{"FAST_HASH": "1"}`.
        """
        self.url = ""
        self.statuses: Counter[tuple[str, int]] = Counter()
        self._directory = directory
        self._env = {
            **os.environ,
            "ADMIN_EMAIL": ADMIN_EMAIL,
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "EXIT_WITH_STDIN": "1",
            "FAST_HASH": "0",
            "PORT": "0",
            **(env or {}),
            "DATABASE": database if isinstance(database, str) else str(database.absolute()),
        }
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._opened = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the server, wait until it listens, sign its administrator in.

        Raises:
            PeerError: it was not ready within 30 s; the text ends with the lines that it printed last.
        """
        async with contextlib.AsyncExitStack() as opened:
            self.url = f"http://127.0.0.1:{await self._start(opened)}"
            # No cookies: with one, Better Auth asks for an Origin header as well.
            http = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
            )
            self._http = await opened.enter_async_context(http)
            self.admin = await self.sign_in(ADMIN_EMAIL, ADMIN_PASSWORD)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the server: SIGTERM, and after 5 s SIGKILL."""
        await self._opened.aclose()

    async def sign_up(self, email: str, password: str, name: str) -> SignedIn:
        """Register a user, who is then signed in."""
        answer = await self.post("/sign-up/email", {"email": email, "password": password, "name": name})
        return SignedIn(answer["user"]["id"], answer["token"])

    async def sign_in(self, email: str, password: str) -> SignedIn:
        """Open one more session."""
        answer = await self.post("/sign-in/email", {"email": email, "password": password})
        return SignedIn(answer["user"]["id"], answer["token"])

    async def sign_out(self, token: str) -> None:
        """End this session."""
        await self.post("/sign-out", {}, token)

    async def update_user(self, token: str, fields: Mapping[str, object]) -> None:
        """Change the user's own `name` or `image`; None empties the image."""
        await self.post("/update-user", fields, token)

    async def change_email(self, token: str, email: str) -> None:
        """Change the user's own, not yet verified e-mail. To one that is taken: 2xx without effect."""
        await self.post("/change-email", {"newEmail": email}, token)

    async def create_organization(self, token: str, name: str, slug: str) -> str:
        """Found an organization, with the user as owner; returns its id."""
        answer = await self.post("/organization/create", {"name": name, "slug": slug}, token)
        return str(answer["id"])

    async def create_user(self, email: str, name: str, fields: Mapping[str, object] | None = None) -> str:
        """As administrator: create a user without a password. `fields`: more columns. Returns the id."""
        answer = await self._administer("create-user", {"email": email, "name": name, "data": fields or {}})
        return str(answer["user"]["id"])

    async def admin_update_user(self, user_id: str, fields: Mapping[str, object]) -> None:
        """As administrator: change columns of a user; no `fields` at all are refused."""
        await self._administer("update-user", {"userId": user_id, "data": fields})

    async def ban_user(self, user_id: str, reason: str | None = None, expires_in_s: int | None = None) -> None:
        """As administrator: ban a user and end their sessions. None: without end, reason "No reason"."""
        ban = {"userId": user_id, "banReason": reason, "banExpiresIn": expires_in_s}
        await self._administer("ban-user", {key: value for key, value in ban.items() if value is not None})

    async def unban_user(self, user_id: str) -> None:
        """As administrator: lift the ban."""
        await self._administer("unban-user", {"userId": user_id})

    async def remove_user(self, user_id: str) -> None:
        """As administrator: delete a user with sessions, accounts and memberships."""
        await self._administer("remove-user", {"userId": user_id})

    async def list_users(self) -> list[dict[str, Any]]:
        """As administrator: every user, by id. Pages shift while users come and go: for a server at rest."""
        users: list[dict[str, Any]] = []
        while True:
            query: dict[str, str | int] = {"limit": PAGE_USERS, "offset": len(users), "sortBy": "id"}
            page = await self._call("GET", "/admin/list-users", self.admin.token, params=query)
            users += page["users"]
            if len(page["users"]) < PAGE_USERS:
                return users

    async def post(self, path: str, body: Mapping[str, object], token: str = "") -> dict[str, Any]:
        """Call any route below `/api/auth`, as the user of `token`; returns the answer's JSON.

        Raises:
            CallRefused: the answer is not 2xx.
            PeerError: no answer came within 30 s, or the connection broke.
        """
        return await self._call("POST", path, token, json=body)

    async def _administer(self, route: str, body: Mapping[str, object]) -> dict[str, Any]:
        return await self.post(f"/admin/{route}", body, self.admin.token)

    async def _call(
        self,
        method: str,
        path: str,
        token: str,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> dict[str, Any]:
        url = f"{self.url}/api/auth{path}"
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._http.request(method, url, json=json, params=params, headers=headers) as answer:
                status, body = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[path, 0] += 1
            raise PeerError(f"no answer to {path}: {type(error).__name__}{self._printed()}") from error
        self.statuses[path, status] += 1
        answered: dict[str, Any] = orjson.loads(body or b"{}") or {}
        if not 200 <= status < 300:
            printed = self._printed() if status >= 500 else ""
            raise CallRefused(path, status, str(answered.get("code", "")), printed)
        return answered

    async def _start(self, opened: contextlib.AsyncExitStack) -> int:
        """Start Node, to be ended when `opened` closes. Returns the port once it listens."""
        process = await self._spawn()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(self._read_output(process, port))
        opened.push_async_callback(_end, process, reading)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                return await port
        except TimeoutError as error:
            raise PeerError(f"not ready in {READY_TIMEOUT_S:.0f} s{self._printed()}") from error

    async def _spawn(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                "node",
                "server.mjs",
                cwd=self._directory,
                env=self._env,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                limit=LINE_BYTES_MAX,
            )
        except OSError as error:
            raise PeerError(f"cannot start node in {self._directory}: {error.strerror}") from error

    async def _read_output(self, process: Process, port: asyncio.Future[int]) -> None:
        """Keep the last lines, so that the pipe never fills; the ready line settles `port`."""
        assert process.stdout is not None, "it was started with a pipe"
        async for line in process.stdout:
            self._tail.append(line.decode(errors="replace").rstrip())
            if not port.done() and line.startswith(b'{"ready"'):
                port.set_result(orjson.loads(line)["port"])
        if not port.done():
            port.set_exception(PeerError(f"ended before it was ready{self._printed()}"))

    def _printed(self) -> str:
        return "; Better Auth printed last:\n" + "\n".join(self._tail)


async def _end(process: Process, reading: asyncio.Task[None]) -> None:
    """Ask the server to stop, after 5 s make it, and read its output to the end."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    await reading
