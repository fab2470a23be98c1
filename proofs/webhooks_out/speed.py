"""Claim 7: what one core delivers, beside the bare Sender, a bare aiohttp client and the ordinary stack."""

import asyncio
from functools import partial
from typing import Final

from bench import BRIEF, SHORT, measure
from bench import Row as Measured
from proofs.claims import Row

QUEUED_FULL: Final = 1_000_000
ONLY: Final = frozenset({"webhooks"})


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Measure and show every figure of webhooks out; `make bench` shows them beside those of the other parts.

    The short form queues 100,000 events and says what 1,000,000 would take, as the memory grew; the long form queues
    them, and takes the rounds of `make bench`.
    """
    plan = SHORT._replace(queued=QUEUED_FULL) if full else BRIEF
    report = await asyncio.to_thread(partial(measure, plan, store="sqlite", only=ONLY))
    return [_row(row) for row in report.rows]


def _row(row: Measured) -> Row:
    ratio = row.ratio
    figure = (
        f"{row.figure:,.1f} {row.unit} beside {row.baseline:,.1f}; ratio {ratio.median:.2f} "
        f"({ratio.least:.2f} to {ratio.most:.2f}, {row.pairs} pairs)"
    )
    return Row(f"{row.name} against {row.against}", figure, row.bound or "given", holds=row.holds is not False)
