"""HTTP in the small: what every route answers with, and how head, query and body are read within bounds.

Refusals are returned, not raised: a reader gives its value or a Problem, and the edge writes either.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Message = MutableMapping[str, Any]
"""One ASGI message; so is the scope."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
Shape = TypeVar("Shape", bound=msgspec.Struct)

JSON: Final = b"application/json"
PROBLEM_JSON: Final = b"application/problem+json"
HEADERS_MAX: Final = 100
"""Header lines of one request."""
QUERY_BYTES_MAX: Final = 4_096
PARAMETERS_MAX: Final = 20
DIGITS_MAX: Final = 15
"""Of a number that is read from text: longer ones are no size and no id of ours."""
MEDIA_BYTES_MAX: Final = 200
KNOWN_HEAD_BYTES_MAX: Final = 2_048
"""Of a head that a connection keeps, to know it again without parsing: 1 µs in place of 4."""

COMMON: Final[Headers] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_SINGLE: Final = (b"authorization", b"content-type", b"content-encoding", b"idempotency-key", b"if-match")
"""Headers whose meaning would hang on which of several lines is believed."""
_JSON_TYPE: Final = re.compile(rb"application/(?:[a-z0-9.!#$&^_+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_SIZE: Final = re.compile(rb"\r\ncontent-length: ?([0-9]+)\r\n", re.IGNORECASE)
_UNUSUAL: Final = frozenset({b"expect", b"transfer-encoding"})
"""Headers of a request that is not simply there."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Answer(msgspec.Struct, frozen=True):
    """What is sent back: the whole of it is in memory."""

    status: int
    body: bytes = b""
    media: bytes = JSON
    headers: Headers = ()


class ProblemType(Enum):
    """Every kind of refusal: its slug, which never changes, its status, and its title (RFC 9457)."""

    MALFORMED_HTTP = ("malformed-http", 400, "This is not HTTP.")
    MALFORMED_JSON = ("malformed-json", 400, "The body is not JSON.")
    BAD_PARAMETER = ("bad-parameter", 400, "A query parameter cannot be used.")
    BAD_CURSOR = ("bad-cursor", 400, "This page cannot be found.")
    BAD_HEADER = ("bad-header", 400, "A header cannot be used.")
    UNAUTHORIZED = ("unauthorized", 401, "An API key is needed.")
    BAD_SIGNATURE = ("bad-signature", 401, "The request is not accepted.")
    FORBIDDEN = ("forbidden", 403, "This API key may not do that.")
    NOT_FOUND = ("not-found", 404, "There is nothing here.")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This method does not exist here.")
    TOO_SLOW = ("too-slow", 408, "The request took too long to arrive.")
    TAKEN = ("taken", 409, "This name is taken.")
    READ_ONLY = ("read-only", 409, "The configuration defines this.")
    LAST_KEY = ("last-admin-key", 409, "This is the last key with the scope admin.")
    UNDER_WAY = ("under-way", 409, "The same request is under way.")
    CHANGED = ("changed", 412, "It is not as it was when you read it.")
    TOO_LARGE = ("too-large", 413, "The body is too large.")
    ADDRESS_TOO_LONG = ("address-too-long", 414, "The address is too long.")
    NOT_JSON = ("unsupported-media-type", 415, "The body is of another type than JSON.")
    INVALID_BODY = ("invalid-body", 422, "The body is JSON, but not what is expected here.")
    KEY_REUSED = ("idempotency-key-reused", 422, "This Idempotency-Key belongs to another request.")
    BUSY = ("busy", 429, "Too much is waiting.")
    HEAD_TOO_LARGE = ("head-too-large", 431, "The request has too many headers.")
    FAULT = ("fault", 500, "This is a fault of idsync.")
    UNAVAILABLE = ("unavailable", 503, "The store cannot be used now.")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title


class Problem(msgspec.Struct, frozen=True):
    """A refusal. `detail` says what to do and never repeats what was sent."""

    type: ProblemType
    detail: str
    headers: Headers = ()


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem as it stands on the wire (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    """`urn:uuid:…`: names this one occurrence, here and in the log; absent where it was no request at all."""


Outcome = Answer | Problem
Reply = Callable[[Answer], None]
"""Whom an answer is told."""
CLOSE: Final[Headers] = ((b"connection", b"close"),)
"""Where the rest of the body is not read: the next request cannot be told from it."""
TOO_SLOW: Final = Problem(ProblemType.TOO_SLOW, "Send the whole request at once.", CLOSE)


def problem_urn(problem: ProblemType) -> str:
    """The stable name of a kind of problem: what `type` holds."""
    return f"urn:idsync:problem:{problem.slug}"


def describe_problem(problem: Problem, instance: str) -> Answer:
    """Write a refusal as problem+json."""
    kind = problem.type
    urn = f"urn:uuid:{instance}"
    body = ProblemBody(problem_urn(kind), kind.title, kind.status, problem.detail, urn)
    return Answer(kind.status, msgspec.json.encode(body), PROBLEM_JSON, problem.headers)


def answer_json(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Answer with a value as JSON."""
    return Answer(status, msgspec.json.encode(value), headers=headers)


def answer_other_method(method: str, allowed: Iterable[str]) -> Outcome:
    """Answer a method that does not exist at a path; OPTIONS asks which do."""
    allow = ((b"allow", ", ".join(sorted({*allowed, "OPTIONS"})).encode()),)
    if method == "OPTIONS":
        return Answer(204, headers=allow)
    return Problem(ProblemType.METHOD_NOT_ALLOWED, "See the header allow for what exists here.", allow)


async def send_answer(send: Send, answer: Answer, *, is_head: bool = False) -> None:
    """Write an answer; to HEAD everything but the body."""
    size = b"%d" % len(answer.body)
    headers = [(b"content-type", answer.media), (b"content-length", size), *COMMON, *answer.headers]
    if answer.status == 204:  # noqa: PLR2004  # RFC 9110 §8.6: no length where there is no content
        headers = [*COMMON, *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else answer.body})


class Request(NamedTuple):
    """One whole request."""

    path: str
    lines: list[tuple[bytes, bytes]]
    """The headers but content-length, with lower-cased names."""
    body: bytes


class _Known(NamedTuple):
    """The last head of a connection, around the digits of its content-length, and what it was found to be."""

    before: bytes
    after: bytes
    path: str
    lines: list[tuple[bytes, bytes]]


class Reader:
    """Reads what came in one piece, if that is one plain request and nothing else.

    The parser is uvicorn's, so what is a request here is the same request there. It calls what is named `on_`.
    """

    def __init__(self) -> None:
        self._known: _Known | None = None
        self._renew()

    def read(self, chunk: bytes) -> Request | None:
        """Give the request; None: it is not whole, not plain, or not alone, and nothing of it is kept."""
        request = self._recall(chunk)
        if request is not None:
            return request
        self._url, self._body = b"", b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._is_plain = False
        self._ended = 0
        try:
            self._parser.feed_data(chunk)
        except (HttpParserError, HttpParserUpgrade):
            self._is_plain = False
        lines, body = self._lines, self._body
        self._lines, self._body = [], b""
        if not (self._is_plain and self._ended == 1):
            self._renew()
            return None
        request = Request(self._url.decode("ascii"), lines, body)
        self._known = _remember(chunk, request)
        return request

    def _recall(self, chunk: bytes) -> Request | None:
        """Give a request whose head differs from the last one by nothing but the digits of its size: as most do."""
        known = self._known
        if known is None or not chunk.startswith(known.before):
            return None
        end = chunk.find(b"\r", len(known.before))
        digits = chunk[len(known.before) : end]
        if not (chunk.startswith(known.after, end) and digits.isdigit() and len(digits) <= DIGITS_MAX):
            return None
        body = chunk[end + len(known.after) :]
        return Request(known.path, known.lines, body) if len(body) == int(digits) else None

    def _renew(self) -> None:
        """Forget the half request that the parser is in."""
        self._parser = HttpRequestParser(self)

    def on_message_begin(self) -> None:
        """A second request in the same piece: its answer must wait for the first one."""
        self._is_plain = False

    def on_url(self, url: bytes) -> None:
        """Keep the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        name = name.lower()
        if name != b"content-length":
            self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head."""
        parser, url = self._parser, self._url
        self._is_plain = (
            b"?" not in url
            and b"%" not in url
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not any(name in _UNUSUAL for name, _ in self._lines)
        )

    def on_body(self, body: bytes) -> None:
        """Keep the body; it comes in one piece, unless it is chunked."""
        self._body = body

    def on_message_complete(self) -> None:
        """Count the ends."""
        self._ended += 1


def _remember(chunk: bytes, request: Request) -> _Known | None:
    """Keep a head that was parsed, if it is short and tells the size of its body once."""
    head, end, body = chunk.partition(b"\r\n\r\n")
    head += end
    found = _SIZE.search(head)
    if found is None or len(head) > KNOWN_HEAD_BYTES_MAX or len(body) != len(request.body):
        return None
    return _Known(head[: found.start(1)], head[found.end(1) :], request.path, request.lines)


def read_head(lines: list[tuple[bytes, bytes]]) -> Mapping[bytes, bytes] | Problem:
    """Index the headers by lower-cased name; the last of several counts, but those that decide may stand there once."""
    if len(lines) > HEADERS_MAX:
        return Problem(ProblemType.HEAD_TOO_LARGE, f"Send at most {HEADERS_MAX} headers.", CLOSE)
    head = dict(lines)
    if len(head) != len(lines):
        names = [name for name, _ in lines]
        for name in _SINGLE:
            if names.count(name) > 1:
                return Problem(ProblemType.BAD_HEADER, f"Send the header {name.decode()} once.")
    return head


def check_json(head: Mapping[bytes, bytes]) -> Problem | None:
    """Refuse a body that says it is no plain JSON; one that says nothing is taken for JSON."""
    media = head.get(b"content-type", JSON)
    if media != JSON and (len(media) > MEDIA_BYTES_MAX or not _JSON_TYPE.fullmatch(media)):
        return Problem(ProblemType.NOT_JSON, "Send the header content-type: application/json.")
    if head.get(b"content-encoding", b"identity") != b"identity":
        return Problem(ProblemType.NOT_JSON, "Send the body without content-encoding.")
    return None


async def read_body(receive: Receive, head: Mapping[bytes, bytes], size_max: int) -> bytes | Problem:
    """Read the whole body, but never keep more than `size_max` bytes of it.

    As much again is read and dropped before the answer: a client that is still sending when the connection closes would
    not see why. The caller bounds the time.
    """
    told = head.get(b"content-length", b"")
    if b"expect" in head and told.isdigit() and (len(told) > DIGITS_MAX or int(told) > size_max):
        return _too_large(size_max)
    chunks: list[bytes] = []
    size = 0
    is_whole = False
    while not is_whole and size <= 2 * size_max:
        message = await receive()
        if message["type"] != "http.request":
            return TOO_SLOW
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= size_max:
            chunks.append(chunk)
        is_whole = not message.get("more_body", False)
    return b"".join(chunks) if size <= size_max else _too_large(size_max)


def _too_large(size_max: int) -> Problem:
    return Problem(ProblemType.TOO_LARGE, f"Send at most {size_max} bytes.", CLOSE)


def read_query(text: bytes, shape: type[Shape]) -> Shape | Problem:
    """Read the query into a shape: an unknown, repeated or unusable parameter is refused by name."""
    if len(text) > QUERY_BYTES_MAX:
        return Problem(ProblemType.ADDRESS_TOO_LONG, f"Send a query of at most {QUERY_BYTES_MAX} bytes.")
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except ValueError:
        return Problem(ProblemType.BAD_PARAMETER, f"Send at most {PARAMETERS_MAX} parameters, percent-encoded UTF-8.")
    known = [field.encode_name for field in msgspec.structs.fields(shape)]
    values = dict(pairs)
    if unknown := [name for name in values if name not in known]:
        return Problem(ProblemType.BAD_PARAMETER, f"{_name_all(unknown)} not known here. {_offer(known)}")
    if len(values) != len(pairs):
        return Problem(ProblemType.BAD_PARAMETER, "Send each parameter once.")
    return _convert(values, shape)


def _convert(values: dict[str, str], shape: type[Shape]) -> Shape | Problem:
    names = [name for name in values if not _is_usable(name, values[name], shape)]
    if not names:
        return msgspec.convert(values, shape, strict=False)
    if names == ["after"]:
        return Problem(ProblemType.BAD_CURSOR, "Send what `next` of the page before holds, or leave `after` out.")
    wanted, _ = describe_shape(shape)
    details = [f"{name} must be {wanted[name]['description']}." for name in names]
    return Problem(ProblemType.BAD_PARAMETER, " ".join(details))


def _is_usable(name: str, value: str, shape: type[msgspec.Struct]) -> bool:
    """Whether the shape takes the value; never as None, which is what a parameter that is left out means."""
    try:
        return getattr(msgspec.convert({name: value}, shape, strict=False), name) is not None
    except msgspec.ValidationError:
        return False


def describe_shape(shape: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the JSON schema of every field of a shape, and the schemas that those refer to."""
    _, schemas = msgspec.json.schema_components([shape])
    return schemas[shape.__name__]["properties"], schemas


def _name_all(names: Iterable[str]) -> str:
    """Name parameters of a stranger, but repeat only what is a plain word."""
    shown = [name if _PLAIN_NAME.fullmatch(name) else "(not a plain name)" for name in names]
    return f"{', '.join(shown)} {'is' if len(shown) == 1 else 'are'}"


def _offer(known: list[str]) -> str:
    return f"Known are: {', '.join(known)}." if known else "There are no parameters here."


def decode_body(body: bytes, shape: Any, named: Any) -> Any:  # noqa: ANN401  # both are types, msgspec's sort too
    """Decode a JSON body into a shape. The reason of a refusal names our fields, never the sender's.

    Args:
        named: the type whose fields are named in a refusal.

    Returns:
        The value, or a Problem.
    """
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.ValidationError:
        is_shape = isinstance(named, type) and issubclass(named, msgspec.Struct)
        known = [field.encode_name for field in msgspec.structs.fields(named)] if is_shape else []
        members = f" with: {', '.join(known)}" if known else ""
        return Problem(ProblemType.INVALID_BODY, f"Send one object{members}. See /openapi.json.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem(ProblemType.MALFORMED_JSON, "Send one JSON value in UTF-8, nested not too deeply.")
