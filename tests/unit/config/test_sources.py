"""Where a setting comes from: the file < the environment < flags, and values that are read from elsewhere."""

import os
from pathlib import Path

import pytest

from idsync.config import ApiKeySettings, SecretText, load_settings, parse_settings
from idsync.errors import ConfigError
from idsync.model.values import Kind

APP = """
[peers.my-app]
connector = "sql"
database = "sqlite:///app.db"
[peers.my-app.user]
table = "users"
key = "id"
fields = { email = "email" }
"""


def _problems(text: str = "", **given: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, **given)  # type: ignore[arg-type]  # each test gives what parse_settings takes
    return caught.value.problems


def test_environment_overrides_the_file_and_flags_override_both() -> None:
    """The order of R42, seen on one setting."""
    text, environ = "[delivery]\ntimeout_s = 1", {"IDSYNC_DELIVERY__TIMEOUT_S": "2.5"}
    assert parse_settings(text).delivery.timeout_s == 1
    assert parse_settings(text, environ=environ).delivery.timeout_s == 2.5
    assert parse_settings(text, environ=environ, flags={"delivery.timeout_s": 3}).delivery.timeout_s == 3


def test_flag_that_is_none_was_not_given() -> None:
    """Unset is None until merged: it does not override."""
    assert parse_settings("[log]\nlevel = 'debug'", flags={"log.level": None}).log.level == "debug"


@pytest.mark.parametrize("value", ["256", 256], ids=["text", "number"])
def test_flag_takes_the_type_of_its_setting(value: object) -> None:
    """A flag may arrive as text, as on a command line, or as what it is."""
    assert parse_settings("", flags={"delivery.endpoint_concurrency": value}).delivery.endpoint_concurrency == 256


def test_variable_takes_the_type_of_its_setting() -> None:
    """Whole numbers, numbers, truth, text, choices and nested sections are read from text."""
    settings = parse_settings(
        "",
        environ={
            "IDSYNC_DELIVERY__ENDPOINT_CONCURRENCY": "7",
            "IDSYNC_DELIVERY__RETRY__FIRST_S": "0.5",
            "IDSYNC_NATS__URL": "nats://127.0.0.1",
            "IDSYNC_NATS__PUBLISH": "true",
            "IDSYNC_LOG__LEVEL": "error",
        },
    )
    assert settings.delivery.endpoint_concurrency == 7
    assert settings.delivery.retry.first_s == 0.5
    assert settings.nats.publish
    assert settings.log.level == "error"


def test_lists_and_tables_are_json() -> None:
    """A list, a table of settings and a whole peer arrive as JSON; deeper variables go over them."""
    settings = parse_settings(
        APP,
        environ={
            "IDSYNC_PEERS__AUTH": '{"connector": "better-auth", "database": "sqlite:///a.db"}',
            "IDSYNC_PEERS__AUTH__DATABASE": "sqlite:///b.db",
            "IDSYNC_PEERS__MY_APP__USER__FIELDS": '{"name": "full_name"}',
            "IDSYNC_SYNC__USER__PEERS": '["auth", "my-app"]',
            "IDSYNC_SYNC__USER__FIELDS__NAME__OWNER": "auth",
        },
    )
    database = settings.peers["auth"].database
    assert database is not None
    assert database.sqlite_path == "b.db"
    assert settings.peers["my-app"].kinds[Kind.USER].fields == {"name": "full_name"}
    assert settings.sync[Kind.USER].peers == ("auth", "my-app")
    assert settings.sync[Kind.USER].fields["name"].owner == "auth"


def test_list_variable_without_brackets_is_a_list_of_one_and_empty_is_none() -> None:
    """An API key alone may be given as it is; an empty variable takes the file's away."""
    text = f'[server]\napi_keys = ["{"a" * 16}"]'
    keyed = parse_settings(text, environ={"IDSYNC_SERVER__API_KEYS": "b" * 16})
    emptied = parse_settings(text, environ={"IDSYNC_SERVER__API_KEYS": ""})
    assert keyed.server.api_keys == (ApiKeySettings(key=SecretText("b" * 16)),)
    assert emptied.server.api_keys == ()


@pytest.mark.parametrize("name", ["IDSYNC_PEERS__MY_APP__DATABASE", "IDSYNC_PEERS__my-app__DATABASE"])
def test_peer_with_a_dash_is_found_with_dash_or_underscore(name: str) -> None:
    """A variable's name cannot always hold a dash."""
    database = parse_settings(APP, environ={name: "sqlite:///other.db"}).peers["my-app"].database
    assert database is not None
    assert database.sqlite_path == "other.db"


def test_exact_name_wins_over_the_one_that_differs_by_a_dash() -> None:
    """Two peers may differ by a dash alone; the underscore then names its own."""
    settings = parse_settings(
        APP + APP.replace("my-app", "my_app"), environ={"IDSYNC_PEERS__MY_APP__DATABASE": "sqlite:///other.db"}
    )
    paths = {name: peer.database.sqlite_path for name, peer in settings.peers.items() if peer.database}
    assert paths == {"my-app": "app.db", "my_app": "other.db"}


def test_kind_is_found_whatever_its_case() -> None:
    """`organizationMembership` is written in capitals in the environment."""
    environ = {"IDSYNC_SYNC__ORGANIZATIONMEMBERSHIP__PEERS": "my-app", "IDSYNC_PEERS__MY_APP__CONNECTOR": "better-auth"}
    assert parse_settings(APP, environ=environ).sync[Kind.MEMBERSHIP].peers == ("my-app",)


def test_other_variables_are_left_alone() -> None:
    """What only begins like ours, or is asked for by the file, is no setting."""
    environ = {"IDSYNC_CONFIG": "", "IDSYNC_CRASH": "x", "IDSYNC_A__B": "k" * 16, "PATH": "/bin", "IDSYNC": "1"}
    settings = parse_settings('[server]\napi_keys = ["env:IDSYNC_A__B"]', environ=environ)
    assert settings.server.api_keys == (ApiKeySettings(key=SecretText("k" * 16)),)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "IDSYNC_STORE__ULR",
            "x",
            "store.ulr (environment variable IDSYNC_STORE__ULR): unknown key; did you mean url?",
        ),
        (
            "IDSYNC_STORE_URL",
            "x",
            "store.url: IDSYNC_STORE_URL is not read; did you mean IDSYNC_STORE__URL?",
        ),
        ("IDSYNC_STORE__", "x", "IDSYNC_STORE__: is no setting: write IDSYNC_<SECTION>__<KEY>"),
        (
            "IDSYNC_LOG__LEVEL__X",
            "x",
            'log.level (environment variable IDSYNC_LOG__LEVEL__X): expected one of "debug", "info"',
        ),
        (
            "IDSYNC_SERVER__API_KEYS",
            "[1",
            "server.api_keys (environment variable IDSYNC_SERVER__API_KEYS): expected a list written as JSON",
        ),
        (
            "IDSYNC_PEERS__A",
            "sql",
            "peers.a (environment variable IDSYNC_PEERS__A): expected a table written as JSON",
        ),
        (
            "IDSYNC_DELIVERY__ENDPOINT_CONCURRENCY",
            "many",
            (
                "delivery.endpoint_concurrency (environment variable IDSYNC_DELIVERY__ENDPOINT_CONCURRENCY): "
                "expected a whole number"
            ),
        ),
    ],
)
def test_variable_that_cannot_be_used_is_named(name: str, value: str, expected: str) -> None:
    """The error says which variable it is, and what it should hold or be called."""
    (problem,) = _problems(environ={name: value})
    assert problem.startswith(expected)


def test_table_that_a_variable_replaced_is_no_longer_of_the_file() -> None:
    """A problem inside it names the variable, not the line of the value that is gone."""
    (problem,) = _problems(APP, environ={"IDSYNC_PEERS__MY_APP": '{"connector": "nope"}'})
    assert problem.startswith("peers.my-app.connector (environment variable IDSYNC_PEERS__MY_APP): unknown connector")


def test_variable_below_a_value_is_refused() -> None:
    """A variable cannot reach into what the file says is no table."""
    assert _problems("store = 5", environ={"IDSYNC_STORE__URL": "sqlite:///x"}) == (
        "store (idsync.toml line 1): expected a table",
    )


def test_flag_that_cannot_be_used_is_named() -> None:
    """The error names the flag by its dotted key."""
    assert _problems(flags={"log.level": "loud"}) == (
        'log.level (flag log.level): expected one of "debug", "info", "warning", "error"',
    )


def test_env_value_is_read_from_the_environment() -> None:
    """A secret of the file stands in the environment, also in lists, tables and numbers."""
    text = """
    [endpoints.a]
    url = "env:HOOK"
    secret = ["env:NEW", "env:OLD"]
    headers = { Authorization = "env:TOKEN" }
    timeout_s = "env:SECONDS"
    """
    environ = {"HOOK": "https://example.com/x", "NEW": "n", "OLD": "o", "TOKEN": "Bearer t", "SECONDS": "9"}
    endpoint = parse_settings(text, environ=environ).endpoints["a"]
    assert endpoint.url.reveal() == "https://example.com/x"
    assert endpoint.secret == (SecretText("n"), SecretText("o"))
    assert endpoint.headers == {"Authorization": SecretText("Bearer t")}
    assert endpoint.timeout_s == 9


def test_file_value_is_read_without_its_last_newline(tmp_path: Path) -> None:
    """A mounted secret may end in a newline, which is not part of it."""
    (tmp_path / "secret").write_bytes(b" s\n\r\n")
    text = f'[endpoints.a]\nurl = "https://example.com"\nsecret = "file:{tmp_path}/secret"'
    assert parse_settings(text).endpoints["a"].secret == (SecretText(" s\n"),)


def test_what_was_read_is_never_read_again() -> None:
    """A secret may itself begin with `env:` or `file:`."""
    settings = parse_settings(
        '[endpoints.a]\nurl = "https://example.com"\nsecret = "env:A"', environ={"A": "env:B", "B": "b"}
    )
    assert settings.endpoints["a"].secret == (SecretText("env:B"),)


def test_variable_may_point_elsewhere_too() -> None:
    """An `IDSYNC_…` variable follows the same words as the file."""
    environ = {"IDSYNC_SERVER__API_KEYS": "env:KEY", "KEY": "k" * 16}
    assert parse_settings("", environ=environ).server.api_keys == (ApiKeySettings(key=SecretText("k" * 16)),)


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}])
def test_missing_variable_is_named_with_its_setting(environ: dict[str, str]) -> None:
    """Not set and empty are the same: a secret that is not there."""
    text = '[server]\napi_keys = [\n  "env:KEY",\n]'
    assert _problems(text, environ=environ) == (
        "server.api_keys[0] (idsync.toml line 2): the environment variable KEY is not set, or is empty",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "cannot be read (UnicodeDecodeError)"),
        (b"x" * 70_000, "is larger than 65536 bytes"),
    ],
)
def test_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """The error names the setting and the file, never what is in it."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    (problem,) = _problems(f'[peers.a]\nconnector = "payload"\napi_key = "file:{file}"')
    assert problem.startswith("peers.a.api_key (idsync.toml line 3): ")
    assert reason in problem
    assert "xxx" not in problem


def test_pipe_is_no_file(tmp_path: Path) -> None:
    """Reading a named pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (problem,) = _problems(f'[peers.a]\nconnector = "payload"\napi_key = "file:{tmp_path}/pipe"')
    assert "there is no file" in problem


def test_named_file_comes_before_the_variable_and_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config`, then `IDSYNC_CONFIG`, then the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, level in (("flag.toml", "debug"), ("variable.toml", "warning"), ("idsync.toml", "error")):
        Path(name).write_text(f'[log]\nlevel = "{level}"')
    environ = {"IDSYNC_CONFIG": "variable.toml"}
    by_flag = load_settings(Path("flag.toml"), environ=environ)
    assert (by_flag.log.level, by_flag.file) == ("debug", Path("flag.toml"))
    assert load_settings(environ=environ).log.level == "warning"
    assert load_settings(environ={}).log.level == "error"


def test_environment_of_the_process_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that says nothing gets what is set around it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IDSYNC_LOG__LEVEL", "debug")
    assert load_settings().log.level == "debug"


def test_named_file_must_exist(tmp_path: Path) -> None:
    """A misspelt `--config` must not start with the defaults."""
    with pytest.raises(ConfigError, match=r"nope\.toml: there is no such file"):
        load_settings(tmp_path / "nope.toml", environ={})
    with pytest.raises(ConfigError, match=r"gone\.toml: there is no such file"):
        load_settings(environ={"IDSYNC_CONFIG": "gone.toml"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "is not UTF-8 text (byte 0)"),
        (b"#" * 1_048_577, "is larger than 1048576 bytes"),
        (b"[store\n", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),
    ],
)
def test_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    """What cannot even be parsed is one clear problem."""
    file = tmp_path / "idsync.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environ={})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{file}: ")
    assert reason in problem


def test_key_of_many_parts_is_an_unknown_key() -> None:
    """A dotted key may nest deeper than Python's stack, in the file and in a variable."""
    assert _problems(f"{'a.' * 5000}b = 1")[0].startswith("a (idsync.toml line 1): unknown key; known here: store, ")
    assert "unknown key" in _problems(environ={f"IDSYNC_{'A__' * 5000}B": "1"})[0]


def test_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """Some editors begin a file with one."""
    file = tmp_path / "idsync.toml"
    file.write_bytes(b'\xef\xbb\xbf[log]\nlevel = "debug"')
    assert load_settings(file, environ={}).log.level == "debug"
