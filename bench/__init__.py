"""The bench: what the line takes in, delivers and answers, beside what the same parts do with nothing between them."""

from bench.measure import measure
from bench.programs import BenchError
from bench.report import Report, Row, Spread, draw
from bench.rounds import BRIEF, FULL, SHORT, Plan

__all__ = ["BRIEF", "FULL", "SHORT", "BenchError", "Plan", "Report", "Row", "Spread", "draw", "measure"]
