"""Peers, from the settings: which connector stands behind each, what it reads and writes of every kind."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from idsync.app.dialects import dialect_of, parse_secrets
from idsync.config import PeerSettings, Settings
from idsync.connectors.better_auth import better_auth_tables
from idsync.connectors.sql_mysql import MysqlPeer
from idsync.connectors.sql_postgres import PostgresPeer
from idsync.connectors.sql_table import SqlitePeer
from idsync.connectors.tables.captured import Pace
from idsync.connectors.tables.mapping import TableMapping
from idsync.connectors.webhook import WebhookMapping, WebhookPeer
from idsync.errors import ConfigError, SchemaMismatch
from idsync.model.mapping import Mapping as KindMapping
from idsync.model.mapping import PeerView
from idsync.model.values import PeerName
from idsync.ports import Clock, Reader, Source, Target
from idsync.wire.envelope import Limits

CONNECTORS = ("better-auth", "sql", "webhook")
"""Those of this version."""

TablesPeer = SqlitePeer | PostgresPeer | MysqlPeer
"""A peer whose identities are rows of a database, captured by triggers."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer, opened: the halves that its connector has."""

    name: PeerName
    connector: str
    held: dict[str, frozenset[str]]
    """Kind → the canonical fields that it holds: what it may tell us, and what may be written there."""
    tables: TablesPeer | None = None
    webhook: WebhookPeer | None = None

    @property
    def source(self) -> Source | None:
        """Its outbox."""
        return self.tables.source if self.tables is not None else None

    @property
    def reader(self) -> Reader | None:
        """Its rows."""
        return self.tables.reader if self.tables is not None else None

    @property
    def target(self) -> Target | None:
        """Where the truth is written to."""
        return self.tables.target if self.tables is not None else None

    async def close(self) -> None:
        """Release its file or its connections."""
        if self.tables is not None:
            await self.tables.close()


async def open_peers(settings: Settings, clock: Clock) -> dict[PeerName, Peer]:
    """Open every peer of the configuration.

    Raises:
        ConfigError: a connector, a database or a dialect is not in this version.
        PeerError: a database does not fit its configuration.
    """
    peers: dict[PeerName, Peer] = {}
    for text, one in settings.peers.items():
        name = PeerName(text)
        if one.connector not in CONNECTORS:
            raise ConfigError(
                f"peers.{name}.connector: {one.connector} is not in this version; it has {', '.join(CONNECTORS)}"
            )
        tables = _tables_peer(name, one, settings, clock)
        webhook = _webhook_peer(name, one, settings, is_readable=tables is not None)
        try:
            held = await tables.held_fields() if tables is not None else {}
        except SchemaMismatch as fault:
            raise SchemaMismatch(f"peers.{name}: {fault}") from fault
        if tables is None and webhook is not None:
            held = {kind.value: webhook.mapping_of(kind.value).reads for kind in settings.sync}
        peers[name] = Peer(name=name, connector=one.connector, held=held, tables=tables, webhook=webhook)
    return peers


def capture_peers(settings: Settings, clock: Clock) -> dict[PeerName, TablesPeer]:
    """Every peer that is captured by triggers, for `idsync capture`; nothing is opened yet.

    Raises:
        ConfigError: a database is not in this version.
    """
    found = {PeerName(name): _tables_peer(PeerName(name), one, settings, clock) for name, one in settings.peers.items()}
    return {name: peer for name, peer in found.items() if peer is not None}


def mappings_of(settings: Settings, peers: Mapping[PeerName, Peer]) -> dict[str, KindMapping]:
    """Translate `[sync]`: the rules of every kind, and what each of its peers can read and write."""
    return {
        kind.value: KindMapping(
            kind=kind.value,
            peers={name: _view(settings, kind.value, peers[name]) for name in sync.peers},
            rules=sync.rules(kind),
            lifecycle_owner=sync.lifecycle.owner,
            others=sync.lifecycle.others,
            match=sync.match,
            skew_ms=round(settings.ingest.skew_s * 1000),
        )
        for kind, sync in settings.sync.items()
    }


def _view(settings: Settings, kind: str, peer: Peer) -> PeerView:
    sync = next(one for name, one in settings.sync.items() if name.value == kind)
    table = next((one for name, one in settings.peers[peer.name].kinds.items() if name.value == kind), None)
    held = peer.held.get(kind, frozenset())
    return PeerView(
        reads=held,
        writes=held if peer.target is not None else frozenset(),
        is_readable=peer.reader is not None,
        names_writers=peer.source is not None,
        has_link=table is not None and table.link is not None and peer.name != sync.peers[0],
        is_email_verified=table is not None and table.email_verified == "always",
        may_create=sync.may_create(peer.name),
    )


def _tables_peer(name: PeerName, one: PeerSettings, settings: Settings, clock: Clock) -> TablesPeer | None:
    if one.database is None:
        return None
    tables = better_auth_tables(one.kinds) if one.connector == "better-auth" else _tables(one)
    pace = Pace(
        poll_s=settings.capture.poll_ms / 1000,
        busy_timeout_s=settings.capture.busy_timeout_ms / 1000,
        transaction_s=settings.capture.transaction_ms / 1000,
    )
    match one.database.scheme:
        case "sqlite":
            return SqlitePeer(name, Path(one.database.sqlite_path), tables, clock, pace)
        case "postgresql":
            return PostgresPeer(name, one.database.reveal(), tables, clock, pace)
        case "mysql" | "mariadb":
            return MysqlPeer(name, one.database.reveal(), tables, clock, pace)
        case other:
            raise ConfigError(
                f"peers.{name}.database: {other}:// is not in this version; it has sqlite:///file, postgresql://…,"
                " mysql://… and mariadb://…"
            )


def _tables(one: PeerSettings) -> list[TableMapping]:
    return [
        TableMapping(
            kind=kind.value,
            table=table.table or kind.value,
            key=table.key,
            link=table.link,
            fields=dict(table.fields),
            on_delete=table.on_delete or "delete",
            on_ban=table.on_ban or "ignore",
        )
        for kind, table in one.kinds.items()
    ]


def _webhook_peer(name: PeerName, one: PeerSettings, settings: Settings, *, is_readable: bool) -> WebhookPeer | None:
    if not one.secret:
        return None
    dialect = dialect_of(one.dialect, f"peers.{name}.dialect")
    return WebhookPeer(
        name=name,
        dialect=dialect,
        secrets=parse_secrets(tuple(secret.reveal() for secret in one.secret), dialect, f"peers.{name}.secret"),
        mappings={
            kind.value: WebhookMapping(kind=kind.value, fields=dict(table.fields), key=table.key, link=table.link)
            for kind, table in one.kinds.items()
        },
        tolerance_s=settings.ingest.tolerance_s,
        is_readable=is_readable,
        limits=Limits(
            size_bytes_max=settings.limits.event_bytes_max,
            depth_max=settings.limits.event_depth_max,
            fields_max=settings.limits.event_fields_max,
            field_bytes_max=settings.limits.field_bytes_max,
        ),
    )
