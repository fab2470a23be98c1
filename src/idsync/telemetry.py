"""Counters and log lines. Kept by hand, because the hot path passes here for every event; exported by the edges."""

import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

LATENCY_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the latency histograms, in seconds; one more bucket takes the rest."""


class Histogram:
    """Counts of observations by bucket, their sum and their number."""

    __slots__ = ("buckets", "count", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.count = 0
        self.sum_s = 0.0

    def observe(self, durations_s: Sequence[float]) -> None:
        """Count some observations; those of nothing at once, for many are."""
        zeros = durations_s.count(0.0)
        self.buckets[0] += zeros
        self.count += len(durations_s)
        if zeros < len(durations_s):
            self.sum_s += sum(durations_s)
            buckets = self.buckets
            for seconds in durations_s:
                if seconds:
                    buckets[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1


class Counters:
    """Everything that is counted, by name and one label. Labels are bounded: verdicts, destinations, outcomes."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.gauges: dict[tuple[str, str], float] = {}
        self.histograms: dict[tuple[str, str], Histogram] = {}

    def add(self, name: str, label: str, amount: int = 1) -> None:
        """Count up."""
        key = (name, label)
        self.counts[key] = self.counts.get(key, 0) + amount

    def put(self, name: str, label: str, value: float) -> None:
        """Set a gauge."""
        self.gauges[name, label] = value

    def observe(self, name: str, label: str, *durations_s: float) -> None:
        """Put durations into a histogram."""
        key = (name, label)
        found = self.histograms.get(key)
        if found is None:
            found = self.histograms[key] = Histogram()
        found.observe(durations_s)


LEVELS: Final = ("debug", "info", "warning", "error")


class Log:
    """One line an event of the service's own life; never a body, a secret or a person's fields.

    Args:
        out: where lines are written; standard error if None.
        least: the least severe level that is written.
        is_json: one JSON object a line, for machines; else one plain line, for a terminal.
    """

    def __init__(self, out: TextIO | None = None, *, least: str = "info", is_json: bool = True) -> None:
        self._out = out if out is not None else sys.stderr
        self._least = LEVELS.index(least)
        self._is_json = is_json

    def write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Write one line: level, what happened, and the ids that lead on."""
        if LEVELS.index(level) < self._least:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._is_json:
            line = orjson.dumps({"at": at, "level": level, "event": event, **fields}, default=str).decode()
        else:
            line = f"{at[11:23]} {level:<7} {event}" + "".join(f"  {name}={value}" for name, value in fields.items())
        self._out.write(line + "\n")

    def warn(self, event: str, **fields: object) -> None:
        """Say what an operator should look at."""
        self.write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what is broken."""
        self.write("error", event, fields)
