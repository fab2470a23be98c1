"""What can be said of a MySQL peer without a server: its address, and the values that its columns take."""

import ssl

import pytest

from idsync.app import SystemClock, capture_peers
from idsync.config import parse_settings
from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.sql_mysql.database import Address
from idsync.connectors.sql_mysql.rows import literal, may_hold, quoted, type_of, value_of
from idsync.model.values import PeerName


def test_address_is_read_with_everything_in_it() -> None:
    """Signs in a name or a password are written as a web address writes them."""
    read = Address.of("mysql://so%40me:p%3Ass@db.example:3307/the%20app?ssl-mode=required")
    assert (read.host, read.port, read.user, read.password) == ("db.example", 3307, "so@me", "p:ss")
    assert read.database == "the app"
    assert read.tls is not None
    assert read.tls.verify_mode is ssl.CERT_NONE
    assert Address.of("mariadb://me@localhost/app").tls is None
    verified = Address.of("mariadb://me@localhost/app?ssl-mode=verify_identity").tls
    assert verified is not None
    assert verified.check_hostname


@pytest.mark.parametrize(
    "url", ["mysql://me@host", "mysql://host/app", "mysql:///app", "mysql://me@host/app?ssl=1", "mysql://me@host/a?x"]
)
def test_address_that_says_too_little_or_too_much_is_refused(url: str) -> None:
    """Nothing is guessed, and no option is passed over."""
    with pytest.raises(ValueError, match=r"."):
        Address.of(url)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_either_name_of_the_database_opens_the_same(scheme: str) -> None:
    """Nothing is connected to before it is needed."""
    settings = parse_settings(f"""
        [peers.app]
        connector = "sql"
        database = "{scheme}://me@127.0.0.1/app"
        [peers.app.user]
        table = "users"
        key = "id"
        fields = {{ email = "email" }}
    """)
    assert isinstance(capture_peers(settings, SystemClock())[PeerName("app")], MysqlPeer)


@pytest.mark.parametrize(
    ("base", "declared", "named"),
    [
        ("tinyint", "tinyint(1)", "boolean"),
        ("bit", "bit(1)", "boolean"),
        ("bit", "bit(8)", "binary"),
        ("bigint", "bigint(20) unsigned", "bigint unsigned"),
        ("varchar", "varchar(9)", "text/utf8mb4/utf8mb4_bin"),
        ("datetime", "datetime(3)", "datetime/3"),
        ("json", "json", "json"),
        ("geometry", "geometry", "binary"),
    ],
)
def test_types_are_told_apart_as_their_values_differ(base: str, declared: str, named: str) -> None:
    """What is not known is not read."""
    assert type_of(base, declared, "utf8mb4", "utf8mb4_bin", 3) == named


def test_key_holds_only_what_its_type_can() -> None:
    """Nothing else is ever compared with it: MySQL would take a text for a number."""
    assert may_hold("tinyint", "-128")
    assert not may_hold("tinyint", "-129")
    assert not may_hold("bigint unsigned", "-1")
    assert may_hold("bigint unsigned", str(2**64 - 1))
    assert not may_hold("int", "01")
    assert not may_hold("text/utf8mb4/utf8mb4_bin", "\ud800")


def test_instants_go_back_without_a_zone() -> None:
    """The session's own is UTC."""
    assert value_of("2026-01-31T12:00:00.123Z", "datetime/3") == "2026-01-31 12:00:00.123"
    assert value_of("2026-01-31T12:00:00.123Z", "text/utf8mb4/x") == "2026-01-31T12:00:00.123Z"
    assert value_of(1, "text/utf8mb4/x") == "1"


def test_names_and_constants_are_quoted_for_a_template() -> None:
    """Every sign that ends one, and the one that begins a value."""
    assert quoted('a"b%s') == '"a""b%%s"'
    assert literal("a'b\\c%s") == "'a''b\\\\c%%s'"
