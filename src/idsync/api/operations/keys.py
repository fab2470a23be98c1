"""API keys: list, make, delete."""

from typing import Annotated

import msgspec
from msgspec import Meta

from idsync.api.http import Answer, Outcome, Problem, ProblemType, answer_json
from idsync.api.keys import KEYS_MAX, LastAdmin, Scope, TooMany
from idsync.api.service import Call, Operation, Service
from idsync.api.views import KeyPage, NewKeyView, view_key


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new key may do, and how operators call it."""

    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=3,
            description="`publish`: hand in events. `read`: look at everything but secrets. `admin`: everything.",
        ),
    ]
    name: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)", description="What it is for.")] = ""


def operations_of_keys() -> list[Operation]:
    """Document and serve keys."""
    every = Operation(
        method="GET",
        path="/v1/keys",
        name="listKeys",
        summary="The API keys that the service keeps: what each may do, never its text.",
        run=list_keys,
        scope=Scope.ADMIN,
        answers={200: KeyPage},
    )
    create = msgspec.structs.replace(
        every,
        method="POST",
        name="createKey",
        summary="Make an API key; its text is in this answer and in no other.",
        run=create_key,
        body=NewKey,
        answers={201: NewKeyView},
        problems=(ProblemType.BUSY,),
        is_once=True,
    )
    remove = msgspec.structs.replace(
        every,
        method="DELETE",
        path="/v1/keys/{id}",
        name="removeKey",
        summary="Delete an API key: it ends at once here, within a second in every other process.",
        run=remove_key,
        answers={204: None},
        problems=(ProblemType.NOT_FOUND, ProblemType.LAST_KEY),
    )
    return [every, create, remove]


async def list_keys(_: Service, call: Call) -> Outcome:
    """Give every kept key."""
    await call.keys.read()
    return answer_json(KeyPage(items=[view_key(one) for one in call.keys.kept]))


async def create_key(service: Service, call: Call) -> Outcome:
    """Make a key."""
    body: NewKey = call.body
    made = await call.keys.add(body.name, body.scopes, service.clock.now())
    if isinstance(made, TooMany):
        return Problem(ProblemType.BUSY, f"There are {KEYS_MAX} keys already: delete one.")
    key, text = made
    shown = view_key(key)
    view = NewKeyView(id=shown.id, name=shown.name, scopes=shown.scopes, made_at=shown.made_at, key=text)
    return answer_json(view, 201, ((b"location", f"/v1/keys/{key.id}".encode()),))


async def remove_key(_: Service, call: Call) -> Outcome:
    """Delete a key."""
    removed = await call.keys.remove(call.path["id"])
    if isinstance(removed, LastAdmin):
        return Problem(ProblemType.LAST_KEY, "Make another one first, or put one into the configuration.")
    if removed is None:
        return Problem(ProblemType.NOT_FOUND, "There is no key of this id; see /v1/keys.")
    return Answer(204)
