"""The OpenAPI 3.1 document, drawn from the same table of operations that serves them."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from idsync import __version__
from idsync.api.http import PROBLEM_JSON, ProblemBody, ProblemType, describe_shape, problem_urn
from idsync.api.service import Operation
from idsync.config import SecretText, Url

DESCRIPTION: Final = (
    "Keeps the same people equal in every system that knows them. Every error is problem+json (RFC 9457) with a stable"
    " `type`; ids are text, times are RFC 3339 in UTC. A page gives `next`, the `after` of the page that follows;"
    " null where it was the last."
)
NO_CONTENT: Final = 204
_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")
_ALWAYS: Final = (ProblemType.METHOD_NOT_ALLOWED, ProblemType.HEAD_TOO_LARGE, ProblemType.FAULT)
_WITH_KEY: Final = (ProblemType.UNAUTHORIZED, ProblemType.FORBIDDEN, ProblemType.UNAVAILABLE)
_WITH_QUERY: Final = (ProblemType.BAD_PARAMETER, ProblemType.ADDRESS_TOO_LONG)
_WITH_ONCE: Final = (
    ProblemType.BAD_HEADER,
    ProblemType.BUSY,
    ProblemType.KEY_REUSED,
    ProblemType.UNAVAILABLE,
    ProblemType.UNDER_WAY,
)
_WITH_BODY: Final = (
    ProblemType.MALFORMED_JSON,
    ProblemType.TOO_SLOW,
    ProblemType.TOO_LARGE,
    ProblemType.NOT_JSON,
    ProblemType.INVALID_BODY,
    ProblemType.UNAVAILABLE,
)

_ONCE: Final = {
    "Idempotency-Key": "Visible ASCII without a full stop. A repeated request with the same key gets the first answer"
    " again, with `Idempotent-Replay: true`, for 24 hours; another request with it is refused."
}
Node = dict[str, Any]
"""One object of the document."""


def render_document(operations: Sequence[Operation]) -> bytes:
    """Write the document as JSON."""
    types = _types_of(operations)
    drawn, schemas = msgspec.json.schema_components(types, schema_hook=_draw_text, ref_template=_REF)
    drawn, schemas = _portable(drawn), _portable(schemas)
    schema_of = {repr(one): schema for one, schema in zip(types, drawn, strict=True)}
    paths: dict[str, Node] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _draw_operation(one, schema_of)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "idsync",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }
    return msgspec.json.encode(document)


def _draw_text(shape: type) -> Node:
    """Draw what the configuration reads from a text.

    Raises:
        NotImplementedError: it is no such type; msgspec asks for that.
    """
    if shape is SecretText:
        return {"type": "string", "writeOnly": True}
    if shape is Url:
        return {"type": "string", "format": "uri"}
    raise NotImplementedError


def _portable(node: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    r"""Write patterns as ECMA-262 knows them: its `$` means what `\Z` means in Python."""
    if isinstance(node, list | tuple):
        return [_portable(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: one.replace(r"\Z", "$").replace(r"$(?!\n)", "$")
        if key == "pattern" and isinstance(one, str)
        else _portable(one)
        for key, one in node.items()
    }


def problems_of(operation: Operation) -> list[ProblemType]:
    """Every refusal that an operation may answer with, by status."""
    found = {*_ALWAYS, *operation.problems}
    if operation.scope is not None:
        found.update(_WITH_KEY)
    if operation.query is not None:
        found.update(_WITH_QUERY)
        if "after" in operation.query.__struct_encode_fields__:
            found.add(ProblemType.BAD_CURSOR)
    if operation.body is not None:
        found.update(_WITH_BODY)
    if operation.is_once:
        found.update(_WITH_ONCE)
    return sorted(found, key=lambda one: (one.status, one.slug))


def _types_of(operations: Sequence[Operation]) -> list[Any]:
    found: dict[str, Any] = {repr(ProblemBody): ProblemBody}
    for one in operations:
        for shape in (one.body, *one.answers.values()):
            if shape is not None:
                found[repr(shape)] = shape
    return list(found.values())


def _draw_operation(operation: Operation, schema_of: dict[str, Node]) -> Node:
    node: Node = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _draw_parameters(operation),
        "responses": _draw_responses(operation, schema_of),
        "security": [{"key": []}] if operation.scope is not None else [],
    }
    if operation.scope is not None:
        node["description"] = f"Needs a key with the scope `{operation.scope.name.lower()}`."
    if operation.body is not None:
        node["requestBody"] = {
            "required": not operation.is_body_optional,
            "content": {"application/json": {"schema": schema_of[repr(operation.body)]}},
        }
    return node


def _draw_parameters(operation: Operation) -> list[Node]:
    drawn: list[Node] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(operation.path)
    ]
    drawn += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in (operation.headers | (_ONCE if operation.is_once else {})).items()
    ]
    if operation.query is not None:
        properties, schemas = describe_shape(operation.query)
        drawn += [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": _without_null(_portable(_inline(schema, schemas))),
            }
            for name, schema in properties.items()
        ]
    return drawn


def _without_null(schema: Node) -> Node:
    """A parameter is left out, never null."""
    kept = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
    others = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return {**others[0], **kept} if others else kept


def _inline(node: Any, schemas: dict[str, Node]) -> Any:  # noqa: ANN401  # any part of a JSON document
    if isinstance(node, list):
        return [_inline(one, schemas) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(schemas[node["$ref"].rpartition("/")[2]], schemas)
    return {key: _inline(value, schemas) for key, value in node.items()}


def _draw_responses(operation: Operation, schema_of: dict[str, Node]) -> Node:
    drawn: Node = {}
    for status, shape in operation.answers.items():
        content: Node = {"schema": schema_of[repr(shape)]} if shape is not None else {}
        node: Node = {"description": _describe_status(status)}
        if status != NO_CONTENT:
            node["content"] = {operation.media: content}
        if operation.gives_etag:
            node["headers"] = {"ETag": {"description": "For `If-Match`.", "schema": {"type": "string"}}}
        drawn[str(status)] = node
    problems: dict[int, list[ProblemType]] = {}
    for one in problems_of(operation):
        problems.setdefault(one.status, []).append(one)
    for status, found in problems.items():
        if str(status) in drawn:
            continue
        drawn[str(status)] = {
            "description": " ".join(f"`{problem_urn(one)}`: {one.title}" for one in found),
            "content": {PROBLEM_JSON.decode(): {"schema": schema_of[repr(ProblemBody)]}},
        }
    return drawn


def _describe_status(status: int) -> str:
    texts = {
        200: "As asked.",
        201: "Made.",
        202: "Taken: it is durable, and what follows from it goes on by itself.",
        204: "Done.",
        503: "Not now.",
    }
    return texts[status]
