"""How a measurement is judged."""

from collections.abc import Iterator

import pytest

from bench import BRIEF, SHORT, Plan, Report, Row, Spread
from proofs import measured
from proofs.claims import Row as Shown


def _row(name: str, ratio: float, *, has_bound: bool = True) -> Row:
    return Row(
        name=name,
        unit="events/s",
        figure=ratio,
        against="bare",
        baseline=1.0,
        ratio=Spread(ratio, ratio, ratio),
        pairs=5,
        bound="ratio >= 0.5" if has_bound else None,
        holds=ratio >= 0.5 if has_bound else None,
    )


async def _judge(monkeypatch: pytest.MonkeyPatch, *looks: tuple[float, float]) -> tuple[list[Shown], int]:
    """Let the bench find these ratios of two rows, look by look; give the rows and how many looks were not taken."""
    left: Iterator[tuple[float, float]] = iter(looks)

    def measure(_plan: Plan, **_options: object) -> Report:
        one, other = next(left)
        rows = _row("one", one), _row("other", other), _row("given", 0.1, has_bound=False)
        return Report(rows=rows, points=(), cores=2, load_before=0.0, elapsed_s=1.0)

    monkeypatch.setattr(measured, "measure", measure)
    rows = await measured.measure_parts(["line"], [BRIEF, SHORT], store="sqlite", is_shown=lambda _: True)
    return rows, len(list(left))


async def test_bound_that_holds_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds are enough where there is room."""
    rows, left = await _judge(monkeypatch, (0.6, 0.7), (0.1, 0.1))
    assert [row.holds for row in rows] == [True, True, True]
    assert left == 1


async def test_missed_bound_is_judged_by_longer_measurement_and_both_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What held before stays as it was found."""
    rows, left = await _judge(monkeypatch, (0.4, 0.7), (0.6, 0.1))
    assert [row.holds for row in rows] == [True, True, True]
    assert "ratio 0.60" in rows[0].figure
    assert "before that 0.40" in rows[0].figure
    assert left == 0


async def test_bound_that_is_missed_twice_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look is no second chance beyond itself."""
    rows, _ = await _judge(monkeypatch, (0.4, 0.7), (0.4, 0.7))
    assert [row.holds for row in rows] == [False, True, True]


async def test_figure_without_bound_is_shown_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little it is: nothing was asked of it, and nothing is measured again for it."""
    rows, left = await _judge(monkeypatch, (0.6, 0.7), (0.6, 0.7))
    assert [(row.bound, row.holds) for row in rows if row.claim.startswith("given")] == [("given", True)]
    assert left == 1
