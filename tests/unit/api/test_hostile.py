"""Requests that no client of ours would send: each is refused in words, none is believed, none is repeated."""

import httpx
import pytest

from idsync.api.http import Message
from tests.unit.api.conftest import KEY, Line, problem_of


@pytest.mark.parametrize("key", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Token {KEY}"])
async def test_request_without_a_good_key_is_refused(line: Line, key: str) -> None:
    """Reading and publishing alike, with the same words."""
    async with line.client(authorization=key) as client:
        for answer in (await client.get("/v1/stats"), await client.post("/v1/events", json={"type": "order.paid"})):
            assert (answer.status_code, problem_of(answer)) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="idsync"'


@pytest.mark.parametrize(
    "path",
    [
        "/v1", "/v1/", "/v1//events", "/v1/events/", "/V1/EVENTS", "/v1/events%00", "/v1/events%0A", "/v1/nothing",
        "/v1/entities/", "/v1/entities//explain", "/v1/stats/", "/v1/%2e%2e/healthz", "/%2e%2e%2f", "/.env",
        "/v1/entities/a/b", "/receive", "/healthz/x", "/docs", "/static/../openapi.json%2f",
    ],
)  # fmt: skip
async def test_path_that_is_not_ours_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    """No path is guessed at, none is redirected."""
    answer = await client.get(path)
    assert (answer.status_code, problem_of(answer)) == (404, "not-found")


async def test_escaped_path_is_the_path_it_stands_for(client: httpx.AsyncClient) -> None:
    """It is served, with the same key asked for (RFC 3986 §6.2.2.2)."""
    assert (await client.get("/v1/%73tats")).status_code == 200
    del client.headers["authorization"]
    assert (await client.get("/v1/%73tats")).status_code == 401
    assert (await client.post("/v1/%65vents", json={})).status_code == 401


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/stats?x=1", "x is not known here. There are no parameters here."),
        ("/v1/inbox?limits=1&afte=2", "limits, afte are not known here. Known are: after, limit, wait_s."),
        ("/v1/inbox?%3Cscript%3E=1", "(not a plain name) is not known here."),
        ("/v1/inbox?limit=1&limit=2", "Send each parameter once."),
        ("/v1/inbox?limit=0", "limit must be a whole number from 1"),
        ("/v1/inbox?limit=", "limit must be a whole number from 1"),
        ("/v1/inbox?limit=99999999999999999999", "limit must be a whole number from 1"),
        ("/v1/inbox?limit=-1&wait_s=31", "limit must be a whole number from 1"),
        ("/v1/inbox?wait_s=31", "wait_s must be how many seconds"),
        ("/v1/inbox?wait_s=nan", "wait_s must be how many seconds"),
        ("/v1/inbox?wait_s=inf", "wait_s must be how many seconds"),
        ("/v1/entities?kind=person", "kind must be a kind"),
        ("/v1/entities?find=", "find must be an e-mail"),
        ("/v1/entities?find=%FF", "percent-encoded UTF-8"),
        ("/v1/entities?find=" + "a" * 513, "find must be an e-mail"),
        ("/v1/deliveries?state=queued", "state must be `parked` or `dead`"),
        ("/v1/deliveries?destination=audit", "destination must be `endpoint:<name>`"),
        ("/v1/deliveries?event=%20", "event must be an inbox sequence"),
        ("/v1/inbox?" + "&".join(f"a{number}=1" for number in range(30)), "at most 20 parameters"),
    ],
)
async def test_parameter_that_cannot_be_used_is_named(client: httpx.AsyncClient, path: str, words: str) -> None:
    """Nothing is ignored in silence, and no value comes back."""
    answer = await client.get(path)
    assert (answer.status_code, problem_of(answer)) == (400, "bad-parameter")
    assert words in answer.json()["detail"]
    assert "script" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/entities?after=x", "/v1/entities?after=", "/v1/entities?after=018f0000-0000-7000-8000-000000000000%0A",
        "/v1/inbox?after=-1", "/v1/inbox?after=9223372036854775808", "/v1/waiting?after=x", "/v1/conflicts?after=10001",
        "/v1/deliveries?after=1.5", "/v1/inbox?after=null", "/v1/entities?after=null",
    ],
)  # fmt: skip
async def test_cursor_that_is_not_ours_is_refused(client: httpx.AsyncClient, path: str) -> None:
    """A made-up cursor is an error, not an empty page."""
    answer = await client.get(path)
    assert (answer.status_code, problem_of(answer)) == (400, "bad-cursor")


async def test_cursor_beyond_the_end_gives_an_empty_page(client: httpx.AsyncClient) -> None:
    """It may have been the last row once."""
    for path in ("/v1/inbox?after=9223372036854775807", "/v1/waiting?after=5", "/v1/conflicts?after=10000"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_query_without_end_is_refused(client: httpx.AsyncClient) -> None:
    """It is not even looked at."""
    answer = await client.get("/v1/inbox?" + "a" * 5_000)
    assert (answer.status_code, problem_of(answer)) == (414, "address-too-long")


async def test_hundreds_of_headers_are_refused(line: Line) -> None:
    """The same at every door."""
    headers = {f"x-{number}": "1" for number in range(200)}
    async with line.client(**headers) as client:
        answers = [await client.get("/v1/stats"), await client.post("/v1/events"), await client.post("/receive/crm")]
    for answer in answers:
        assert (answer.status_code, problem_of(answer)) == (431, "head-too-large")


@pytest.mark.parametrize("name", ["authorization", "content-type", "idempotency-key", "content-encoding"])
async def test_deciding_header_that_stands_there_twice_is_refused(line: Line, name: str) -> None:
    """Two readers could believe two different ones."""
    lines = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
    values = dict(lines).get(name, "x")
    async with line.client() as client:
        request = client.build_request("POST", "/v1/events", content=b"{}")
        request.headers = httpx.Headers([*(one for one in lines if one[0] != name), (name, values), (name, values)])
        answer = await client.send(request)
    assert (answer.status_code, problem_of(answer)) == (400, "bad-header")
    assert name in answer.json()["detail"]


async def test_other_header_may_stand_there_twice(line: Line) -> None:
    """Proxies add lines of their own."""
    async with line.client() as client:
        request = client.build_request("GET", "/v1/stats")
        request.headers = httpx.Headers([("authorization", f"Bearer {KEY}"), ("via", "a"), ("via", "b")])
        assert (await client.send(request)).status_code == 200


async def test_no_page_of_another_origin_is_let_in(client: httpx.AsyncClient) -> None:
    """No answer allows a browser to show it elsewhere."""
    answer = await client.options("/v1/stats", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_http_is_left_alone(line: Line, kind: str) -> None:
    """Another server may ask for more than this speaks."""

    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    await line.asgi({"type": kind, "path": "/v1/events", "headers": []}, receive, send)


async def test_client_that_leaves_in_the_middle_leaves_nothing(line: Line) -> None:
    """Half a body is no event, even where the half can be read."""
    sent: list[Message] = []
    messages = iter([{"type": "http.request", "body": b'{"type":"order.paid"}', "more_body": True}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "query_string": b"", "headers": headers}
    await line.asgi(scope, receive, send)
    assert sent[0]["status"] == 408
    assert await line.app.store.recent(0, 1) == []
