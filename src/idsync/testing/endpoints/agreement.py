"""Whether two Senders understand an endpoint alike, and if not quite, in which known way they differ.

What they make of a play is compared as it is; then slowly, since what is written in two pieces may be read as one.
Four differences between the fast Sender and the reference are known. All but the last are only believed where a changed
play, in which they have no occasion, is understood alike.
"""

import asyncio
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from idsync.model.delivery import Phases
from idsync.ports import Request, Response, Sender, SendError
from idsync.senders.limits import Limits
from idsync.testing.endpoints.answers import Play, cut_after_heads, drop_empty_codings
from idsync.testing.endpoints.stage import open_stage

PAUSE_S: Final = 0.002
"""Between the pieces of an answer."""
LONG_PAUSE_S: Final = 0.02
TIMEOUT_FACTOR: Final = 60
"""How many pauses a request may take."""
BODY_BYTES: Final = Limits().body_bytes


class Agreement(StrEnum):
    """How far two Senders agree on a play."""

    FULL = "full"
    HEAD_LOST = "head lost"
    """What breaks after a head, or is too much, costs the reference the head too if both were read at once: aiohttp's
    parser gives either all of a read or nothing. The status is the answer, so the fast Sender keeps it."""
    SPOKEN_BETWEEN = "spoken between"
    """An endpoint spoke on a kept connection before it was asked again. The fast Sender drops such a connection at
    once; the reference finds it out when it takes the connection for the next request, and fails that."""
    EMPTY_CODING = "empty coding"
    """A head has a Content-Length, and a Transfer-Encoding without a value. The parser of the fast Sender refuses that,
    as both do where it has one (RFC 9112 §6.3); the reference's overlooks the empty one."""
    BOUNDED = "bounded"
    """No head came within its bound. The fast Sender ends that as too large; the reference goes on until it is over,
    or is broken."""
    NONE = "none"


class Reading(msgspec.Struct, frozen=True):
    """What one Sender made of a play."""

    responses: tuple[Response, ...]
    connections: int


class Verdict(msgspec.Struct, frozen=True):
    """How far two Senders agree, and what each made of the play as it is."""

    agreement: Agreement
    ours: Reading
    theirs: Reading


async def compare(play: Play, ours: Sender, theirs: Sender) -> Verdict:
    """Give a play before both Senders; `theirs` is the reference."""
    first, second = await _read_both(play, ours, theirs, PAUSE_S)
    agreement = Agreement.FULL if is_alike(first, second) else await _find_difference(play, ours, theirs)
    return Verdict(agreement, first, second)


async def _find_difference(play: Play, ours: Sender, theirs: Sender) -> Agreement:
    apart = cut_after_heads(play)
    alone = list(_divide(apart))
    steps = (
        (Agreement.FULL, [play]),
        (Agreement.HEAD_LOST, [apart]),
        (Agreement.SPOKEN_BETWEEN, alone),
        (Agreement.EMPTY_CODING, list(_divide(cut_after_heads(drop_empty_codings(play))))),
    )
    for agreement, plays in steps:
        if all([is_alike(*await _read_both(one, ours, theirs, LONG_PAUSE_S)) for one in plays]):
            return agreement
    pairs = [await _read_both(one, ours, theirs, LONG_PAUSE_S) for one in alone]
    is_same = all(is_alike(first, _end_at_our_bound(first, second)) for first, second in pairs)
    return Agreement.BOUNDED if is_same else Agreement.NONE


def _divide(play: Play) -> Iterator[Play]:
    """Play each scene for itself, on a connection of its own."""
    for scene in play.scenes:
        yield msgspec.structs.replace(play, scenes=(scene,))


async def _read_both(play: Play, ours: Sender, theirs: Sender, pause_s: float) -> tuple[Reading, Reading]:
    return await asyncio.gather(_read(play, ours, pause_s), _read(play, theirs, pause_s))


async def _read(play: Play, sender: Sender, pause_s: float) -> Reading:
    responses = []
    async with open_stage(play, pause_s) as stage:
        request = Request(url=stage.url, headers=(), body=bytes(play.body_bytes), timeout_s=TIMEOUT_FACTOR * pause_s)
        for _ in play.scenes:
            responses.append(await sender.send(request))
            await asyncio.sleep(2 * pause_s)  # both see what becomes of the connection before they ask again
        return Reading(tuple(responses), stage.connections)


def is_alike(ours: Reading, theirs: Reading) -> bool:
    """Whether both came to the same, over as many connections.

    A body beyond the bound costs the fast Sender the connection; the reference keeps it if all of it was read at once.
    """
    spare = sum(len(response.body) >= BODY_BYTES for response in ours.responses)
    is_same = all(_strip(one) == _strip(other) for one, other in zip(ours.responses, theirs.responses, strict=True))
    return is_same and 0 <= ours.connections - theirs.connections <= spare


def _strip(response: Response) -> Response:
    # How long it took is chance; whether a request left is not.
    phases = None if response.phases is None else Phases()
    return msgspec.structs.replace(response, latency_s=0.0, phases=phases)


def _end_at_our_bound(ours: Reading, theirs: Reading) -> Reading:
    """Let theirs end as ours did where that was for its size, unless they came to a status."""
    responses = tuple(
        one if one.error is SendError.TOO_LARGE and other.status is None else other
        for one, other in zip(ours.responses, theirs.responses, strict=True)
    )
    return Reading(responses, theirs.connections)
