"""Whatever is in the file, the environment or the flags: settings, or a ConfigError, and never a secret in it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.config import Settings, describe_settings, parse_settings
from idsync.errors import ConfigError
from idsync.model.values import KINDS

GOLDEN = Path(__file__).with_name("golden.toml").read_text()
SECRETS = {"IDSYNC_API_KEY": "k" * 32, "PAYLOAD_API_KEY": "p", "AUDIT_SECRET": "s"}
MARK = "s3cr3t"

PATHS = [doc.path for doc in describe_settings()]
WORDS = sorted({word for path in PATHS for word in path.split(".")} | {"auth", "app", "a-b", "env:A", *KINDS})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**31)
    | st.floats()
    | st.text()
    | st.sampled_from([*WORDS, "env:NAME", "env:", "file:", "file:/", "file:\0", "sqlite://", "//", "http://[", "*"])
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.binary()
)
KEYS = st.sampled_from(WORDS) | st.text(max_size=8)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


def _path(path: str, name: str, kind: str, field: str) -> str:
    return path.replace("<name>", name).replace("<kind>", kind).replace("<field>", field)


SETTING_PATHS = st.builds(
    _path, st.sampled_from(PATHS), st.sampled_from(["auth", "app", "x"]), st.sampled_from([*KINDS]), KEYS
)


def _parse(text: str, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings | ConfigError:
    try:
        return parse_settings(text, environ=environ, flags=flags)
    except ConfigError as error:
        return error


def _check(result: Settings | ConfigError) -> None:
    """An error names at least one problem, and any terminal can show it."""
    if isinstance(result, ConfigError):
        assert result.problems
        assert all(problem.isprintable() for problem in result.problems)


@given(st.dictionaries(KEYS | SETTING_PATHS, TREES, max_size=6))
def test_any_flags_give_settings_or_a_config_error(flags: dict[str, object]) -> None:
    """Wrong types anywhere in the tree are problems, never a crash."""
    _check(_parse(GOLDEN, SECRETS, flags))


@given(
    st.dictionaries(
        SETTING_PATHS.map(lambda path: f"IDSYNC_{path.upper().replace('.', '__')}")
        | st.text(max_size=8).map(lambda rest: f"IDSYNC_{rest}")
        | st.sampled_from(["NATS_URL", "PAYLOAD_WEBHOOK_URL", "PAYLOAD_WEBHOOK_SECRET", "NAME"]),
        st.text()
        | st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))
        | st.sampled_from(["[", "{}", "[1]"]),
        max_size=6,
    )
)
def test_any_environment_gives_settings_or_a_config_error(environ: dict[str, str]) -> None:
    """Names and values of any shape, bytes that are no UTF-8 included."""
    _check(_parse(GOLDEN, {**SECRETS, **environ}, {}))


@given(st.text() | st.lists(st.sampled_from(["[", "]", ".", "=", '"', "\n", "{", "}", "a", "store", "1"])).map("".join))
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    """What is no TOML is one problem."""
    _check(_parse(text, {}, {}))


@given(st.data())
def test_spoiled_golden_file_gives_settings_or_a_config_error(data: st.DataObject) -> None:
    """Any one value of the documented file replaced by anything."""
    tree = tomllib.loads(GOLDEN)
    place: dict[str, object] = tree
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        below = place[key]
        if not isinstance(below, dict) or not below or data.draw(st.booleans()):
            break
        place = below
    place[key] = data.draw(TREES)
    _check(_parse("", SECRETS, tree))


@given(
    st.lists(
        st.tuples(
            SETTING_PATHS,
            st.sampled_from(
                [MARK, [MARK], {"a": MARK}, [[MARK]], f"http://{MARK}:{MARK}@ /", f"sqlite://{MARK}", "env:M"]
            ),
        ),
        max_size=4,
    )
)
def test_no_value_is_repeated_in_an_error(flags: list[tuple[str, object]]) -> None:
    """A secret at the wrong place is refused without being shown."""
    result = _parse("", {"M": MARK}, dict(flags))
    if isinstance(result, ConfigError):
        assert MARK not in str(result)


@given(
    st.sampled_from([doc.path for doc in describe_settings() if "number" in doc.type and "<" not in doc.path]),
    st.integers(),
)
def test_number_is_judged_alike_from_a_flag_and_from_a_variable(path: str, number: int) -> None:
    """Where a number comes from does not change whether it is good, or what it becomes."""
    by_flag = _parse("", {}, {path: number})
    by_text = _parse("", {f"IDSYNC_{path.upper().replace('.', '__')}": str(number)}, {})
    assert isinstance(by_flag, Settings) == isinstance(by_text, Settings)
    assert by_flag == by_text or isinstance(by_flag, ConfigError)


def test_variable_with_bytes_that_are_no_text_is_refused() -> None:
    """A secret that cannot be encoded would fail only when it first signs."""
    text = '[endpoints.a]\nurl = "https://example.com"\nsecret = "env:S"'
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, environ={"S": "\udcff"})
    assert caught.value.problems == ("endpoints.a.secret[0] (idsync.toml line 3): is not valid UTF-8",)
