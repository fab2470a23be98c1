"""Random and mutated requests, each made from a seed alone.

Most are well framed: the server can tell where they end. Those that are not are marked, so that whoever sends them does
not wait for an answer that cannot come.
"""

import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from idsync.model.values import Instant
from idsync.wire.signing import Dialect, Secret, sign


class FuzzPeer(msgspec.Struct, frozen=True):
    """A peer of the server whose webhooks we can sign."""

    name: str
    dialect: Dialect
    secret: Secret


class Shot(msgspec.Struct, frozen=True):
    """One request: its bytes, and whether the server can tell where it ends."""

    content: bytes
    is_framed: bool = True
    is_head: bool = False


NASTY_TEXTS: Final = (
    "", " ", "\x00", "\u202e", "a" * 300, "é" * 70_000, "\U0001d518", "\ufeff", "' OR 1=1 --", "../../etc",
    "%2e%2e", "null", "NaN",
    "a@example.com", "A@EXAMPLE.COM", "a@b@c", "user/", "user/../x", "018f0000-0000-7000-8000-000000000000", "<b>",
    "{{7*7}}",
)  # fmt: skip
NASTY_NUMBERS: Final = (0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 0.1, 1e308, -0.0, 1e-320)
NASTY_JSON: Final = (
    b"", b"null", b"[]", b"{}", b"[{}]", b"[[]]", b'""', b"1", b"nul", b"{", b'{"a":', b"[" * 20_000, b'{"a":' * 5_000,
    b"[1,]", b'{"id":"1","id":"2","type":"user.updated","data":{}}', b"\xff\xfe{}", b'{"id":"\\ud800"}', b'{"a":1e999}',
    b"\xef\xbb\xbf{}", b'{"type":"user.updated","data":' + b"[" * 5_000, b"{" + b'"a":1,' * 2_000 + b'"b":2}',
    b"9" * 5_000,
)  # fmt: skip
TYPES: Final = (
    "user.created", "user.updated", "user.deleted", "user.banned", "session.revoked", "organization.updated",
    "organizationMembership.deleted", "api_key.created", "order.paid", "user.", ".", "user", "x" * 300,
)  # fmt: skip
PATHS: Final = (
    "/v1/entities", "/v1/inbox", "/v1/waiting", "/v1/deliveries", "/v1/conflicts", "/v1/peers", "/v1/endpoints",
    "/v1/stats", "/v1/events", "/v1/events/1", "/v1/events/nobody/deliveries", "/v1/events/1/attempts", "/v1/keys",
    "/v1/keys/nobody", "/v1/replays", "/v1/replays/nobody", "/v1/endpoints/audit", "/v1/endpoints/nobody/test",
    "/v1/endpoints/audit/rotate-secret", "/v1/endpoints/audit/attempts", "/v1/endpoints/%2e%2e", "/v1/endpoints/a%2fb",
    "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/v1/entities/018f0000-0000-7000-8000-000000000000",
    "/v1/entities/018f0000-0000-7000-8000-000000000000/explain", "/v1//events", "/v1/events/", "/v1/events/..",
    "/receive/",
    "/receive/nobody", "/receive/../v1/stats", "/%2e%2e/%2e%2e/etc/passwd", "/v1/%65ntities", "/v1/stats%0a",
    "/v1/stats%00",
    "/v1/entities/%ff", "/v1/entities/" + "a" * 3_000, "//", "/\\", "/v1/deliveries/requeue",
    "/v1/waiting/requeue", "*",
)  # fmt: skip
PARAMETERS: Final = (
    "after",
    "limit",
    "kind",
    "find",
    "event",
    "state",
    "destination",
    "wait_s",
    "types",
    "since",
    "page",
    "",
    "a" * 50,
)
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH")
HEADERS: Final = (
    b"x-a: 1", b"expect: 100-continue", b"content-type: text/plain", b"content-type: application/json; charset=utf-16",
    b"content-encoding: gzip", b"authorization: Basic eA==", b"authorization: Bearer", b"authorization:",
    b"cookie: a=b; c=d",
    b"idempotency-key: a.b", b"idempotency-key: \xff", b"idempotency-key: " + b"k" * 3_000, b"idempotency-key: again",
    b"if-match: *", b'if-match: "1"', b"if-match: x", b"webhook-id: other",
    b"webhook-timestamp: 99999999999999999999", b"webhook-signature: v1,AAAA v1,",
    b"webhook-signature: " + b"v1,a " * 1_000,
    b"x-webhook-signature: t=,v1=", b"traceparent: 00-zz-01", b"upgrade: websocket", b"connection: close",
    b"range: bytes=0-1",
    b"host: other", b"x-forwarded-for: 1.2.3.4", b"content-type: ", b"\xff: \xff", b"x: " + b"y" * 20_000,
)  # fmt: skip
FRAMES: Final = (
    b"content-length: 0", b"content-length: 99999999999", b"content-length: -1",
    b"content-length: 1\r\ncontent-length: 2",
    b"transfer-encoding: chunked", b"transfer-encoding: chunked, identity", b"transfer-encoding: gzip, chunked",
    b"transfer-encoding: xchunked", b"transfer-encoding: chunked\r\ncontent-length: 3",
)  # fmt: skip


class Aim:
    """Makes requests. The same seed makes the same ones, but for the times that signatures carry."""

    def __init__(self, rng: random.Random, host: str, key: str, peers: Sequence[FuzzPeer]) -> None:
        self._rng = rng
        self._host = host.encode()
        self._bearer = b"authorization: Bearer " + key.encode()
        self._peers = peers
        self._number = 0

    def shots(self) -> Iterator[Shot]:
        """Make requests without end, each by one of the ways, the deep ones more often."""
        ways = (
            (self._publish, 30),
            (self._receive, 40),
            (self._read, 15),
            (self._command, 4),
            (self._stray, 6),
            (self._wreck, 5),
        )
        chosen = [way for way, weight in ways if way is not self._receive or self._peers for _ in range(weight)]
        while True:
            self._number += 1
            yield self._rng.choice(chosen)()

    def _publish(self) -> Shot:
        """An event, or what was one, with a good key most of the time."""
        body = self._body()
        return self._request(b"POST", b"/v1/events", [self._credentials(), *self._more_headers()], body)

    def _receive(self) -> Shot:
        """A webhook: signed as it is, or changed before signing, or after it, or not signed at all."""
        peer = self._rng.choice(self._peers)
        body = self._body()
        event_id = f"{self._rng.choice(('f', 'g'))}{self._rng.randrange(self._number + 1)}"
        headers = sign(
            peer.dialect,
            [peer.secret],
            event_id=event_id,
            event_type=self._rng.choice(TYPES[:9]),
            sent_at=Instant(round(time.time() * 1000) + self._rng.choice((0, 0, 0, 0, -(10**6), 10**6))),
            body=body,
        )
        lines = [f"{name}: {value}".encode() for name, value in headers]
        fate = self._rng.randrange(4)
        if fate == 0:
            body = self._damage(body)
        elif fate == 1:
            lines = [self._damage_line(line) for line in lines if self._rng.random() > 0.2]
        return self._request(b"POST", f"/receive/{peer.name}".encode(), [*lines, *self._more_headers()], body)

    def _read(self) -> Shot:
        """A read with parameters that may not exist."""
        path = self._rng.choice(PATHS)
        pairs = [
            f"{self._rng.choice(PARAMETERS)}={quote(self._scalar_text(), safe=self._rng.choice(('', '&=%')))}"
            for _ in range(self._rng.randrange(4))
        ]
        # A long poll that waits is no late answer, so none is asked for.
        query = "&".join(pair for pair in pairs if not re.match(r"wait_s=\d*[1-9]", pair))
        target = f"{path}?{query}" if query else path
        method = self._rng.choice(METHODS) if self._rng.random() < 0.1 else "GET"
        return self._request(
            method.encode(), target.encode(errors="replace"), [self._credentials(), *self._more_headers()]
        )

    def _command(self) -> Shot:
        """A request to try something again."""
        ids = [self._rng.choice((*NASTY_NUMBERS, "1", "x")) for _ in range(self._rng.randrange(4))]
        tree = {"deliveries": ids, "waiting": ids, "destination": self._scalar_text(), "all": self._rng.random() < 0.2}
        kept = {name: value for name, value in tree.items() if self._rng.random() < 0.6}
        path = self._rng.choice((b"/v1/deliveries/requeue", b"/v1/waiting/requeue"))
        return self._request(b"POST", path, [self._credentials()], _dump(kept))

    def _stray(self) -> Shot:
        """Any method at any path with any body."""
        headers = [
            *self._more_headers(),
            self._credentials(),
            *(self._rng.choice(HEADERS) for _ in range(self._rng.randrange(4))),
        ]
        if self._rng.random() < 0.05:
            headers += [b"x-%d: y" % number for number in range(self._rng.choice((99, 101, 500)))]
        path = self._rng.choice(PATHS).encode()
        body = self._body() if self._rng.random() < 0.5 else b""
        return self._request(self._rng.choice(METHODS).encode(), path, headers, body)

    def _wreck(self) -> Shot:
        """Bytes whose end nobody can tell: wrong lengths, wrong chunks, damaged heads, or no HTTP at all."""
        fate = self._rng.randrange(4)
        if fate == 0:
            return Shot(self._rng.randbytes(self._rng.randrange(1, 2_000)), is_framed=False)
        body = self._body()[:50_000]
        head = [b"POST /v1/events HTTP/1.1", b"host: " + self._host, self._bearer, b"content-type: application/json"]
        head.append(self._rng.choice(FRAMES))
        if fate == 1:
            pieces = [body[at : at + 100] for at in range(0, min(len(body), 2_000), 100)]
            body = (
                b"".join(b"%x\r\n%s\r\n" % (len(piece) + self._rng.choice((0, 0, 0, 1)), piece) for piece in pieces)
                + b"0\r\n\r\n"
            )
        content = b"\r\n".join(head) + b"\r\n\r\n" + body
        return Shot(self._damage(content) if fate == 2 else content, is_framed=False)

    def _request(self, method: bytes, target: bytes, headers: list[bytes], body: bytes = b"") -> Shot:
        lines = [method + b" " + target + b" HTTP/1.1", b"host: " + self._host, *headers]
        if body or method == b"POST":
            lines.append(b"content-length: %d" % len(body))
        return Shot(b"\r\n".join(lines) + b"\r\n\r\n" + body, is_head=method == b"HEAD")

    def _credentials(self) -> bytes:
        return self._bearer if self._rng.random() < 0.95 else self._damage_line(self._bearer)

    def _more_headers(self) -> list[bytes]:
        found = [b"content-type: application/json"] if self._rng.random() < 0.95 else []
        if self._rng.random() < 0.1:
            found.append(self._rng.choice(HEADERS))
        return found

    def _body(self) -> bytes:
        """An event or a list of some, whole, changed in its structure, or changed in its bytes."""
        if self._rng.random() < 0.1:
            return self._rng.choice(NASTY_JSON)
        event: Any = self._event()
        for _ in range(self._rng.choice((0, 0, 1, 2, 5))):
            event = self._mutate(event)
        if self._rng.random() < 0.15:
            event = [event] + [self._event() for _ in range(self._rng.randrange(30))]
        body = _dump(event)
        return self._damage(body) if self._rng.random() < 0.1 else body

    def _event(self) -> dict[str, Any]:
        """A good event, in one of the shapes that are understood."""
        number = self._rng.randrange(2_000)
        user = {
            "id": f"u{number}",
            "email": f"u{number}@example.com",
            "name": self._scalar_text(),
            "emailVerified": True,
        }
        event_type = self._rng.choice(TYPES[:9])
        shapes = (
            {
                "id": f"e{self._rng.randrange(10**9)}", "type": event_type,
                "source": self._rng.choice(("crm", "shop", "auth", "")),
                "subject": f"user/u{number}", "timestamp": "2026-01-01T12:00:00.000Z", "version": number, "data": user,
            },
            {
                "id": f"e{self._number}", "origin": "payload", "type": event_type, "timestamp": 1_767_225_600_000,
                "data": user,
            },
            {"event": event_type, "data": {"user": user}},
            {"id": f"e{self._number}", "event": event_type, "timestamp": 1_767_225_600, "data": user, "version": "1.0"},
            {"type": event_type, "userId": f"u{number}", "email": f"u{number}@example.com"},
            {"type": event_type, "user": user},
        )  # fmt: skip
        return self._rng.choice(shapes)

    def _mutate(self, tree: Any) -> Any:  # noqa: ANN401  # any JSON
        """Change one place of a tree: another value there, one more, or none."""
        if isinstance(tree, dict) and tree and self._rng.random() < 0.9:
            name = self._rng.choice(list(tree))
            fate = self._rng.randrange(5)
            if fate == 0:
                return {key: value for key, value in tree.items() if key != name}
            if fate == 1:
                return tree | {self._scalar_text()[:100]: self._value()}
            return tree | {name: self._mutate(tree[name])}
        if isinstance(tree, list) and tree and self._rng.random() < 0.9:
            return [*tree[:-1], self._mutate(tree[-1])]
        return self._value()

    def _value(self) -> Any:  # noqa: ANN401  # any JSON
        match self._rng.randrange(8):
            case 0:
                return None
            case 1:
                return self._rng.choice((True, False))
            case 2 | 3:
                return self._rng.choice(NASTY_NUMBERS)
            case 4:
                return [self._scalar_text() for _ in range(self._rng.choice((0, 1, 300)))]
            case 5:
                return {f"k{number}": number for number in range(self._rng.choice((0, 1, 300)))}
            case _:
                return self._scalar_text()

    def _scalar_text(self) -> str:
        if self._rng.random() < 0.5:
            return str(self._rng.choice((*NASTY_NUMBERS, "user", "dead", "parked", "endpoint:audit", "peer:crm", 50)))
        text = self._rng.choice(NASTY_TEXTS)
        return text if len(text) < 1_000 or self._rng.random() < 0.02 else text[:5]

    def _damage(self, content: bytes) -> bytes:
        """Change some bytes: flip, cut, double, or put random ones in."""
        changed = bytearray(content)
        for _ in range(self._rng.randrange(1, 4)):
            at = self._rng.randrange(len(changed) + 1)
            match self._rng.randrange(4):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << self._rng.randrange(8)
                case 1:
                    del changed[at : at + self._rng.randrange(1, 50)]
                case 2:
                    changed[at:at] = changed[at : at + 100]
                case _:
                    changed[at:at] = self._rng.randbytes(self._rng.randrange(1, 20))
        return bytes(changed)

    def _damage_line(self, line: bytes) -> bytes:
        """Change a header's value without ending its line."""
        name, _, value = line.partition(b": ")
        return name + b": " + re.sub(rb"[\x00-\x1f\x7f]", b"?", self._damage(value))


def _dump(tree: Any) -> bytes:  # noqa: ANN401  # any JSON
    """Write JSON as senders do: NaN and lone surrogates included where the tree has them."""
    return json.dumps(tree, separators=(",", ":")).encode()
