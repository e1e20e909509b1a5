"""Phases as agents live them: claim, stages, finish, and what a phase reads and writes."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import (
    ConflictError,
    FencedError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    VariableId,
)
from sluice.base.transactions import Tx
from sluice.tasks import actions, loop, task_data
from sluice.tasks.model import LeaseOutcome, TaskState
from sluice.tasks.present import resource_changes
from sluice.wire.agent import (
    LogEnd,
    PhaseName,
    PhaseOutcome,
    Slots,
    StageReport,
)
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk
from sluice.wire.events import AgentLost, Note, Stage, StageBegin, StageOutcome
from sluice.wire.shapes.tasks import RunVariable, StageStatus, TaskStatus, TaskType
from sluice.wire.shapes.workspaces import VariableCategory, VariableInput
from sluice.workspaces.variable_actions import add_variable
from tests.conftest import Backing
from tests.tasks.world import (
    PLAN_JSON,
    POOL,
    Phase,
    World,
    make_world,
    state_of,
)

# --- claim -------------------------------------------------------------------


async def test_the_order_has_all_that_a_phase_needs(world: World) -> None:
    agent = await world.agent()
    workspace = await world.workspace(working_directory="live")
    for key, value, sensitive in (("token", "s3cr3t", True), ("region", "eu", False)):
        await add_variable(
            world.tasks.workspaces,
            workspace_id=workspace.id,
            given=VariableInput(key=key, value=value, sensitive=sensitive),
        )
    await add_variable(
        world.tasks.workspaces,
        workspace_id=workspace.id,
        given=VariableInput(
            key="token", value="from-env", category=VariableCategory.ENV
        ),
    )
    task = await world.create(
        workspace,
        destroy=True,
        variables=[
            RunVariable(key="token", value="other"),
            RunVariable(key="count", value="3", hcl=True),
        ],
    )
    order = (await world.claim(agent)).order
    assert (order.task_id, order.action, order.phase) == (task.id, "plan_apply", "plan")
    assert (order.workspace_name, order.working_directory) == (workspace.name, "live")
    assert order.options.destroy
    assert order.configuration_url == f"/api/v1/tasks/{task.id}/configuration"
    assert (order.log.epoch, order.log.offset, order.log.next_line) == (1, 0, 1)
    assert sorted(
        (v.key, v.value, v.category, v.hcl, v.sensitive) for v in order.variables
    ) == [
        ("count", "3", "terraform", True, False),
        ("region", "eu", "terraform", False, False),
        ("token", "from-env", "env", False, False),
        ("token", "other", "terraform", False, True),
    ]


async def test_claiming_takes_the_lock_and_gives_a_lease(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace, message="deploy")
    phase = await world.claim(agent)
    claimed = await world.task(task.id)
    assert claimed.state is TaskState.PLANNING
    assert claimed.lease is not None
    assert claimed.lease.id == phase.lease_id
    assert claimed.started_at == world.clock.now()
    lock = (await world.fresh(workspace)).lock
    assert lock is not None
    assert (lock.id, lock.holder, lock.kind) == (task.id, "ann", "task")
    await world.nothing(agent)


async def test_slots_and_pools_are_respected(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(pool_id=POOL)
    task = await world.planned(agent, workspace, auto_apply=True)
    assert task.state is TaskState.APPLY_READY
    await world.nothing(agent, Slots(plan=5))
    stranger = replace(agent, pool_id=PoolId("pool-2"))
    await world.nothing(stranger)
    foreign = AgentPrincipal(AgentId("a"), POOL, OrganizationId("org-2"))
    await world.nothing(foreign)
    phase = await world.claim(agent, Slots(apply=1))
    assert phase.order.phase is PhaseName.APPLY


async def test_an_order_that_cannot_be_made_fails_the_task_with_words(
    world: World,
) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    added = await add_variable(
        world.tasks.workspaces,
        workspace_id=workspace.id,
        given=VariableInput(key="token", value="x", sensitive=True),
    )
    async with world.transactions.write() as tx:
        variables = world.tasks.workspaces.variables
        stored = await variables.get(tx, workspace.id, VariableId(added.id))
        assert stored is not None
        await variables.save(tx, replace(stored, sealed=b"\x00broken"))
    await world.nothing(agent)
    failed = await world.task(task.id)
    assert failed.state is TaskState.FAILED
    assert "could not make up the phase" in failed.error
    assert failed.error in world.logs.text(task.id)
    assert world.logs.status(task.id) == "failed"
    assert (await world.fresh(workspace)).lock is None


# --- stages ------------------------------------------------------------------


async def test_stages_follow_the_events_of_the_log(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    await phase.begin(Stage.INIT)
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.task.stage is Stage.INIT
    assert details.task.lease is not None
    assert details.task.lease.started
    (stage,) = details.stages
    assert (stage.status, stage.started_at) == (StageStatus.RUNNING, world.clock.now())
    world.clock.turn(seconds=2)
    await phase.end(Stage.INIT, StageOutcome.FAILED)
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.stages[0].status is StageStatus.FAILED
    assert details.task.log.has_errors


async def test_events_of_others_and_of_unknown_phases_change_nothing(
    world: World,
) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    await world.claim(agent)
    forged = [
        event_chunk(
            StageBegin(Stage.INIT, "plan"), b"x\n", source=Source.STDOUT, captured_us=1
        ),
        event_chunk(
            StageBegin(Stage.INIT, "??"), b"x\n", source=Source.AGENT, captured_us=1
        ),
        event_chunk(
            StageBegin(Stage.INIT, "apply"), b"x\n", source=Source.AGENT, captured_us=1
        ),
        event_chunk(Note("bob"), b"x\n", source=Source.AGENT, captured_us=1),
    ]
    await actions.record_events(world.tasks, task_id=task.id, chunks=forged)
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.stages == []
    assert details.task.stage is None


async def test_events_that_nobody_here_knows_are_passed_over(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    strange = [
        Chunk(0, 1, Source.AGENT, Kind.EVENT, 1, b"x\n", meta)
        for meta in (b'{"event":"of a newer agent"}', b"\xff", b"")
    ]
    begin = event_chunk(
        StageBegin(Stage.INIT, "plan"), b"x\n", source=Source.AGENT, captured_us=1
    )
    await actions.record_events(
        world.tasks, task_id=phase.task_id, chunks=[*strange, begin]
    )
    assert (await world.task(task.id)).stage is Stage.INIT


async def test_a_failed_task_names_the_stage_of_the_report(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace)
    phase = await world.claim(agent)
    await phase.begin(Stage.FETCHING)
    now = world.clock.now()
    failed = StageReport(
        stage=Stage.PLANNING,
        outcome=StageOutcome.FAILED,
        started_at=now,
        completed_at=now,
    )
    result = phase.result(PhaseOutcome.FAILED)
    await actions.finish_phase(
        world.tasks,
        task_id=phase.task_id,
        result=result.model_copy(update={"stages": [failed], "error": "no plan"}),
    )
    assert (await world.task(phase.task_id)).stage is Stage.PLANNING


async def test_events_that_come_after_the_end_change_nothing(world: World) -> None:
    phase = await working(world)
    await phase.stage(Stage.INIT)
    await phase.finish()
    before = await actions.get_task_details(world.tasks, task_id=phase.task_id)
    late = event_chunk(
        StageBegin(Stage.INIT, "plan"), b"x\n", source=Source.AGENT, captured_us=1
    )
    await actions.record_events(world.tasks, task_id=phase.task_id, chunks=[late])
    after = await actions.get_task_details(world.tasks, task_id=phase.task_id)
    assert after == before


async def test_a_failed_phase_breaks_off_its_running_stage(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    await phase.begin(Stage.INIT)
    world.clock.turn(seconds=1)
    failed = await phase.finish(PhaseOutcome.FAILED, error="killed", stages=[])
    assert failed.stage is Stage.INIT
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.stages[0].status is StageStatus.FAILED
    assert details.stages[0].completed_at == world.clock.now()


# --- finish ------------------------------------------------------------------


async def test_the_whole_way(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.planned(agent, workspace)
    assert task.status is TaskStatus.APPLY_PENDING
    assert await world.reason(task.id) == "waits for confirmation"
    await world.nothing(agent)
    await actions.confirm(world.tasks, task_id=task.id, actor="bob", reason="")
    phase = await world.claim(agent)
    done = await phase.run_apply()
    assert done.status is TaskStatus.SUCCESS
    assert done.reason == "applied"
    assert world.logs.status(task.id) == "success"
    assert (await world.fresh(workspace)).lock is None
    found = await task_data.outputs_of(world.tasks, task=done)
    assert [(o.name, o.value) for o in found] == [("said", 1)]


async def test_a_plan_with_nothing_to_change(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    await world.create(workspace)
    done = await (await world.claim(agent)).run_plan(has_changes=False)
    assert (done.status, done.reason) == (TaskStatus.SUCCESS, "nothing to change")


async def test_auto_apply_says_so_in_the_log(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.planned(agent, workspace)
    phase = await world.claim(agent)
    assert phase.order.log.epoch > 1
    assert world.logs.text(task.id).endswith("applying without confirmation\n")


async def test_the_end_is_refused_until_the_log_is_there(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace, TaskType.PLAN)
    phase = await world.claim(agent)
    await phase.write(b"one\n")
    end = LogEnd(offset=10, next_line=3)
    with pytest.raises(ConflictError) as refused:
        await phase.finish(log_end=end)
    assert refused.value.extra == {"committed": 4, "next_line": 2}
    await phase.write(b"two\n6\n")
    assert (await phase.finish(log_end=end)).status is TaskStatus.SUCCESS


async def test_a_repeated_report_changes_nothing(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.create(workspace)
    plan = await world.claim(agent)
    await plan.run_plan()
    await plan.finish()
    apply = await world.claim(agent)
    before = await world.task(task.id)
    await plan.finish(PhaseOutcome.FAILED)
    assert await world.task(task.id) == before
    await apply.run_apply()
    ended = await world.task(task.id)
    await apply.finish(PhaseOutcome.FAILED)
    await plan.finish()
    assert await world.task(task.id) == ended
    assert world.logs.status(task.id) == "success"


async def test_many_reports_at_once_are_one(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace, TaskType.PLAN)
    phase = await world.claim(agent)
    await phase.write(b"x\n")
    results = await asyncio.gather(
        *(
            actions.finish_phase(
                world.tasks, task_id=phase.task_id, result=phase.result()
            )
            for _ in range(6)
        )
    )
    assert results == [None] * 6
    assert world.logs.rows[phase.task_id].epoch == 2


async def test_other_bytes_than_the_agents_are_told_and_the_result_is_taken(
    world: World,
) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace, TaskType.PLAN)
    phase = await world.claim(agent)
    await phase.write(b"one\n")
    phase.written = b"two\n"
    done = await phase.finish()
    assert done.status is TaskStatus.SUCCESS
    assert "log of the plan phase is damaged" in world.logs.text(task.id)
    assert done.log.has_errors


async def test_an_unknown_lease_is_refused(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace)
    phase = await world.claim(agent)
    phase.lease_id = LeaseId("lease-none")
    with pytest.raises(NotFoundError):
        await phase.finish()
    with pytest.raises(FencedError):
        await phase.started()


async def test_a_state_that_was_not_stored_is_said_at_the_workspace(
    world: World,
) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.planned(agent, workspace)
    phase = await world.claim(agent)
    await phase.finish(PhaseOutcome.FAILED, error="no", state_diverged=True)
    diverged = (await world.fresh(workspace)).state_diverged
    assert diverged is not None
    assert task.id in diverged


# --- what a phase reads and writes -------------------------------------------


async def working(world: World, task_type: TaskType = TaskType.PLAN) -> Phase:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace, task_type)
    return await world.claim(agent)


async def test_the_configuration_comes_in_pieces(world: World) -> None:
    phase = await working(world)
    pieces = await task_data.open_configuration(world.tasks, caller=phase.caller)
    assert b"".join([piece async for piece in pieces]) == b"archive"
    lease = (await world.task(phase.task_id)).lease
    assert lease is not None
    assert lease.started


async def test_plan_and_plan_json_are_sealed_in_their_blobs(world: World) -> None:
    phase = await working(world)
    content = PLAN_JSON.read_bytes()
    for _ in range(2):
        await task_data.store_plan(
            world.tasks, caller=phase.caller, content=b"hunter2xyz"
        )
        await task_data.store_plan_json(
            world.tasks, caller=phase.caller, content=content
        )
    task = await phase.finish()
    assert task.plan_blob is not None
    assert task.plan_json_blob is not None
    for key in (task.plan_blob, task.plan_json_blob):
        assert b"hunter2xyz" not in await world.blobs.get(key)
    assert await task_data.plan_json_of(world.tasks, task=task) == content
    changes = resource_changes(await task_data.plan_of(world.tasks, task=task))
    assert "hunter2xyz" not in changes.model_dump_json()
    assert changes.summary == task.summary
    assert task.has_changes
    planned = await task_data.outputs_of(world.tasks, task=task)
    assert [(o.name, o.value) for o in planned if o.name == "plain"] == [
        ("plain", "hello2")
    ]


async def test_the_apply_phase_gets_the_plan_of_its_plan_phase(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    await world.planned(agent, workspace)
    phase = await world.claim(agent)
    content = await task_data.open_plan(world.tasks, caller=phase.caller)
    assert content == b"PLAN \x00 hunter2xyz"


async def test_an_apply_of_a_saved_plan_gets_that_plan(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    plan = await world.planned(agent, workspace, task_type=TaskType.PLAN)
    task = await world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)
    phase = await world.claim(agent)
    content = await task_data.open_plan(world.tasks, caller=phase.caller)
    assert content == b"PLAN \x00 hunter2xyz"
    changes = await task_data.plan_of(world.tasks, task=await world.task(task.id))
    assert changes.summary.add == 1


async def test_what_is_no_plan_json_is_refused(world: World) -> None:
    phase = await working(world)
    with pytest.raises(InvalidInputError, match="plan JSON"):
        await task_data.store_plan_json(world.tasks, caller=phase.caller, content=b"{}")


async def test_only_the_right_phase_writes(world: World) -> None:
    phase = await working(world)
    with pytest.raises(ConflictError, match="only an apply writes state"):
        await task_data.store_state(
            world.tasks, caller=phase.caller, content=state_of(1)
        )
    with pytest.raises(NotFoundError, match="no stored plan file"):
        await task_data.open_plan(world.tasks, caller=phase.caller)
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    await world.planned(agent, workspace)
    apply = await world.claim(agent)
    with pytest.raises(ConflictError, match="only a plan writes plans"):
        await task_data.store_plan(world.tasks, caller=apply.caller, content=b"x")


async def test_state_is_stored_once_and_checked(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.planned(agent, workspace)
    phase = await world.claim(agent)
    assert await task_data.open_state(world.tasks, caller=phase.caller) is None
    for _ in range(2):
        await task_data.store_state(
            world.tasks, caller=phase.caller, content=state_of(4)
        )
    stored = await task_data.open_state(world.tasks, caller=phase.caller)
    assert stored == state_of(4)
    with pytest.raises(ConflictError, match="serial"):
        await task_data.store_state(
            world.tasks, caller=phase.caller, content=state_of(3)
        )
    done = await phase.finish()
    assert done.id == task.id
    found = await task_data.outputs_of(world.tasks, task=done)
    assert [(o.name, o.value) for o in found] == [("said", 4)]


async def test_a_phase_that_is_over_reads_and_writes_nothing(world: World) -> None:
    phase = await working(world)
    await phase.finish()
    with pytest.raises(FencedError):
        await task_data.open_configuration(world.tasks, caller=phase.caller)
    with pytest.raises(FencedError):
        await task_data.store_plan(world.tasks, caller=phase.caller, content=b"x")
    with pytest.raises(FencedError):
        await task_data.store_state(
            world.tasks, caller=phase.caller, content=state_of(1)
        )
    with pytest.raises(FencedError):
        await task_data.open_state(world.tasks, caller=phase.caller)
    with pytest.raises(FencedError):
        await task_data.open_plan(world.tasks, caller=phase.caller)


# --- leases ------------------------------------------------------------------


async def expire(world: World, seconds: float = 61) -> None:
    world.clock.turn(seconds=seconds)
    await actions.expire_leases(world.tasks)


async def test_pings_and_uploads_keep_a_lease(world: World) -> None:
    phase = await working(world)
    lease = (await world.task(phase.task_id)).lease
    assert lease is not None
    for _ in range(5):
        world.clock.turn(seconds=40)
        await actions.renew_leases(
            world.tasks, agent_id=lease.agent_id, lease_ids=[phase.lease_id]
        )
        await actions.expire_leases(world.tasks)
    for _ in range(5):
        world.clock.turn(seconds=40)
        await actions.renew_lease(
            world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
        )
        await actions.expire_leases(world.tasks)
    assert (await world.task(phase.task_id)).state is TaskState.PLANNING


async def test_a_renewal_shortly_after_another_writes_nothing(world: World) -> None:
    phase = await working(world)
    before = await world.task(phase.task_id)
    world.clock.turn(seconds=2)
    for _ in range(3):
        await actions.renew_lease(
            world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
        )
    assert await world.task(phase.task_id) == before


async def test_other_agents_and_other_leases_keep_nothing(world: World) -> None:
    phase = await working(world)
    before = await world.task(phase.task_id)
    assert before.lease is not None
    world.clock.turn(seconds=30)
    await actions.renew_leases(
        world.tasks, agent_id=AgentId("agent-x"), lease_ids=[phase.lease_id]
    )
    await actions.renew_leases(
        world.tasks, agent_id=before.lease.agent_id, lease_ids=[LeaseId("lease-x")]
    )
    await actions.renew_lease(
        world.tasks, task_id=phase.task_id, lease_id=LeaseId("lease-x")
    )
    assert await world.task(phase.task_id) == before


async def test_a_lost_plan_is_queued_again_under_a_new_epoch(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    first = await world.claim(agent)
    await first.begin(Stage.INIT)
    await first.write(b"half a l")
    await expire(world)
    queued = await world.task(task.id)
    assert (queued.state, queued.lease) == (TaskState.QUEUED, None)
    assert any(isinstance(event, AgentLost) for event in world.logs.events(task.id))
    assert "agent builder was not heard of since" in world.logs.text(task.id)
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.stages == []
    with pytest.raises(ConflictError):
        await first.write(b"ine\n")
    with pytest.raises(FencedError):
        await first.finish()
    second = await world.claim(agent)
    assert second.order.log.epoch > first.order.log.epoch
    assert second.order.log.offset == len(world.logs.text(task.id))
    assert (await second.run_plan()).state is TaskState.APPLY_PENDING
    async with world.transactions.read() as tx:
        leases = await world.tasks.store.leases(tx, task.id)
    assert [lease.outcome for lease in leases] == [
        LeaseOutcome.LOST,
        LeaseOutcome.FINISHED,
    ]


async def test_a_plan_that_keeps_losing_its_agents_fails(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    for _ in range(3):
        await world.claim(agent)
        await expire(world)
    failed = await world.task(task.id)
    assert failed.state is TaskState.FAILED
    assert "3 agents were lost" in failed.error
    assert (await world.fresh(workspace)).lock is None
    assert world.logs.status(task.id) == "failed"


async def applying(world: World) -> tuple[AgentPrincipal, Phase]:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    await world.planned(agent, workspace)
    return agent, await world.claim(agent)


async def test_a_lost_apply_waits_for_its_agent_and_goes_on(world: World) -> None:
    agent, phase = await applying(world)
    await phase.begin(Stage.APPLYING)
    await expire(world)
    lost = await world.task(phase.task_id)
    assert lost.agent_lost
    assert lost.status is TaskStatus.RUNNING
    assert "agent lost during apply" in await world.reason(phase.task_id)
    assert "since 2026-11-21T10:00:00" in lost.reason
    await expire(world, 3600)
    assert await world.task(phase.task_id) == lost
    await actions.renew_leases(
        world.tasks, agent_id=agent.agent_id, lease_ids=[phase.lease_id]
    )
    back = await world.task(phase.task_id)
    assert not back.agent_lost
    assert back.reason == ""
    await phase.end(Stage.APPLYING)
    assert (await phase.finish()).status is TaskStatus.SUCCESS


async def test_a_lost_apply_that_reports_its_end_is_done(world: World) -> None:
    _, phase = await applying(world)
    await phase.started()
    await expire(world)
    done = await phase.finish()
    assert done.status is TaskStatus.SUCCESS
    assert not done.agent_lost


async def test_an_apply_that_never_began_is_given_to_another(world: World) -> None:
    agent, phase = await applying(world)
    await expire(world)
    assert (await world.task(phase.task_id)).state is TaskState.APPLY_READY
    with pytest.raises(FencedError):
        await task_data.open_configuration(world.tasks, caller=phase.caller)
    again = await world.claim(agent)
    assert again.order.phase is PhaseName.APPLY


async def test_force_cancel_of_a_lost_apply_ends_it_at_once(world: World) -> None:
    _, phase = await applying(world)
    await phase.started()
    await expire(world)
    done = await actions.force_cancel(
        world.tasks, task_id=phase.task_id, actor="ann", reason="host is gone"
    )
    assert done.status is TaskStatus.CANCELED
    assert "force-canceled by ann: host is gone" in done.reason
    assert "force-canceled by ann" in world.logs.text(phase.task_id)
    assert world.logs.status(phase.task_id) == "canceled"
    workspace = await world.tasks_workspace(phase)
    assert workspace.lock is None
    assert workspace.state_diverged is not None
    with pytest.raises(FencedError):
        await phase.finish()
    with pytest.raises(ConflictError):
        await phase.write(b"late\n")


async def test_after_a_start_leases_get_time_to_be_renewed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server was down nobody could renew: agents that are well keep theirs."""
    monkeypatch.setattr(loop, "EVERY_SECONDS", 0.01)
    phase = await working(world)
    world.clock.turn(hours=1)

    async def state() -> TaskState:
        await asyncio.sleep(0.2)
        return (await world.task(phase.task_id)).state

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(loop.watch_tasks(world.tasks))
        assert await state() is TaskState.PLANNING
        world.clock.turn(seconds=59)
        assert await state() is TaskState.PLANNING
        world.clock.turn(seconds=2)
        assert await state() is TaskState.QUEUED
        watching.cancel()


async def test_task_tokens_end_with_their_lease(world: World) -> None:
    leases = actions.CurrentLeases(world.transactions, world.tasks.store, world.clock)
    phase = await working(world)
    assert await leases.is_current(phase.task_id, phase.lease_id)
    assert not await leases.is_current(TaskId("task-x"), phase.lease_id)
    assert not await leases.is_current(phase.task_id, LeaseId("lease-x"))
    await phase.finish()
    assert await leases.is_current(phase.task_id, phase.lease_id), "to report again"
    world.clock.turn(minutes=20)
    assert not await leases.is_current(phase.task_id, phase.lease_id)
    lost = await working(world)
    await expire(world)
    assert not await leases.is_current(lost.task_id, lost.lease_id)


async def test_a_ping_between_the_look_and_the_expiry_keeps_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = await working(world)
    look = world.tasks.store.expired

    async def outdated_look(tx: Tx, now: datetime) -> list[TaskId]:
        return [phase.task_id, *await look(tx, now)]

    monkeypatch.setattr(world.tasks.store, "expired", outdated_look)
    world.clock.turn(seconds=30)
    await actions.expire_leases(world.tasks)
    assert (await world.task(phase.task_id)).state is TaskState.PLANNING


async def test_a_ping_and_the_loop_at_once_leave_one_truth(
    transactions: Backing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = await make_world(transactions, tmp_path_factory.mktemp("race"))
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    world.clock.turn(seconds=61)
    await asyncio.gather(
        actions.expire_leases(world.tasks),
        actions.renew_leases(
            world.tasks, agent_id=agent.agent_id, lease_ids=[phase.lease_id]
        ),
        actions.expire_leases(world.tasks),
    )
    now = await world.task(task.id)
    if now.lease is None:
        assert now.state is TaskState.QUEUED
        assert world.logs.rows[task.id].epoch == 2
    else:
        assert now.lease.expires_at > world.clock.now()
        assert world.logs.rows[task.id].epoch == 1
