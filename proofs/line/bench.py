"""Claim 6: the line keeps its speed beside bare ceilings and an ordinary stack, measured in one run."""

from bench import SHORT
from proofs.claims import Row
from proofs.measured import measure_parts


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # `make bench FULL=1` has more and longer rounds
    """Measure, and show what has a bound; `make bench` shows the rest."""
    plans = [SHORT, SHORT._replace(rounds=2 * SHORT.rounds, open_rounds=2 * SHORT.open_rounds)]
    return await measure_parts(["line"], plans, store="sqlite", is_shown=lambda row: row.bound is not None)
