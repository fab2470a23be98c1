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
from idsync.api.http import describe_shape
from idsync.api.openapi import problems_of
from idsync.api.operations import build_operations
from idsync.api.operations.metrics import METRICS
from idsync.api.service import Operation
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
        "api.md": "# HTTP API\n\n" + "\n".join(api()),
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


def api() -> Iterator[str]:
    """Every operation: what it takes, what it answers, what it refuses."""
    operations = build_operations()
    yield "The same as the service draws it for programs: `GET /openapi.json` (OpenAPI 3.1).\n"
    yield "A key is sent as `Authorization: Bearer <key>`. It has a set of scopes: `publish`, `read`, `admin`, which is"
    yield "all of them. Refusals are problem+json (RFC 9457), each with a stable `type`, `urn:idsync:problem:<slug>`."
    yield "Pages give `next`, the `after` of the page that follows. What is marked *once* takes an `Idempotency-Key`:"
    yield "the same request under the same key gets the first answer again for a day, with `Idempotent-Replay: true`;"
    yield "another one under it is refused. What is marked *revision* answers with an `ETag` for a later `If-Match`.\n"
    yield "| operation | scope | what it does | takes | refusals of its own |\n|---|---|---|---|---|"
    for one in operations:
        marks = "".join(f" *{mark}*" for mark, is_so in (("once", one.is_once), ("revision", one.gives_etag)) if is_so)
        refusals = ", ".join(f"{kind.status} {kind.slug}" for kind in problems_of(one) if kind in one.problems)
        scope = f"`{one.scope.value}`" if one.scope is not None else "none"
        cells = (f"`{one.method} {one.path}`{marks}", scope, one.summary, _taken(one), refusals)
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _taken(operation: Operation) -> str:
    """Name the parameters and the members of the body."""
    query = list(describe_shape(operation.query)[0]) if operation.query is not None else []
    fields = getattr(operation.body, "__struct_encode_fields__", ())
    parts = [", ".join(f"`?{name}`" for name in query), ", ".join(f"`{name}`" for name in fields)]
    return "; ".join(part for part in parts if part)


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
    """Every name that the code counts under, what it means, and the place that counts it."""
    yield "| name | kind | labels | what it counts | counted in |\n|---|---|---|---|---|"
    found: dict[str, tuple[str, set[str]]] = {}
    for file in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                kind = {"add": "counter", "put": "gauge", "observe": "histogram"}.get(node.func.attr)
                first = node.args[0]
                if kind and isinstance(first, ast.Constant) and str(first.value).startswith("idsync_"):
                    found.setdefault(str(first.value), (kind, set()))[1].add(str(file.relative_to(SOURCES)))
    for name in sorted({*found, *METRICS}):
        kind, files = found.get(name, ("gauge", {"api/operations/metrics.py"}))
        labels = ", ".join(f"`{label}`" for label in METRICS[name].labels)
        places = ", ".join(f"`{one}`" for one in sorted(files))
        yield f"| `{name}` | {kind} | {labels} | {_cell(METRICS[name].help)} | {places} |"


def _cell(text: object) -> str:
    return " ".join(str("" if text is None else text).split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
