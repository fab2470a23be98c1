"""The reference of every setting is complete."""

import tomllib
from pathlib import Path

from idsync.config import describe_settings, parse_settings

DOCS = {doc.path: doc for doc in describe_settings()}


def test_every_setting_of_the_documented_file_is_in_the_reference() -> None:
    """What the contract shows can be looked up."""
    tree = tomllib.loads(Path(__file__).with_name("golden.toml").read_text())
    tree["peers"] = {"<name>": {**tree["peers"]["auth"], **tree["peers"]["cms"], **tree["peers"]["app"]}}
    tree["peers"]["<name>"]["<kind>"] = tree["peers"]["<name>"].pop("user")
    tree["endpoints"] = {"<name>": tree["endpoints"]["audit"]}
    tree["sync"] = {"<kind>": tree["sync"]["user"]}
    tree["sync"]["<kind>"]["fields"] = {"<field>": tree["sync"]["<kind>"]["fields"]["email"]}
    assert set(_leaves(tree)) <= DOCS.keys()


def _leaves(tree: dict[str, object], prefix: str = "") -> list[str]:
    paths = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in DOCS:
            paths += _leaves(value, f"{path}.")
        else:
            paths.append(path)
    return paths


def test_every_setting_says_what_it_means() -> None:
    """A meaning is a sentence."""
    assert [doc.path for doc in DOCS.values() if not doc.meaning.endswith(".")] == []


def test_every_number_is_bounded_on_both_sides() -> None:
    """Everything is bounded: no number may be set without end, in either direction."""
    numbers = [doc for doc in DOCS.values() if "number" in doc.type]
    assert len(numbers) > 40
    assert [doc.path for doc in numbers if not ({">", "≥"} & {*doc.range} and "≤" in doc.range)] == []


def test_every_list_is_bounded() -> None:
    """A list of the file has a most."""
    lists = [doc for doc in DOCS.values() if doc.type.startswith(("list", "table"))]
    assert [doc.path for doc in lists if "at most" not in doc.range] == []


def test_defaults_are_written_as_in_the_file() -> None:
    """The defaults of the reference, put into a file, change nothing."""
    lines = [
        f"{doc.path} = {doc.default}"
        for doc in DOCS.values()
        if doc.default not in ("", "required") and "<" not in doc.path
    ]
    assert len(lines) > 40
    assert parse_settings("\n".join(lines)) == parse_settings("")


def test_units_are_told_by_the_name() -> None:
    """Seconds, milliseconds, days, bytes and events."""
    units = {doc.path: doc.unit for doc in DOCS.values()}
    assert units["delivery.timeout_s"] == "seconds"
    assert units["delivery.flush_ms"] == "milliseconds"
    assert units["retention.inbox_days"] == "days"
    assert units["limits.body_bytes_max"] == "bytes"
    assert units["ingest.batch_events_max"] == "events"
    assert units["endpoints.<name>.events"] == ""


def test_one_line_of_the_reference_reads_as_documented() -> None:
    """Path, type, default, unit, range and meaning, as the settings page prints them."""
    doc = DOCS["delivery.retry.jitter"]
    assert (doc.type, doc.default, doc.unit, doc.range) == ("number", "0.1", "", "≥ 0, ≤ 0.5")
    assert DOCS["log.level"].type == '"debug" or "info" or "warning" or "error"'
    assert DOCS["endpoints.<name>.url"].default == "required"
    assert DOCS["endpoints.<name>.headers"].type == "table of secret"
