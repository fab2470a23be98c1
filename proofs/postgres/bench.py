"""Claim 7: on PostgreSQL the line keeps its speed beside bare ceilings, with more processes and more stored."""

import asyncio
from functools import partial
from typing import Final

from bench import BRIEF, FULL, measure
from bench import Row as Measured
from proofs.claims import Row

BOUNDED: Final = frozenset({"line", "capture", "processes", "growth"})
"""The parts of the bench that have bounds here."""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Measure, and show what has a bound and every rate of several processes; `make bench STORE=postgres` shows all."""
    report = await asyncio.to_thread(partial(measure, FULL if full else BRIEF, store="postgres", only=BOUNDED))
    return [_row(row) for row in report.rows if row.bound is not None or "process" in row.name or "relay" in row.name]


def _row(row: Measured) -> Row:
    ratio = row.ratio
    figure = (
        f"{row.figure:,.1f} {row.unit} beside {row.baseline:,.1f}; ratio {ratio.median:.2f} "
        f"({ratio.least:.2f} to {ratio.most:.2f}, {row.pairs} pairs)"
    )
    return Row(f"{row.name} against {row.against}", figure, row.bound or "given", holds=row.holds is not False)
