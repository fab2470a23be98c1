"""Where an event goes: whom it concerns, at which level, and who hears of the service itself."""

from idsync.model.destination import Destination, DestinationKind, Lane, Level
from idsync.model.values import Subject
from idsync.pipeline.parts.routes import Routes


def endpoint(name: str, **fields: object) -> Destination:
    """An endpoint with two lanes a level."""
    return Destination(name=name, kind=DestinationKind.ENDPOINT, lanes=2, **fields)  # type: ignore[arg-type]  # by name


ALL = [
    endpoint("endpoint:all"),
    endpoint("endpoint:bulk", events=("order.*", "!order.lost"), level=Level.BULK),
    endpoint("endpoint:off", is_enabled=False),
    endpoint("endpoint:ops", is_operational=True),
    endpoint("endpoint:breakers", is_operational=True, events=("breaker.*",)),
    Destination(name="peer:app", kind=DestinationKind.TARGET, lanes=2),
]
LEVELS = [level for level in Level for _ in range(2)]
LANES = [
    Lane(number * 10 + index, one.name, 0, level, index % 2)
    for number, one in enumerate(ALL)
    for index, level in enumerate(LEVELS)
]
ROUTES = Routes.of({}, ALL, LANES)


def test_event_goes_to_every_enabled_endpoint_whose_filters_name_it() -> None:
    """And to none that only hears of the service itself."""
    assert ROUTES.endpoints_for("order.paid") == ("endpoint:all", "endpoint:bulk")
    assert ROUTES.endpoints_for("order.lost") == ("endpoint:all",)
    assert ROUTES.endpoints_for("breaker.opened") == ("endpoint:all",)


def test_what_the_service_says_of_itself_goes_only_to_whoever_asked_for_that() -> None:
    """However often the same type was looked up for somebody else."""
    for _ in range(2):
        assert ROUTES.endpoints_for("order.paid") == ("endpoint:all", "endpoint:bulk")
        assert ROUTES.endpoints_for("order.paid", is_operational=True) == ("endpoint:ops",)
        assert ROUTES.endpoints_for("breaker.opened", is_operational=True) == ("endpoint:ops", "endpoint:breakers")
    assert ROUTES.has_operational
    assert not Routes.of({}, ALL[:3], []).has_operational


def test_delivery_is_queued_at_the_level_of_its_endpoint() -> None:
    """A replay names another one."""
    level_of = {lane.id: lane.level for lane in LANES}
    subject = Subject("order/1")
    assert level_of[ROUTES.lane_for("endpoint:all", subject)] is Level.LIVE
    assert level_of[ROUTES.lane_for("endpoint:bulk", subject)] is Level.BULK
    assert level_of[ROUTES.lane_for("endpoint:all", subject, Level.BULK)] is Level.BULK


def test_lanes_of_a_type_are_those_of_its_endpoints() -> None:
    """Each at its own level, in the order of numbers; the second answer is the first."""
    number = {lane.id: lane.number for lane in LANES}
    for _ in range(2):
        ways = ROUTES.lanes_for("order.paid", is_operational=False)
        assert [[number[lane] for lane in way] for way in ways] == [list(range(len(way))) for way in ways]
        assert [way[0] for way in ways] == [
            next(lane.id for lane in LANES if (lane.destination, lane.level, lane.number) == (name, level, 0))
            for name, level in (("endpoint:all", Level.LIVE), ("endpoint:bulk", Level.BULK))
        ]
