"""What an endpoint may answer, well or badly, made from a seed: the same seed makes the same bytes for ever."""

import re
from collections.abc import Callable, Collection
from enum import StrEnum
from itertools import accumulate, islice, pairwise
from random import Random
from typing import Final

import msgspec

from idsync.testing.sink import Then

STATUSES: Final = (200, 200, 200, 201, 202, 204, 304, 301, 400, 404, 410, 413, 429, 500, 502, 503, 599)
ODD_STATUSES: Final = ("100", "101", "199", "600", "999", "000", "099", "20", "2000", "abc", "2 0", "", "-1")
VERSIONS: Final = ("HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "http/1.1", "HTTP/1.10", "ICY", "")
SIZES: Final = (0, 0, 1, 2, 2, 2, 100, 100, 4095, 4096, 4097, 5_000, 100_000)
REST: Final = (
    b"\r\n",
    b"\n",
    b"x",
    b"\0",
    b"garbage\r\n\r\n",
    b"HTTP/1.1 500 Second\r\nContent-Length: 0\r\n\r\n",
    b"HTT",
)
FIELDS: Final = (
    b"Content-Type: application/json",
    b"Server: any",
    b"Set-Cookie: a=b; Path=/",
    b"Retry-After: 120",
    b"retry-after:7",
    b"Retry-After: 0",
    b"Retry-After: soon",
    b"Retry-After: -1",
    b"Retry-After:",
    b"Retry-After: 120\t ",
    b"Retry-After: 120\xa0",
    b"Retry-After: Sun, 06 Nov 1994 08:49:47 GMT",
    b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
    b"Date: yesterday",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Keep-Alive, close",
    b"Connection: upgrade",
    b"Connection: \xff",
    b"Upgrade: h2c",
    b"Keep-Alive: timeout=5",
    b"Location: http://10.0.0.1/",
    b"Content-Encoding: gzip",
    b"Trailer: Retry-After",
    b"X-Empty:",
    b"X-High: \xe9\xff",
    b"X-Nul: a\0b",
    b"X-Bell: a\x07b",
    b"X-Folded: a\r\n b",
    b" leading: space",
    b"X-Space : before the colon",
    b": no name",
    b"no colon",
    b"X-Return: a\rb",
    b"X-Lines: a\nX-Two: b",
)
LENGTHS: Final = (b"-1", b"+2", b"many", b"", b"0x2", b"2, 2", b"2 ", b" 2", b"02", b"99999999999999999999", b"1e1")
CODINGS: Final = (
    b"chunked",
    b"Chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b"identity",
    b"xchunked",
)
CHUNK_SIZES: Final = (
    b"-1",
    b"g",
    b"",
    b" 1",
    b"1 ",
    b"0x1",
    b"fffffffffffffffff",
    b"1;",
    b'1;a="b"',
    b"1;a=\x07",
    b"01",
)
BLANK_LINES_MAX: Final = 9
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_EMPTY_CODING: Final = re.compile(rb"transfer-encoding:[ \t]*\r?\n", re.IGNORECASE)


class When(StrEnum):
    """At which moment an answer is given."""

    ASKED = "asked"
    """The whole request was read."""
    EARLY = "early"
    """Its head was read; the rest is read afterwards."""
    CONNECTED = "connected"
    """Nothing was read: the endpoint speaks first."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and what comes after it."""

    pieces: tuple[bytes, ...]
    """Written one by one, with a pause between them."""
    when: When = When.ASKED
    then: Then = Then.KEEP


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint does: a scene for each request, whichever connection brings it."""

    scenes: tuple[Scene, ...]
    body_bytes: int
    """Of each request."""


def make_play(seed: int) -> Play:
    """Make up an endpoint."""
    dice = Random(seed)  # noqa: S311  # the same play each time, no secret
    count = dice.choice((1, 2, 2, 3))
    body_bytes = 400_000 if dice.random() < 0.05 else 20
    return Play(scenes=tuple(_make_scene(dice) for _ in range(count)), body_bytes=body_bytes)


def _make_scene(dice: Random) -> Scene:
    raw = _make_answer(dice)
    for _ in range(dice.choice((0, 0, 0, 0, 0, 1, 2))):
        raw = _mutate(dice, raw)
    when = dice.choices(list(When), (18, 2, 1))[0]
    then = dice.choices((Then.KEEP, Then.CLOSE, Then.HALF_CLOSE, Then.RESET), (10, 5, 3, 2))[0]
    return Scene(pieces=_split(dice, raw), when=when, then=then)


def _make_answer(dice: Random) -> bytes:
    line_end = b"\n" if dice.random() < 0.04 else b"\r\n"
    interim = b"".join(_make_interim(dice) for _ in range(dice.choice((0, 0, 0, 0, 0, 0, 1, 3))))
    body = dice.randbytes(dice.choice(SIZES))
    framing, framed = _frame(dice, body)
    fields = [
        *framing,
        *(dice.choice(FIELDS[:26] if dice.random() < 0.9 else FIELDS) for _ in range(dice.randrange(5))),
    ]
    if dice.random() < 0.02:
        fields += [b"X-%d: y" % number for number in range(dice.choice((100, 200)))]
    if dice.random() < 0.02:
        fields.append(b"X-Long: " + b"y" * dice.choice((2_000, 8_000, 40_000)))
    dice.shuffle(fields)
    head = line_end.join([_make_status_line(dice), *fields, b"", b""])
    rest = dice.choice(REST) if dice.random() < 0.08 else b""
    return interim + head + framed + rest


def _make_status_line(dice: Random) -> bytes:
    version = dice.choice(VERSIONS) if dice.random() < 0.1 else "HTTP/1.1"
    status = dice.choice(ODD_STATUSES) if dice.random() < 0.06 else str(dice.choice(STATUSES))
    reason = dice.choice((" OK", " ", "", " Not Found", " \xe9", " " + "r" * 40_000 if dice.random() < 0.02 else " x"))
    return f"{version} {status}{reason}".encode("latin-1")


def _make_interim(dice: Random) -> bytes:
    fields = [dice.choice(FIELDS[:14]) for _ in range(dice.randrange(3))]
    return b"\r\n".join([b"HTTP/1.1 %d Wait" % dice.choice((100, 102, 103)), *fields, b"", b""])


def _frame(dice: Random, body: bytes) -> tuple[list[bytes], bytes]:
    """Say where a body ends, rightly or wrongly: the fields, and the body as it is written."""
    kind = dice.random()
    if kind < 0.45:
        return [b"Content-Length: %d" % len(body)], body
    if kind < 0.7:
        return [b"Transfer-Encoding: chunked"], _chunk(dice, body)
    if kind < 0.8:
        return [], body
    if kind < 0.86:
        return [b"Content-Length: %d" % max(0, len(body) + dice.choice((-1, 1, 50)))], body
    if kind < 0.9:
        return [b"Content-Length: " + dice.choice(LENGTHS)], body
    if kind < 0.92:
        return [b"Content-Length: %d" % len(body), b"Content-Length: %d" % (len(body) + dice.choice((0, 1)))], body
    if kind < 0.95:
        return [b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"], _chunk(dice, body)
    return [b"Transfer-Encoding: " + dice.choice(CODINGS)], _chunk(dice, body)


def _chunk(dice: Random, body: bytes) -> bytes:
    """Write a body in chunks, now and then badly."""
    line_end = b"\n" if dice.random() < 0.03 else b"\r\n"
    written = []
    size_max = dice.choice((1, 3, 100, 5_000)) if len(body) < 200 else dice.choice((100, 5_000, 1_000_000))
    for start in range(0, len(body), size_max):
        chunk = body[start : start + size_max]
        size = dice.choice((b"%x", b"%X", b"%04x")) % len(chunk)
        extension = dice.choice((b"", b"", b"", b";a", b";a=b", b';a="b;c"'))
        written.append(size + extension + line_end + chunk + line_end)
    if dice.random() < 0.06:
        written.append(dice.choice(CHUNK_SIZES) + line_end + b"z" + line_end)
    if dice.random() < 0.93:
        trailer = dice.choice((b"", b"", b"", b"X: y" + line_end, b"Retry-After: 55" + line_end, b"bad" + line_end))
        written.append(b"0" + line_end + trailer + line_end)
    return b"".join(written)


def _mutate(dice: Random, raw: bytes) -> bytes:
    """Damage a few bytes, most often near the beginning."""
    at = dice.randrange(min(len(raw), dice.choice((20, 200, 100_000))) + 1)
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: raw[:at] + dice.randbytes(1) + raw[at + 1 :],
        lambda: raw[:at] + raw[at + dice.randrange(1, 8) :],
        lambda: raw[:at] + dice.choice((b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"\xff", b"0", b";")) + raw[at:],
        lambda: raw[:at],
        lambda: raw[:at] + raw[max(0, at - 9) :],
    )
    return dice.choice(ways)()


def _split(dice: Random, raw: bytes) -> tuple[bytes, ...]:
    """Cut an answer into the pieces in which it is written."""
    head_end = min(len(raw), raw.find(b"\r\n\r\n") + 4)
    anywhere = [dice.randrange(len(raw) + 1) for _ in range(3)]
    byte_by_byte = list(range(1, min(len(raw), 12)))
    return _cut(raw, dice.choice(([], [], [], [head_end], [head_end], anywhere, byte_by_byte)))


def cut_after_heads(play: Play) -> Play:
    """Write whatever follows a blank line as a piece of its own, so that heads are read by themselves."""

    def cut(scene: Scene) -> Scene:
        raw = b"".join(scene.pieces)
        blank_lines = [found.end() for found in islice(_BLANK_LINE.finditer(raw), BLANK_LINES_MAX)]
        return msgspec.structs.replace(scene, pieces=_cut(raw, {*accumulate(map(len, scene.pieces)), *blank_lines}))

    return msgspec.structs.replace(play, scenes=tuple(map(cut, play.scenes)))


def drop_empty_codings(play: Play) -> Play:
    """Leave out every Transfer-Encoding that names none."""

    def drop(scene: Scene) -> Scene:
        return msgspec.structs.replace(scene, pieces=(_EMPTY_CODING.sub(b"", b"".join(scene.pieces)),))

    return msgspec.structs.replace(play, scenes=tuple(map(drop, play.scenes)))


def _cut(raw: bytes, ends: Collection[int]) -> tuple[bytes, ...]:
    """Cut at all these places."""
    places = sorted({0, *ends, len(raw)})
    return tuple(raw[start:end] for start, end in pairwise(places))
