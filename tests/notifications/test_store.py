"""The port suite of notifications and their messages: memory, SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TaskId, UserId, WorkspaceId
from sluice.base.paging import Page
from sluice.notifications.belongings import NotificationBelongings
from sluice.notifications.model import Backlog, Claimed, Delivery, Notification
from sluice.notifications.schedule import Outcome, Tried, begun, concluded
from sluice.wire.notification import DeliveryStatus, NotificationKind, Trigger
from tests.notifications.rig import (
    FOREIGN_WS,
    NOW,
    ORG,
    OTHER_ORG,
    OTHER_WS,
    WS,
    Rig,
    make_delivery,
    make_notification,
)

LATER = NOW + timedelta(seconds=60)
TAKEN = Tried(Outcome.SENT, 200)


async def add(rig: Rig, *notifications: Notification) -> None:
    async with rig.deps.transactions.write() as tx:
        for notification in notifications:
            await rig.deps.store.add(tx, notification)


async def claim(
    rig: Rig, *without: OrganizationId, after: timedelta = timedelta()
) -> Claimed | None:
    now = NOW + after
    async with rig.deps.transactions.write() as tx:
        due = await rig.deps.outbox.is_due(tx, now, without=without)
        found = await rig.deps.outbox.claim(
            tx, now, now + timedelta(seconds=60), without=without
        )
    assert due is (found is not None)
    return found


async def claimed(rig: Rig, *without: OrganizationId) -> Claimed:
    found = await claim(rig, *without)
    assert found is not None
    return found


async def conclude(rig: Rig, found: Claimed, tried: Tried = TAKEN) -> bool:
    """A try that comes to its end at once."""
    async with rig.deps.transactions.write() as tx:
        done = concluded(begun(found.delivery, NOW), tried, NOW, luck=0.5)
        kept = await rig.deps.outbox.conclude(tx, done)
        await rig.deps.outbox.release(tx, found, NOW)
    return kept


async def wanted(rig: Rig, workspace: WorkspaceId, trigger: Trigger) -> set[str]:
    owner = OTHER_ORG if workspace == FOREIGN_WS else ORG
    async with rig.deps.transactions.read() as tx:
        found = await rig.deps.outbox.wanted(tx, owner, workspace, trigger)
    return {one.name for one in found}


# --- notifications -----------------------------------------------------------------


async def test_a_notification_comes_back_as_it_was_kept(rig: Rig) -> None:
    full = make_notification(
        "full ü",
        kind=NotificationKind.EMAIL,
        triggers=(Trigger.CREATED, Trigger.AGENT_LOST),
        enabled=False,
        endpoint="https://x.example",
        sealed_url=b"\x00\xff url",
        sealed_secret=b"\x01 secret",
        recipients=("a@example.com", "b@example.com"),
        user_ids=(UserId("user-1"),),
        updated_at=LATER,
    )
    await add(rig, full)
    async with rig.deps.transactions.write() as tx:
        assert await rig.deps.store.get(tx, full.id) == full
        changed = replace(full, name="other", enabled=True, leased_until=LATER)
        await rig.deps.store.save(tx, changed)
        # the lease is the senders'
        kept = replace(changed, leased_until=NOW)
        assert await rig.deps.store.hold(tx, full.id) == kept


async def test_a_name_is_its_owners_own(rig: Rig) -> None:
    here = make_notification("ops")
    everywhere = make_notification("ops", workspace_id=None)
    there = make_notification("ops", workspace_id=OTHER_WS)
    await add(rig, here, everywhere, there)
    with pytest.raises(ConflictError, match="'ops'"):
        await add(rig, make_notification("ops"))
    second = make_notification("second")
    await add(rig, second)
    with pytest.raises(ConflictError, match="'ops'"):
        async with rig.deps.transactions.write() as tx:
            await rig.deps.store.save(tx, replace(second, name="ops"))
    async with rig.deps.transactions.read() as tx:
        assert await rig.deps.store.owned_by(tx, WS) == [here, second]
        assert await rig.deps.store.owned_by(tx, ORG) == [everywhere]


async def test_a_workspace_is_told_of_by_its_own_and_its_organizations(
    rig: Rig,
) -> None:
    await add(
        rig,
        make_notification("here"),
        make_notification("off", enabled=False),
        make_notification("else", triggers=(Trigger.APPLYING,)),
        make_notification("there", workspace_id=OTHER_WS),
        make_notification("everywhere", workspace_id=None),
        make_notification("foreign", workspace_id=None, organization_id=OTHER_ORG),
    )
    assert await wanted(rig, WS, Trigger.CREATED) == {"here", "everywhere"}
    assert await wanted(rig, WS, Trigger.APPLYING) == {"else"}
    assert await wanted(rig, OTHER_WS, Trigger.CREATED) == {"there", "everywhere"}
    assert await wanted(rig, FOREIGN_WS, Trigger.CREATED) == {"foreign"}


async def test_notifications_and_messages_go_with_their_workspace(rig: Rig) -> None:
    here, there = make_notification(), make_notification(workspace_id=OTHER_WS)
    await add(rig, here, there)
    await rig.put(make_delivery(here), make_delivery(there))
    belongings = NotificationBelongings(rig.deps.store)
    async with rig.deps.transactions.write() as tx:
        assert await belongings.hindrance(tx, WS) is None
        assert await belongings.clear(tx, WS) == []
        assert await rig.deps.store.get(tx, here.id) is None
        assert await rig.deps.store.get(tx, there.id) == there
    assert await rig.messages(here.id) == []
    assert len(await rig.messages(there.id)) == 1


# --- claims ------------------------------------------------------------------------


async def test_one_message_of_a_notification_is_sent_at_a_time(rig: Rig) -> None:
    one, two = make_notification("one"), make_notification("two")
    await add(rig, one, two)
    first = make_delivery(one, task_id=TaskId("a"))
    await rig.put(first, make_delivery(one, task_id=TaskId("b")), make_delivery(two))
    got = {
        (await claimed(rig)).notification.name,
        (await claimed(rig)).notification.name,
    }
    assert got == {"one", "two"}
    assert await claim(rig) is None


async def test_a_lease_that_ran_out_passes_to_the_next(rig: Rig) -> None:
    await add(rig, one := make_notification())
    await rig.put(make_delivery(one))
    first = await claimed(rig)
    assert await claim(rig, after=timedelta(seconds=59)) is None
    second = await claim(rig, after=timedelta(seconds=61))
    assert second is not None
    assert second.delivery.id == first.delivery.id
    # whoever comes too late does not end the other's lease
    async with rig.deps.transactions.write() as tx:
        await rig.deps.outbox.release(tx, first, NOW)
    assert await claim(rig, after=timedelta(seconds=62)) is None


async def test_messages_about_a_task_keep_its_order(rig: Rig) -> None:
    await add(rig, one := make_notification())
    later, earlier = make_delivery(one, 5), make_delivery(one, 2)
    other = make_delivery(one, 9, task_id=TaskId("task-2"))
    await rig.put(later, earlier, other)
    first = await claimed(rig)
    assert first.delivery == earlier
    # it failed, so what comes after it waits; other tasks' messages do not
    await conclude(rig, first, Tried(Outcome.FAILED, 503, "away"))
    second = await claimed(rig)
    assert second.delivery == other
    await conclude(rig, second)
    assert await claim(rig) is None
    again = await claim(rig, after=timedelta(minutes=2))
    assert again is not None
    assert (again.delivery.id, again.delivery.attempts) == (earlier.id, 1)


async def test_recipients_do_not_wait_for_each_other(rig: Rig) -> None:
    await add(rig, one := make_notification())
    to_a = make_delivery(one, 1, recipient="a@example.com")
    to_b = make_delivery(one, 2, recipient="b@example.com")
    await rig.put(to_a, to_b)
    await conclude(rig, await claimed(rig), Tried(Outcome.FAILED, None, "away"))
    assert (await claimed(rig)).delivery.recipient == "b@example.com"


async def test_notifications_take_turns(rig: Rig) -> None:
    await add(rig, one := make_notification("one"), two := make_notification("two"))
    for number in range(3):
        at = NOW - timedelta(hours=1)
        await rig.put(
            make_delivery(one, task_id=TaskId(f"a{number}"), next_at=at),
            make_delivery(two, task_id=TaskId(f"b{number}")),
        )
    seen = []
    for seconds in range(1, 7):
        found = await claim(rig, after=timedelta(seconds=seconds))
        assert found is not None
        seen.append(found.notification.name)
        async with rig.deps.transactions.write() as tx:
            at = NOW + timedelta(seconds=seconds)
            done = concluded(begun(found.delivery, at), TAKEN, at, luck=0)
            await rig.deps.outbox.conclude(tx, done)
            await rig.deps.outbox.release(tx, found, at)
    assert seen[0] != seen[1]
    assert seen == seen[:2] * 3


async def test_organizations_that_have_enough_are_passed_over(rig: Rig) -> None:
    foreign = make_notification("foreign", workspace_id=None, organization_id=OTHER_ORG)
    await add(rig, one := make_notification(), foreign)
    await rig.put(make_delivery(one), make_delivery(foreign))
    assert (await claimed(rig, ORG)).notification == replace(
        foreign, leased_until=LATER
    )
    assert await claim(rig, ORG, OTHER_ORG) is None


async def test_nothing_is_claimed_that_waits_or_is_switched_off(rig: Rig) -> None:
    await add(
        rig, one := make_notification(), off := make_notification("off", enabled=False)
    )
    await rig.put(make_delivery(one, next_at=LATER), make_delivery(off))
    orphan = make_delivery(make_notification("gone"))
    await rig.put(orphan)
    assert await claim(rig) is None


# --- what came of messages -----------------------------------------------------------


async def test_only_the_last_try_is_kept(rig: Rig) -> None:
    await add(rig, one := make_notification())
    await rig.put(message := make_delivery(one))
    first, second = begun(message, NOW), begun(begun(message, NOW), NOW)
    async with rig.deps.transactions.write() as tx:
        assert await rig.deps.outbox.conclude(tx, first)
        assert await rig.deps.outbox.conclude(tx, second)
        late = concluded(first, TAKEN, NOW, luck=0)
        assert not await rig.deps.outbox.conclude(tx, late)
        assert await rig.deps.outbox.delivery(tx, one.id, message.id) == second


async def test_what_was_stopped_stays_so(rig: Rig) -> None:
    await add(rig, one := make_notification())
    done: Delivery = replace(
        make_delivery(one, 1), status=DeliveryStatus.DELIVERED, next_at=None
    )
    await rig.put(done, waiting := make_delivery(one, 2))
    async with rig.deps.transactions.write() as tx:
        assert await rig.deps.outbox.stop(tx, one.id, why="off", now=LATER) == 1
        begun_before = concluded(begun(waiting, NOW), TAKEN, NOW, luck=0)
        assert not await rig.deps.outbox.conclude(tx, begun_before)
    stopped = replace(
        waiting,
        status=DeliveryStatus.STOPPED,
        next_at=None,
        message="off",
        completed_at=LATER,
    )
    assert await rig.messages(one.id) == [done, stopped]
    assert await claim(rig) is None


async def test_messages_are_shown_last_first_by_pages(rig: Rig) -> None:
    await add(rig, one := make_notification(), other := make_notification("other"))
    sent = [
        make_delivery(one, number, created_at=NOW + timedelta(seconds=number // 2))
        for number in range(5)
    ]
    await rig.put(*sent, make_delivery(other))
    async with rig.deps.transactions.read() as tx:
        page, total = await rig.deps.outbox.page(tx, one.id, None, Page(2, 1))
        none, nothing = await rig.deps.outbox.page(
            tx, one.id, DeliveryStatus.FAILED, Page()
        )
    assert ([row.version for row in page], total) == ([3, 2], 5)
    assert (none, nothing) == ([], 0)


async def test_old_messages_are_forgotten_some_at_a_time(rig: Rig) -> None:
    await add(rig, one := make_notification())
    old = [
        make_delivery(one, number, created_at=NOW - timedelta(days=31))
        for number in range(3)
    ]
    await rig.put(*old, kept := make_delivery(one, 9))
    async with rig.deps.transactions.write() as tx:
        assert await rig.deps.outbox.backlog(tx) == Backlog(4, old[0].created_at)
        before = NOW - timedelta(days=30)
        assert await rig.deps.outbox.prune(tx, before, limit=2) == 2
        assert await rig.deps.outbox.prune(tx, before, limit=2) == 1
        assert await rig.deps.outbox.backlog(tx) == Backlog(1, NOW)
    assert await rig.messages(one.id) == [kept]


async def test_deleting_a_notification_forgets_its_messages(rig: Rig) -> None:
    await add(rig, one := make_notification())
    await rig.put(make_delivery(one))
    async with rig.deps.transactions.write() as tx:
        await rig.deps.store.delete(tx, one.id)
        assert await rig.deps.outbox.backlog(tx) == Backlog(0, None)
    assert await rig.messages(one.id) == []
