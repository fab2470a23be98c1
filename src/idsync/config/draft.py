"""The settings while they are being read: one tree, where each value came from, and what is wrong so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

import msgspec

Path = tuple[str | int, ...]
"""A setting's place, key by key, list items by number: `("endpoints", "audit", "events", 0)`."""

SHOWN_MAX: Final = 100
PLAIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"
SUGGESTIONS_MAX: Final = 20


class Text(msgspec.Struct, frozen=True):
    """A value that came as text (environment, flag, `env:`, `file:`) and takes the type its setting has."""

    text: str


@dataclass(slots=True)
class Draft:
    """What has been read so far. Lives for one load."""

    file: str
    """How messages name the configuration file."""
    environ: Mapping[str, str]
    may_refer: bool = True
    """Whether a value may be read from elsewhere (`env:`, `file:`): not what comes over HTTP."""
    tree: dict[str, object] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    """Where a value was set: "idsync.toml line 12", "environment variable NATS_URL"."""
    problems: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def refuse(self, path: Path, reason: str) -> None:
        """Record a problem. The first one of a place stands: what follows from it, in or around it, would confuse."""
        if any(path[: len(place)] == place[: len(path)] for place in self.problems):
            return
        origin = self.origin_of(path)
        where = f"{dotted(path)} ({origin})" if origin else dotted(path)
        self.problems[path] = f"{where}: {reason}"

    def origin_of(self, path: Path) -> str | None:
        """Say where a value was set: itself, else something inside it, else the table it is in."""
        if path in self.origins:
            return self.origins[path]
        inside = (origin for place, origin in self.origins.items() if place[: len(path)] == path)
        around = (self.origins[path[:end]] for end in range(len(path) - 1, 0, -1) if path[:end] in self.origins)
        return next(inside, None) or next(around, None)


def dotted(path: Path) -> str:
    """Write a place as the file would: `peers.app.user`, a list's first item as `[0]`."""
    keys = (f"[{key}]" if isinstance(key, int) else f".{shown(key)}" for key in path)
    return "".join(keys).removeprefix(".")


def shown(name: str) -> str:
    """Write a name so that any terminal and log can take it: odd ones quoted in ASCII, long ones cut."""
    cut = name if len(name) <= SHOWN_MAX else f"{name[:SHOWN_MAX]}..."
    is_plain = not cut.encode("ascii", "replace").strip(PLAIN)
    return cut if cut and is_plain else ascii(cut)


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; None where none comes close."""
    names = {name.lower(): name for name in known}
    close = get_close_matches(word[:SHOWN_MAX].lower(), names, n=1)
    return names[close[0]] if close else None


def nearest(word: str, known: tuple[str, ...]) -> str:
    """Say what was probably meant, else what there is to choose from."""
    meant = closest(word, known)
    if meant is not None:
        return f"did you mean {shown(meant)}?"
    listed = ", ".join(map(shown, dict.fromkeys(known[:SUGGESTIONS_MAX])))
    return f"known here: {listed or 'none'}{', ...' if len(known) > SUGGESTIONS_MAX else ''}"
