"""A short run of the fuzz that `make prove` runs long: any request, only 2xx and 4xx."""

from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Secret
from proofs.fuzz import run_fuzz
from proofs.shots import FuzzPeer
from tests.unit.api.conftest import KEY, SECRET, OpenLine, listen


async def test_every_request_is_answered_with_2xx_or_4xx_and_in_time(open_line: OpenLine) -> None:
    """Well framed ones get exactly one answer; those that are not get it or are cut."""
    line = await open_line(delivery__retry__attempts_max=30)
    secret = DIALECTS["standard"].parse_secret(SECRET)
    assert isinstance(secret, Secret)
    peers = [FuzzPeer(name, DIALECTS["standard"], secret) for name in ("crm", "shop")]
    async with listen(line) as listener:
        report = await run_fuzz(listener.url, KEY, requests=2_000, seed=20261122, peers=peers)
    assert report.unexpected == []
    assert report.requests == 2_000
    assert report.slowest_s < 5.0
    assert {200, 202, 204, 400, 401, 404, 405, 415, 422} <= set(report.statuses)
    assert all(one.is_alive for one in line.app.health())
