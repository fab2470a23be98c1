"""What operators read: pages, searches, the inbox as it fills, deliveries and their tries; asking for more tries."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from idsync.api.explain import Explanation
from idsync.api.views import (
    CommandView,
    ConflictPage,
    DeliveryPage,
    EndpointPage,
    EntityPage,
    EntityView,
    InboxPage,
    PeerFailureView,
    PeerPage,
    StatsView,
    WaitingPage,
)
from idsync.model.event import Arrival, Verdict
from idsync.model.plan import CommandName
from idsync.model.values import Instant, PeerName, Subject
from idsync.pipeline.reach import PeerHealth
from idsync.testing.sink import Answer, open_sink
from idsync.testing.wait import until
from tests.unit.api.conftest import Line, OpenLine, problem_of

NOBODY = "018f0000-0000-7000-8000-000000000000"


async def read(client: httpx.AsyncClient, path: str, shape: Any) -> Any:  # noqa: ANN401  # one of the views
    """Read a path and check the answer against the shape that its document promises."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = msgspec.json.decode(answer.content, type=shape)
    assert msgspec.json.decode(msgspec.json.encode(found)) == answer.json(), "the shape leaves something out"
    return found


async def test_entities_are_paged_until_there_are_no_more(line: Line, client: httpx.AsyncClient) -> None:
    """Following `next` gives every entity once, in order."""
    await asyncio.gather(*(line.person(number) for number in range(7)))
    seen, path = [], "/v1/entities?limit=3"
    while True:
        page = await read(client, path, EntityPage)
        seen += [one.id for one in page.items]
        if page.next is None:
            break
        path = f"/v1/entities?limit=3&after={page.next}"
    assert len(seen) == 7
    assert seen == sorted(set(seen))


async def test_page_is_never_larger_than_the_settings_allow(open_line: OpenLine) -> None:
    """Whoever asks for more gets the most there is, and where to go on."""
    line = await open_line(limits__page_items_max=2)
    for number in range(3):
        await line.person(number)
    async with line.client() as client:
        page = await read(client, "/v1/entities?limit=1000", EntityPage)
    assert len(page.items) == 2
    assert page.next == page.items[-1].id


@pytest.mark.parametrize("text", ["u1@example.com", "U1@Example.COM", "u1", "user/u1"])
async def test_entity_is_found_by_whatever_an_operator_knows_of_it(
    line: Line, client: httpx.AsyncClient, text: str
) -> None:
    """An e-mail is found however it is written."""
    await line.person(1)
    await line.person(2)
    page = await read(client, f"/v1/entities?find={text}", EntityPage)
    assert [one.fields["email"] for one in page.items] == ["u1@example.com"]


async def test_search_keeps_to_its_kind(line: Line, client: httpx.AsyncClient) -> None:
    """A user is no organization."""
    await line.person(1)
    assert (await read(client, "/v1/entities?find=u1&kind=organization", EntityPage)).items == []
    assert len((await read(client, "/v1/entities?kind=user", EntityPage)).items) == 1


async def test_one_entity_is_read_by_its_id(line: Line, client: httpx.AsyncClient) -> None:
    """Its fields and its links are there."""
    receipt = (await line.person(1, name="Ada")).json()
    entity = await read(client, f"/v1/entities/{receipt['entity']}", EntityView)
    assert (entity.kind, entity.fields["name"], entity.links["crm"].id) == ("user", "Ada", "u1")


@pytest.mark.parametrize("path", [f"/v1/entities/{NOBODY}", f"/v1/entities/{NOBODY}/explain", "/v1/entities/%00"])
async def test_unknown_entity_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    """Nothing is made up."""
    answer = await client.get(path)
    assert (answer.status_code, problem_of(answer)) == (404, "not-found")


async def test_inbox_without_a_cursor_gives_the_newest_rows(client: httpx.AsyncClient) -> None:
    """However many there are, the last ones come, oldest of them first."""
    for number in range(9):
        await client.post("/v1/events", json={"id": f"e{number}", "type": "order.paid"})
    page = await read(client, "/v1/inbox?limit=3", InboxPage)
    assert [one.id for one in page.items] == ["e6", "e7", "e8"]
    after = await read(client, f"/v1/inbox?after={page.next}", InboxPage)
    assert (after.items, after.next) == ([], page.next)


async def test_inbox_is_followed_from_its_beginning(client: httpx.AsyncClient) -> None:
    """`next` is always given, so that a follower can go on where it is."""
    for number in range(5):
        await client.post("/v1/events", json={"id": f"e{number}", "type": "order.paid"})
    seen, after = [], "0"
    for _ in range(3):
        page = await read(client, f"/v1/inbox?after={after}&limit=2", InboxPage)
        seen += [one.id for one in page.items]
        after = page.next
    assert seen == [f"e{number}" for number in range(5)]


async def test_empty_inbox_gives_where_to_begin(client: httpx.AsyncClient) -> None:
    """A follower may come before the first event."""
    page = await read(client, "/v1/inbox", InboxPage)
    assert (page.items, page.next) == ([], "0")


async def test_waiting_reader_gets_the_row_as_it_comes(line: Line, client: httpx.AsyncClient) -> None:
    """The answer is given with the commit, long before the wait would end."""
    waiting = asyncio.create_task(client.get("/v1/inbox?after=0&wait_s=30"))
    while not waiting.done():
        await line.publish(id="e1", type="order.paid")
        await asyncio.sleep(0)
    assert [one["id"] for one in (await waiting).json()["items"]] == ["e1"]


async def test_waiting_reader_is_answered_when_its_time_is_over(client: httpx.AsyncClient) -> None:
    """Nothing came; the cursor stays."""
    answer = await client.get("/v1/inbox?after=0&wait_s=0.01")
    assert answer.json() == {"items": [], "next": "0"}


async def test_waiting_reader_is_answered_when_the_service_stops(line: Line, client: httpx.AsyncClient) -> None:
    """A stop need not wait for whoever waits."""
    line.app.is_ready = False
    answer = await client.get("/v1/inbox?after=0&wait_s=30")
    assert answer.json()["items"] == []


async def test_waiting_arrivals_are_listed_and_tried_again(line: Line, client: httpx.AsyncClient) -> None:
    """What was parked stands there with its reason, under the sequence that tries it again."""
    await line.person(1, peer="crm")
    await line.person(1, peer="shop")
    page = await read(client, "/v1/waiting", WaitingPage)
    assert [(one.peer, one.reason) for one in page.items] == [("@api", "link_undecided")]
    answer = await client.post("/v1/waiting/requeue", json={"waiting": [str(page.items[0].seq)]})
    assert answer.status_code == 202
    assert msgspec.json.decode(answer.content, type=CommandView).command.isdigit()


async def test_what_nobody_understands_is_given_up_by_one_command(line: Line, client: httpx.AsyncClient) -> None:
    """It waits no more, its row says so, what it held is forgotten, and sent again it is known."""
    broken = Arrival(
        peer=PeerName("crm"),
        id="row-7",
        type="capture.unreadable",
        subject=Subject("crm/row-7"),
        received_at=line.app.clock.now(),
        refusal="unreadable: it is not JSON",
        body=b"{half",
    )
    await line.app.submit([broken])
    (waiting,) = (await read(client, "/v1/waiting", WaitingPage)).items
    answer = await client.post("/v1/waiting/discard", json={"waiting": [waiting.seq]})
    assert answer.status_code == 202

    async def is_given_up() -> bool:
        return not (await read(client, "/v1/waiting", WaitingPage)).items

    await until(is_given_up)
    (entry,) = await line.app.store.recent(waiting.seq - 1, 1)
    assert (entry.row.verdict, entry.row.reason, entry.row.body) == (Verdict.REFUSED, "discarded", b"")
    assert (await line.app.submit([broken]))[0].verdict is Verdict.DUPLICATE
    assert (await client.post("/v1/waiting/discard", json={"waiting": [waiting.seq]})).status_code == 404


async def test_what_is_understood_is_never_given_up(line: Line, client: httpx.AsyncClient) -> None:
    """It says something of somebody: given up, the peers would stay different with nobody to notice."""
    await line.person(1, peer="crm")
    await line.person(1, peer="shop")
    (waiting,) = (await read(client, "/v1/waiting", WaitingPage)).items
    answer = await client.post("/v1/waiting/discard", json={"waiting": [waiting.seq]})
    assert (answer.status_code, problem_of(answer)) == (422, "invalid-body")
    await line.app.ask(CommandName.DISCARD, waiting=[waiting.seq])
    await line.app.commander.tick()
    assert len((await read(client, "/v1/waiting", WaitingPage)).items) == 1


async def test_dead_delivery_is_listed_with_its_try_and_requeued(open_line: OpenLine) -> None:
    """One failed try is the limit here: the delivery is dead, listed, and delivered after one command."""
    async with open_sink(Answer(status=500, body=b"no \xff"), Answer()) as sink:
        line = await open_line(endpoints__audit__url=sink.url)
        async with line.client() as client:
            await line.publish(id="e1", type="order.paid")
            await sink.received(1)
            dead = await dead_of(client)
            assert (dead.destination, dead.event_id, dead.state, dead.attempts) == ("endpoint:audit", "e1", "dead", 1)
            for event in (str(dead.event), "e1"):
                (shown,) = (await read(client, f"/v1/deliveries?event={event}", DeliveryPage)).items
                assert [(one.number, one.status, one.error) for one in shown.tries] == [(1, 500, "http_500")]
                assert shown.tries[0].response.startswith("no ")
            answer = await client.post("/v1/deliveries/requeue", json={"deliveries": [dead.id]})
            assert answer.status_code == 202
            assert len(await sink.received(1)) == 1


async def dead_of(client: httpx.AsyncClient) -> Any:  # noqa: ANN401  # a DeliveryView
    """Wait for the one dead delivery."""
    path = "/v1/deliveries?state=dead&destination=endpoint:audit"

    async def is_dead() -> bool:
        return bool((await client.get(path)).json()["items"])

    await until(is_dead)
    return (await read(client, path, DeliveryPage)).items[0]


async def test_unknown_event_has_no_deliveries(client: httpx.AsyncClient) -> None:
    """An id that nobody knows is not found; a sequence without deliveries has an empty list."""
    answer = await client.get("/v1/deliveries?event=nobody")
    assert (answer.status_code, problem_of(answer)) == (404, "not-found")
    assert (await read(client, "/v1/deliveries?event=99", DeliveryPage)).items == []
    assert (await client.get("/v1/deliveries?event=" + "9" * 200)).status_code == 404


async def test_one_event_and_a_state_are_not_asked_for_together(client: httpx.AsyncClient) -> None:
    """They are two questions."""
    answer = await client.get("/v1/deliveries?event=1&state=dead")
    assert (answer.status_code, problem_of(answer)) == (400, "bad-parameter")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"all": True, "destination": "endpoint:audit"},
        {"deliveries": ["1"], "all": True},
        {"deliveries": ["x"]},
        {"deliveries": [0]},
        {"deliveries": [2**63]},
        {"deliveries": list(range(1, 1_002))},
        {"destination": "endpoint:nobody"},
        {"destination": "audit"},
        {"everything": True},
        [],
        "all",
    ],
)
async def test_unclear_requeue_is_refused(client: httpx.AsyncClient, body: object) -> None:
    """What is tried again must be said: a slip must not send everything once more."""
    answer = await client.post("/v1/deliveries/requeue", json=body)
    assert (answer.status_code, problem_of(answer)) == (422, "invalid-body")


@pytest.mark.parametrize("body", [{"all": True}, {"destination": "endpoint:audit"}, {"destination": "peer:crm"}])
async def test_everything_can_be_requeued_by_saying_so(client: httpx.AsyncClient, body: object) -> None:
    """All of one destination, or all there are."""
    assert (await client.post("/v1/deliveries/requeue", json=body)).status_code == 202


@pytest.mark.parametrize("body", [{}, {"waiting": []}, {"waiting": [True]}, {"waiting": ["1"], "all": True}])
async def test_unclear_requeue_of_arrivals_is_refused(client: httpx.AsyncClient, body: object) -> None:
    """Each must be named."""
    answer = await client.post("/v1/waiting/requeue", json=body)
    assert (answer.status_code, problem_of(answer)) == (422, "invalid-body")


async def test_conflicts_are_paged_newest_first(line: Line, client: httpx.AsyncClient) -> None:
    """Both values and who was refused are there."""
    receipt = (await line.person(1, name="Ada", email_verified=True)).json()
    for number in range(3):
        await line.person(1, peer="shop", id="s1", name=f"Not Ada {number}", email_verified=True)
    first = await read(client, "/v1/conflicts?limit=2", ConflictPage)
    rest = await read(client, f"/v1/conflicts?limit=2&after={first.next}", ConflictPage)
    told = [(one.entity, one.field, one.peer, one.refused, one.kept_peer, one.kept) for one in first.items + rest.items]
    expected = [(receipt["entity"], "name", "shop", f"Not Ada {number}", "crm", "Ada") for number in (2, 1, 0)]
    assert told == expected
    assert rest.next is None


async def test_the_deleted_are_found_by_their_ids_and_no_more_by_e_mail(line: Line, client: httpx.AsyncClient) -> None:
    """An e-mail is free again once nobody has it; ids are for ever."""
    entity = (await line.person(1)).json()["entity"]
    await line.publish(type="user.deleted", source="crm", data={"id": "u1"})
    for text, found in ((entity, [entity]), ("u1", [entity]), ("u1@example.com", [])):
        page = await read(client, f"/v1/entities?find={text}", EntityPage)
        assert [one.id for one in page.items] == found, text


async def test_inbox_names_the_field_of_a_conflict(line: Line, client: httpx.AsyncClient) -> None:
    """Where nothing of an event was taken for a rule chose the other value, its row says of which field."""
    await line.person(1, name="Ada", email_verified=True)
    for number in range(2):
        await line.person(1, peer="shop", id="s1", name=f"Not Ada {number}", email_verified=True)
    row = (await read(client, "/v1/inbox?limit=1", InboxPage)).items[0]
    assert (row.verdict, row.reason) == ("conflict", "name")


async def test_peers_show_which_cannot_be_reached_and_the_service_is_healthy_all_the_same(
    line: Line, client: httpx.AsyncClient
) -> None:
    """Nobody is to start the process again for it."""
    failing = msgspec.json.encode(PeerHealth(Instant(0), "ConnectionRefusedError"))
    await line.app.store.put_setting("peer_health:read:crm", failing)
    peers = {one.name: one for one in (await read(client, "/v1/peers", PeerPage)).items}
    crm, shop = peers["crm"], peers["shop"]
    assert (crm.unread, crm.unwritten) == (
        PeerFailureView(since="1970-01-01T00:00:00.000Z", error="ConnectionRefusedError"),
        None,
    )
    assert (shop.unread, shop.unwritten) == (None, None)
    for probe in ("/healthz", "/readyz"):
        assert (await client.get(probe)).status_code == 200


async def test_peers_show_how_they_are_received_and_no_secret(client: httpx.AsyncClient) -> None:
    """Names, dialects and kinds; nothing that proves anything."""
    page = await read(client, "/v1/peers", PeerPage)
    assert [(one.name, one.connector, one.dialect) for one in page.items] == [
        ("crm", "webhook", "standard"),
        ("shop", "webhook", "standard"),
    ]
    assert "whsec" not in (await client.get("/v1/peers")).text


async def test_endpoints_show_what_waits_for_them_and_no_secret(client: httpx.AsyncClient) -> None:
    """An operator sees where events go; the secret stays inside."""
    (audit,) = (await read(client, "/v1/endpoints", EndpointPage)).items
    assert (audit.name, audit.destination, audit.definition["url"], audit.enabled) == (
        "audit", "endpoint:audit", "http://127.0.0.1:1/hook", True,
    )  # fmt: skip
    assert "whsec" not in (await client.get("/v1/endpoints")).text


async def test_stats_count_the_store_and_the_verdicts(line: Line, client: httpx.AsyncClient) -> None:
    """Two of one id are one row and one duplicate."""
    for _ in range(2):
        await line.publish(id="e1", type="user.created", source="crm", data={"id": "u1"})
    stats = await read(client, "/v1/stats", StatsView)
    assert (stats.entities, stats.inbox, stats.verdicts) == (1, 1, {"applied": 1, "duplicate": 1})


async def test_explanation_is_served(line: Line, client: httpx.AsyncClient) -> None:
    """It is read through HTTP as it is made; what it holds is in its own tests."""
    receipt = (await line.person(1)).json()
    told = await read(client, f"/v1/entities/{receipt['entity']}/explain?limit=1", Explanation)
    assert told.entity.id == receipt["entity"]
    assert len(told.timeline) == 1
