"""What was measured, as rows for people and for programs."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

HEADINGS: Final = ("what", "figure", "measured beside it", "figure", "ratio: least, median, most", "pairs", "bound", "")


class Spread(msgspec.Struct, frozen=True):
    """The least, the median and the greatest of several values."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise; there must be a value."""
        return cls(min(values), statistics.median(values), max(values))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure beside its baseline. Every ratio is taken inside one round, figure over baseline."""

    name: str
    unit: str
    figure: float
    """The median of all rounds."""
    against: str
    baseline: float
    """Likewise."""
    ratio: Spread
    pairs: int
    """How many ratios that is."""
    bound: str | None = None
    holds: bool | None = None
    """None: there is no bound."""


class Point(msgspec.Struct, frozen=True):
    """What one more event costs in a store of some size."""

    stored: int
    cpu_us: Spread
    """CPU time of it and its delivery, the database included; the ratios of its rows are of the same rounds."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    rows: tuple[Row, ...]
    points: tuple[Point, ...]
    """Empty where growth was not measured."""
    cores: int
    """Cores used: what is measured has one for itself where there are two."""
    load_before: float
    """The machine's load average before the run: what else ran makes every figure worse and less steady."""
    elapsed_s: float

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return all(row.holds is not False for row in self.rows)


def compare(
    name: str,
    unit: str,
    figures: Sequence[float],
    against: str,
    baselines: Sequence[float],
    *,
    least: float | None = None,
    most: float | None = None,
) -> Row:
    """Put figures beside the baselines of the same rounds; the median ratio must be at least, or at most, so much."""
    ratio = Spread.of([figure / baseline for figure, baseline in zip(figures, baselines, strict=True)])
    return Row(
        name=name,
        unit=unit,
        figure=statistics.median(figures),
        against=against,
        baseline=statistics.median(baselines),
        ratio=ratio,
        pairs=len(figures),
        bound=f"ratio >= {least}" if least is not None else f"ratio <= {most}" if most is not None else None,
        holds=ratio.median >= least if least is not None else ratio.median <= most if most is not None else None,
    )


def draw(report: Report) -> str:
    """Write the report as a table of plain text."""
    table = [HEADINGS, *(_cells(row) for row in report.rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    cores = "one core for everything" if report.cores == 1 else f"{report.cores} cores"
    summary = f"{report.elapsed_s:.0f} s, {cores}, load average before {report.load_before:.1f}"
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", summary])


def _cells(row: Row) -> tuple[str, ...]:
    ratio = f"{row.ratio.least:.2f}  {row.ratio.median:.2f}  {row.ratio.most:.2f}"
    verdict = {None: "", True: "holds", False: "DOES NOT HOLD"}[row.holds]
    return (
        row.name,
        f"{_number(row.figure)} {row.unit}",
        row.against,
        f"{_number(row.baseline)} {row.unit}",
        ratio,
        str(row.pairs),
        row.bound or "",
        verdict,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
