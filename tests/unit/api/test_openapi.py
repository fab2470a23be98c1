"""The document: it names every route there is, and nothing else."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from starlette.routing import Route

from idsync.api.asgi import Edge, build_router
from idsync.api.http import ProblemType
from idsync.api.keys import Scope
from idsync.api.openapi import problems_of, render_document
from idsync.api.operations import build_operations
from idsync.api.service import Operation
from tests.unit.api.conftest import KEYS, Line

OPERATIONS = build_operations()
DOCUMENT: dict[str, Any] = msgspec.json.decode(render_document(OPERATIONS))
PLACES = {"id": "018f0000-0000-7000-8000-000000000000", "peer": "crm", "name": "audit"}


def address_of(operation: Operation) -> str:
    """Give a path with its places filled."""
    return operation.path.format(**PLACES)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
async def test_every_documented_route_exists(client: httpx.AsyncClient, operation: Operation) -> None:
    """It answers, and with a status that its document names."""
    answer = await client.request(operation.method, address_of(operation))
    documented = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    assert answer.status_code != 405
    assert str(answer.status_code) in documented
    if answer.status_code != 204:
        assert answer.headers["content-type"].partition(";")[0] in documented[str(answer.status_code)]["content"]


def test_every_route_is_documented(line: Line) -> None:
    """What the router serves, and the two doors before it, are the table, and the table is the document."""
    routes = build_router(Edge(line.app), line.keys, OPERATIONS).routes
    served = {one.path for one in routes if isinstance(one, Route)} | {"/v1/events", "/receive/{peer}"}
    assert served == set(DOCUMENT["paths"])
    assert served == {one.path for one in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
async def test_other_methods_are_refused_and_those_that_exist_are_named(
    client: httpx.AsyncClient, operation: Operation
) -> None:
    """405 and OPTIONS name the same methods; HEAD goes where GET goes, without a body."""
    allowed = {method.upper() for method in DOCUMENT["paths"][operation.path]} | {"OPTIONS"}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    refused = await client.request("TRACE", address_of(operation))
    options = await client.options(address_of(operation))
    assert (refused.status_code, options.status_code, options.content) == (405, 204, b"")
    assert set(refused.headers["allow"].split(", ")) == allowed
    assert options.headers["allow"] == refused.headers["allow"]
    if "GET" in allowed:
        head, get = await client.head(address_of(operation)), await client.get(address_of(operation))
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert int(head.headers["content-length"]) > 0


OPEN = {"receiveWebhook", "showHealth", "showReady", "showMetrics", "showDocument", "showPage"}
"""Operations that ask for no key. A webhook proves itself by its signature; the others show nothing of anybody."""
ALLOWED = {
    None: set[Scope](),
    "wrong": set[Scope](),
    Scope.PUBLISH: {Scope.PUBLISH},
    Scope.READ: {Scope.READ},
    Scope.ADMIN: {Scope.PUBLISH, Scope.READ, Scope.ADMIN},
}
"""The key that is sent → the scopes of operations that it opens."""


def test_every_operation_asks_for_a_key_but_those_that_are_open() -> None:
    """A new route without a scope is noticed here."""
    assert {one.name for one in OPERATIONS if one.scope is None} == OPEN


def test_whatever_changes_something_needs_more_than_a_key_that_reads() -> None:
    """Nothing but GET is open to `read`, and GET never needs `publish`."""
    for one in OPERATIONS:
        if one.scope is not None:
            assert (one.method == "GET") or one.scope in {Scope.PUBLISH, Scope.ADMIN}, one.name
            assert (one.method != "GET") or one.scope in {Scope.READ, Scope.ADMIN}, one.name


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.scope is not None], ids=lambda one: one.name)
async def test_operation_opens_to_the_keys_of_its_scope_alone(line: Line, operation: Operation) -> None:
    """Without a good key it is 401, with one of another scope 403, and nothing is looked at before that is known."""
    for key, opened in ALLOWED.items():
        headers = {"authorization": f"Bearer {KEYS[key] if isinstance(key, Scope) else 'no-key-of-this-server-01'}"}
        async with line.client(**headers) as client:
            if key is None:
                del client.headers["authorization"]
            answer = await client.request(operation.method, address_of(operation))
        if operation.scope in opened:
            assert answer.status_code not in {401, 403}, key
        else:
            assert answer.status_code == (403 if isinstance(key, Scope) else 401), key
    node = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert node["security"] == [{"key": []}]
    assert operation.scope is not None
    assert f"`{operation.scope.value}`" in node["description"]


def test_document_is_whole() -> None:
    """Every reference leads somewhere, names are unique, every operation has its words."""
    text = render_document(OPERATIONS).decode()
    assert DOCUMENT["openapi"] == "3.1.0"
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in DOCUMENT["components"]["schemas"]
    nodes = [node for methods in DOCUMENT["paths"].values() for node in methods.values()]
    assert len({node["operationId"] for node in nodes}) == len(OPERATIONS)
    assert all(node["summary"].endswith(".") for node in nodes)
    for node in nodes:
        for parameter in node["parameters"]:
            assert parameter["in"] == "path" or parameter.get("description") or parameter["schema"]["description"]


def test_every_problem_is_named_by_some_operation() -> None:
    """What can be refused is documented; what is no answer to a request is not."""
    documented = {problem for one in OPERATIONS for problem in problems_of(one)}
    assert set(ProblemType) - documented == {ProblemType.MALFORMED_HTTP}


async def test_document_is_served_as_it_is_drawn(client: httpx.AsyncClient) -> None:
    """Without a key: it holds no secret."""
    del client.headers["authorization"]
    assert (await client.get("/openapi.json")).json() == DOCUMENT
