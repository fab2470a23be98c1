"""Claim 6: the line keeps its speed beside bare ceilings and an ordinary stack, measured in one run."""

import asyncio

from bench import Row as Measured
from bench import measure
from proofs.claims import Row


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # `make bench FULL=1` has more and longer rounds
    """Measure, and show what has a bound; `make bench` shows the rest."""
    report = await asyncio.to_thread(measure)
    bounded = [row for row in report.rows if row.bound is not None]
    return [Row(_title(row), _figure(row), row.bound or "", holds=row.holds is True) for row in bounded]


def _title(row: Measured) -> str:
    return f"{row.name} against {row.against}"


def _figure(row: Measured) -> str:
    ratio = row.ratio
    return (
        f"{row.figure:,.1f} {row.unit} beside {row.baseline:,.1f}; ratio {ratio.median:.2f} "
        f"({ratio.least:.2f} to {ratio.most:.2f}, {row.pairs} pairs)"
    )
