"""A claim, the rows that show it, and how they are drawn."""

import asyncio
import inspect
import sys
import traceback
from collections.abc import Awaitable
from importlib import import_module
from typing import Final, Protocol, cast

import msgspec

SETS: Final = {
    "line": (
        "clean_clone",
        "better_auth",
        "kills",
        "merge",
        "webhooks",
        "bench",
        "fuzz",
        "quickstart",
    ),
    "postgres": (
        "conformance",
        "relay",
        "pressure",
        "workers",
        "faults",
        "better_auth",
        "bench",
        "mariadb",
    ),
    "webhooks-out": (
        "comparison",
        "peers",
        "crowd",
        "hostile",
        "api",
        "receivers",
        "speed",
        "storm",
    ),
}
"""Set of claims → its modules, in the order in which the claims are numbered, from 1."""


class Row(msgspec.Struct, frozen=True):
    """One line of a proof."""

    claim: str
    figure: str
    """What was measured in this run."""
    bound: str
    holds: bool


class Claim(msgspec.Struct, frozen=True):
    """One claim of a set."""

    family: str
    number: int
    module: str


class Proof(Protocol):
    """A claim's module."""

    def run(self, full: bool) -> "list[Row] | Awaitable[list[Row]]":  # FULL=1 is a switch
        """Show the claim, in its short or its full form."""
        ...


def claims_of(family: str) -> list[Claim]:
    """Every claim of a set."""
    return [Claim(family, number, module) for number, module in enumerate(SETS[family], 1)]


async def prove(claim: Claim, *, full: bool) -> list[Row]:
    """Run one claim; what it raises is a row that does not hold."""
    [outcome] = await asyncio.gather(_run(claim, full=full), return_exceptions=True)
    if isinstance(outcome, BaseException):
        traceback.print_exception(outcome, file=sys.stderr)
        return [Row(claim.module, f"{type(outcome).__name__}: {outcome}"[:200], "runs to its end", holds=False)]
    return outcome


async def _run(claim: Claim, *, full: bool) -> list[Row]:
    # Imported only now: a claim whose parts are missing fails alone.
    proof = cast("Proof", import_module(f"proofs.{claim.family.replace('-', '_')}.{claim.module}"))
    rows = proof.run(full)
    return await rows if inspect.isawaitable(rows) else rows


def draw(number: int, row: Row) -> str:
    """One row as a line of text."""
    verdict = "holds" if row.holds else "DOES NOT HOLD"
    return f"{number}  {row.claim}: {row.figure}  (bound: {row.bound})  {verdict}"


def count(number: int, what: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {what}"
