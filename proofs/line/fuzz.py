"""Claim 7: whatever comes in, what goes out is 2xx or 4xx, in time, and memory does not grow."""

from collections.abc import Sequence
from typing import Final

from idsync.wire.dialects import DIALECTS
from idsync.wire.signing import Secret
from proofs.claims import Row, count
from proofs.fuzz import FuzzReport, run_fuzz
from proofs.pair import SECRET, scratch
from proofs.service import KEY, Service
from proofs.shots import FuzzPeer

REQUESTS, FULL_REQUESTS = 100_000, 1_000_000
LONGER: Final = 3
"""How many times as many requests judge memory that a short form finds too great."""
SLOWEST_S_MAX, GROWTH_MAX = 5.0, 1.1
SEED = 20_261_122
CONFIGURATION = f"""
[store]
url = "sqlite:///idsync.db"
[server]
api_keys = ["{KEY}"]
[log]
level = "error"
[peers.crm]
connector = "webhook"
secret = "{SECRET}"
[peers.shop]
connector = "webhook"
secret = "{SECRET}"
[sync.user]
peers = ["crm", "shop"]
"""


async def run(full: bool) -> list[Row]:  # FULL=1 is a switch
    """Throw random and mutated requests at the receiver and the API of a real service.

    Caches fill while it runs. Where memory is not bounded after the short form, that is judged by a longer one.
    """
    reports = [await _throw(FULL_REQUESTS if full else REQUESTS)]
    if reports[0].growth > GROWTH_MAX and not full:
        reports.append(await _throw(LONGER * REQUESTS))
    return [row for report in reports for row in _judge_answers(report)] + [_judge_memory(reports)]


async def _throw(wanted: int) -> FuzzReport:
    dialect = DIALECTS["standard"]
    secret = dialect.parse_secret(SECRET)
    if not isinstance(secret, Secret):
        raise TypeError("the secret of this proof cannot be read")
    with scratch("fuzz") as folder:
        (folder / "idsync.toml").write_text(CONFIGURATION)
        service = Service(folder)
        await service.start()
        if not await service.is_ready():
            raise RuntimeError((folder / "service.log").read_text()[-500:])
        try:
            report = await run_fuzz(
                service.url,
                KEY,
                requests=wanted,
                seed=SEED,
                peers=[FuzzPeer(name, dialect, secret) for name in ("crm", "shop")],
                pid=service.pid,
                time_s_max=max(400.0, wanted / 333),
            )
        finally:
            status = await service.stop()
    if status != 0:
        report.unexpected.append((status, b"the service, which did not stop in order"))
    return report


def _judge_answers(report: FuzzReport) -> list[Row]:
    odd = [f"{status} to {begin[:40]!r}" for status, begin in report.unexpected[:3]]
    answers = ", ".join(f"{status}: {number:,}" for status, number in sorted(report.statuses.items()))
    return [
        Row(
            "random and mutated requests are answered with 2xx and 4xx only",
            f"{count(report.requests, 'requests')} in {report.took_s:.0f} s; {answers}"
            + ("; " + "; ".join(odd) if odd else ""),
            f">= {report.wanted:,} requests, nothing else, and the service stops in order",
            holds=report.requests >= report.wanted and not report.unexpected,
        ),
        Row(
            "no answer is late",
            f"slowest {report.slowest_s:.2f} s",
            f"<= {SLOWEST_S_MAX:.0f} s",
            holds=report.slowest_s <= SLOWEST_S_MAX,
        ),
    ]


def _judge_memory(reports: Sequence[FuzzReport]) -> Row:
    *before, last = reports
    told = f"{last.growth:.3f}x after the second half of that after the first ({last.rss_bytes[-1] / 1e6:.0f} MB)"
    told += "".join(f"; before that, with {one.requests:,} requests, {one.growth:.3f}x" for one in before)
    return Row("memory does not grow", told, f"<= {GROWTH_MAX}x", holds=last.growth <= GROWTH_MAX)
