"""Duties come and go while endpoints are changed: none is begun for what is not there, and none is forgotten."""

import pytest

from idsync.app import App
from idsync.app.duties import Duties, Duty
from idsync.pipeline.parts.tenure import Tenure
from idsync.testing.sink import open_sink
from idsync.testing.wait import until
from tests.unit.app.conftest import Running, definition, event, make


async def test_duty_whose_endpoint_was_disabled_meanwhile_holds_up_no_other(
    running: Running, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tenure was taken, then the endpoint was disabled; once it is enabled again, it is delivered to."""
    begun: list[str] = []
    apps: list[App] = []
    begin = Duties.begin

    async def begin_late(duties: Duties, name: str, tenure: Tenure) -> Duty | None:
        begun.append(name)
        if name == "deliver endpoint:audit" and begun.count(name) == 1:
            await apps[0].endpoints.disable("audit")
        return await begin(duties, name, tenure)

    monkeypatch.setattr(Duties, "begin", begin_late)
    async with open_sink() as audit, open_sink() as other, running(store_url) as app:
        apps.append(app)
        await make(app, "audit", definition(audit.url, events=["order.*"]))
        await make(app, "other", definition(other.url))
        await until(lambda: "deliver endpoint:audit" in begun)
        await app.submit([event(1, "note.made")])
        await other.received(1)
        await app.endpoints.enable("audit")
        await app.submit([event(2)])
        await audit.received(1)
        assert not [name for name, _ in app.counters.counts if name == "idsync_loop_failures_total"]
