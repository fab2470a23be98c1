"""What we saw at a peer ourselves, in the words of merge: an image becomes an observation, and that an arrival."""

from idsync.model.delivery import Image
from idsync.model.event import Arrival, Observation, Op
from idsync.model.values import Instant, PeerName, subject_of


def observation_of(
    peer: PeerName, kind: str, image: Image, event_id: str, now: Instant, *, is_gone: bool = False
) -> Observation:
    """Say what a look at a peer found, in the words of merge."""
    return Observation(
        peer=peer,
        kind=kind,
        external_id=image.external_id,
        op=Op.ABSENT if is_gone else Op.SEEN,
        fields={} if is_gone else image.fields,
        link_id=image.link_id,
        version=image.version,
        event_at=image.at,
        received_at=now,
        event_id=event_id,
    )


def arrival_of(seen: Observation) -> Arrival:
    """Bring what we saw ourselves to the door of ingest."""
    return Arrival(
        peer=seen.peer,
        id=seen.event_id,
        type=f"{seen.kind}.{seen.op}",
        subject=subject_of(seen.kind, seen.external_id),
        received_at=seen.received_at,
        observation=seen,
    )
