"""A plot of what an event costs against what is stored, as SVG that needs nothing else."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from bench.report import Point

WIDTH: Final = 640
HEIGHT: Final = 320
LEFT: Final = 64
RIGHT: Final = 24
TOP: Final = 40
BOTTOM: Final = 64
STEPS: Final = 4
"""Lines of the grid above the bottom."""
HEAD: Final = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif"'
    ' font-size="12">'
)
SHEET: Final = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'


def plot(points: Sequence[Point], title: str, caption: str) -> str:
    """Draw the cost of an event, from its least to its greatest of all rounds, over the logarithm of what is stored."""
    step = _round_up(max(point.cpu_us.most for point in points) / STEPS)
    return "\n".join([HEAD, SHEET, *_frame(step, title, caption), *_curve(points, step * STEPS), "</svg>", ""])


def _frame(step: float, title: str, caption: str) -> Iterator[str]:
    yield _text(WIDTH / 2, 22, title, "middle", "font-size='14'")
    yield _text(WIDTH / 2, HEIGHT - 12, caption, "middle", "fill='#555'")
    for number in range(STEPS + 1):
        y = _y(number / STEPS)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        yield _text(LEFT - 8, y + 4, f"{number * step:,.0f} µs", "end")


def _curve(points: Sequence[Point], top: float) -> Iterator[str]:
    least, most = math.log(points[0].stored), math.log(points[-1].stored)
    places = []
    for point in points:
        x = LEFT + 24 + (WIDTH - LEFT - RIGHT - 48) * (math.log(point.stored) - least) / (most - least)
        low, middle, high = (_y(one / top) for one in (point.cpu_us.least, point.cpu_us.median, point.cpu_us.most))
        places.append(f"{x:.1f},{middle:.1f}")
        yield f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="#9bc"/>'
        yield f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4" fill="#158"/>'
        yield _text(x + 8, middle - 8, f"{point.cpu_us.median:,.0f}", "start", "fill='#158'")
        yield _text(x, HEIGHT - BOTTOM + 20, f"{point.stored:,}", "middle")
    yield f'<polyline points="{" ".join(places)}" fill="none" stroke="#158" stroke-width="2"/>'


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(one * power for one in (1, 2, 5, 10) if one * power >= value)
