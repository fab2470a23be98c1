"""The environment variables of earlier set-ups (seeds 000, 001 and 004 of MISSION R42), and what they set here.

| variable | sets |
|---|---|
| `NATS_URL` (004) | `nats.url`; `nats.subscribe`, if unset, to users, organizations, memberships |
| `PAYLOAD_WEBHOOK_URL` | the endpoint `payload`, together with one of the two secrets: |
| ├ `PAYLOAD_OUTBOUND_WEBHOOK_SECRET` (000) | dialect `plain-hex`, the three user types 000 sends |
| └ `PAYLOAD_WEBHOOK_SECRET` (001) | dialect `better-auth`, users, sessions, OAuth clients, API keys |
| `BETTER_AUTH_WEBHOOK_URL` | the endpoint `better-auth`, together with: |
| └ `BETTER_AUTH_OUTBOUND_WEBHOOK_SECRET` (000) | dialect `plain-hex`, the two types its receiver takes |
| `PAYLOAD_INBOUND_WEBHOOK_SECRET` (000) | `secret` of the peer with connector `payload`; without one, of a |
| | webhook peer `payload` in dialect `plain-hex` |
| `BETTER_AUTH_INBOUND_WEBHOOK_SECRET` (000) | the same for `better-auth` |
| those of `INACTIVE` | nothing yet: understood, and named in `Settings.notes` |

They stand between the file and the `IDSYNC_…` variables. Address and secret replace those of the file; connector,
dialect and events only fill in. An empty variable is not set. One that the file reads itself by `env:NAME` sets
nothing more: it would make a second endpoint out of the same address.
"""

from typing import Final

import msgspec

from idsync.config.draft import Draft, shown
from idsync.config.sources import put, references_in

INACTIVE: Final = {
    "QSTASH_TOKEN": "the QStash engine",
    "QSTASH_CURRENT_SIGNING_KEY": "the QStash engine",
    "QSTASH_NEXT_SIGNING_KEY": "the QStash engine",
    "UPSTASH_REDIS_REST_URL": "a Redis store over HTTP",
    "UPSTASH_REDIS_REST_TOKEN": "a Redis store over HTTP",
    "QUEUE_TARGET_BASE_URL": "the QStash engine, which needs its worker's public address,",
    "VERCEL_URL": "the QStash engine, which needs its worker's public address,",
}
"""Variable: the feature it belongs to, which is not in this version."""

NATS_SUBJECTS: Final = ["user.>", "organization.>", "organizationMembership.>"]


class _Outgoing(msgspec.Struct, frozen=True):
    endpoint: str
    url: str
    secret: str
    dialect: str
    events: list[str]


class _Incoming(msgspec.Struct, frozen=True):
    connector: str
    secret: str


OUTGOING: Final = (
    _Outgoing(
        "payload", "PAYLOAD_WEBHOOK_URL", "PAYLOAD_OUTBOUND_WEBHOOK_SECRET", "plain-hex",
        ["user.created", "user.updated", "user.deleted"],
    ),
    _Outgoing(
        "payload", "PAYLOAD_WEBHOOK_URL", "PAYLOAD_WEBHOOK_SECRET", "better-auth",
        ["user.*", "session.*", "oauth_client.*", "api_key.*"],
    ),
    _Outgoing(
        "better-auth", "BETTER_AUTH_WEBHOOK_URL", "BETTER_AUTH_OUTBOUND_WEBHOOK_SECRET", "plain-hex",
        ["user.updated", "user.deleted"],
    ),
)  # fmt: skip

INCOMING: Final = (
    _Incoming("payload", "PAYLOAD_INBOUND_WEBHOOK_SECRET"),
    _Incoming("better-auth", "BETTER_AUTH_INBOUND_WEBHOOK_SECRET"),
)


def overlay_variables(draft: Draft) -> None:
    """Put what these variables set over the file's values; note what they made, and what they could not."""
    referenced = references_in(draft.tree)
    given = {name for name, text in draft.environ.items() if text} - referenced
    for name in sorted(given & INACTIVE.keys()):
        draft.notes.append(f"{name} is understood but sets nothing: {INACTIVE[name]} is not in this version.")
    if "NATS_URL" in given:
        _set(draft, ["nats", "url"], "NATS_URL")
        _fill(draft, ["nats", "subscribe"], NATS_SUBJECTS, "NATS_URL")
    _set_outgoing(draft, given, referenced)
    for incoming in INCOMING:
        if incoming.secret in given:
            _set_incoming(draft, incoming)


def _set_outgoing(draft: Draft, given: set[str], referenced: set[str]) -> None:
    ready = [out for out in OUTGOING if {out.url, out.secret} <= given]
    endpoints = [out.endpoint for out in ready]
    for out in ready:
        path = ["endpoints", out.endpoint]
        if endpoints.count(out.endpoint) > 1:
            names = " and ".join(other.secret for other in ready if other.endpoint == out.endpoint)
            draft.refuse((*path, "secret"), f"{names} are both set, but each means another way to sign; unset one")
            continue
        _set(draft, [*path, "url"], out.url)
        _set(draft, [*path, "secret"], out.secret)
        _fill(draft, [*path, "dialect"], out.dialect, out.secret)
        _fill(draft, [*path, "events"], out.events, out.secret)
        draft.notes.append(f"{out.url} and {out.secret} set the endpoint {out.endpoint}.")
    settled = {name for out in ready for name in (out.url, out.secret)} | referenced
    pairs = [pair for out in OUTGOING for pair in ((out.url, out.secret), (out.secret, out.url))]
    for name in sorted({name for name, _ in pairs} & given - settled):
        partners = [partner for known, partner in pairs if known == name]
        if not settled.intersection(partners):
            draft.notes.append(f"{name} sets nothing without {' or '.join(partners)}.")


def _set_incoming(draft: Draft, incoming: _Incoming) -> None:
    peers = draft.tree.get("peers", {})
    tables = {name: peer for name, peer in peers.items() if isinstance(peer, dict)} if isinstance(peers, dict) else {}
    named = [name for name, peer in tables.items() if peer.get("connector") == incoming.connector]
    if len(named) > 1:
        draft.notes.append(
            f"{incoming.secret} sets nothing: it could mean {' or '.join(map(shown, named))}. Give each its `secret`."
        )
        return
    name = named[0] if named else incoming.connector
    _fill(draft, ["peers", name, "connector"], "webhook", incoming.secret)
    _fill(draft, ["peers", name, "dialect"], "plain-hex", incoming.secret)
    _set(draft, ["peers", name, "secret"], incoming.secret)
    draft.notes.append(f"{incoming.secret} sets the secret of the peer {shown(name)}.")


def _set(draft: Draft, segments: list[str], variable: str) -> None:
    put(draft, segments, f"env:{variable}", f"environment variable {variable}")


def _fill(draft: Draft, segments: list[str], value: object, variable: str) -> None:
    table: object = draft.tree
    for segment in segments:
        table = table.get(segment) if isinstance(table, dict) else None
    if table is None:
        put(draft, segments, value, f"environment variable {variable}")
