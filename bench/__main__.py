"""`python -m bench`: measure, print a table, and end with 1 if a bound does not hold.

STORE names the store (default sqlite), FULL=1 takes more and longer rounds, `--json` prints JSON instead.
"""

import argparse
import os
import signal
import sys

import msgspec

from bench import BenchError, draw, measure


def main() -> int:
    """Run it; give the exit status."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    # A signal ends the run as an error does: the programs that were started are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    full = os.environ.get("FULL", "") not in {"", "0"}
    try:
        report = measure(full, store=os.environ.get("STORE") or "sqlite", tell=tell)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(report).decode() if chosen.json else draw(report))
    return 0 if report.holds else 1


def tell(what: str) -> None:
    """Say what is being measured."""
    print(f"measuring {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
