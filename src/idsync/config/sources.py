"""Where settings come from, weakest first: file, environment, flags. Each writes into the draft's tree."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final, get_args

import msgspec

from idsync.config.draft import Draft, Path, Text, nearest, shown
from idsync.config.settings import Settings
from idsync.config.shape import Annotation, choices_of, is_list, is_mapping, is_table, slots_of, strip
from idsync.errors import ConfigError

PREFIX: Final = "IDSYNC_"
FILE_NAME: Final = "idsync.toml"
FILE_BYTES_MAX: Final = 1_048_576


def find_file(named: FilePath | None, environ: Mapping[str, str]) -> FilePath | None:
    """Return the file of `--config`, else `IDSYNC_CONFIG`, else `./idsync.toml`; None where there is none.

    Raises:
        ConfigError: a file that was named does not exist.
    """
    chosen = named or (FilePath(environ["IDSYNC_CONFIG"]) if environ.get("IDSYNC_CONFIG") else None)
    if chosen is None:
        return FilePath(FILE_NAME) if FilePath(FILE_NAME).is_file() else None
    if not chosen.is_file():
        raise ConfigError(f"{chosen}: there is no such file. `idsync init` writes one.")
    return chosen


def read_file(file: FilePath) -> str:
    """Return the file's text, at most 1 MiB of UTF-8.

    Raises:
        ConfigError: it cannot be read, or is no UTF-8.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({type(error).__name__}). Check its permissions.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{file}: is larger than {FILE_BYTES_MAX} bytes")
    return text


def overlay_toml(draft: Draft, text: str) -> None:
    """Put the file's values into the draft.

    Raises:
        ConfigError: the text is no TOML; nothing else can be checked then.
    """
    try:
        draft.tree = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{draft.file}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{draft.file}: is not valid TOML: {error}") from None
    draft.origins |= {path: f"{draft.file} line {line}" for path, line in _lines_of(text)}


def overlay_environment(draft: Draft) -> None:
    """Put the `IDSYNC_<SECTION>__<KEY>` variables over what is there, a whole table before its keys."""
    referenced = references_in(draft.tree)
    for name in sorted(draft.environ):  # a shorter name, which sets the whole table, comes first
        if not name.startswith(PREFIX) or name in referenced:
            continue
        origin = f"environment variable {shown(name)}"
        segments = name.removeprefix(PREFIX).split("__")
        if len(segments) == 1:
            _refuse_misspelt(draft, name, segments[0])
        elif all(segments):
            put(draft, segments, Text(draft.environ[name]), origin)
        else:
            draft.refuse((name,), "is no setting: write IDSYNC_<SECTION>__<KEY>")


def overlay_flags(draft: Draft, flags: Mapping[str, object]) -> None:
    """Put flags, by dotted key, over what is there. None is a flag that was not given."""
    for key, value in flags.items():
        if value is not None:
            given = Text(value) if isinstance(value, str) else value
            put(draft, key.split("."), given, f"flag {shown(key)}")


def put(draft: Draft, segments: list[str], value: object, origin: str) -> None:
    """Set one value over what is there. Case, `-` and `_` of the segments need not be as in the file."""
    holder = draft.tree
    annotation: Annotation = Settings
    path: Path = ()
    for segment in segments[:-1]:
        key, annotation = _step(holder, annotation, segment)
        path = (*path, key)
        table = holder.setdefault(key, {})
        if not isinstance(table, dict):
            draft.refuse(path, "expected a table")
            return
        holder = table
    key, annotation = _step(holder, annotation, segments[-1])
    path = (*path, key)
    draft.origins = {place: known for place, known in draft.origins.items() if place[: len(path)] != path}
    draft.origins[path] = origin
    holder[key] = _decode(draft, value, annotation, path)


def references_in(tree: dict[str, object]) -> set[str]:
    """Return the names of the variables that `env:NAME` values anywhere in a tree ask for."""
    names: set[str] = set()
    values: list[object] = [tree]
    while values:  # no recursion: a dotted key may nest deeper than Python's stack
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str) and value.startswith("env:"):
            names.add(value.removeprefix("env:"))
    return names


def _step(table: dict[str, object], annotation: Annotation, segment: str) -> tuple[str, Annotation]:
    """Return the key a segment means here, and the annotation of what is under it; None: nothing known."""
    bare, _ = strip(annotation)
    below: dict[str, Annotation] = {}
    otherwise = None
    if is_table(bare):
        for slot in slots_of(bare).values():
            if slot.is_inline:
                key_type, value_type = get_args(strip(slot.annotation)[0])
                below = dict.fromkeys(choices_of(key_type), value_type) | below
            else:
                below[slot.key] = slot.annotation
    elif is_mapping(bare):
        key_type, otherwise = get_args(bare)
        below = dict.fromkeys((*choices_of(strip(key_type)[0]), *table), otherwise)
    folded = _fold(segment)
    alike = [name for name in below if _fold(str(name)) == folded]
    key = next((name for name in (segment, segment.lower(), *alike) if name in below), segment.lower())
    return key, below.get(key, otherwise)


def _decode(draft: Draft, value: object, annotation: Annotation, path: Path) -> object:
    """Read the JSON of a list or a table; leave everything else to the shape."""
    bare, _ = strip(annotation)
    is_object = is_mapping(bare) or is_table(bare)
    if not isinstance(value, Text) or not (is_object or (is_list(bare) and value.text.startswith("["))):
        return value
    try:
        return msgspec.json.decode(value.text)
    except (ValueError, RecursionError):
        draft.refuse(path, f"expected a {'table' if is_object else 'list'} written as JSON")
        return value


def _refuse_misspelt(draft: Draft, name: str, rest: str) -> None:
    """Refuse a variable that only lacks an underscore to be a setting, rather than ignore it silently."""
    for section in slots_of(Settings).values():
        bare, _ = strip(section.annotation)
        for key in slots_of(bare) if is_table(bare) else ():
            if _fold(rest) == _fold(f"{section.key}_{key}"):
                meant = f"{PREFIX}{section.key}__{key}".upper()
                draft.refuse((section.key, key), f"{name} is not read; {nearest(meant, (meant,))}")


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def _lines_of(text: str) -> Iterator[tuple[Path, int]]:
    """Yield where tables and keys stand. A hint for messages: strings and inline tables are not looked into."""
    table: Path = ()
    for number, line in enumerate(text.split("\n"), 1):
        written = line.strip()
        if written.startswith("["):
            table = _keys_of(written.partition("]")[0].strip("["))
            yield table, number
        elif "=" in written and not written.startswith("#"):
            yield (*table, *_keys_of(written.partition("=")[0])), number


def _keys_of(written: str) -> Path:
    return tuple(key.strip().strip("\"'") for key in written.split("."))
