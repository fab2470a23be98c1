"""What may be configured: the sections of `idsync.toml` as frozen values (DESIGN §9).

A field with a `Meta` is a setting: its description is the reference page, its bounds are checked where it is read,
its default is what holds when nobody sets it. The operating sections (limits, retries…) are in `limits.py`.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from idsync.config.limits import (
    BatchSettings,
    BreakerSettings,
    CaptureSettings,
    DeliverySettings,
    DisableSettings,
    IngestSettings,
    LimitSettings,
    LogSettings,
    RateSettings,
    RetentionSettings,
    RetrySettings,
)
from idsync.config.names import COUPLED_FIELDS, FILTER_PATTERN, NAME_PATTERN, Dialect
from idsync.config.values import SecretText, Url
from idsync.model.mapping import FieldRule, Match, Others, Rule
from idsync.model.values import Kind, PeerName

Name = Annotated[str, Meta(pattern=NAME_PATTERN, title="a name: a-z first, then a-z 0-9 _ -, at most 63")]
Filter = Annotated[
    str,
    Meta(pattern=FILTER_PATTERN, max_length=200, title="user.created, user.*, * or !user.deleted"),
]
Column = Annotated[
    str,
    Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", max_length=200, title="a name of 1 to 200 printable characters"),
]
OnDelete = Annotated[
    str,
    Meta(
        pattern=r"^(delete|ignore|soft:[^\x00-\x1f\x7f:]+)\Z",
        max_length=200,
        title='"soft:<column>", "delete" or "ignore"',
    ),
]
OnBan = Annotated[
    str,
    Meta(
        pattern=r"^(ignore|(flag|deactivate):[^\x00-\x1f\x7f:]+)\Z",
        max_length=200,
        title='"flag:<column>", "deactivate:<column>" or "ignore"',
    ),
]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where idsync keeps its own truth."""

    url: Annotated[
        Url,
        Meta(
            description="The store: `sqlite:///file` (relative to the working directory; four slashes for an"
            " absolute path), `sqlite:///:memory:` for tests, `postgresql://…` or `redis://…`."
        ),
    ] = Url("sqlite:///idsync.db")


class ApiKeySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the API."""

    key: Annotated[SecretText, Meta(description="Its text, at least 16 characters.")]
    scopes: Annotated[
        tuple[Literal["publish", "read", "admin"], ...],
        Meta(min_length=1, max_length=3, description="What it may do; `admin` is everything."),
    ] = ("admin",)


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP side."""

    listen: Annotated[
        str, Meta(description="Host and port to listen on; port 0 takes a free one. IPv6 as `[::1]:8787`.")
    ] = "127.0.0.1:8787"
    api_keys: Annotated[
        tuple[Annotated[ApiKeySettings, Meta(extra={"alone": "key"})], ...],
        Meta(
            max_length=100,
            description="Keys that may use the API; one that is written alone, without a table, has the scope "
            "`admin`. None: one is made at the first start, printed once and kept hashed.",
        ),
    ] = ()
    secret_key: Annotated[
        tuple[SecretText, ...],
        Meta(
            max_length=10,
            description="What the secrets of endpoints are encrypted under in the store: 32 random bytes in base64. "
            "One may be written alone; of several the first encrypts and all decrypt (rotation). None: they "
            "are kept unencrypted.",
        ),
    ] = ()
    connections_max: Annotated[int, Meta(ge=1, le=100_000, description="Open connections; more are refused.")] = 1000
    request_timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Longest time to read a request, and to wait for its commit.")
    ] = 5.0
    shutdown_s: Annotated[
        float, Meta(ge=0, le=600, description="How long a stopping process finishes what it began.")
    ] = 10.0

    @property
    def host(self) -> str:
        """The address to listen on, without the brackets of IPv6."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 takes a free one."""
        return int(self.listen.rpartition(":")[2])


class KindSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind is kept at one peer: `[peers.<name>.<kind>]`."""

    table: Annotated[Column | None, Meta(description="The table that holds the kind (connector `sql`).")] = None
    collection: Annotated[Column | None, Meta(description="The collection that holds it (`payload`).")] = None
    key: Annotated[Column | None, Meta(description="The column of the peer's own id.")] = None
    link: Annotated[
        Column | None,
        Meta(description="The column that holds the id at the first peer of `sync.<kind>.peers`, if there is one."),
    ] = None
    fields: Annotated[
        dict[str, Column], Meta(max_length=100, description="Canonical field = the peer's column or field.")
    ] = {}
    email_verified: Annotated[
        Literal["always"] | None,
        Meta(
            description="`always`: only operators set e-mails here, so every one counts as verified. Absent:"
            " verified where a mapped field says so, else never."
        ),
    ] = None
    on_delete: Annotated[
        OnDelete | None,
        Meta(
            description="What a delete does here: `soft:<column>` writes the time into the column, `delete` removes "
            "the row, `ignore` leaves it. Absent: the connector decides."
        ),
    ] = None
    on_ban: Annotated[
        OnBan | None,
        Meta(
            description="What a ban does here: `flag:<column>` sets the column true, `deactivate:<column>` sets it "
            "false, `ignore` leaves the row. Absent: the connector decides."
        ),
    ] = None


class PeerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One peer: `[peers.<name>]`."""

    connector: Annotated[str, Meta(description="How idsync speaks with it: `better-auth`, `sql`, `webhook`.")]
    database: Annotated[
        Url | None, Meta(description="Its database: `sqlite:///…`, `postgresql://…`, `mysql://…` or `mariadb://…`.")
    ] = None
    url: Annotated[Url | None, Meta(description="The base of its HTTP API.")] = None
    api_key: Annotated[SecretText | None, Meta(description="Its API key.")] = None
    admin_token: Annotated[SecretText | None, Meta(description="A bearer token of an administrator.")] = None
    admin_email: Annotated[
        str | None, Meta(max_length=320, description="An administrator's e-mail; with `admin_password`.")
    ] = None
    admin_password: Annotated[SecretText | None, Meta(description="The administrator's password.")] = None
    secret: Annotated[
        tuple[SecretText, ...],
        Meta(
            max_length=10,
            description="Secrets its webhooks may be signed with, any of them (rotation). One may be written"
            " alone. None: `POST /receive/<name>` is closed.",
        ),
    ] = ()
    dialect: Annotated[Dialect, Meta(description="How its webhooks are signed and wrapped.")] = "standard"
    kinds: Annotated[
        dict[Kind, KindSettings],
        Meta(
            extra={"inline": True},
            description="One table per kind, beside the other keys: `[peers.app.user]`.",
        ),
    ] = {}
    """In the file `api_key` is the credential where it is text, and the kind where it is a table."""


class FieldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides one canonical field: `sync.<kind>.fields.<field>`."""

    rule: Annotated[
        Rule | None,
        Meta(
            description="`newest`: the later edit wins. `fill`: set only while empty. `manual`: an operator "
            "decides. `owner` is implied by `owner`. Absent: `newest`."
        ),
    ] = None
    owner: Annotated[
        PeerName | None, Meta(description="The peer whose value is the truth; others' edits are put back.")
    ] = None
    group: Annotated[Name | None, Meta(description="Fields of one group come from one writer.")] = None

    def to_rule(self) -> FieldRule:
        """Return the rule as merge takes it."""
        rule = Rule.OWNER if self.owner else self.rule or Rule.NEWEST
        return FieldRule(rule=rule, owner=self.owner, group=self.group)


class LifecycleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose delete is everybody's: `sync.<kind>.lifecycle`."""

    owner: Annotated[PeerName | None, Meta(description="The peer whose delete deletes everywhere.")] = None
    others: Annotated[
        Others,
        Meta(
            description="What another peer's delete means. `unlink`: it leaves that peer alone from then on."
            " `restore`: it is created there again. `propagate`: it deletes everywhere."
        ),
    ] = Others.UNLINK


class SyncSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind is kept equal: `[sync.<kind>]`."""

    peers: Annotated[
        tuple[PeerName, ...],
        Meta(
            min_length=1,
            max_length=64,
            description="The peers that hold the kind, in order of precedence. `link` columns hold the first"
            " one's ids.",
        ),
    ]
    match: Annotated[
        Match,
        Meta(
            description="How people whom no id links are found. `email`: by an e-mail verified on both sides. "
            "`email-unverified`: by any equal e-mail, which lets whoever registers an address "
            "take its account. `never`: an operator decides."
        ),
    ] = Match.EMAIL
    lifecycle: Annotated[LifecycleSettings, Meta(description="Whose delete is everybody's.")] = LifecycleSettings()
    create: Annotated[
        tuple[PeerName, ...] | None,
        Meta(
            max_length=64,
            description="The peers that may bring new ones; others' creates park. Absent: every peer.",
        ),
    ] = None
    fields: Annotated[
        dict[str, FieldSettings],
        Meta(max_length=100, description="Canonical field = its rule; a field without a line is `newest`."),
    ] = {}

    def may_create(self, peer: str) -> bool:
        """Whether identities first met at this peer become new ones."""
        return peer in (self.peers if self.create is None else self.create)

    def rules(self, kind: Kind) -> dict[str, FieldRule]:
        """Return the rule of every field that has one; coupled fields inherit theirs from each other."""
        rules = {field: line.to_rule() for field, line in self.fields.items()}
        coupled_fields = COUPLED_FIELDS if kind is Kind.USER else {}
        for group, coupled in coupled_fields.items():
            lead = next((rules[field] for field in coupled if field in rules), FieldRule())
            rules |= dict.fromkeys(coupled, msgspec.structs.replace(lead, group=lead.group or group))
        return rules


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One place that webhooks go to: `[endpoints.<name>]`, or the body of the API, where it is the same."""

    url: Annotated[Url, Meta(description="Where events are posted: `https://…`.")]
    secret: Annotated[
        tuple[SecretText, ...],
        Meta(
            max_length=10,
            description="The secret that signs; more than one sign together (rotation). One may be written "
            "alone. None: one is made and shown once.",
        ),
    ] = ()
    events: Annotated[
        tuple[Filter, ...],
        Meta(
            min_length=1,
            max_length=200,
            description="Types it receives: exact, `user.*` or `*`; `!user.deleted` leaves out, wherever it stands.",
        ),
    ] = ("*",)
    dialect: Annotated[Dialect, Meta(description="How its webhooks are signed and wrapped.")] = "standard"
    headers: Annotated[dict[str, SecretText], Meta(max_length=50, description="Further headers of every request.")] = {}
    timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=300)] | None,
        Meta(description="Longest time of one request. Absent: `delivery.timeout_s`."),
    ] = None
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        Meta(description="Open requests to it. Absent: `delivery.endpoint_concurrency`."),
    ] = None
    retry: Annotated[
        RetrySettings | None,
        Meta(description="When a failed delivery is tried again. Absent: `delivery.retry`."),
    ] = None
    breaker: Annotated[BreakerSettings, Meta(description="When it rests because it fails.")] = BreakerSettings()
    rate: Annotated[RateSettings | None, Meta(description="Its rate limit. Absent: none.")] = None
    batch: Annotated[
        BatchSettings | None, Meta(description="Several events in one request. Absent: one event each.")
    ] = None
    ordering: Annotated[
        Literal["identity", "none"],
        Meta(description="`identity`: an identity's events one after the other, in order. `none`: all at once."),
    ] = "identity"
    priority: Annotated[
        Literal["live", "bulk"], Meta(description="`bulk`: behind everything that is `live`; never starved.")
    ] = "live"
    operational: Annotated[
        bool,
        Meta(description="Whether it receives what happens to idsync itself (`endpoint.disabled`), and only that."),
    ] = False
    description: Annotated[
        str,
        Meta(
            pattern=r"^[^\x00-\x1f\x7f]*\Z",
            max_length=500,
            title="at most 500 characters, none of them a control character",
            description="What it is for; shown to operators.",
        ),
    ] = ""
    enabled: Annotated[bool, Meta(description="Whether it is delivered to; what is queued is kept meanwhile.")] = True
    disable: Annotated[DisableSettings, Meta(description="When it is disabled because it only fails.")] = (
        DisableSettings()
    )


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How due lanes reach a worker."""

    url: Annotated[Url, Meta(description="Empty: polling. Else the engine, `nats://…` or `qstash://…`.")] = Url("")


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Events in from NATS, and out to it."""

    url: Annotated[Url, Meta(description="The server: `nats://…` or `tls://…`. Empty: NATS is not used.")] = Url("")
    subscribe: Annotated[
        tuple[str, ...],
        Meta(max_length=100, description="Subjects events are taken from, with `*` and a last `>`."),
    ] = ()
    publish: Annotated[bool, Meta(description="Whether events are published to the subject of their type.")] = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be configured, merged and checked. The fields without a `Meta` are not settings."""

    store: Annotated[StoreSettings, Meta(description="Where idsync keeps its own truth.")] = StoreSettings()
    server: Annotated[ServerSettings, Meta(description="The HTTP side.")] = ServerSettings()
    peers: Annotated[dict[Name, PeerSettings], Meta(max_length=64, description="The systems that are kept equal.")] = {}
    sync: Annotated[dict[Kind, SyncSettings], Meta(description="What is kept equal, and who decides.")] = {}
    endpoints: Annotated[dict[Name, EndpointSettings], Meta(max_length=1000, description="Where webhooks go to.")] = {}
    delivery: Annotated[DeliverySettings, Meta(description="How deliveries are sent.")] = DeliverySettings()
    engine: Annotated[EngineSettings, Meta(description="How due lanes reach a worker.")] = EngineSettings()
    nats: Annotated[NatsSettings, Meta(description="Events in from NATS, and out to it.")] = NatsSettings()
    ingest: Annotated[IngestSettings, Meta(description="How events are taken in.")] = IngestSettings()
    capture: Annotated[CaptureSettings, Meta(description="How peers' databases are read.")] = CaptureSettings()
    limits: Annotated[LimitSettings, Meta(description="What a request and an event may hold.")] = LimitSettings()
    retention: Annotated[RetentionSettings, Meta(description="How long what is kept.")] = RetentionSettings()
    log: Annotated[LogSettings, Meta(description="What is logged.")] = LogSettings()
    file: Path | None = None
    """The file that was read; None: there is none."""
    notes: tuple[str, ...] = ()
    """What an operator should know about how these settings came to be, one sentence each; never a secret."""
