"""Claim 7: on PostgreSQL the line keeps its speed beside bare ceilings, with more processes and more stored."""

from typing import Final

from bench import BRIEF, FULL, SHORT
from bench import Row as Measured
from proofs.claims import Row
from proofs.measured import measure_parts

BOUNDED: Final = ("line", "capture", "processes", "growth")
"""The parts of the bench that have bounds here."""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Measure, and show what has a bound and every rate of several processes; `make bench STORE=postgres` shows all.

    The long form has the rounds of `make bench`, and stores as many events as its long form: 5 million.
    """
    plans = [SHORT._replace(sizes=FULL.sizes)] if full else [BRIEF, SHORT._replace(sizes=BRIEF.sizes)]
    return await measure_parts(BOUNDED, plans, store="postgres", is_shown=_is_shown)


def _is_shown(row: Measured) -> bool:
    return row.bound is not None or "process" in row.name or "relay" in row.name
