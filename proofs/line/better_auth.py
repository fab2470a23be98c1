"""Claim 2: a real Better Auth server and an application's table, both in use, kept equal without disturbing either.

People sign up, change, are banned and are removed over Better Auth's HTTP API, while the application edits its table.
"""

import asyncio
import math
import random
import sys
from collections.abc import Sequence
from typing import Final

from idsync.testing.better_auth import BetterAuthServer, SignedIn
from idsync.testing.sqlite_app import SqliteApp
from proofs import journal
from proofs.claims import Row, count
from proofs.edits import Names
from proofs.journal import APP, AUTH
from proofs.judge import (
    OTHER,
    PEERS,
    UNIQUE,
    Evidence,
    Journals,
    differences,
    excess_writes,
    gaps_of_journals,
    is_note,
    read_store,
)
from proofs.pair import APP_TABLE, BETTER_AUTH, Pair, scratch
from proofs.service import run_command
from proofs.watcher import Watcher

SEED: Final = 20260102
SIGN_UPS: Final = 200
CLIENTS: Final = 4
APP_EDITS: Final = 200
APP_PAUSE_MAX_S: Final = 0.06
STEPS: Final = {"update": 50, "ban": 15, "unban": 8, "remove": 10}
"""What each client does beside signing people up."""
REFUSED_FROM: Final = 300
SHOWN_MAX: Final = 12


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # the short form is the full one
    """Use both sides at once, wait for quiet, judge."""
    with scratch("better-auth") as folder, Pair(folder) as pair:
        pair.app.run_script(APP_TABLE)
        async with BetterAuthServer(BETTER_AUTH, folder / "auth.db", {"FAST_HASH": "1"}) as server:
            status = await run_command(folder, "capture", "install")
            assert status == 0, f"capture install ended with {status}: see service.log"
            pair.begin_journals()
            await pair.service.start()
            await pair.service.is_ready()
            try:
                with Watcher(folder / "auth.db") as auth, Watcher(folder / "app.db") as app:
                    await _use_both(pair, server)
                    await pair.until_quiet()
                await pair.service.stop()
            finally:
                await pair.service.kill()
            seen_at_ms = {AUTH.peer: auth.seen_at_ms(), APP.peer: app.seen_at_ms()}
        return _judge(pair, server, seen_at_ms)


async def _use_both(pair: Pair, server: BetterAuthServer) -> None:
    names, chance = Names(), random.Random(SEED)
    clients = [_Client(server, names, random.Random(chance.random())).run() for _ in range(CLIENTS)]
    auth, app = pair.open_apps()
    auth.close()
    editing = _Application(app, names, random.Random(chance.random())).run()
    try:
        await asyncio.gather(*clients, editing)
    finally:
        app.close()


class _Client:
    """One client of Better Auth's API; it knows only the people that it signed up itself."""

    def __init__(self, server: BetterAuthServer, names: Names, chance: random.Random) -> None:
        self._server = server
        self._names = names
        self._chance = chance
        self._people: list[SignedIn] = []
        self._banned: list[SignedIn] = []

    async def run(self) -> None:
        steps = ["sign_up"] * (SIGN_UPS // CLIENTS) + [step for step, times in STEPS.items() for _ in range(times)]
        self._chance.shuffle(steps)
        while steps:
            # A step that finds nobody yet is left for later.
            step = steps.pop(0)
            if not await self._take(step):
                steps.append(step)

    async def _take(self, step: str) -> bool:
        known = self._banned if step == "unban" else self._people
        if step == "sign_up":
            name = self._names.new("name")
            self._people.append(await self._server.sign_up(self._names.email(), "correct horse battery", name))
        elif not known:
            return False
        else:
            await self._change(step, known.pop(self._chance.randrange(len(known))))
        return True

    async def _change(self, step: str, person: SignedIn) -> None:
        match step:
            case "update":
                fields = {"name": self._names.new("name"), "image": self._names.new("pic")}
                await self._server.update_user(person.token, fields)
                self._people.append(person)
            case "ban":
                await self._server.ban_user(person.user_id, self._names.new("reason"))
                self._banned.append(person)
            case "unban":
                # The ban ended the sessions: nothing can be changed with the old token.
                await self._server.unban_user(person.user_id)
            case "remove":
                await self._server.remove_user(person.user_id)
            case unknown:
                raise ValueError(unknown)


class _Application:
    """The application: changes everybody, bans and removes only whom it brought itself."""

    def __init__(self, app: SqliteApp, names: Names, chance: random.Random) -> None:
        self._app = app
        self._names = names
        self._chance = chance

    async def run(self) -> None:
        for _ in range(APP_EDITS):
            await asyncio.to_thread(self._edit)
            await asyncio.sleep(self._chance.uniform(0, APP_PAUSE_MAX_S))

    def _edit(self) -> None:
        edits = [self._rename, self._change_both, self._bring, self._suspend, self._remove]
        [edit] = self._chance.choices(edits, [9, 5, 3, 2, 1])
        edit()

    def _rename(self) -> None:
        sql = "UPDATE users SET full_name = ? WHERE id = (SELECT id FROM users ORDER BY random() LIMIT 1)"
        if not self._app.run(f"{sql} RETURNING id", self._names.new("name")):
            self._bring()

    def _change_both(self) -> None:
        sql = "UPDATE users SET full_name = ?, avatar = ? WHERE id = (SELECT id FROM users ORDER BY random() LIMIT 1)"
        if not self._app.run(f"{sql} RETURNING id", self._names.new("name"), self._names.new("pic")):
            self._bring()

    def _bring(self) -> None:
        row = (f"own-{self._names.email()}", self._names.new("name"))
        self._app.run("INSERT INTO users (email, full_name) VALUES (?, ?)", *row)

    def _suspend(self) -> None:
        own = "SELECT id FROM users WHERE email LIKE 'own-%' ORDER BY random() LIMIT 1"
        if not self._app.run(f"UPDATE users SET suspended = 1 - suspended WHERE id = ({own}) RETURNING id"):
            self._bring()

    def _remove(self) -> None:
        own = "SELECT id FROM users WHERE email LIKE 'own-%' ORDER BY random() LIMIT 1"
        if not self._app.run(f"DELETE FROM users WHERE id = ({own}) RETURNING id"):
            self._bring()


def _judge(pair: Pair, server: BetterAuthServer, seen_at_ms: dict[str, dict[int, float]]) -> list[Row]:
    evidence = Evidence(
        entries={AUTH.peer: journal.read(pair.auth, AUTH), APP.peer: journal.read(pair.app, APP)},
        tables={AUTH.peer: journal.read_table(pair.auth, AUTH), APP.peer: journal.read_table(pair.app, APP)},
        captured={},
        store=read_store(str(pair.folder / "idsync.db")),
        told=[],
    )
    journals = Journals(evidence)
    unequal = [*gaps_of_journals(evidence, journals), *differences(evidence)]
    excess = list(excess_writes(journals))
    refused = {
        f"{status} {path}": n for (path, status), n in server.statuses.items() if not 200 <= status < REFUSED_FROM
    }
    complaints = [*unequal, *excess, *(f"Better Auth answered {what} {n} times" for what, n in refused.items())]
    if complaints:
        (pair.folder / "keep").touch()
        print(*complaints[:SHOWN_MAX], f"see {pair.folder}", sep="\n", file=sys.stderr)
    calls = sum(server.statuses.values())
    written = "; ".join(
        f"{peer} {sum(not is_note(one) for one in journals.writes(peer)):,} for {len(journals.outside(OTHER[peer])):,}"
        for peer in PEERS
    )
    noted = sum(is_note(one) for peer in PEERS for one in journals.writes(peer))
    took_ms = _latencies(journals, seen_at_ms)
    return [
        Row(
            "Better Auth and an application's table, both sides equal",
            f"{count(len(unequal), 'differences')} in {count(len(evidence.tables[AUTH.peer]), 'people')}",
            "0",
            not unequal,
        ),
        Row(
            "Better Auth is not disturbed",
            f"{sum(refused.values())} of {calls:,} calls refused ({SIGN_UPS} sign-ups), {APP_EDITS} edits beside them",
            "0, no 5xx",
            not refused,
        ),
        Row(
            "no write without a change, no echo",
            f"{written}; {len(excess)} without a cause; {noted} ids noted in a link column, each once",
            "never more, 0",
            not excess,
        ),
        Row(
            "change → visible on the other side",
            f"p50 {_quantile(took_ms, 0.5):.0f} ms, p99 {_quantile(took_ms, 0.99):.0f} ms of {len(took_ms)}",
            "given",
            bool(took_ms),
        ),
    ]


def _latencies(journals: Journals, seen_at_ms: dict[str, dict[int, float]]) -> list[float]:
    """How long each value took from the statement that made it to the other side's file; superseded ones never came."""
    took: list[float] = []
    for peer in PEERS:
        seen: dict[tuple[str, object], float] = {}
        for write in journals.writes(peer):
            for field in UNIQUE:
                if write.new is not None and write.seq in seen_at_ms[peer]:
                    seen.setdefault((field, write.new[field]), seen_at_ms[peer][write.seq])
        for change in journals.outside(OTHER[peer]):
            fresh = [field for field in UNIQUE if change.new is not None and _is_fresh(change.old, change.new, field)]
            arrived = [
                seen[field, change.new[field]] for field in fresh if change.new and (field, change.new[field]) in seen
            ]
            took += [at - change.at_ms for at in arrived[:1]]
    return took


def _is_fresh(old: journal.Values | None, new: journal.Values, field: str) -> bool:
    return new[field] is not None and (old is None or old[field] != new[field])


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
