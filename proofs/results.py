"""`RESULTS.md`: the figures of the full forms, one section for each claim, written by the run that measured them."""

import os
import platform
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from proofs.claims import Claim, Row

FILE: Final = Path(__file__).with_name("RESULTS.md")
HEAD: Final = """# Results

The figures of the full forms of our claims (`make prove CLAIM=line FULL=1`). The run itself writes every section.
"""
SYNCS: Final = 50


def keep(claim: Claim, rows: list[Row], took_s: float) -> None:
    """Replace the claim's section with what was found just now; the other sections stay."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    title = f"{claim.family} {claim.number}: {claim.module.replace('_', ' ')}"
    sections[title] = _section(title, rows, took_s)
    body = "\n".join(f"## {sections[name].rstrip()}\n" for name in sorted(sections))
    FILE.write_text(f"{HEAD}\n{body}", encoding="utf-8")


def _section(title: str, rows: list[Row], took_s: float) -> str:
    lines = [
        title,
        "",
        f"{datetime.now(UTC):%Y-%m-%d} · {hardware()} · {took_s:.0f} s",
        "",
        "| claim | figure | bound | |",
        "|---|---|---|---|",
        *(
            f"| {_cell(row.claim)} | {_cell(row.figure)} | {_cell(row.bound)} | {'holds' if row.holds else '**no**'} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def hardware() -> str:
    """What this machine is, as far as the figures depend on it."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores {_processor()}, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, fsync {_sync_ms():.1f} ms"
    )


def _processor() -> str:
    found = (
        re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if Path("/proc/cpuinfo").exists()
        else None
    )
    return found[1].strip() if found is not None else platform.processor()


def _sync_ms() -> float:
    """How long a small write takes to be durable here: the median of some."""
    took: list[float] = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took) * 1000
