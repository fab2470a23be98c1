"""What types cannot say: names that must exist, settings that need or exclude each other, addresses, headers."""

from typing import Final

from idsync.config.draft import Draft, Path, nearest, shown
from idsync.config.limits import RetrySettings
from idsync.config.names import (
    CONNECTORS_KNOWN,
    COUPLED_FIELDS,
    HEADERS_RESERVED,
    NAME_OWN,
    USER_FIELDS,
    Dialect,
)
from idsync.config.settings import EndpointSettings, FieldSettings, KindSettings, PeerSettings, Settings, SyncSettings
from idsync.config.shape import choices_of
from idsync.config.values import SecretText, Url, read_key
from idsync.model.mapping import Rule
from idsync.model.values import Kind
from idsync.wire.address import parse_networks
from idsync.wire.url import parse_url

STORE_SCHEMES: Final = ("sqlite", "postgresql", "redis", "rediss")
DATABASE_SCHEMES: Final = ("sqlite", "postgresql", "mysql", "mariadb")
HTTP_SCHEMES: Final = ("http", "https")
NOT_ONE_URL: Final = (
    "expected a host that every program reads alike: no backslash, no octal, hexadecimal or short form of an address,"
    " and no user (`headers` takes an Authorization)"
)
ENGINE_SCHEMES: Final = ("nats", "tls", "qstash")
NATS_SCHEMES: Final = ("nats", "tls", "ws", "wss")
NEEDS: Final = {"sql": ("database",), "better-auth": ("database", "url", "secret"), "webhook": ("secret",)}
"""Connector: the settings of which it needs one."""

API_KEY_LENGTH_MIN: Final = 16
URL_LENGTH_MAX: Final = 2048
HEADER_NAME_LENGTH_MAX: Final = 256
HEADER_LENGTH_MAX: Final = 4096
PORT_MAX: Final = 65_535
DAY_S: Final = 86_400
TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What a header's name is made of (RFC 9110 §5.6.2)."""


def check(draft: Draft, settings: Settings) -> None:
    """Record every problem of settings whose types are right."""
    _check_url(draft, settings.store.url, STORE_SCHEMES, ("store", "url"))
    _check_server(draft, settings)
    for name, peer in settings.peers.items():
        _check_peer(draft, peer, ("peers", name))
    for kind, sync in settings.sync.items():
        _check_sync(draft, settings, kind, sync)
    for name, endpoint in settings.endpoints.items():
        check_endpoint(draft, endpoint, ("endpoints", name), settings)
    _check_delivery(draft, settings)
    _check_nats(draft, settings)


def _check_url(draft: Draft, url: Url, schemes: tuple[str, ...], path: Path) -> None:
    text = url.reveal()
    if len(text) > URL_LENGTH_MAX:
        draft.refuse(path, f"is longer than {URL_LENGTH_MAX} characters")
    elif url.scheme not in schemes:
        draft.refuse(path, f"expected an address that begins with {' or '.join(f'{one}://' for one in schemes)}")
    elif url.scheme not in ("sqlite", "postgresql") and not url.host:  # PostgreSQL may be at a Unix socket
        draft.refuse(path, f"names no host; expected {url.scheme}://host…")
    elif url.scheme == "sqlite" and (not text.startswith("sqlite:///") or text == "sqlite:///"):
        draft.refuse(path, "expected three slashes and a file, as in sqlite:///idsync.db (four for an absolute path)")
    elif url.scheme == "sqlite" and "?" in text:
        draft.refuse(path, "sqlite:/// takes a file alone, without options after a `?`")


def _check_server(draft: Draft, settings: Settings) -> None:
    host, colon, port = settings.server.listen.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= len(str(PORT_MAX)) and int(port) <= PORT_MAX
    is_host = bool(host) and host.isascii() and host.isprintable() and " " not in host
    if not (colon and is_port and is_host and (":" not in host or (host[0] == "[" and host[-1] == "]"))):
        draft.refuse(("server", "listen"), "expected host:port, as in 127.0.0.1:8787 or [::1]:8787")
    for number, key in enumerate(settings.server.api_keys):
        text = key.key.reveal()
        if len(text) < API_KEY_LENGTH_MIN or not text.isascii() or not text.isprintable() or " " in text:
            reason = f"an API key has at least {API_KEY_LENGTH_MIN} ASCII characters and no spaces"
            draft.refuse(("server", "api_keys", number), reason)
    for number, secret in enumerate(settings.server.secret_key):
        if read_key(secret) is None:
            reason = "expected 32 random bytes in base64, as `openssl rand -base64 32` prints them"
            draft.refuse(("server", "secret_key", number), reason)


def _check_peer(draft: Draft, peer: PeerSettings, path: Path) -> None:
    if path[-1] == NAME_OWN:
        draft.refuse(path, f"{NAME_OWN} is the name under which idsync speaks of itself; choose another one")
    if peer.connector not in CONNECTORS_KNOWN:
        draft.refuse((*path, "connector"), _unknown_connector(peer.connector))
    if peer.database is not None:
        _check_url(draft, peer.database, DATABASE_SCHEMES, (*path, "database"))
    if peer.url is not None:
        _check_url(draft, peer.url, HTTP_SCHEMES, (*path, "url"))
    needs = NEEDS.get(peer.connector, ())
    if needs and not any(getattr(peer, key) for key in needs):
        draft.refuse((*path, needs[0]), f'connector = "{peer.connector}" needs {" or ".join(needs)}')
    if bool(peer.admin_email) != bool(peer.admin_password):
        draft.refuse((*path, "admin_email"), "`admin_email` and `admin_password` are only of use together")
    _check_secrets(draft, peer.secret, path)
    for kind, table in peer.kinds.items():
        _check_kind(draft, peer, kind, table, (*path, kind.value))


def _unknown_connector(connector: str) -> str:
    if connector in choices_of(Dialect):
        return f'is a dialect, not a connector: write connector = "webhook" and dialect = "{connector}"'
    return f"unknown connector; {nearest(connector, CONNECTORS_KNOWN)}"


def _check_kind(draft: Draft, peer: PeerSettings, kind: Kind, table: KindSettings, path: Path) -> None:
    if peer.connector == "sql":
        for key in ("table", "key", "fields"):
            if not getattr(table, key):
                draft.refuse((*path, key), 'is required with connector = "sql"')
    _check_fields(draft, kind, tuple(table.fields), (*path, "fields"))
    columns: dict[str, str] = {}
    for field, column in table.fields.items():
        if column in columns:
            draft.refuse((*path, "fields", field), f"is mapped to the same column as {shown(columns[column])}")
        columns.setdefault(column, field)
    if table.email_verified and "email_verified" in table.fields:
        reason = '"always" contradicts the mapped field `email_verified`; keep one of the two'
        draft.refuse((*path, "email_verified"), reason)


def _check_fields(draft: Draft, kind: Kind, fields: tuple[str, ...], path: Path) -> None:
    for field in fields:
        if field == "id":
            draft.refuse(
                (*path, field),
                "ids are not mapped as fields: `key` names the peer's own, `link` the first peer's",
            )
        elif kind is Kind.USER and field not in USER_FIELDS:
            draft.refuse((*path, field), f"is no canonical user field; {nearest(field, USER_FIELDS)}")


def _check_sync(draft: Draft, settings: Settings, kind: Kind, sync: SyncSettings) -> None:
    path: Path = ("sync", kind.value)
    written = draft.tree.get("peers")
    known = tuple(written) if isinstance(written, dict) else ()
    for number, peer in enumerate(sync.peers):
        if peer not in known:
            draft.refuse((*path, "peers", number), f"there is no peer of this name; {nearest(peer, known)}")
        elif peer in sync.peers[:number]:
            draft.refuse((*path, "peers", number), "is named twice")
        else:
            _check_synced(draft, settings, kind, peer, is_first=number == 0)
    for number, peer in enumerate(sync.create or ()):
        _check_member(draft, peer, sync.peers, (*path, "create", number))
    if sync.lifecycle.owner is not None:
        _check_member(draft, sync.lifecycle.owner, sync.peers, (*path, "lifecycle", "owner"))
    _check_fields(draft, kind, tuple(sync.fields), (*path, "fields"))
    _check_authority(draft, kind, sync, (*path, "fields"))


def _check_synced(draft: Draft, settings: Settings, kind: Kind, name: str, *, is_first: bool) -> None:
    """Check how a peer keeps a kind that it takes part in."""
    peer = settings.peers.get(name)
    table = peer.kinds.get(kind) if peer else None
    if peer and peer.connector == "sql" and kind not in peer.kinds:
        draft.refuse(("peers", name, kind.value), f"is required: sync.{kind.value}.peers names {name}")
    if table and table.link and is_first:
        draft.refuse(
            ("peers", name, kind.value, "link"),
            f"{name} is the first of sync.{kind.value}.peers, so this column would hold its own ids; "
            "put first the peer whose ids it holds",
        )


def _check_authority(draft: Draft, kind: Kind, sync: SyncSettings, path: Path) -> None:
    """Check the rule of every field, and that fields which move together share one."""
    coupled = {field: group for group, fields in COUPLED_FIELDS.items() for field in fields if kind is Kind.USER}
    leads: dict[str, str] = {}
    homes: dict[str, str] = {}
    for field, line in sync.fields.items():
        _check_rule(draft, line, sync.peers, (*path, field))
        own = coupled.get(field)
        group = line.group or own or field
        lead = leads.setdefault(group, field)
        if group != own and group in coupled.values():
            draft.refuse((*path, field, "group"), f"is the group of {', '.join(COUPLED_FIELDS[group])}")
        elif own == "ban" and group != own:
            draft.refuse((*path, field, "group"), "the ban fields always form the group ban")
        elif own and homes.setdefault(own, group) != group:
            reason = f"{' and '.join(COUPLED_FIELDS[own])} move together, so they need the same group"
            draft.refuse((*path, field, "group"), reason)
        elif _is_split(line, sync.fields[lead]):
            draft.refuse((*path, field), f"moves together with {shown(lead)}, so both need the same owner and rule")


def _check_rule(draft: Draft, line: FieldSettings, peers: tuple[str, ...], path: Path) -> None:
    if line.owner is not None:
        _check_member(draft, line.owner, peers, (*path, "owner"))
    if line.rule is Rule.OWNER and line.owner is None:
        draft.refuse((*path, "owner"), 'rule = "owner" needs the peer: owner = "<peer>"')
    if line.owner is not None and line.rule not in (None, Rule.OWNER):
        draft.refuse((*path, "rule"), "stands beside an owner; keep one of the two")


def _is_split(line: FieldSettings, lead: FieldSettings) -> bool:
    """Whether two fields of one group are decided differently."""
    here, there = line.to_rule(), lead.to_rule()
    return (here.rule, here.owner) != (there.rule, there.owner)


def _check_member(draft: Draft, peer: str, peers: tuple[str, ...], path: Path) -> None:
    if peer not in peers:
        draft.refuse(path, f"is not among the peers of this kind; {nearest(peer, peers)}")


def _check_where_to(draft: Draft, url: Url, path: Path) -> None:
    _check_url(draft, url, HTTP_SCHEMES, path)
    if url.scheme in HTTP_SCHEMES and url.host and parse_url(url.reveal()) is None:
        draft.refuse(path, NOT_ONE_URL)


def check_endpoint(draft: Draft, endpoint: EndpointSettings, path: Path, settings: Settings) -> None:
    """Record every problem of one endpoint whose types are right.

    Args:
        settings: those of the service that it is of.
    """
    _check_where_to(draft, endpoint.url, (*path, "url"))
    _check_secrets(draft, endpoint.secret, path)
    if all(one.startswith("!") for one in endpoint.events):
        draft.refuse((*path, "events"), 'only leaves out: say first of what, as in ["*", "!user.deleted"]')
    if endpoint.retry is not None:
        _check_retry(draft, endpoint.retry, (*path, "retry"))
        if settings.retention.inbox_days * DAY_S < endpoint.retry.age_max_s:
            reason = "is longer than retention.inbox_days: the event could be forgotten while it is tried"
            draft.refuse((*path, "retry", "age_max_s"), reason)
    for name, value in endpoint.headers.items():
        place = (*path, "headers", name)
        text = value.reveal()
        if not name or not TOKEN.issuperset(name) or len(name) > HEADER_NAME_LENGTH_MAX:
            draft.refuse(place, "is no name of a header")
        elif name.lower() in HEADERS_RESERVED:
            draft.refuse(place, "is set by idsync itself")
        elif not text.isascii() or not text.isprintable() or text != text.strip():
            draft.refuse(place, "a header's value is printable ASCII without spaces around it")
        elif len(text) > HEADER_LENGTH_MAX:
            draft.refuse(place, f"is longer than {HEADER_LENGTH_MAX} characters")
    if len({name.lower() for name in endpoint.headers}) < len(endpoint.headers):
        draft.refuse((*path, "headers"), "names a header twice: capital and small letters mean the same")


def _check_secrets(draft: Draft, secrets: tuple[SecretText, ...], path: Path) -> None:
    for number, secret in enumerate(secrets):
        if not secret.reveal().strip():
            draft.refuse((*path, "secret", number), "is empty; leave the key out, or give a secret")


def _check_delivery(draft: Draft, settings: Settings) -> None:
    for number, cidr in enumerate(settings.delivery.allow_cidrs):
        try:
            parse_networks((cidr,))
        except ValueError:
            reason = "expected a range of addresses whose host bits are zero, as in 10.0.0.0/8 or fd00::/8"
            draft.refuse(("delivery", "allow_cidrs", number), reason)
    retry = settings.delivery.retry
    _check_retry(draft, retry, ("delivery", "retry"))
    if settings.retention.inbox_days * DAY_S < retry.age_max_s:
        reason = "is shorter than delivery.retry.age_max_s: an event could come again after its id is forgotten"
        draft.refuse(("retention", "inbox_days"), reason)
    if settings.limits.event_bytes_max > settings.limits.body_bytes_max:
        draft.refuse(("limits", "event_bytes_max"), "is larger than `body_bytes_max`: no such event could come in")


def _check_retry(draft: Draft, retry: RetrySettings, path: Path) -> None:
    if retry.first_s > retry.cap_s:
        draft.refuse((*path, "first_s"), "is longer than `cap_s`, the longest wait")


def _check_nats(draft: Draft, settings: Settings) -> None:
    if settings.engine.url.reveal():
        _check_url(draft, settings.engine.url, ENGINE_SCHEMES, ("engine", "url"))
    if settings.nats.url.reveal():
        _check_url(draft, settings.nats.url, NATS_SCHEMES, ("nats", "url"))
    elif settings.nats.subscribe or settings.nats.publish:
        draft.refuse(("nats", "url"), "is required with `subscribe` or `publish`")
    for number, subject in enumerate(settings.nats.subscribe):
        *tokens, last = subject.split(".")
        is_plain = subject.isprintable() and " " not in subject and all(tokens) and last
        if not is_plain or any(">" in token for token in tokens) or (">" in last and last != ">"):
            draft.refuse(("nats", "subscribe", number), "expected a subject, as in user.> or user.*")
