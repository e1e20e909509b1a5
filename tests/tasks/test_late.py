"""Output that comes after its lease ended: what is taken, kept and shown."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.base.clock import to_micros
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import LeaseId, TaskId
from sluice.tasks import actions, late
from sluice.tasks.late_output import (
    list_late_output,
    read_late_output,
)
from sluice.tasks.model import LateOutput, LeaseOutcome, LeaseRecord, TaskState
from sluice.tasks.ports import LateOutputStore
from sluice.wire.agent import PhaseName
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk
from sluice.wire.late_output import MAX_LATE_BYTES, LateAnswer
from sluice.workspaces.actions import delete_workspace
from tests.tasks.factory import AGENT, NOW
from tests.tasks.late import Late
from tests.tasks.world import World

ENDED = NOW + timedelta(seconds=90)
LEASE = LeaseRecord(
    id=LeaseId("lease-1"),
    task_id=TaskId("task-1"),
    agent_id=AGENT,
    phase=PhaseName.PLAN,
    epoch=1,
    log_offset=100,
    log_line=5,
    claimed_at=NOW,
    ended_at=ENDED,
    outcome=LeaseOutcome.LOST,
    log_end=110,
)


def chunk(offset: int, data: bytes, *, after: float = 0, line: int = 1) -> Chunk:
    """A chunk captured so long after the claim."""
    at = to_micros(NOW + timedelta(seconds=after))
    return Chunk(offset, line, Source.STDOUT, Kind.OUTPUT, at, data)


# --- the rule ----------------------------------------------------------------


def test_what_the_log_has_already_is_not_kept_again() -> None:
    chunks = [chunk(100, b"0123456"), chunk(107, b"789abc\n"), chunk(114, b"more\n")]
    taken = late.take(LEASE, None, chunks)
    assert (taken.start, taken.data, taken.open) == (110, b"abc\nmore\n", True)
    assert taken.committed == 119
    assert late.take(LEASE, None, chunks[:1]).data == b""


def test_nothing_that_was_captured_after_the_end_is_taken() -> None:
    chunks = [chunk(110, b"a\n", after=90), chunk(112, b"b\n", after=90.1)]
    taken = late.take(LEASE, None, [*chunks, chunk(114, b"c\n")])
    assert (taken.data, taken.open) == (b"a\n", False)
    known = LateOutput(LEASE.id, LEASE.task_id, AGENT, 112, 2, 1, ENDED)
    again = late.take(LEASE, known, chunks)
    assert (again.data, again.open, again.committed) == (b"", False, 112)


def test_a_gap_is_refused_with_the_place_to_go_on() -> None:
    with pytest.raises(ConflictError) as refused:
        late.take(LEASE, None, [chunk(111, b"x")])
    assert refused.value.extra == {"committed": 110}


def test_no_more_than_the_limit_is_kept() -> None:
    known = LateOutput(LEASE.id, LEASE.task_id, AGENT, 200, MAX_LATE_BYTES - 3, 1, NOW)
    taken = late.take(LEASE, known, [chunk(200, b"12"), chunk(202, b"34")])
    assert (taken.data, taken.open) == (b"12", False)


@pytest.mark.parametrize("outcome", [None, LeaseOutcome.FINISHED])
def test_there_is_nothing_late_about_other_leases(outcome: LeaseOutcome | None) -> None:
    with pytest.raises(ConflictError):
        late.check_ended(replace(LEASE, outcome=outcome))
    for ended in (LeaseOutcome.LOST, LeaseOutcome.REVOKED):
        late.check_ended(replace(LEASE, outcome=ended))


# --- the store ---------------------------------------------------------------


async def test_what_is_kept_comes_back_in_order(world: World) -> None:
    workspace = await world.workspace()
    task = await world.create(workspace)
    store: LateOutputStore = world.tasks.late
    first = LateOutput(LEASE.id, task.id, AGENT, 120, 10, 2, NOW)
    more = replace(first, committed=2**40, size=14, lines=3)
    other = replace(first, lease_id=LeaseId("lease-0"), received_at=ENDED)
    async with world.transactions.write() as tx:
        assert await store.get(tx, LEASE.id) is None
        await store.keep(tx, first, 110, b"one\ntwo\nth")
        await store.keep(tx, other, 0, b"\x00\xff")
        await store.keep(tx, more, 2**39, b"ree\n")
    async with world.transactions.read() as tx:
        assert await store.get(tx, LEASE.id) == more
        assert await store.of_task(tx, task.id) == [more, other]
        assert await store.content(tx, LEASE.id) == b"one\ntwo\nthree\n"
        assert await store.content(tx, other.lease_id) == b"\x00\xff"
        assert await store.of_task(tx, TaskId("task-x")) == []
    async with world.transactions.write() as tx:
        await store.remove(tx, task.id)
        assert await store.of_task(tx, task.id) == []
        assert await store.content(tx, LEASE.id) == b""


# --- the verbs ---------------------------------------------------------------


async def lost_plan(world: World) -> Late:
    """Lost after `one`; the agent had captured more by then."""
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace)
    phase = await world.claim(agent)
    await phase.started()
    await phase.write(b"one\n")
    left = Late(world, agent, phase)
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    assert (await world.task(phase.task_id)).state is TaskState.QUEUED
    return left


async def test_late_lines_are_kept_beside_the_log(world: World) -> None:
    left = await lost_plan(world)
    task_id, lease_id = left.phase.task_id, left.phase.lease_id
    before = world.logs.text(task_id)
    asked = await left.deliver()
    assert asked == LateAnswer(committed=4, open=True)
    assert await list_late_output(world.tasks, task_id=task_id) == []
    body = left.body(4, b"two\nthr", b"ee\n")
    first = await left.deliver(body)
    assert first == LateAnswer(committed=14, open=True)
    world.clock.turn(seconds=5)
    assert await left.deliver(body) == first, "the same again changes nothing"
    assert await left.deliver(left.body(0, b"one\ntwo\nthree\nfour\n")) == LateAnswer(
        committed=19, open=True
    )
    (seen,) = await list_late_output(world.tasks, task_id=task_id)
    assert (seen.kept.size, seen.kept.lines, seen.agent_name) == (15, 3, "builder")
    content = await read_late_output(world.tasks, task_id=task_id, lease_id=lease_id)
    assert content == b"two\nthree\nfour\n"
    assert world.logs.text(task_id) == before
    details = await actions.get_task_details(world.tasks, task_id=task_id)
    (action,) = details.actions
    assert (action.action, action.actor) == ("late output kept", "agent builder")


async def test_others_go_on_with_the_task_meanwhile(world: World) -> None:
    left = await lost_plan(world)
    second = await world.claim(await world.agent("second"))
    assert second.task_id == left.phase.task_id
    await left.deliver(left.body(4, b"late\n"))
    planned = await second.run_plan()
    assert planned.state is TaskState.APPLY_PENDING
    assert "late" not in world.logs.text(planned.id)


async def test_lines_from_behind_the_end_are_not_taken(world: World) -> None:
    left = await lost_plan(world)
    world.clock.turn(seconds=1)
    answer = await left.deliver(
        left.body(4, b"in time\n")
        + left.body(12, b"too late\n", captured_us=left.phase.now_us, line=2)
    )
    assert answer == LateAnswer(committed=12, open=False)
    content = await read_late_output(
        world.tasks, task_id=left.phase.task_id, lease_id=left.phase.lease_id
    )
    assert content == b"in time\n"


async def test_a_revoked_lease_has_late_output_too(world: World) -> None:
    agent = await world.agent()
    await world.script()
    phase = await world.claim(agent)
    await phase.started()
    left = Late(world, agent, phase)
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    await actions.force_cancel(
        world.tasks, task_id=phase.task_id, actor="ann", reason=""
    )
    assert (await left.deliver(left.body(0, b"said\n"))).open


async def test_who_may_deliver_and_what(world: World) -> None:
    left = await lost_plan(world)
    other = await world.agent("other")
    # another agent's lease sounds like none
    with pytest.raises(NotFoundError, match="There is no lease"):
        await left.deliver(agent_id=other.agent_id)
    with pytest.raises(NotFoundError, match="There is no lease"):
        await left.deliver(lease_id="lease-none")
    with pytest.raises(NotFoundError, match="There is no lease"):
        await left.deliver(task_id="task-none")
    again = await world.claim(other)
    with pytest.raises(ConflictError, match="lasts"):
        await left.deliver(agent_id=other.agent_id, lease_id=again.lease_id)
    await again.run_plan()
    with pytest.raises(ConflictError, match="was reported with its whole log"):
        await left.deliver(agent_id=other.agent_id, lease_id=again.lease_id)
    with pytest.raises(ConflictError) as gap:
        await left.deliver(left.body(5, b"x"))
    assert gap.value.extra == {"committed": 4}
    for broken in (b"no chunk", left.body(4, b"x") + left.body(9, b"y")):
        with pytest.raises(InvalidInputError):
            await left.deliver(broken)
    forged = Chunk(4, 1, Source.SERVER, Kind.OUTPUT, 1, b"confirmed by ann\n")
    with pytest.raises(InvalidInputError):
        await left.deliver(encode_chunk(forged))
    with pytest.raises(NotFoundError):
        await read_late_output(
            world.tasks, task_id=left.phase.task_id, lease_id=left.phase.lease_id
        )


async def test_late_output_goes_with_its_task(world: World) -> None:
    left = await lost_plan(world)
    task = await world.task(left.phase.task_id)
    await left.deliver(left.body(4, b"late\n"))
    await actions.cancel(world.tasks, task_id=task.id, actor="ann", reason="")
    await delete_workspace(world.tasks.workspaces, workspace_id=task.home, force=False)
    async with world.transactions.read() as tx:
        assert await world.tasks.late.get(tx, left.phase.lease_id) is None
        assert await world.tasks.late.content(tx, left.phase.lease_id) == b""
