"""The operating sections: every limit, wait, batch and retention, with its unit, default and bounds."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a failed delivery is tried again (DESIGN §6)."""

    first_s: Annotated[float, Meta(gt=0, le=3600, description="Wait after the first failure.")] = 1.0
    factor: Annotated[float, Meta(ge=1, le=10, description="What each further wait is multiplied by.")] = 2.0
    jitter: Annotated[
        float, Meta(ge=0, le=0.5, description="Each wait is spread by up to this share of it, both ways.")
    ] = 0.1
    cap_s: Annotated[float, Meta(gt=0, le=86_400, description="Longest wait.")] = 10_800.0
    attempts_max: Annotated[int, Meta(ge=1, le=1000, description="Attempts after which a delivery is dead.")] = 30
    age_max_s: Annotated[
        float, Meta(gt=0, le=2_592_000, description="Age, from the first attempt, after which it is dead.")
    ] = 259_200.0


class FlappingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an identity rests at a peer because it is written there again and again (DESIGN §4)."""

    same_writes_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Writes of the very same values within the window: more are a peer that changes them back.",
        ),
    ] = 5
    all_writes_max: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Writes of any values within the window: more are peers that answer each other.",
        ),
    ] = 600
    window_s: Annotated[
        float, Meta(ge=0.001, le=3600, description="How long a write counts, and so the longest rest.")
    ] = 60.0


class RateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A token bucket."""

    requests_per_second: Annotated[float, Meta(gt=0, le=100_000, description="Requests, on average.")] = 10.0
    burst: Annotated[int, Meta(ge=1, le=100_000, description="Requests at once, after a pause.")] = 20


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint rests because it fails (DESIGN §6)."""

    failure_threshold: Annotated[
        int, Meta(ge=1, le=10_000, description="Different identities in a row whose deliveries failed: it opens.")
    ] = 5
    success_threshold: Annotated[
        int, Meta(ge=1, le=1000, description="Probes that must succeed before it closes again.")
    ] = 2
    timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="How long nothing is sent once it is open.")] = 60.0
    half_open_max: Annotated[int, Meta(ge=1, le=1000, description="Probes at once while it is half open.")] = 3


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Several events in one request."""

    events_max: Annotated[int, Meta(ge=1, le=1000, description="Events in one request.")] = 100
    bytes_max: Annotated[
        int, Meta(ge=1024, le=67_108_864, description="Size of one request's body; one larger event goes alone.")
    ] = 1_048_576
    linger_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="How long a batch that is not full waits for further events.")
    ] = 100


class DisableSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint that only fails is disabled: both must be reached, counted since its last success."""

    after_s: Annotated[float, Meta(ge=1, le=31_536_000, description="How long it has failed.")] = 432_000.0
    failures_min: Annotated[int, Meta(ge=1, le=1_000_000_000, description="How often it has failed.")] = 100


class DeliverySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How deliveries are sent."""

    allow_cidrs: Annotated[
        tuple[str, ...],
        Meta(
            max_length=100,
            description="Private ranges that endpoints may be in, as `10.0.0.0/8`. Without one, only public addresses.",
        ),
    ] = ()
    timeout_s: Annotated[
        float,
        Meta(gt=0, le=300, description="Longest time of one request, from name look-up to the last byte."),
    ] = 30.0
    endpoint_concurrency: Annotated[int, Meta(ge=1, le=10_000, description="Open requests to one endpoint.")] = 64
    lanes_target: Annotated[int, Meta(ge=1, le=256, description="Lanes of a peer that is written to.")] = 16
    lanes_endpoint: Annotated[int, Meta(ge=1, le=256, description="Lanes of an endpoint.")] = 4
    read_batch_max: Annotated[int, Meta(ge=1, le=10_000, description="Deliveries read from a lane at once.")] = 500
    window_max: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Unsettled events of one identity; the rest parks as `behind`."),
    ] = 100
    lease_s: Annotated[
        float,
        Meta(ge=1, le=300, description="After so long without a word of its owner other processes take a lane over."),
    ] = 15.0
    flush_ms: Annotated[
        int, Meta(ge=1, le=1000, description="Longest time a result waits to be committed with others.")
    ] = 20
    flush_batch_max: Annotated[int, Meta(ge=1, le=10_000, description="Results committed at once.")] = 500
    response_bytes_max: Annotated[
        int, Meta(ge=0, le=1_048_576, description="How much of an answer's body is kept with the attempt.")
    ] = 4096
    retry: Annotated[RetrySettings, Meta(description="When a failed delivery is tried again.")] = RetrySettings()
    flapping: Annotated[
        FlappingSettings,
        Meta(description="When one identity rests at one peer: parked as `flapping`, no try counted, tried again."),
    ] = FlappingSettings()


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How events are taken in."""

    batch_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events in one commit.")] = 500
    queue_events_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Events that wait for a commit; more are refused with 429.")
    ] = 10_000
    tolerance_s: Annotated[
        float, Meta(ge=1, le=3600, description="How old, or how far ahead, the time of a signature may be.")
    ] = 300.0
    skew_s: Annotated[
        float,
        Meta(ge=0, le=3600, description="How far a peer's clock may run ahead before its stamps are cut."),
    ] = 5.0
    max_deletes_per_minute: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Deletes of one peer in a minute; the rest parks and alarms."),
    ] = 100


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How peers' databases are read."""

    poll_ms: Annotated[int, Meta(ge=1, le=60_000, description="Time between two looks for changes.")] = 20
    batch_rows_max: Annotated[int, Meta(ge=1, le=10_000, description="Outbox rows read at once.")] = 200
    busy_timeout_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="How long we wait for a lock the peer holds.")
    ] = 5000
    transaction_ms: Annotated[
        int, Meta(ge=1, le=1000, description="How long we aim to hold a lock the peer may wait for, at most.")
    ] = 20


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a request and an event may hold. More is refused with a clear error."""

    body_bytes_max: Annotated[int, Meta(ge=1024, le=67_108_864, description="A request's body.")] = 1_048_576
    request_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events in one request.")] = 1000
    event_bytes_max: Annotated[int, Meta(ge=1024, le=67_108_864, description="One event.")] = 262_144
    event_depth_max: Annotated[int, Meta(ge=2, le=200, description="Levels of nesting in an event.")] = 32
    event_fields_max: Annotated[int, Meta(ge=1, le=10_000, description="Fields of an event's data.")] = 256
    field_bytes_max: Annotated[int, Meta(ge=64, le=1_048_576, description="One canonical field.")] = 65_536
    page_items_max: Annotated[int, Meta(ge=1, le=10_000, description="Items of one page of the API.")] = 200
    delay_max_s: Annotated[
        float, Meta(ge=0, le=31_536_000, description="How far in the future an event's `not_before` may be.")
    ] = 2_592_000.0


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is kept. Links, versions and tombstones are kept for ever."""

    inbox_days: Annotated[
        int, Meta(ge=1, le=3650, description="Known event ids; not shorter than `delivery.retry.age_max_s`.")
    ] = 30
    attempts_days: Annotated[int, Meta(ge=1, le=3650, description="Settled deliveries and their attempts.")] = 14
    conflicts_days: Annotated[int, Meta(ge=1, le=3650, description="The log of conflicts.")] = 365


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe line that is written."),
    ] = "info"
    format: Annotated[
        Literal["auto", "console", "json"], Meta(description="`auto`: console at a terminal, else JSON.")
    ] = "auto"
