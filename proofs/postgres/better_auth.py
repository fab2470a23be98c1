"""Claim 6: a real Better Auth server on PostgreSQL; whatever is committed there arrives once and in order.

Its people use the HTTP API, others write SQL into its tables, and an application edits a table of its own beside it.
What was committed is read from the database's own log (`committed`); what arrived is what an endpoint was told.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from idsync.testing.better_auth import BetterAuthServer
from idsync.testing.postgres import PostgresServer, open_postgres
from proofs.claims import Row
from proofs.endpoint import open_subscriber
from proofs.pair import BETTER_AUTH, SECRET, scratch
from proofs.postgres import committed
from proofs.postgres.clients import Client
from proofs.postgres.committed import Change, Connection
from proofs.postgres.statements import HANDS, OWN, Application, Hand, Operator, prepare
from proofs.postgres.told import (
    APP,
    AUTH,
    Tale,
    Told,
    cascaded,
    compare,
    differences,
    follow,
    gaps,
    hear,
    link,
    strays,
)
from proofs.service import KEY, Service, run_command

SEED: Final = 20_261_122
CLIENTS: Final = 4
EDIT_S, FULL_EDIT_S = 20.0, 120.0
QUIET_S: Final = 120.0
CALM_S: Final = 1.0
REFUSED_FROM: Final = 300
SHOWN_MAX: Final = 12
BOUND: Final = "0 lost, 0 repeated, 0 out of order"
PLURALS: Final = {
    "user": "users",
    "session": "sessions",
    "organization": "organizations",
    "organizationMembership": "members",
}

CONFIGURATION: Final = """
[store]
url = "{store}"
[server]
api_keys = ["{key}"]
[log]
format = "json"
[ingest]
max_deletes_per_minute = 1000000
[delivery]
allow_cidrs = ["127.0.0.0/8"]

[peers.auth]
connector = "better-auth"
database = "{database}"

[peers.app]
connector = "sql"
database = "{database}"
[peers.app.user]
table = "users"
key = "id"
link = "auth_id"
fields = {{ email = "email", email_verified = "verified", name = "full_name", picture = "avatar" }}
on_ban = "flag:suspended"
[peers.app.organization]
table = "teams"
key = "id"
link = "auth_id"
fields = {{ name = "title", slug = "handle", logo = "logo" }}
[peers.app.organizationMembership]
table = "team_members"
key = "id"
link = "auth_id"
fields = {{ user_id = "person", organization_id = "team", role = "role" }}

[sync.user]
peers = ["auth", "app"]
lifecycle = {{ owner = "auth", others = "propagate" }}
[sync.organization]
peers = ["auth", "app"]
[sync.organizationMembership]
peers = ["auth", "app"]
[sync.session]
peers = ["auth"]

[endpoints.audit]
url = "{url}"
secret = "{secret}"
"""


class Trial(NamedTuple):
    """What is judged."""

    changes: list[Change]
    """Everything that was committed, by idsync too, after what the tables held at first."""
    ends: list[Change]
    """What the tables held at last."""
    bodies: list[bytes]
    """What the endpoint was told."""
    done: Counter[str]
    """What was done by SQL, and how often."""
    statuses: Counter[tuple[str, int]]
    """Better Auth's answers by path and status."""
    settled_s: float
    """How long it took until everything was quiet."""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Let everybody write for a while, wait for quiet, judge."""
    with open_postgres(options={"wal_level": "logical"}) as postgres, scratch("better-auth-postgres") as folder:
        trial = await _try(postgres, folder, FULL_EDIT_S if full else EDIT_S)
        return judge(trial, folder)


async def _try(postgres: PostgresServer, folder: Path, edit_s: float) -> Trial:
    database, store = await postgres.new_database(), await postgres.new_database()
    async with (
        connected(database) as connection,
        open_subscriber(SECRET) as subscriber,
        BetterAuthServer(BETTER_AUTH, database, {"FAST_HASH": "1"}) as server,
    ):
        await prepare(connection)
        changes = await committed.begin(connection, [*AUTH, *APP])
        configuration = CONFIGURATION.format(store=store, database=database, key=KEY, url=subscriber.url, secret=SECRET)
        (folder / "idsync.toml").write_text(configuration)
        status = await run_command(folder, "capture", "install")
        assert status == 0, f"capture install ended with {status}: see service.log"
        service = Service(folder)
        await service.start()
        try:
            assert await service.is_ready(), "it did not start: see service.log"
            await _until_quiet(service, connection)
            done = await _write(server, database, edit_s)
            settled_s = await _until_quiet(service, connection)
        finally:
            await service.kill()
        changes += await committed.read(connection)
        ends = await committed.read_tables(connection, [*AUTH, *APP])
    return Trial(changes, ends, subscriber.bodies, done, server.statuses, settled_s)


@contextlib.asynccontextmanager
async def connected(database: str) -> AsyncIterator[Connection]:
    """Have a connection for a while."""
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        connection.terminate()


async def _write(server: BetterAuthServer, database: str, for_s: float) -> Counter[str]:
    """Let everybody write at once for so long; give what was done, and how often."""
    done: Counter[str] = Counter()
    luck = random.Random(SEED)
    until = time.monotonic() + for_s
    async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        operating, editing, *hands = [await opened.enter_async_context(connected(database)) for _ in range(HANDS + 2)]
        steps = [
            *(Client(server, random.Random(luck.random()), f"c{number}").step for number in range(CLIENTS)),
            *(Hand(connection, done, random.Random(luck.random())).step for connection in hands),
            Operator(operating, done, random.Random(luck.random())).step,
            Application(editing, random.Random(luck.random())).step,
        ]
        for step in steps:
            group.create_task(_repeat(step, until))
    return done


async def _repeat(step: Callable[[], Awaitable[None]], until: float) -> None:
    while time.monotonic() < until:
        await step()


async def _until_quiet(service: Service, connection: Connection) -> float:
    """Wait until everything that the outboxes hold was read and nothing is left to be done; give the seconds."""
    began = time.monotonic()
    calm_since = began
    while time.monotonic() - calm_since < CALM_S:
        if left := await _left(service, connection):
            calm_since = time.monotonic()
        if time.monotonic() - began > QUIET_S:
            raise TimeoutError(f"not quiet after {QUIET_S:.0f} s: {left}")
        await asyncio.sleep(0.1)
    return time.monotonic() - began - CALM_S


async def _left(service: Service, connection: Connection) -> dict[str, object]:
    stats = await service.get("/v1/stats")
    peers = await service.get("/v1/peers")
    left = {name: stats[name] for name in ("waiting", "rereads") if stats[name]}
    left |= {f"{name} {key}": n for name in ("queued", "parked", "dead") for key, n in stats[name].items() if n}
    for peer in peers["items"]:
        sequence = f"idsync_{peer['name']}.outbox_seq_seq"
        last = await connection.fetchval("SELECT coalesce(pg_sequence_last_value($1::text::regclass), 0)", sequence)
        if last != (peer["position"] or 0):
            left[f"behind {peer['name']}"] = last - (peer["position"] or 0)
    return left


def judge(trial: Trial, folder: Path) -> list[Row]:
    """Compare what was committed with what was told and what was written; print every complaint."""
    at_auth, at_app = follow(trial.changes, AUTH), follow(trial.changes, APP)
    linked = follow(link(trial.changes), APP)
    auth = {name: tale for name, tale in at_auth.items() if not _is_own(tale)}
    app = {name: tale for name, tale in at_app.items() if _is_own(tale)}
    told, told_of_app = compare(auth, hear(trial.bodies, "auth")), compare(app, hear(trial.bodies, "app"))
    written_at_app = {name: tale for name, tale in linked.items() if not _is_own(tale)}
    written_at_auth = {name: tale for name, tale in at_auth.items() if _is_own(tale)}
    stray = [*strays(written_at_app, at_auth), *strays(written_at_auth, linked)]
    unequal = [*gaps(trial.changes, trial.ends), *differences(trial.ends)]
    refused = {what: n for what, n in trial.statuses.items() if not 200 <= what[1] < REFUSED_FROM}
    complaints = [*told.complaints, *told_of_app.complaints, *stray, *unequal]
    complaints += [f"Better Auth answered {code} to {path} {n} times" for (path, code), n in refused.items()]
    if complaints:
        (folder / "keep").touch()
        print(*complaints[:SHOWN_MAX], f"{len(complaints)} complaints; see {folder}", sep="\n", file=sys.stderr)
    own = sum(map(len, app.values()))
    return [
        Row(
            "every change at Better Auth on PostgreSQL is told to an endpoint, once and in order",
            f"{_story(auth)}: {told.figure}; quiet after {trial.settled_s:.1f} s",
            BOUND,
            bool(auth) and not told.complaints,
        ),
        _unhooked(trial),
        Row(
            "Better Auth is not disturbed",
            f"{sum(refused.values()):,} of {sum(trial.statuses.values()):,} calls refused; no statement failed",
            "0",
            not refused,
        ),
        Row(
            "both sides equal; the application's own changes are told too",
            f"{len(unequal)} differences in {len(trial.ends):,} rows, {len(stray)} rows set back on the way;"
            f" {own:,} changes by the application: {told_of_app.figure}",
            f"0, 0; {BOUND}",
            own > 0 and not [*unequal, *stray, *told_of_app.complaints],
        ),
    ]


def _is_own(tale: Sequence[Told]) -> bool:
    """Whether the application brought whom the tale is about."""
    return str((tale[0].fields or {}).get("email", "")).startswith(OWN)


def _story(tales: Tale) -> str:
    kinds = Counter(kind for (kind, _), tale in tales.items() for _ in tale)
    parts = ", ".join(f"{n:,} of {PLURALS[kind]}" for kind, n in kinds.items())
    return f"{sum(kinds.values()):,} changes ({parts})"


def _unhooked(trial: Trial) -> Row:
    """Count what none of Better Auth's hooks is called for, lest it was never there."""
    done = trial.done
    counts = {
        "rows in cascades": cascaded(trial.changes),
        "leaves": trial.statuses["/organization/leave", 200],
        "rows in bulk": done["bulk rows"],
        "transactions by hand": done["committed"],
        "rolled back": done["rolled back"],
        "savepoints": done["savepoints"],
    }
    figure = ", ".join(f"{n:,} {what}" for what, n in counts.items())
    return Row("among them what no hook sees", figure, "some of each", all(counts.values()))
