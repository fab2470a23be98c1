"""`idsync capture`: the triggers in the peers' own databases, on which it works whether the service runs or not."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import typer
from rich.console import RenderableType
from rich.text import Text

from idsync.cli.draw import sheet
from idsync.cli.options import Config, Json, read_settings
from idsync.cli.terminal import Exit, errors_told, plain, show, show_json
from idsync.connectors.tables.captured import CaptureState, CaptureStatus
from idsync.errors import PeerError
from idsync.model.values import PeerName

PeerArgument = Annotated[str | None, typer.Argument(metavar="PEER", help="One peer. Default: all with a database.")]


class CapturedPeer(Protocol):
    """A peer that is captured by triggers, whichever database it has."""

    async def install(self) -> CaptureStatus:
        """Make the triggers what they should be."""
        ...

    async def remove(self) -> None:
        """Take everything of ours away."""
        ...

    async def status(self) -> CaptureStatus:
        """Say how capture stands."""
        ...

    async def close(self) -> None:
        """Release the database."""
        ...


Work = Callable[[CapturedPeer], Awaitable[CaptureStatus]]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How capture stands at one peer, or why that is not known."""

    capture: CaptureStatus | None = None
    error: str | None = None


def install(peer: PeerArgument = None, *, config: Config = None, as_json: Json = False) -> None:
    """Put idsync's triggers and tables into the peers' databases, or bring them up to date.

    From then on every change there is captured in its own transaction, whoever makes it: nothing that is committed can
    be missed. Every row there is now is rung for once, which is the first synchronisation. It is safe to run again: do
    so after each change of the schema or of the mapped columns.

    Exit code 1: it is not installed at some peer. With `--json`: `{"peers": {<name>: {"capture": …}}}`.
    """
    _carry_out(lambda one: one.install(), CaptureState.INSTALLED, peer, config, as_json=as_json)


def remove(peer: PeerArgument = None, *, config: Config = None, as_json: Json = False) -> None:
    """Take everything of idsync out of the peers' databases again.

    Edits made there afterwards are not captured. Stop the service first, or take the peer out of its configuration.

    Exit code 1: something is left at some peer. With `--json`: `{"peers": {<name>: {"capture": …}}}`.
    """
    _carry_out(_remove, CaptureState.ABSENT, peer, config, as_json=as_json)


def status(peer: PeerArgument = None, *, config: Config = None, as_json: Json = False) -> None:
    """Show whether the triggers stand as the configuration wants them, and what waits in the outboxes.

    `outdated` means that the schema or the configuration has changed: `idsync capture install` brings them up to date.

    Exit code 1: it is not installed at some peer. With `--json`: `{"peers": {<name>: {"capture": …}}}`.
    """
    _carry_out(lambda one: one.status(), CaptureState.INSTALLED, peer, config, as_json=as_json)


def _carry_out(work: Work, wanted: CaptureState, peer: str | None, config: Path | None, *, as_json: bool) -> None:
    from idsync.app import SystemClock, capture_peers  # noqa: PLC0415  # half a second, only needed here

    settings = read_settings(config)
    with errors_told():
        peers = capture_peers(settings, SystemClock())
    if peer is not None and peer not in peers:
        raise typer.BadParameter(f"no peer {plain(peer)} has a database; those that have: {', '.join(peers) or 'none'}")
    chosen = {name: one for name, one in peers.items() if peer in {None, name}}
    outcomes = asyncio.run(_visit(chosen, work))
    if as_json:
        show_json(msgspec.json.encode({"peers": outcomes}))
    else:
        show(draw_capture(outcomes))
    if not all(one.capture is not None and one.capture.state is wanted for one in outcomes.values()):
        raise typer.Exit(Exit.FAILED)


async def _visit(peers: Mapping[PeerName, CapturedPeer], work: Work) -> dict[PeerName, Outcome]:
    """Do the work at one peer after the other; what one cannot do does not keep the next from it."""
    outcomes: dict[PeerName, Outcome] = {}
    for name, peer in peers.items():
        try:
            outcomes[name] = Outcome(capture=await work(peer))
        except PeerError as error:
            outcomes[name] = Outcome(error=str(error))
        finally:
            await peer.close()
    return outcomes


async def _remove(peer: CapturedPeer) -> CaptureStatus:
    await peer.remove()
    return await peer.status()


def draw_capture(outcomes: Mapping[PeerName, Outcome]) -> RenderableType:
    """Draw how capture stands at every peer."""
    rows: list[tuple[RenderableType, ...]] = []
    for name, one in outcomes.items():
        if one.capture is None:
            rows.append((plain(name), Text("failed", "red"), "—", "—", plain(one.error or "")))
            continue
        is_installed = one.capture.state is CaptureState.INSTALLED
        tables = ", ".join(f"{kind}: {table}" for kind, table in one.capture.tables.items())
        remarks = [f"differs: {name}" for name in one.capture.differs]
        remarks += [*one.capture.warnings, *(f"still ringing for {kind}" for kind in one.capture.ringing)]
        state = Text(one.capture.state.value, "green" if is_installed else "yellow")
        rows.append((plain(name), state, plain(tables), str(one.capture.waiting), plain("; ".join(remarks))))
    return sheet("", ("peer", "capture", "tables", "outbox rows", "remarks"), rows)
