"""Claim: on PostgreSQL the line keeps its speed beside bare ceilings, measured in one run."""

import asyncio

from bench import Row as Measured
from bench import measure
from proofs.claims import Row


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # `make bench STORE=postgres FULL=1` has more and longer rounds
    """Measure, and show what has a bound; `make bench STORE=postgres` shows the rest."""
    report = await asyncio.to_thread(measure, store="postgres")
    return [_row(row, row.bound) for row in report.rows if row.bound is not None]


def _row(row: Measured, bound: str) -> Row:
    ratio = row.ratio
    figure = (
        f"{row.figure:,.1f} {row.unit} beside {row.baseline:,.1f}; ratio {ratio.median:.2f} "
        f"({ratio.least:.2f} to {ratio.most:.2f}, {row.pairs} pairs)"
    )
    return Row(f"{row.name} against {row.against}", figure, bound, holds=row.holds is True)
