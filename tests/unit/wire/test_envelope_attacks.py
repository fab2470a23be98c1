"""What is no event is refused with its reason, whatever a stranger sends; nothing raises and nothing is shown."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idsync.wire.envelope import Incoming, Limits, Unreadable, parse, parse_batch
from tests.unit.wire.test_envelope import GOOD, OURS

# --- what is refused --------------------------------------------------------------------------------------

DEEP = b"[" * 5_000 + b"]" * 5_000

REFUSED: list[tuple[bytes, str, bool]] = [
    (b"", "it is not JSON", False),
    (b"not json", "it is not JSON", False),
    (OURS + b"x", "it is not JSON", False),
    (OURS + b"\x00", "it is not JSON", False),
    (OURS[:-1], "it is not JSON", False),
    (b"\xef\xbb\xbf" + OURS, "it is not JSON", False),
    (OURS.decode().encode("utf-16"), "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":NaN}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":Infinity}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":"\\ud800"}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":"\\udc00\\ud800"}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":"a\x01b"}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":01}}', "it is not JSON", False),
    (b'{"type":"a.b","data":{"x":"\xff"}}', "it is not UTF-8", False),
    (b'{"type":"a.b","data":{"\xff":1}}', "it is not UTF-8", False),
    (b'{"type":"a.b","other":"\xed\xa0\x80","data":{}}', "it is not UTF-8", False),
    (b'{"id":"\xff","type":"a.b","data":{}}', "it is not UTF-8", False),
    (b"[]", "it is not an object", True),
    (b"null", "it is not an object", True),
    (b'"text"', "it is not an object", True),
    (b'{"type":"a.b","type":"a.c","data":{}}', "it holds the same key twice", True),
    (b'{"type":"a.b","ty\\u0070e":"a.c","data":{}}', "it holds the same key twice", True),
    (b'{"type":"a.b","data":{"id":"u_1"},"data":{"id":"u_2"}}', "it holds the same key twice", True),
    (b'{"type":"a.b","data":{"id":"u_1","id":"u_2"}}', "it holds the same key twice", True),
    (b'{"type":"a.b","data":{"x":[{"id":1,"i\\u0064":2}]}}', "it holds the same key twice", True),
    (b'{"type":"a.b","ids":{"a":"1","a":"2"},"data":{}}', "it holds the same key twice", True),
    (b'{"type":"a.b","data":{"x":%b}}' % (b"9" * 30), "a number in it does not fit into 64 bits", True),
    (b'{"type":"a.b","data":{"x":%b}}' % (b"9" * 9_000), "a number in it does not fit into 64 bits", True),
    (b'{"type":"a.b","data":{"x":1e999}}', "a number in it does not fit into 64 bits", True),
    (b'{"id":%b,"type":"a.b","data":{}}' % (b"9" * 30), "a number in it does not fit into 64 bits", True),
    (b'{"type":"a.b","timestamp":1e999,"data":{}}', "its timestamp is of the wrong type", True),
    (b'{"type":"a.b","data":%b}' % DEEP, "it is nested deeper than 32 levels", True),
    (b'{"type":"a.b","data":%b' % DEEP[:5_000], "it is nested deeper than 32 levels", True),
    (b'{"type":"a.b","other":%b,"data":{}}' % DEEP, "it is nested deeper than 32 levels", True),
    (b'{"data":{}}', "it names no type", True),
    (b'{"type":"","data":{}}', "it names no type", True),
    (b'{"type":null,"event":null,"data":{}}', "it names no type", True),
    (b'{"type":7,"data":{}}', "its type is of the wrong type", True),
    (b'{"event":{},"data":{}}', "its event is of the wrong type", True),
    (b'{"type":"a b","data":{}}', "its type is not 1 to 256 visible ASCII characters", True),
    (b'{"type":"a.b\\r\\nX-Evil: 1","data":{}}', "its type is not 1 to 256 visible ASCII characters", True),
    (b'{"type":"%b","data":{}}' % (b"t" * 257), "its type is not 1 to 256 visible ASCII characters", True),
    (b'{"id":true,"type":"a.b","data":{}}', "its id is of the wrong type", True),
    (b'{"id":1.5,"type":"a.b","data":{}}', "its id is of the wrong type", True),
    (b'{"id":"","type":"a.b","data":{}}', "its id is not 1 to 256 visible ASCII characters", True),
    (b'{"id":"a\\u0000b","type":"a.b","data":{}}', "its id is not 1 to 256 visible ASCII characters", True),
    (b'{"id":"%b","type":"a.b","data":{}}' % (b"i" * 257), "its id is not 1 to 256 visible ASCII characters", True),
    ('{"id":"é","type":"a.b","data":{}}'.encode(), "its id is not 1 to 256 visible ASCII characters", True),
    (b'{"type":"a.b","source":[],"data":{}}', "its source is of the wrong type", True),
    (b'{"type":"a.b","origin":"a\\nb","data":{}}', "its source is not 1 to 256 visible ASCII characters", True),
    (b'{"type":"a.b","timestamp":"soon","data":{}}', "its timestamp is no instant between 1970 and 9999", True),
    (b'{"type":"a.b","timestamp":-1,"data":{}}', "its timestamp is no instant between 1970 and 9999", True),
    (b'{"type":"a.b","timestamp":1e300,"data":{}}', "its timestamp is no instant between 1970 and 9999", True),
    (b'{"type":"a.b","timestamp":"1969-12-31T23:59:59Z","data":{}}', "its timestamp is no instant", True),
    (b'{"type":"a.b","timestamp":true,"data":{}}', "its timestamp is of the wrong type", True),
    (b'{"type":"a.b","version":-1,"data":{}}', "its version is not between 0 and 2^63 - 1", True),
    (b'{"type":"a.b","version":9223372036854775808,"data":{}}', "its version is not between 0 and 2^63 - 1", True),
    (b'{"type":"a.b","version":1.5,"data":{}}', "its version is of the wrong type", True),
    (b'{"type":"a.b","changed":"name","data":{}}', "its changed is of the wrong type", True),
    (b'{"type":"a.b","changed":[7],"data":{}}', "its changed is of the wrong type", True),
    (b'{"type":"a.b","changed":["a\\u001b[2J"],"data":{}}', "its subject, changed or ids", True),
    (b'{"type":"a.b","changed":[""],"data":{}}', "its subject, changed or ids", True),
    (b'{"type":"a.b","ids":{"a":7},"data":{}}', "its ids is of the wrong type", True),
    (b'{"type":"a.b","ids":{"a":"%b"},"data":{}}' % (b"x" * 9_000), "its subject, changed or ids", True),
    (b'{"type":"a.b","subject":"user/\\u0007","data":{}}', "its subject, changed or ids", True),
    (b'{"type":"a.b","subject":"user/\\u202e","data":{}}', "its subject, changed or ids", True),
    (b'{"type":"a.b","subject":"","data":{}}', "its subject, changed or ids", True),
    (b'{"type":"a.b","subject":"%b","data":{}}' % (b"s" * 513), "its subject, changed or ids", True),
]


@pytest.mark.parametrize(("raw", "why", "is_json"), REFUSED)
def test_what_is_no_event_is_refused_with_its_reason(raw: bytes, why: str, is_json: bool) -> None:  # noqa: FBT001
    """Each with a reason that tells the sender what to mend."""
    refused = parse(raw)
    assert isinstance(refused, Unreadable)
    assert refused.why.startswith(why)
    assert refused.is_json is is_json


@pytest.mark.parametrize("write", [msgspec.json.encode, lambda tree: json.dumps(tree, indent=1).encode()])
def test_every_limit_holds_exactly(write: Callable[[object], bytes]) -> None:
    """At the limit an event passes, one beyond it does not, however it is spelt."""
    nested: object = 1
    for _ in range(3):
        nested = [nested]
    deep = write({"type": "a.b", "data": {"x": nested}})
    wide = write({"type": "a.b", "data": {"a": 1, "b": 2, "c": 3}})

    assert isinstance(parse(deep, Limits(depth_max=5)), Incoming)
    assert parse(deep, Limits(depth_max=4)) == Unreadable("it is nested deeper than 4 levels")
    assert isinstance(parse(wide, Limits(fields_max=3)), Incoming)
    assert parse(wide, Limits(fields_max=2)) == Unreadable("its data has more than 2 fields")
    assert isinstance(parse(wide, Limits(size_bytes_max=len(wide))), Incoming)
    assert parse(wide, Limits(size_bytes_max=len(wide) - 1)) == Unreadable(f"it is larger than {len(wide) - 1} bytes")


def test_brackets_inside_texts_are_no_nesting() -> None:
    """A text full of brackets is only counted more carefully."""
    assert isinstance(parse(b'{"type":"a.b","data":{"x":"%b"}}' % (b"[{" * 100)), Incoming)


# --- whatever a stranger sends ----------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([
    "id", "eventId", "type", "event", "source", "origin", "subject", "timestamp", "version", "changed", "ids", "data",
    "user", "userId", "email",
])  # fmt: skip


@given(raw=st.binary(max_size=200), hint=st.none() | st.text(max_size=8))
@example(raw=b"\x00", hint="\ud800")
def test_arbitrary_bytes_never_raise(raw: bytes, hint: str | None) -> None:
    """They are an event or are refused."""
    assert isinstance(parse(raw, type_hint=hint), Incoming | Unreadable)
    assert isinstance(parse_batch(raw), list | Unreadable)


@given(tree=st.dictionaries(KEYS, JSON_VALUES))
def test_arbitrary_values_under_known_keys_never_raise(tree: dict[str, object]) -> None:
    """Whatever Python's own encoder writes, NaN and lone surrogates included."""
    for raw in (json.dumps(tree), json.dumps(tree, ensure_ascii=False, indent=1)):
        assert isinstance(parse(raw.encode("utf-8", "surrogatepass"), type_hint="a.b"), Incoming | Unreadable)


@given(raw=st.sampled_from(GOOD), data=st.data())
def test_mutated_events_never_raise(raw: bytes, data: st.DataObject) -> None:
    """Bytes cut out, put in or turned over."""
    mutated = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    assert isinstance(parse(bytes(mutated), type_hint="user.updated"), Incoming | Unreadable)


@given(tree=st.dictionaries(KEYS, JSON_VALUES))
def test_a_refusal_shows_nothing_of_what_was_sent(tree: dict[str, object]) -> None:
    """Reasons go into logs and answers; what was sent may be personal."""
    marked = json.dumps(tree).replace('"id"', '"SECRET-KEY"').replace("[]", '"SECRET-VALUE"').encode()
    refused = parse(marked)
    if isinstance(refused, Unreadable):
        assert "SECRET" not in refused.why


@given(tree=st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=6))
def test_what_is_understood_keeps_its_data_byte_for_byte(tree: dict[str, object]) -> None:
    """Data is never encoded again, or its signature would not fit any more."""
    written = json.dumps(tree, indent=1).encode()
    incoming = parse(b'{"type":"a.b","data":%b}' % written)
    if isinstance(incoming, Incoming):
        assert bytes(incoming.data) == written


EVENTS = st.sampled_from([*GOOD, *(raw for raw, _, is_json in REFUSED if is_json and len(raw) < 600)]) | st.builds(
    lambda data, write: write({"id": "e_1", "type": "a.b", "subject": "s", "data": data}),
    JSON_VALUES | st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=4),
    st.sampled_from([msgspec.json.encode, lambda tree: json.dumps(tree).encode()]),
)
LIMITS = st.builds(
    Limits,
    size_bytes_max=st.sampled_from([100, 1_000, 100_000]),
    depth_max=st.integers(1, 8),
    fields_max=st.integers(1, 6),
    batch_max=st.just(6),
)


@given(events=st.lists(EVENTS, min_size=1, max_size=6), limits=LIMITS)
@example(events=[OURS, OURS], limits=Limits())
@example(events=[OURS], limits=Limits(size_bytes_max=len(OURS) - 1))
@example(events=[b'{"type":"a.b","data":{"x":1,"x":2}}', b'{"type":"a.b","data":{}}'], limits=Limits())
@example(events=[b'{"type":"a.b","data":{"x":{"y":1,"y":2}}}', OURS], limits=Limits())
@example(events=[b'{"type":"a.b","type":"a.c","data":{}}', OURS], limits=Limits())
@example(events=[b'{"type":"a.b","data":{"x":[[1]]}}'], limits=Limits(depth_max=3))
@example(events=[b'{"type":"a.b","data":{"x":[1]}}'], limits=Limits(depth_max=2))
@example(events=[b'{"type":"a.b","data":{"x":1,"y":2}}'], limits=Limits(fields_max=1))
@example(events=[b'{"type":"a.b","data":{"x":18446744073709551616}}'], limits=Limits())
@example(events=[b'{"type":"a.b","data":{"x":"\xff"}}'], limits=Limits())
def test_a_list_is_understood_as_its_events_are_alone(events: list[bytes], limits: Limits) -> None:
    """Whichever way they are read: the list as one value, or each by itself."""
    assert parse_batch(b"[" + b",".join(events) + b"]", limits) == [parse(one, limits) for one in events]


@given(event=EVENTS, limits=LIMITS)
@example(event=OURS, limits=Limits())
@example(event=OURS, limits=Limits(size_bytes_max=len(OURS)))
@example(event=OURS, limits=Limits(size_bytes_max=len(OURS) - 1))
@example(event=OURS + b"," + OURS, limits=Limits())
@example(event=OURS + b",", limits=Limits())
@example(event=b"", limits=Limits())
def test_a_body_of_one_event_is_understood_as_that_event(event: bytes, limits: Limits) -> None:
    """What would be a list if only there were brackets around it is none."""
    assert parse_batch(event, limits) == [parse(event, limits)]
