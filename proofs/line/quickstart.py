"""Claim 8: the README's own commands, typed into a clean clone, lead from nothing to an edit seen on the other side."""

import asyncio
import re
import shlex
from pathlib import Path

from proofs.claims import Row
from proofs.clone import Watch, end, open_clone, read_until, type_in

BOUND_S = 300.0
POLL_S = 0.2
LOOK = """
import sqlite3, sys
for file, sql in (("auth.db", 'SELECT name, email FROM "user"'), ("app.db", "SELECT full_name, email FROM users")):
    print(sqlite3.connect("playground/" + file).execute(sql).fetchall())
"""
WANTED = "[('Augusta Ada King', 'ada@example.org')]"


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Type what the README says."""
    async with open_clone("clone-readme") as clone:
        watch = Watch()
        service = await type_in(clone, command_of(clone, "quickstart"))
        try:
            await read_until(service, "Both databases are yours", BOUND_S)
            edited = Watch()
            await _type(clone, command_of(clone, "quickstart:edit"))
            while (found := await _type(clone, f".venv/bin/python -c {shlex.quote(LOOK)}")).count(WANTED) < 2:
                if watch.seconds > BOUND_S:
                    break
                await asyncio.sleep(POLL_S)
            seen_s, edit_s = watch.seconds, edited.seconds
            explained = await _type(clone, command_of(clone, "quickstart:explain"))
        finally:
            await end(service)
    return [
        Row(
            "from a clone to an edit seen on the other side, by the README's own commands",
            f"{seen_s:.0f} s, of which {edit_s:.1f} s from the edits on",
            f"< {BOUND_S:.0f} s",
            holds=found.count(WANTED) == 2 and seen_s < BOUND_S,
        ),
        Row(
            "the README's last command explains the result",
            "names the new name and who set it" if _is_explained(explained) else f"said: {explained[:100]!r}",
            "the name, its peer",
            holds=_is_explained(explained),
        ),
    ]


def command_of(clone: Path, mark: str) -> str:
    """The commands of the README's block of this mark.

    Raises:
        LookupError: the README has no such block.
    """
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", (clone / "README.md").read_text(), re.DOTALL)
    if found is None:
        raise LookupError(f"the README has no block marked {mark}")
    return found[1]


async def _type(clone: Path, command: str) -> str:
    process = await type_in(clone, command)
    return (await process.communicate())[0].decode(errors="replace")


def _is_explained(said: str) -> bool:
    return "Augusta Ada King" in said and "app" in said
