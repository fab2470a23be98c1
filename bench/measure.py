"""One run: everything that is to be measured on one store, one after the other."""

import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.capture import measure_capture
from bench.growth import measure_growth
from bench.load import Events
from bench.processes import measure_processes
from bench.programs import BenchError, choose_cores
from bench.report import Point, Report, Row
from bench.rounds import SHORT, Bench, Plan, Tell, measure_ingest, measure_line, measure_peers, on_core
from bench.sink import open_sink
from bench.stores import STORES
from bench.variants import Variants
from bench.webhooks import measure_webhooks


async def _measure_line(bench: Bench) -> list[Row]:
    sink, listening = await open_sink()
    async with listening:
        return await measure_line(bench, sink)


Part = Callable[[Bench], Awaitable[Sequence[Row | Point]]]

PARTS: Final[Mapping[str, Part]] = {
    "ingest": measure_ingest,
    "line": _measure_line,
    "webhooks": measure_webhooks,
    "peers": measure_peers,
    "capture": measure_capture,
    "processes": measure_processes,
    "growth": measure_growth,
}
ON_SERVER: Final = frozenset({"capture", "processes", "growth"})
"""What is measured only where the store is a server."""


def measure(
    plan: Plan = SHORT, *, store: str = "sqlite", only: frozenset[str] | None = None, tell: Tell = lambda _: None
) -> Report:
    """Measure everything once: some minutes, or an hour with the plan `FULL`.

    Args:
        plan: how many rounds, and how long.
        store: which store; only those of this version.
        only: these parts of `PARTS`; None: all that the store has.
        tell: told what is being measured, as it begins.

    Raises:
        BenchError: this version has no such store, or something could not be measured.
    """
    if store not in STORES:
        raise BenchError(f"STORE={store} is not in this version; it has {', '.join(STORES)}")
    measured = STORES[store]
    cores = choose_cores()
    load_before = os.getloadavg()[0]
    began = time.monotonic()
    parts = [name for name in PARTS if (only is None or name in only) and (measured.is_server or name not in ON_SERVER)]
    with (
        tempfile.TemporaryDirectory(prefix="idsync-bench-") as folder,
        measured.open(Path(folder)) as urls,
        on_core(cores.load),
    ):
        bench = Bench(plan, Variants(Path(folder), cores.measured, urls), Events(), tell, measured, urls, cores)
        found = uvloop.run(_measure(bench, parts))
    return Report(
        rows=tuple(one for one in found if isinstance(one, Row)),
        points=tuple(one for one in found if isinstance(one, Point)),
        cores=len(set(cores)),
        load_before=load_before,
        elapsed_s=time.monotonic() - began,
    )


async def _measure(bench: Bench, parts: list[str]) -> list[Row | Point]:
    found: list[Row | Point] = []
    for name in parts:
        bench.tell(name)
        found += await PARTS[name](bench)
    return found
