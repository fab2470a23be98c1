"""Claim 1: on a clean clone `make run` and `make test` each work as the first command ever typed."""

import re
import sys

from proofs.claims import Row
from proofs.clone import Watch, end, open_clone, read_until, size_mb, type_in

RUN_S_MAX = 300.0
TEST_S_MAX = 300.0
SETUP_S_MAX = 300.0
SHOWN_CHARS_MAX = 20_000
"""How much is shown of what tests that fail have said."""


async def run(full: bool) -> list[Row]:  # noqa: ARG001  # there is no longer form
    """Type each of the two into a clone of its own."""
    return [await _run_it(), await _test_it()]


async def _run_it() -> Row:
    async with open_clone("clone-run") as clone:
        watch = Watch()
        process = await type_in(clone, "make run")
        try:
            lines = await read_until(process, "auth.db has the new name", RUN_S_MAX + 60)
            seen_s = watch.seconds
        finally:
            await end(process)
        url = next((found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
        return Row(
            "make run sets everything up, keeps two databases equal and prints a URL",
            f"edits seen after {seen_s:.0f} s; {url or 'no URL'}; .venv {size_mb(clone / '.venv'):.0f} MB",
            f"within {RUN_S_MAX:.0f} s, with a URL",
            holds=seen_s <= RUN_S_MAX and url is not None,
        )


async def _test_it() -> Row:
    async with open_clone("clone-test") as clone:
        watch = Watch()
        process = await type_in(clone, "make test")
        try:
            lines = await read_until(process, "test session starts", SETUP_S_MAX)
            setup_s = watch.seconds
            said = "\n".join(lines) + (await process.communicate())[0].decode(errors="replace")
            test_s = watch.seconds - setup_s
        finally:
            await end(process)
        passed = re.findall(r"(\d+) passed", said)
        if process.returncode != 0:
            print(said[-SHOWN_CHARS_MAX:], file=sys.stderr)
        tail = said.strip().splitlines()[-1] if said.strip() else "nothing"
        return Row(
            "make test sets everything up and passes",
            f"{tail}; setting up {setup_s:.0f} s, tests {test_s:.0f} s",
            f"passes, tests within {TEST_S_MAX:.0f} s, setting up within {SETUP_S_MAX:.0f} s",
            holds=process.returncode == 0 and bool(passed) and test_s <= TEST_S_MAX and setup_s <= SETUP_S_MAX,
        )
