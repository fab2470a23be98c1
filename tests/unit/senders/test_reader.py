"""Whatever bytes come as an answer: reading them never fails, always ends, and does not hang on how they were cut."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsync.ports import SendError
from idsync.senders.fast.answer import FRAME_FACTOR, LAST_BYTES_MAX, AnswerReader
from idsync.senders.limits import HEAD_BYTES_MAX
from idsync.testing.endpoints import make_play

BODY_BYTES = 100
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _read(raw: bytes, *ends: int) -> AnswerReader:
    """Feed an answer in pieces, until no more is wanted."""
    return _go_on(AnswerReader(BODY_BYTES), raw, *ends)


def _go_on(reader: AnswerReader, raw: bytes, *ends: int) -> AnswerReader:
    take = reader.begin
    for start, end in pairwise(sorted({0, *ends, len(raw)})):
        if take(raw[start:end]):
            break
        take = reader.feed
    return reader


def _tell(reader: AnswerReader) -> tuple[object, ...]:
    if reader.status is None:
        return (reader.error,)
    return reader.status, bytes(reader.body), reader.retry_after, reader.date


@given(pieces=st.lists(st.binary() | st.sampled_from([HEAD, b"HTTP/1.1 ", b"\r\n", b"0\r\n", b"5\r\n"])))
def test_no_bytes_make_it_fail(pieces: list[bytes]) -> None:
    """There is a status, or the reason why there is none, or more is wanted."""
    reader = AnswerReader(BODY_BYTES)
    for piece in pieces:
        if reader.feed(piece):
            assert (reader.status is None) is (reader.error is not None)
            break
    assert len(reader.body) <= BODY_BYTES


def test_answers_in_one_piece_and_in_many_are_the_same() -> None:
    """Where a network cuts is chance, and chance decides nothing."""
    dice = Random(1)
    for seed in range(1_000):
        raw = b"".join(piece for scene in make_play(seed).scenes for piece in scene.pieces)[:60_000]
        ends = [dice.randrange(len(raw) + 1) for _ in range(20)]
        assert _tell(_read(raw, *ends, *range(300))) == _tell(_read(raw)), seed


@pytest.mark.parametrize(
    ("raw", "status", "error"),
    [
        (b"HTTP/1.1 103 Wait\r\n\r\n", None, SendError.TOO_LARGE),
        (b"HTTP/1.1 200 " + b"r" * 1_000, None, SendError.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000, None, SendError.TOO_LARGE),
        (HEAD + b"1;" + b"e" * 1_000, 200, None),
        (HEAD + b"0\r\nX: " + b"y" * 1_000, 200, None),
        (HEAD + b"0\r\n" + b"x: y\r\n" * 100, 200, None),
        (HEAD + b"0" * 1_000, 200, None),
    ],
    ids=["interim", "reason", "field", "extension", "trailer", "trailers", "size"],
)
@pytest.mark.parametrize("size", [1, 700, 1_000_000])
def test_answer_without_end_is_ended(raw: bytes, status: int | None, error: SendError | None, size: int) -> None:
    """The last part comes again and again, in pieces of any size, and is not taken for more than it may be."""
    reader = AnswerReader(BODY_BYTES)
    start, again = (raw, raw) if status is None and raw.endswith(b"\r\n\r\n") else (raw, raw[-100:])
    endless = start + again * (2 * HEAD_BYTES_MAX // len(again))
    fed = 0
    while not reader.feed(endless[fed : fed + size]):
        fed += size
        assert fed <= HEAD_BYTES_MAX + FRAME_FACTOR * BODY_BYTES
    assert (reader.status, reader.error) == (status, error)
    assert not reader.may_follow()


@pytest.mark.parametrize(
    ("raw", "may_follow"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (HEAD + b"2\r\nok\r\n0\r\nX: y\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 ", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\0", False),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", False),
    ],
)
def test_connection_is_kept_only_after_an_answer_that_ended_well(raw: bytes, may_follow: bool) -> None:  # noqa: FBT001  # what is expected
    """With nothing after it, and nothing said against it."""
    reader = AnswerReader(BODY_BYTES)
    assert reader.feed(raw)
    assert reader.may_follow() is may_follow


def test_nothing_of_one_answer_is_left_to_the_next() -> None:
    """Not a field, a trailer or a byte of the body."""
    reader = AnswerReader(BODY_BYTES)
    first = (
        HEAD.replace(b"OK\r\n", b"OK\r\nRetry-After: 1\r\nDate: now\r\n") + b"2\r\nok\r\n0\r\nRetry-After: 2\r\n\r\n"
    )
    assert reader.feed(first)
    assert _tell(reader) == (200, b"ok", b"1", b"now")
    assert reader.begin(
        b"HTTP/1.1 103 Wait\r\nRetry-After: 3\r\n\r\nHTTP/1.1 201 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n"
    )
    assert _tell(reader) == (201, b"", None, None)


def test_answers_that_follow_one_another_are_read_as_each_alone() -> None:
    """Those that are the same as the one before, which is remembered, and those that only begin like it."""
    dice = Random(2)
    plain = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body for body in (b"ok", b"no")]
    plays = [b"".join(scene.pieces) for seed in range(300) for scene in make_play(seed).scenes]
    answers = [*plain, HEAD + b"0\r\n\r\n", *[raw for raw in plays if 0 < len(raw) < 2_000]]
    followed = 0
    for _ in range(3_000):
        reader = AnswerReader(BODY_BYTES)
        chosen = dice.choices(answers[:3], k=2) + dice.choices(answers, k=2)
        for raw in [one for one in chosen for _ in range(dice.randrange(1, 4))]:
            cuts = dice.choice([(), (), (dice.randrange(1, len(raw) + 1),)])
            alone = _read(raw, *cuts)
            _go_on(reader, raw, *cuts)
            assert (_tell(reader), reader.may_follow()) == (_tell(alone), alone.may_follow())
            if not reader.may_follow():
                break
            followed += 1
    assert followed > 10_000


def test_long_answer_is_not_remembered() -> None:
    """What a connection keeps is bounded."""
    reader = AnswerReader(2 * LAST_BYTES_MAX)
    for size, is_remembered in ((10, True), (LAST_BYTES_MAX, False)):
        assert reader.begin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size))
        assert (reader._last is not None) is is_remembered
