"""The bare ceiling between two peers: looks for edits as often as the line does, and copies them."""

import argparse
import time
from pathlib import Path
from typing import Final

from bench.peers import EDIT, open_file

POLL_S: Final = 0.02
"""As `capture.poll_ms` is by default."""
CHANGED: Final = "SELECT max(seq), email, full_name FROM edits JOIN users USING (id) WHERE seq > ? GROUP BY id"


def copy_for_ever(left: Path, right: Path) -> None:
    """Copy every edit of the left side to the right one."""
    source, target = open_file(left), open_file(right)
    version, after = 0, 0
    while True:
        found = int(str(source.pragma("data_version")))
        if found != version:
            version = found
            rows = source.execute(CHANGED, (after,)).fetchall()
            with target:
                for seq, email, name in rows:
                    target.execute(EDIT, (name, email))
                    after = max(after, int(str(seq)))
        time.sleep(POLL_S)


def main() -> None:
    """Run until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("left", type=Path)
    parser.add_argument("right", type=Path)
    chosen = parser.parse_args()
    copy_for_ever(chosen.left, chosen.right)


if __name__ == "__main__":
    main()
