"""Messages are sent, tried again, given up and stopped; two senders send each once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.edge.outgoing import OutgoingFailedError, OutgoingRefusedError
from sluice.notifications import actions
from sluice.notifications.delivering import claim, count_waiting, deliver, prune
from sluice.notifications.loop import send_notifications
from sluice.notifications.model import Delivery
from sluice.notifications.ports import Member
from sluice.notifications.schedule import TRIES, Outcome, Tried
from sluice.testing.memory_notifications import MemoryNotifications
from sluice.wire.notification import DeliveryStatus, NotificationKind
from sluice.wire.shapes.notifications import NotificationChange
from tests.notifications.rig import NOW, ORG, URL, Rig, Sent, make_delivery, user
from tests.runtasks.services import until


async def only(rig: Rig, message: Delivery) -> Delivery:
    [found] = [
        one
        for one in await rig.messages(message.notification_id)
        if one.id == message.id
    ]
    return found


async def test_a_message_is_sent_once(rig: Rig) -> None:
    one = await rig.make(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    await rig.put(message := make_delivery(one))
    assert await rig.send_all() == 1
    [sent] = rig.endpoints.sent
    assert sent.url == URL
    assert sent.headers["webhook-id"] == message.id
    assert json.loads(sent.body) == message.content
    done = await only(rig, message)
    assert (done.status, done.status_code) == (DeliveryStatus.DELIVERED, 200)
    assert (done.attempts, done.message, done.next_at) == (1, "", None)
    sent_once = {"kind": "webhook", "outcome": "sent"}
    assert rig.counted("sluice_notification_tries_total", **sent_once) == 1


async def test_a_receiver_that_fails_and_then_works_gets_the_same_message(
    rig: Rig,
) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    for answer in (503, OutgoingFailedError("no connection"), 429):
        rig.endpoints.answer = answer
        assert await rig.send_all() == 1
        assert await rig.send_all() == 0
        rig.clock.turn(minutes=10)
    waiting = await only(rig, message)
    assert (waiting.status, waiting.attempts) == (DeliveryStatus.PENDING, 3)
    assert waiting.message == "it answered with 429"
    rig.endpoints.answer = 204
    assert await rig.send_all() == 1
    assert {sent.headers["webhook-id"] for sent in rig.endpoints.sent} == {message.id}
    assert len({sent.body for sent in rig.endpoints.sent}) == 1
    assert (await only(rig, message)).status is DeliveryStatus.DELIVERED


async def test_a_receiver_that_never_works_is_given_up(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    rig.endpoints.answer = OutgoingFailedError("https://hooks gave no answer.")
    for _ in range(TRIES):
        assert await rig.send_all() == 1
        rig.clock.turn(hours=1)
    assert await rig.send_all() == 0
    failed = await only(rig, message)
    assert (failed.status, failed.attempts) == (DeliveryStatus.FAILED, TRIES)
    assert failed.message == "https://hooks gave no answer."
    assert failed.completed_at is not None
    assert rig.counted("sluice_notifications_given_up_total", kind="webhook") == 1


@pytest.mark.parametrize(
    ("answer", "code"), [(404, 404), (302, 302), (OutgoingRefusedError("no"), None)]
)
async def test_a_refusal_is_final(
    rig: Rig, answer: int | Exception, code: int | None
) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    rig.endpoints.answer = answer
    assert await rig.send_all() == 1
    failed = await only(rig, message)
    assert (failed.status, failed.status_code) == (DeliveryStatus.FAILED, code)
    assert failed.message


async def test_a_try_that_never_ends_is_not_made_for_ever(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one, attempts=TRIES))
    assert await rig.send_all() == 1
    assert rig.endpoints.sent == []
    assert (await only(rig, message)).status is DeliveryStatus.FAILED


async def test_slack_gets_blocks_and_no_signature(rig: Rig) -> None:
    one = await rig.make(kind=NotificationKind.SLACK)
    await rig.put(make_delivery(one))
    await rig.send_all()
    [sent] = rig.endpoints.sent
    assert set(json.loads(sent.body)) == {"text", "blocks"}
    assert not any(name.startswith("webhook-") for name in sent.headers)


@pytest.mark.parametrize("backing_url", ["memory"], indirect=True)
async def test_each_recipient_gets_a_mail_of_its_own(rig: Rig) -> None:
    """Members in SQL are put in by the tests of the whole server."""
    assert isinstance(rig.deps.store, MemoryNotifications)
    rig.deps.store.people[ORG] = [Member(user("bob"), "bob", "bob@example.com")]
    one = await rig.make(
        kind=NotificationKind.EMAIL, recipients=["a@example.com"], users=["bob"]
    )
    assert one.user_ids == (user("bob"),)
    await rig.put(*(make_delivery(one, recipient=name) for name in one.told))
    assert await rig.send_all() == 2
    assert {to for to, _ in rig.relay.sent} == {"a@example.com", "bob@example.com"}
    assert len({mail["Message-ID"] for _, mail in rig.relay.sent}) == 2
    # who is no member any more is told nothing
    rig.deps.store.people[ORG] = []
    await rig.put(message := make_delivery(one, 2, recipient=user("bob")))
    await rig.send_all()
    assert len(rig.relay.sent) == 2
    assert (await only(rig, message)).status is DeliveryStatus.FAILED


async def test_a_mail_server_that_is_away_is_tried_again(rig: Rig) -> None:
    one = await rig.make(kind=NotificationKind.EMAIL, recipients=["a@example.com"])
    await rig.put(message := make_delivery(one, recipient="a@example.com"))
    rig.relay.answer = Tried(Outcome.FAILED, 421, "busy")
    await rig.send_all()
    assert (await only(rig, message)).status is DeliveryStatus.PENDING
    rig.clock.turn(minutes=1)
    rig.relay.answer = Tried(Outcome.REFUSED, 550, "no such box")
    await rig.send_all()
    failed = await only(rig, message)
    assert (failed.status, failed.status_code) == (DeliveryStatus.FAILED, 550)


# --- stopping -------------------------------------------------------------------------


async def test_what_waits_is_not_sent_once_it_is_switched_off(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    off, on = NotificationChange(enabled=False), NotificationChange(enabled=True)
    for change in (off, on):
        await actions.change_notification(
            rig.deps, notification_id=one.id, change=change, actor="ann"
        )
    assert await rig.send_all() == 0
    stopped = await only(rig, message)
    assert stopped.status is DeliveryStatus.STOPPED
    assert "ann" in stopped.message


async def test_what_is_deleted_while_it_is_sent_is_gone(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(make_delivery(one, 1), make_delivery(one, 2))

    async def delete(sent: Sent) -> None:
        await actions.delete_notification(rig.deps, notification_id=one.id, actor="ann")

    rig.endpoints.meanwhile = delete
    assert await rig.send_all() == 1
    assert await rig.messages(one.id) == []
    assert len(rig.endpoints.sent) == 1


async def test_what_is_switched_off_while_it_is_sent_is_not_sent_again(
    rig: Rig,
) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))

    async def switch_off(sent: Sent) -> None:
        await actions.change_notification(
            rig.deps,
            notification_id=one.id,
            change=NotificationChange(enabled=False),
            actor="ann",
        )

    rig.endpoints.meanwhile, rig.endpoints.answer = switch_off, 503
    assert await rig.send_all() == 1
    assert (await only(rig, message)).status is DeliveryStatus.STOPPED
    rig.clock.turn(hours=2)
    assert await rig.send_all() == 0


# --- several senders --------------------------------------------------------------------


async def test_two_senders_send_each_message_once_and_in_order(rig: Rig) -> None:
    notifications = [await rig.make(f"n{number}") for number in range(4)]
    await rig.put(
        *(
            make_delivery(one, version)
            for one in notifications
            for version in range(1, 6)
        )
    )

    async def slowly(sent: Sent) -> None:
        await asyncio.sleep(0.002)

    rig.endpoints.meanwhile = slowly
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(rig.send_all())
    await rig.send_all()
    sent = [call.headers["webhook-id"] for call in rig.endpoints.sent]
    assert len(sent) == len(set(sent)) == 20
    for one in notifications:
        own = await rig.messages(one.id)
        places = [sent.index(message.id) for message in own]
        assert places == sorted(places)
        assert {message.status for message in own} == {DeliveryStatus.DELIVERED}


async def test_what_a_killed_sender_left_is_sent_again_under_the_same_id(
    rig: Rig,
) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    # claimed, and its server was killed
    assert await claim(rig.deps) is not None
    assert await rig.send_all() == 0
    rig.clock.turn(seconds=61)
    assert await rig.send_all() == 1
    assert rig.endpoints.sent[0].headers["webhook-id"] == message.id
    assert (await only(rig, message)).attempts == 2


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    """The loop, while the block runs."""
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(send_notifications(rig.deps))
        yield
        loop.cancel()


async def test_a_dead_receiver_holds_up_nobody_else(rig: Rig) -> None:
    rig.deps = replace(rig.deps, at_once=8)
    dead = await rig.make("dead", endpoint_url="https://dead.example.com/")
    alive = await rig.make("alive")
    hanging = asyncio.Event()

    async def hang(sent: Sent) -> None:
        if "dead" in sent.url:
            await hanging.wait()

    rig.endpoints.meanwhile = hang
    await rig.put(*(make_delivery(dead, version) for version in range(5)))
    await rig.put(*(make_delivery(alive, version) for version in range(5)))

    async def all_sent() -> bool:
        own = await rig.messages(alive.id)
        return all(one.status is DeliveryStatus.DELIVERED for one in own)

    async with running(rig):
        await until("the living receiver to be told", all_sent)
        calls = [sent for sent in rig.endpoints.sent if "dead" in sent.url]
        assert len(calls) == 1
    hanging.set()


async def test_the_loop_outlives_a_message_that_cannot_be_sent(rig: Rig) -> None:
    broken, fine = await rig.make("broken"), await rig.make("fine")

    async def break_off(sent: Sent) -> None:
        if len(rig.endpoints.sent) == 1:
            raise RuntimeError("a fault of ours")

    rig.endpoints.meanwhile = break_off
    await rig.put(make_delivery(broken), make_delivery(fine))

    async def both_called() -> bool:
        return len(rig.endpoints.sent) == 2

    async with running(rig):
        await until("both to be called", both_called)


# --- looking after --------------------------------------------------------------------


async def test_what_waits_is_counted_and_what_is_old_forgotten(rig: Rig) -> None:
    one = await rig.make()
    old = NOW - timedelta(days=31)
    await rig.put(make_delivery(one, 1, created_at=old), make_delivery(one, 2))
    rig.clock.turn(hours=1)
    await prune(rig.deps)
    await count_waiting(rig.deps)
    assert rig.counted("sluice_notifications_pending") == 1
    assert rig.counted("sluice_notification_oldest_seconds") == 3600
    await rig.send_all()
    await count_waiting(rig.deps)
    assert rig.counted("sluice_notification_oldest_seconds") == 0


async def test_a_message_can_be_sent_again_by_hand(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(message := make_delivery(one))
    rig.endpoints.answer = 404
    await rig.send_all()
    again = await actions.redeliver(
        rig.deps, notification_id=one.id, delivery_id=message.id, actor="ann"
    )
    assert (again.status, again.attempts) == (DeliveryStatus.PENDING, 0)
    rig.endpoints.answer = 200
    await rig.send_all()
    first, second = rig.endpoints.sent
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    claimed = await claim(rig.deps)
    assert claimed is None
    assert (await only(rig, message)).status is DeliveryStatus.DELIVERED


async def test_deliver_keeps_nothing_of_a_message_that_is_gone(rig: Rig) -> None:
    one = await rig.make()
    await rig.put(make_delivery(one))
    claimed = await claim(rig.deps)
    assert claimed is not None
    await actions.delete_notification(rig.deps, notification_id=one.id, actor="ann")
    await deliver(rig.deps, claimed)
    assert await rig.messages(one.id) == []
