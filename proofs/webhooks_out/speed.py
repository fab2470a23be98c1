"""Claim 7: what one core delivers, beside the bare Sender, a bare aiohttp client, the floor and the ordinary stack."""

from typing import Final

from bench import BRIEF, SHORT
from proofs.claims import Row
from proofs.measured import measure_parts

QUEUED_FULL: Final = 1_000_000


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Measure and show every figure of webhooks out; `make bench` shows them beside those of the other parts.

    The short form queues 100,000 events and says what 1,000,000 would take, as the memory grew; the long form queues
    them, and takes the rounds of `make bench`.
    """
    plans = [SHORT._replace(queued=QUEUED_FULL)] if full else [BRIEF, SHORT]
    return await measure_parts(["webhooks"], plans, store="sqlite", is_shown=lambda _: True)
