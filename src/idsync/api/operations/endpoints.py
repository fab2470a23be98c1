"""Endpoints: look, make, change, remove, enable, disable, rotate, test. The definition is that of the configuration."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, assert_never

import msgspec
from msgspec import Meta

from idsync.api.health import with_health
from idsync.api.http import Answer, Headers, Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import Scope
from idsync.api.operations.trial import TEST_TYPE, run_test
from idsync.api.service import Call, Operation, Service
from idsync.api.views import (
    EndpointHealthView,
    EndpointPage,
    EndpointView,
    FilterPage,
    NewEndpointView,
    RotatedView,
    TestView,
    view_endpoint,
    view_span,
)
from idsync.api.views.endpoints import unmask
from idsync.app.endpoints import Changed, Created, EndpointState, Invalid, NotFound, ReadOnly, Removed, Taken
from idsync.config import EndpointSettings, InvalidEndpoint, parse_endpoint

PATH: Final = "/v1/endpoints"
ONE: Final = "/v1/endpoints/{name}"
OVERLAP_S: Final = 86_400.0
PROBLEMS_SHOWN: Final = 10
IF_MATCH: Final[dict[str, str]] = {
    "If-Match": "The `ETag` of the endpoint as it was read: it is changed only if it is so still. Absent: in any case."
}
EndpointName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,62}$(?!\n)", description="the endpoint's name")]


SecretLine = Annotated[str, Meta(min_length=1, max_length=1_000)]


class EndpointDefinition(EndpointSettings, frozen=True, kw_only=True):
    """The definition of an endpoint, exactly as in the configuration."""


class NewEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """A new endpoint: its definition, exactly as in the configuration, and its name."""

    name: Annotated[EndpointName | None, Meta(description="How it is called from now on. Absent: one is made.")] = None


class RotateSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next secret, and how long those before it sign too."""

    secret: Annotated[SecretLine | None, Meta(description="The secret. Absent: one is made and shown once.")] = None
    overlap_s: Annotated[
        float, Meta(ge=0, le=2_592_000, description="How many seconds the former secrets still sign beside it.")
    ] = OVERLAP_S


def operations_of_endpoints() -> list[Operation]:
    """Document and serve endpoints."""
    read = Operation(
        method="GET",
        path=ONE,
        name="getEndpoint",
        summary="One webhook endpoint, without its secrets.",
        run=get_endpoint,
        scope=Scope.READ,
        answers={200: EndpointView},
        problems=(ProblemType.NOT_FOUND,),
        gives_etag=True,
    )
    replace = msgspec.structs.replace
    every = replace(
        read,
        path=PATH,
        name="listEndpoints",
        summary="The webhook endpoints, and how each does.",
        run=list_endpoints,
        answers={200: EndpointPage},
        problems=(),
        gives_etag=False,
    )
    create = replace(
        read,
        method="POST",
        path=PATH,
        name="createEndpoint",
        summary="Make an endpoint; a secret that is made for it is in this answer and in no other.",
        run=create_endpoint,
        scope=Scope.ADMIN,
        body=NewEndpoint,
        decoded=dict[str, Any],
        answers={201: NewEndpointView},
        problems=(ProblemType.TAKEN,),
        is_once=True,
    )
    change = replace(
        read,
        scope=Scope.ADMIN,
        headers=IF_MATCH,
        problems=(ProblemType.NOT_FOUND, ProblemType.READ_ONLY, ProblemType.CHANGED, ProblemType.BAD_HEADER),
    )
    health = replace(
        read,
        path=f"{ONE}/health",
        name="showEndpointHealth",
        summary="How an endpoint does: its breaker, since when it fails, until when it asked for a pause.",
        run=show_health,
        answers={200: EndpointHealthView},
        gives_etag=False,
    )
    filters = replace(
        health,
        path=f"{ONE}/filters",
        name="listEndpointFilters",
        summary="What the endpoint was to get when, oldest first.",
        run=list_filters,
        answers={200: FilterPage},
    )
    return [every, read, create, *_changes(change), health, filters]


def _changes(change: Operation) -> list[Operation]:
    replace = msgspec.structs.replace
    switch = replace(
        change,
        method="POST",
        headers={},
        problems=(ProblemType.NOT_FOUND, ProblemType.READ_ONLY),
        answers={200: EndpointView},
    )
    return [
        replace(
            change,
            method="PUT",
            name="replaceEndpoint",
            summary="Give an endpoint another definition; its secrets stay, unless the definition has some.",
            run=replace_endpoint,
            body=EndpointDefinition,
            decoded=dict[str, Any],
        ),
        replace(
            change,
            method="PATCH",
            name="changeEndpoint",
            summary="Change parts of a definition (JSON merge patch, RFC 7396); null is back to the default.",
            run=change_endpoint,
            body=dict[str, Any],
        ),
        replace(
            change,
            method="DELETE",
            name="removeEndpoint",
            summary="Remove an endpoint; what is queued for it is skipped.",
            run=remove_endpoint,
            answers={204: None},
            gives_etag=False,
        ),
        replace(
            switch, path=f"{ONE}/enable", name="enableEndpoint", summary="Deliver to it again.", run=enable_endpoint
        ),
        replace(
            switch,
            path=f"{ONE}/disable",
            name="disableEndpoint",
            summary="Deliver to it no more: what is queued is kept, what comes later can be replayed.",
            run=disable_endpoint,
        ),
        replace(
            switch,
            path=f"{ONE}/rotate-secret",
            name="rotateSecret",
            summary="Give it a new secret; one that is made is in this answer and in no other.",
            run=rotate_secret,
            body=RotateSecret,
            is_body_optional=True,
            answers={200: RotatedView},
            is_once=True,
        ),
        replace(
            switch,
            path=f"{ONE}/test",
            name="testEndpoint",
            summary=f"Send it a signed `{TEST_TYPE}` event now, past its queue, and tell what it answered.",
            run=run_test,
            answers={200: TestView},
            problems=(ProblemType.NOT_FOUND,),
            gives_etag=False,
        ),
    ]


async def list_endpoints(service: Service, _: Call) -> Outcome:
    """Give every endpoint, and how much waits for it."""
    stats = await service.store.stats()
    found = await with_health(service.store, await service.endpoints.list())
    return answer_json(EndpointPage(items=[view_endpoint(one, stats) for one in found]))


async def get_endpoint(service: Service, call: Call) -> Outcome:
    """Give one endpoint."""
    return await _answer(service, await service.endpoints.get(call.path["name"]))


async def show_health(service: Service, call: Call) -> Outcome:
    """Say how an endpoint does."""
    found = await service.endpoints.get(call.path["name"])
    if isinstance(found, NotFound):
        return _refuse(found)
    return answer_json((await _view(service, found)).health)


async def list_filters(service: Service, call: Call) -> Outcome:
    """Give the dated filters of an endpoint."""
    spans = await service.endpoints.filters(call.path["name"])
    if not spans:
        return _refuse(NotFound(call.path["name"]))
    return answer_json(FilterPage(items=[view_span(one) for one in spans]))


async def create_endpoint(service: Service, call: Call) -> Outcome:
    """Make an endpoint."""
    body: dict[str, Any] = call.body
    name = body.get("name")
    if name is not None and not _is_name(name):
        return Problem(ProblemType.INVALID_BODY, "name: must be a-z first, then a-z 0-9 _ -, at most 63.")
    definition = _read({key: value for key, value in body.items() if key != "name"}, service)
    if isinstance(definition, Problem):
        return definition
    return await _answer(service, await service.endpoints.create(name, definition))


async def replace_endpoint(service: Service, call: Call) -> Outcome:
    """Give an endpoint another definition."""
    name, rev = call.path["name"], _read_rev(call)
    current = await service.endpoints.get(name)
    if isinstance(rev, Problem):
        return rev
    if isinstance(current, NotFound):
        return _refuse(current)
    definition = _read(unmask(call.body, current.settings), service)
    if isinstance(definition, Problem):
        return definition
    # What was masked was put back from this state, so it must be the one that is replaced.
    return await _answer(service, await service.endpoints.replace(name, definition, rev or current.rev))


async def change_endpoint(service: Service, call: Call) -> Outcome:
    """Change parts of a definition."""
    name, rev = call.path["name"], _read_rev(call)
    current = await service.endpoints.get(name)
    if isinstance(rev, Problem):
        return rev
    if isinstance(current, NotFound):
        return _refuse(current)
    patch = unmask(call.body, current.settings)
    return await _answer(service, await service.endpoints.change(name, patch, rev or current.rev))


async def remove_endpoint(service: Service, call: Call) -> Outcome:
    """Remove an endpoint."""
    rev = _read_rev(call)
    if isinstance(rev, Problem):
        return rev
    removed = await service.endpoints.remove(call.path["name"], rev)
    return Answer(204) if isinstance(removed, Removed) else _refuse(removed)


async def enable_endpoint(service: Service, call: Call) -> Outcome:
    """Deliver to an endpoint again."""
    return await _answer(service, await service.endpoints.enable(call.path["name"]))


async def disable_endpoint(service: Service, call: Call) -> Outcome:
    """Deliver to an endpoint no more."""
    return await _answer(service, await service.endpoints.disable(call.path["name"]))


async def rotate_secret(service: Service, call: Call) -> Outcome:
    """Give an endpoint a new secret."""
    body: RotateSecret = call.body
    rotated = await service.endpoints.rotate(call.path["name"], body.secret, body.overlap_s)
    if isinstance(rotated, NotFound | ReadOnly | Invalid):
        return _refuse(rotated)
    view = await _view(service, rotated.state)
    return answer_json(RotatedView(endpoint=view, secret=rotated.secret_text), headers=_etag(rotated.state))


def _read(body: Mapping[str, object], service: Service) -> EndpointSettings | Problem:
    definition = parse_endpoint(body, service.settings)
    return _refuse(Invalid(definition.problems)) if isinstance(definition, InvalidEndpoint) else definition


def _is_name(name: object) -> bool:
    try:
        msgspec.convert(name, EndpointName)
    except msgspec.ValidationError:
        return False
    return True


def _read_rev(call: Call) -> int | Problem | None:
    """Read the revision that `If-Match` names; None: any."""
    text = call.head.get(b"if-match", b"*")
    if text == b"*":
        return None
    inner = text.removeprefix(b'"').removesuffix(b'"')
    if len(text) - len(inner) != 2 or not inner.isdigit() or len(inner) > 15:  # noqa: PLR2004  # quotes; digits
        return Problem(ProblemType.BAD_HEADER, "Send the ETag of the endpoint in the header if-match, or *.")
    return int(inner)


def _etag(state: EndpointState) -> Headers:
    return ((b"etag", b'"%d"' % state.rev),)


async def _answer(
    service: Service, found: EndpointState | Created | NotFound | Taken | Changed | ReadOnly | Invalid
) -> Outcome:
    """Show an endpoint, or say why there is none to show."""
    match found:
        case EndpointState():
            return answer_json(await _view(service, found), headers=_etag(found))
        case Created():
            view = await _view(service, found.state)
            location = (b"location", f"{PATH}/{found.state.name}".encode())
            made = NewEndpointView(endpoint=view, secret=found.secret_text)
            return answer_json(made, 201, (location, *_etag(found.state)))
        case _:
            return _refuse(found)


async def _view(service: Service, state: EndpointState) -> EndpointView:
    (found,) = await with_health(service.store, [state])
    return view_endpoint(found, await service.store.stats())


def _refuse(refusal: NotFound | Taken | Changed | ReadOnly | Invalid) -> Problem:
    match refusal:
        case NotFound():
            return Problem(ProblemType.NOT_FOUND, "There is no endpoint of this name; see /v1/endpoints.")
        case Taken(is_ending=True):
            told = "The endpoint that had it was removed a moment ago; send again."
            return Problem(ProblemType.TAKEN, told, ((b"retry-after", b"1"),))
        case Taken():
            return Problem(ProblemType.TAKEN, "Choose another name, or change the endpoint that has it.")
        case Changed():
            return Problem(ProblemType.CHANGED, "Read the endpoint again and decide anew.", _etag(refusal.state))
        case ReadOnly():
            return Problem(ProblemType.READ_ONLY, "Change the endpoint in the configuration, and start again.")
        case Invalid():
            shown = [one if one.endswith("?") else f"{one}." for one in refusal.problems[:PROBLEMS_SHOWN]]
            return Problem(ProblemType.INVALID_BODY, " ".join(shown))
        case _:
            assert_never(refusal)
