"""Endpoints of the configuration: followed at each start, read-only in the API, on both stores."""

import pytest

from idsync.app.endpoints import (
    DisabledReason,
    EndpointState,
    Invalid,
    Origin,
    ReadOnly,
    Removed,
    Taken,
)
from idsync.errors import ConfigError
from idsync.testing.sink import open_sink
from tests.unit.app.conftest import Running, definition, event, is_signed, make, state_of

NOWHERE = "http://127.0.0.1:9/hook"
FILE = '\n[endpoints.audit]\nurl = "{url}"\nevents = ["order.*"]\n'


async def test_endpoint_of_the_file_is_read_only_but_for_what_the_service_did(running: Running, store_url: str) -> None:
    """An automatic disable reaches it too; `enable` lifts it."""
    async with running(store_url, FILE.format(url=NOWHERE)) as app:
        endpoints = app.endpoints
        assert list(app.generated_secrets) == ["audit"]
        state = await state_of(app, "audit")
        assert (state.origin, state.is_read_only) == (Origin.FILE, True)
        assert await endpoints.create("audit", definition(NOWHERE)) == Taken("audit")
        assert await endpoints.replace("audit", definition(NOWHERE)) == ReadOnly("audit")
        assert await endpoints.change("audit", {"enabled": False}) == ReadOnly("audit")
        assert await endpoints.disable("audit") == ReadOnly("audit")
        assert await endpoints.remove("audit") == ReadOnly("audit")
        gone = await endpoints.disable("audit", DisabledReason.GONE)
        assert isinstance(gone, EndpointState)
        assert gone.disabled_reason is DisabledReason.GONE
        enabled = await endpoints.enable("audit")
        assert isinstance(enabled, EndpointState)
        assert enabled.is_enabled


@pytest.mark.parametrize("url", ["http://10.0.0.7/hook", "http://169.254.169.254/latest", "https://[fd00::1]/hook"])
async def test_address_that_no_request_would_reach_is_refused_where_it_is_written(running: Running, url: str) -> None:
    """Told at the first event it would look like a fault of the receiver."""
    with pytest.raises(ConfigError, match=r"endpoints\.audit\.url: .* not public.* delivery\.allow_cidrs"):
        await running("sqlite:///:memory:", FILE.format(url=url)).__aenter__()
    async with running("sqlite:///:memory:") as app:
        refused = await app.endpoints.create("audit", definition(url))
        assert isinstance(refused, Invalid)
        assert "not public" in refused.problems[0]
        await make(app, "shop", definition(NOWHERE))
        changed = await app.endpoints.change("shop", {"url": url})
        assert isinstance(changed, Invalid)


async def test_file_is_followed_at_each_start(running: Running, store_url: str) -> None:
    """What is new is made, what has changed is changed, what is gone is disabled, and may then be removed."""
    async with running(store_url, FILE.format(url=NOWHERE)) as app:
        await app.endpoints.disable("audit", DisabledReason.FAILING)
        assert len(app.generated_secrets) == 1
    async with running(store_url, FILE.format(url=NOWHERE)) as app:
        state = await state_of(app, "audit")
        assert (state.rev, state.disabled_reason) == (2, DisabledReason.FAILING)
        assert app.generated_secrets == {}
    async with running(store_url, FILE.format(url="http://127.0.0.1:9/other")) as app:
        state = await state_of(app, "audit")
        assert (state.rev, state.is_enabled, state.settings.url.reveal()) == (3, True, "http://127.0.0.1:9/other")
    async with running(store_url) as app:
        state = await state_of(app, "audit")
        assert (state.disabled_reason, state.is_read_only) == (DisabledReason.REMOVED, False)
        assert await app.endpoints.enable("audit") == ReadOnly("audit")
        assert await app.endpoints.remove("audit") == Removed("audit")


async def test_file_takes_over_an_endpoint_of_the_api(running: Running, store_url: str) -> None:
    """With its secret: the receiver need not be told."""
    async with open_sink() as sink:
        async with running(store_url) as app:
            made = await make(app, "audit", definition(NOWHERE))
        async with running(store_url, FILE.format(url=sink.url)) as app:
            state = await state_of(app, "audit")
            assert (state.origin, state.made_at) == (Origin.FILE, made.state.made_at)
            await app.submit([event(1)])
            (request,) = await sink.received(1)
            assert made.secret_text is not None
            assert is_signed(request, made.secret_text)


async def test_secret_of_an_earlier_version_is_taken_over(running: Running, store_url: str) -> None:
    """It was kept by itself; nothing is shown again, and nothing is left of it where it was."""
    text = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    async with running(store_url) as app:
        await app.store.put_setting("endpoint_secret:audit", text.encode())
    async with open_sink() as sink, running(store_url, FILE.format(url=sink.url)) as app:
        assert app.generated_secrets == {}
        assert await app.store.setting("endpoint_secret:audit") is None
        await app.submit([event(1)])
        (request,) = await sink.received(1)
        assert is_signed(request, text)
