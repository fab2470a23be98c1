"""The document is a contract: what it allows and what it forbids gets an answer that it names, on each store."""

import asyncio
import os
from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from idsync.api.openapi import render_document
from idsync.api.operations import build_operations
from idsync.app import open_app
from idsync.config import parse_settings
from idsync.ports import Cancel, Request, Response, SendError
from idsync.telemetry import Log
from idsync.worker import Worker
from tests.unit.api.conftest import CONFIG, KEY, Line, listen

DOCUMENT: dict[str, Any] = msgspec.json.decode(render_document(build_operations()))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PLACES: tuple[dict[str, str], ...] = ({}, {"name": "audit", "peer": "crm", "id": "1"}, {"name": "shop"})
"""What stands in the places of a path, if they are not made up: what is there, read-only and not."""
TIMEOUT_S = 20
TIMES = int(os.environ.get("CONTRACT_TIMES", "1"))
"""How many times as much is asked; the long form of the claim sets it."""


class Nowhere:
    """A sender that lets nothing out: made-up endpoints have made-up addresses."""

    def post(self, request: Request, on_done: Callable[[Response], None]) -> Cancel:
        """Refuse the address."""
        return asyncio.get_running_loop().call_soon(on_done, Response(error=SendError.BLOCKED)).cancel

    async def send(self, request: Request) -> Response:
        """Refuse the address."""
        return Response(error=SendError.BLOCKED)

    async def close(self) -> None:
        """Nothing is open."""


class Asker:
    """Asks a service by its document, and counts the answers."""

    def __init__(self, url: str, examples: int) -> None:
        self.url = url
        self.examples = examples
        self.session = requests.Session()
        self.statuses: set[int] = set()

    def ask_everything(self) -> None:
        """Ask every operation, by the document and against it, at places that are there and at others."""
        with self.session:
            # Whether what is made up is ever an event is chance.
            publish = schemathesis.openapi.from_dict(DOCUMENT)["/v1/events"]["POST"]
            self.judge(publish.Case(body={"type": "order.paid", "data": {}}, media_type="application/json"))
            for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations():
                assert isinstance(found, Ok)
                operation = found.ok()
                for mode, places in product(GenerationMode, PLACES):
                    own = {name: place for name, place in places.items() if f"{{{name}}}" in operation.path}
                    if own or not places:
                        self.ask(operation, mode, own)

    def ask(self, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, places: dict[str, str]) -> None:
        """Ask one operation some times."""

        @settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode, path_parameters=places or None))
        def run(case: Case[Any]) -> None:
            self.judge(case)

        try:
            run()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # an operation that takes nothing can be asked in one way only

    def judge(self, case: Case[Any]) -> None:
        """Ask once, and hold the answer to the document."""
        if case.query:
            case.query.pop("wait_s", None)  # a long poll answers late, and that is right
        headers = {"authorization": f"Bearer {KEY}"}
        answer = case.call(base_url=self.url, session=self.session, headers=headers, timeout=TIMEOUT_S)
        self.statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)


async def run_contract(store_url: str, examples: int) -> None:
    """Ask a running service everything."""
    flags = {"store.url": store_url, "server.request_timeout_s": TIMEOUT_S}
    app = await open_app(parse_settings(CONFIG, flags=flags), log=Log(least="error"), sender=Nowhere())
    worker = Worker(app)
    await worker.start()
    app.is_ready = True
    try:
        line = Line(app)
        await line.publish(type="order.paid", subject="order/1", data={})
        async with line.client() as client:
            await client.post("/v1/endpoints", json={"name": "shop", "url": "http://127.0.0.1:1/"})
        async with listen(line) as listener:
            asker = Asker(listener.url, examples)
            await asyncio.to_thread(asker.ask_everything)
        assert {200, 201, 202, 204, 400, 404, 409, 422} <= asker.statuses
        assert all(one.is_alive for one in app.health())
    finally:
        app.is_ready = False
        await worker.stop(0.0)


# The service draws its jitter in the loop's thread, while cases are made in another: Hypothesis takes that for theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


async def test_the_document_is_kept_on_sqlite() -> None:
    """No fault of ours, no answer that is not documented, no body of another shape."""
    await run_contract("sqlite:///:memory:", 3 * TIMES)


async def test_the_document_is_kept_on_postgresql(postgres_url: str) -> None:
    """The same on the other store."""
    await run_contract(postgres_url, 3 * TIMES)
