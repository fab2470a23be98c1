"""Opening: settings in, a wired App and its duties out (DESIGN §3)."""

import sys

from idsync.app.app import App
from idsync.app.clock import SystemClock
from idsync.app.endpoints import Endpoints
from idsync.app.limits import check_version
from idsync.app.peers import mappings_of, open_peers
from idsync.app.stores import open_store
from idsync.config import Settings
from idsync.ports import Clock, Sender
from idsync.senders.fast import FastSender
from idsync.telemetry import Counters, Log
from idsync.wire.address import parse_networks


async def open_app(
    settings: Settings, *, log: Log | None = None, clock: Clock | None = None, sender: Sender | None = None
) -> App:
    """Open the store and the peers and wire the line.

    Args:
        settings: merged and checked.
        log: where the service's own life is written; standard error if None.
        clock: time, randomness and ids; the machine's if None.
        sender: HTTP out; the fast sender if None.

    Raises:
        ConfigError: the settings name a connector, store or dialect that this version has not.
        StoreError: the store cannot be opened.
        PeerError: a peer's database does not fit its configuration.
    """
    log = log if log is not None else _log_of(settings)
    clock = clock if clock is not None else SystemClock()
    counters = Counters()
    check_version(settings)
    peers = await open_peers(settings, clock)
    try:
        store = await open_store(settings)
    except BaseException:
        for peer in peers.values():
            await peer.close()
        raise
    epoch = await store.start()
    app = App(
        settings,
        store=store,
        clock=clock,
        counters=counters,
        log=log,
        epoch=epoch,
        mappings=mappings_of(settings, peers),
        peers=peers,
        sender=sender
        if sender is not None
        else FastSender(clock, allowed=parse_networks(settings.delivery.allow_cidrs)),
        endpoints=Endpoints(settings, store, clock),
    )
    try:
        await app.open()
    except BaseException:
        await app.close()
        raise
    return app


def _log_of(settings: Settings) -> Log:
    form = settings.log.format
    return Log(least=settings.log.level, is_json=form == "json" or (form == "auto" and not sys.stderr.isatty()))
