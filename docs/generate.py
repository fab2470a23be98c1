"""`make docs`: writes docs/reference/ from the code itself, so that no page can say what the code does not do.

`--check` writes nothing and fails where a page is not what would be written.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from idsync import errors
from idsync.cli import build_cli
from idsync.config import describe_settings

ROOT = Path(__file__).parents[1]
PAGES = Path(__file__).parent / "reference"
SOURCES = ROOT / "src" / "idsync"
HEADER = "<!-- Written by `make docs` from the code. -->\n\n"

STATES = (
    ("What became of an event", "model/event.py", "Verdict"),
    ("How an entity stands at a peer", "model/entity.py", "LinkState"),
    ("How one try of a delivery ended", "model/delivery.py", "Outcome"),
    ("Where a delivery stands", "ports/store.py", "DeliveryState"),
    ("What a Target did with one write", "model/delivery.py", "Effect"),
    ("Why no usable answer came", "ports/send.py", "SendError"),
    ("Which events a replay is about", "model/replay.py", "ReplayStatus"),
    ("Where a replay stands", "model/replay.py", "ReplayState"),
)


def main() -> None:
    """Write every page, or compare every page."""
    pages = {
        "settings.md": "# Settings\n\n" + "\n".join(settings()),
        "cli.md": "# Commands\n\n" + "\n".join(commands()),
        "errors.md": "# Errors\n\n```\n" + str(errors.__doc__) + "```\n\n" + "\n".join(error_rows()),
        "states.md": "# States\n\n" + "\n".join(states()),
        "metrics.md": "# Metrics\n\nServed at `/metrics`.\n\n" + "\n".join(metrics()),
    }
    PAGES.mkdir(exist_ok=True)
    stale = []
    for name, text in pages.items():
        page, wanted = PAGES / name, HEADER + text.rstrip() + "\n"
        if page.exists() and page.read_text() == wanted:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            page.write_text(wanted)
    if stale and "--check" in sys.argv:
        raise SystemExit(f"not what the code says any more, run `make docs`: {', '.join(stale)}")


def settings() -> Iterator[str]:
    """One row for each setting."""
    yield "One file, `idsync.toml`; every key can be overridden by `IDSYNC_<SECTION>__<KEY>` and by `--set`.\n"
    yield "| key | type | default | unit | range | meaning |\n|---|---|---|---|---|---|"
    for one in describe_settings():
        cells = (f"`{one.path}`", one.type, one.default, one.unit, one.range, one.meaning)
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def commands() -> Iterator[str]:
    """The help of every command, as the terminal shows it, without its colours."""
    for path, command in _walk(typer.main.get_command(build_cli()), "idsync"):
        yield f"## `{path}`\n\n{(command.help or '').strip()}\n"
        rows = [one for one in command.params if one.param_type_name == "option" and not getattr(one, "hidden", False)]
        if rows:
            yield "| option | meaning |\n|---|---|"
            for one in rows:
                yield f"| `{' '.join(one.opts)}` | {_cell(getattr(one, 'help', ''))} |"
            yield ""


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # Typer keeps its own classes to itself
    yield path, command
    for name, one in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(one, f"{path} {name}")


def error_rows() -> Iterator[str]:
    """One row for each class of error."""
    yield "| error | meaning |\n|---|---|"
    for node in ast.parse((SOURCES / "errors.py").read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield f"| `{node.name}` | {_cell((ast.get_docstring(node) or '').splitlines()[0])} |"


def states() -> Iterator[str]:
    """Every enumeration that operators meet, with the docstring of each value."""
    for title, file, name in STATES:
        yield f"## {title} (`{name}`)\n\n| value | meaning |\n|---|---|"
        for value, text in _values(SOURCES / file, name):
            yield f"| `{value}` | {_cell(text)} |"
        yield ""


def _values(file: Path, name: str) -> Iterator[tuple[str, str]]:
    enum = next(
        node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef) and node.name == name
    )
    for node, after in zip(enum.body, [*enum.body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            meaning = after.value if isinstance(after, ast.Expr) else None
            yield str(node.value.value), str(meaning.value) if isinstance(meaning, ast.Constant) else ""


def metrics() -> Iterator[str]:
    """Every name that the code counts under, with the place that counts it."""
    yield "| name | kind | counted in |\n|---|---|---|"
    found: dict[str, tuple[str, set[str]]] = {}
    for file in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                kind = {"add": "counter", "put": "gauge", "observe": "histogram"}.get(node.func.attr)
                first = node.args[0]
                if kind and isinstance(first, ast.Constant) and str(first.value).startswith("idsync_"):
                    found.setdefault(str(first.value), (kind, set()))[1].add(str(file.relative_to(SOURCES)))
    for name, (kind, files) in sorted(found.items()):
        yield f"| `{name}` | {kind} | {', '.join(f'`{one}`' for one in sorted(files))} |"


def _cell(text: object) -> str:
    return " ".join(str("" if text is None else text).split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
