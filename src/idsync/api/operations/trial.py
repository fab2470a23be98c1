"""A trial: one signed event sent to an endpoint now, past its queue and its gate; nothing is written."""

from typing import Final

import msgspec

from idsync.api.http import Outcome, Problem, ProblemType, answer_json
from idsync.api.service import Call, Service
from idsync.api.views import view_test
from idsync.model.delivery import SETTLED, Delivery
from idsync.model.event import Event
from idsync.model.values import Subject, instant_text
from idsync.pipeline.parts.routes import OPERATIONAL
from idsync.pipeline.sending.batches import Member
from idsync.pipeline.sending.endpoint import Endpoint, outcome_of
from idsync.pipeline.sending.requests import batch_request_of, rendered, request_of
from idsync.ports import Request

TEST_TYPE: Final = "endpoint.test"
TIMEOUT_S_MAX: Final = 25.0
"""Of a trial: whoever asked for it waits for its answer."""


async def run_test(service: Service, call: Call) -> Outcome:
    """Send an endpoint a test event and give its answer; a failure is an answer too."""
    endpoint = service.endpoints.wired(call.path["name"])
    if endpoint is None:
        return Problem(ProblemType.NOT_FOUND, "There is no endpoint of this name; see /v1/endpoints.")
    event_id = service.clock.new_id()
    request = _test_request(service, endpoint, event_id)
    bounded = msgspec.structs.replace(request, timeout_s=min(request.timeout_s, TIMEOUT_S_MAX))
    response = await service.sender.send(bounded)
    is_delivered = outcome_of(response) in SETTLED
    size_max = service.settings.delivery.response_bytes_max
    return answer_json(view_test(event_id, response, is_delivered=is_delivered, response_bytes_max=size_max))


def _test_request(service: Service, endpoint: Endpoint, event_id: str) -> Request:
    """Sign a test event as any other of the endpoint's; one that takes batches gets a batch of it alone."""
    now = service.clock.now()
    subject = Subject(f"endpoint/{endpoint.name}")
    event = Event(
        id=event_id,
        type=TEST_TYPE,
        source=OPERATIONAL,
        subject=subject,
        timestamp=instant_text(now),
        data=msgspec.Raw(msgspec.json.encode({"endpoint": endpoint.name})),
    )
    item = Delivery(
        id=0,
        lane=0,
        subject=subject,
        event=0,
        version=0,
        event_id=event_id,
        event_type=TEST_TYPE,
        body=msgspec.json.encode(event),
    )
    if endpoint.batch is not None:
        return batch_request_of(endpoint, [Member(subject, item, rendered(endpoint, item))], now)
    return request_of(endpoint, item, now)
