"""What the bench measures, as rows of a proof."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from bench import Plan, measure
from bench import Row as Measured
from proofs.claims import Row


async def measure_parts(
    parts: Sequence[str], plans: Sequence[Plan], *, store: str, is_shown: Callable[[Measured], bool]
) -> list[Row]:
    """Measure some parts of the bench, each by itself.

    Where a bound is missed, the part is measured anew by the next plan, and what it missed is judged by that: few
    rounds are enough to see that there is much room, and not to see that there is none. The row tells both.

    Args:
        parts: names of the bench's parts.
        plans: the first, and those that follow it where a bound is missed.
        store: which store.
        is_shown: which rows are shown.
    """
    rows: list[Row] = []
    for part in parts:
        looks: list[Sequence[Measured]] = []
        for plan in plans:
            report = await asyncio.to_thread(partial(measure, plan, store=store, only=frozenset({part})))
            looks.append([row for row in report.rows if is_shown(row)])
            if report.holds:
                break
        rows += [_row(row_looks) for row_looks in zip(*looks, strict=True)]
    return rows


def _row(looks: Sequence[Measured]) -> Row:
    """Show a row by the first look that it passed, or by the last."""
    judged = next((row for row in looks if row.holds is not False), looks[-1])
    before = [f"; before that {_ratio(row)}" for row in looks[: looks.index(judged)]]
    figure = f"{judged.figure:,.1f} {judged.unit} beside {judged.baseline:,.1f}; ratio {_ratio(judged)}"
    return Row(
        f"{judged.name} against {judged.against}",
        figure + "".join(before),
        judged.bound or "given",
        holds=judged.holds is not False,
    )


def _ratio(row: Measured) -> str:
    return f"{row.ratio.median:.2f} ({row.ratio.least:.2f} to {row.ratio.most:.2f}, {row.pairs} pairs)"
