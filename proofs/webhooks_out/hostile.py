"""Claim 4: no URL and no answer of DNS leads inside; and both senders make the same of any endpoint."""

import asyncio
import time
from collections import Counter
from typing import Final

from idsync.app import SystemClock
from idsync.senders.aiohttp_sender import AiohttpSender
from idsync.senders.fast import FastSender
from idsync.testing.endpoints import Agreement, compare, make_play
from idsync.wire.address import parse_networks
from proofs.claims import Row, count
from proofs.webhooks_out.tests import run_tests
from tests.unit.senders.hostile import CASES

CASES_MIN: Final = 60
PLAYS, FULL_PLAYS = 10_000, 50_000
AT_ONCE: Final = 30
FULL_AGREEMENT_MIN: Final = 0.7


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Run the table against both senders; meanwhile both senders against endpoints that do anything."""
    file = "tests/unit/senders/test_hostile.py"
    told, agreed = await asyncio.gather(
        run_tests([file, "tests/unit/senders/test_guard.py", "tests/unit/wire/test_address.py"]),
        agree(FULL_PLAYS if full else PLAYS),
    )
    return [
        Row(
            "hostile URLs and DNS answers reach nothing inside, by either sender, on either loop",
            f"{count(len(CASES), 'cases')}; {count(told.passed, 'tests passed')}, {count(told.others, 'did not')}",
            f">= {CASES_MIN} cases, all pass, none skipped",
            holds=len(CASES) >= CASES_MIN and told.passed > 4 * len(CASES) and not told.others,
        ),
        agreed,
    ]


async def agree(plays: int) -> Row:
    """Give plays to both senders; the known differences go by their names."""
    clock, allowed = SystemClock(), parse_networks(["127.0.0.0/8"])
    ours, theirs = FastSender(clock, allowed), AiohttpSender(clock, allowed)
    gate, found = asyncio.Semaphore(AT_ONCE), Counter[Agreement]()
    apart: list[int] = []
    began = time.monotonic()

    async def judge(seed: int) -> None:
        async with gate:
            agreement = (await compare(make_play(seed), ours, theirs)).agreement
        found[agreement] += 1
        if agreement is Agreement.NONE:
            apart.append(seed)

    async with asyncio.TaskGroup() as tasks:
        for seed in range(plays):
            tasks.create_task(judge(seed))
    await ours.close()
    await theirs.close()
    named = ", ".join(f"{agreement}: {number:,}" for agreement, number in found.most_common())
    return Row(
        "the fast sender and the reference make the same of an endpoint, whatever it does",
        f"{count(plays, 'endpoints')} in {time.monotonic() - began:.0f} s; {named}"
        + (f"; apart: {sorted(apart)[:5]}" if apart else ""),
        f">= {PLAYS:,} endpoints, none without a name for the difference",
        holds=plays >= PLAYS and not apart and found[Agreement.FULL] > plays * FULL_AGREEMENT_MIN,
    )
