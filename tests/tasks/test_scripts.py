"""Script tasks: started, claimed, run, lost, found again, given up."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.base.errors import ConflictError, FencedError, InvalidInputError
from sluice.base.ids import OrganizationId, PoolId, TaskId
from sluice.base.paging import Page
from sluice.state.actions import current_state
from sluice.tasks import actions, task_data
from sluice.tasks.model import LeaseOutcome, ScriptFacts, Task, TaskState
from sluice.tasks.ports import TaskFilter
from sluice.tasks.present import task_resource, task_row
from sluice.wire.agent import PhaseName, PhaseOutcome, ScriptOrder, Slots
from sluice.wire.events import AgentLost, Stage
from sluice.wire.shapes.tasks import StageStatus, TaskStatus, TaskType
from tests.tasks.world import PLAN_JSON, POOL, Phase, World, state_of

SECRET = "hunter2-of-the-script"


async def expire(world: World, seconds: float = 61) -> None:
    world.clock.turn(seconds=seconds)
    await actions.expire_leases(world.tasks)


async def begun(world: World) -> Phase:
    """A script that runs and has said one line."""
    agent = await world.agent()
    await world.script()
    phase = await world.claim(agent)
    await phase.started()
    await phase.begin(Stage.RUNNING)
    await phase.write(b"unpacking\n")
    return phase


# --- the plain way -----------------------------------------------------------


async def test_a_script_runs_as_it_was_started(world: World) -> None:
    agent = await world.agent()
    order = ScriptOrder(
        name="install",
        interpreter=["bash", "-eu"],
        body="echo $TOKEN",
        environment={"TOKEN": SECRET, "VERSION": "5"},
        sensitive=["TOKEN"],
        timeout_seconds=30,
    )
    task = await world.script(script=order, message="five")
    assert (task.state, task.workspace_id) == (TaskState.QUEUED, None)
    phase = await world.claim(agent)
    assert phase.order.script == order
    assert (phase.order.phase, phase.order.action) == (PhaseName.SCRIPT, "script")
    empty = (
        phase.order.workspace_id,
        phase.order.workspace_name,
        phase.order.configuration_url,
        phase.order.state_url,
    )
    assert empty == ("", "", "", "")
    running = await world.task(task.id)
    assert running.status is TaskStatus.RUNNING
    assert running.state is TaskState.RUNNING
    done = await phase.run_script(b"one\ntwo\n")
    assert done.status is TaskStatus.SUCCESS
    assert done.exit_code == 0
    assert done.reason == "the script ended with exit code 0"
    assert world.logs.status(task.id) == "success"
    assert (done.log.script_lines, done.log.script_last_line) == (4, "two")
    assert (done.log.plan_lines, done.log.apply_lines) == (0, 0)


async def test_values_of_parameters_are_nowhere_but_sealed(world: World) -> None:
    order = ScriptOrder(name="x", body="true", environment={"TOKEN": SECRET})
    task = await world.script(script=order)
    async with world.transactions.read() as tx:
        stored = await world.tasks.store.get(tx, task.id)
    assert stored is not None
    assert stored.sealed_script is not None
    assert SECRET not in repr(stored)
    assert SECRET.encode() not in stored.sealed_script


async def test_a_sealed_script_opens_for_its_own_task_alone(world: World) -> None:
    agent = await world.agent()
    first, second = await world.script(), await world.script()
    async with world.transactions.write() as tx:
        mine = await world.tasks.store.get(tx, second.id)
        assert mine is not None
        assert first.sealed_script is not None
        await world.tasks.store.save(
            tx, replace(mine, sealed_script=first.sealed_script)
        )
    assert (await world.claim(agent)).task_id == first.id
    await world.nothing(agent)
    failed = await world.task(second.id)
    assert failed.state is TaskState.FAILED
    assert "could not make up the phase" in failed.error


async def test_a_failing_script_tells_its_exit_code(world: World) -> None:
    agent = await world.agent()
    await world.script()
    done = await (await world.claim(agent)).run_script(b"no\n", code=7)
    assert (done.status, done.exit_code) == (TaskStatus.FAILED, 7)
    assert done.error == "The script ended with exit code 7."
    assert done.log.has_errors
    details = await actions.get_task_details(world.tasks, task_id=done.id)
    (stage,) = details.stages
    assert (stage.stage, stage.status) == (Stage.RUNNING, StageStatus.FAILED)


async def test_a_time_out_is_told_in_the_agents_words(world: World) -> None:
    phase = await begun(world)
    done = await phase.finish(
        PhaseOutcome.FAILED, error="It ran longer than 60 s.", exit_code=-15
    )
    assert done.reason == "failed: It ran longer than 60 s."
    assert done.exit_code == -15


async def test_an_impossible_exit_code_does_not_keep_a_task_from_its_end(
    world: World,
) -> None:
    phase = await begun(world)
    done = await phase.finish(PhaseOutcome.FAILED, exit_code=2**40)
    assert (done.status, done.exit_code) == (TaskStatus.FAILED, None)


async def test_scripts_count_as_plans_and_need_no_lock(world: World) -> None:
    agent = await world.agent()
    await world.script()
    await world.script()
    await world.nothing(agent, Slots(apply=1))
    first = await world.claim(agent, Slots(plan=2))
    second = await world.claim(agent, Slots(plan=1))
    assert first.task_id != second.task_id


async def test_a_pool_of_another_organization_is_refused(world: World) -> None:
    with pytest.raises(InvalidInputError, match="pool_id: there is no pool"):
        await world.script(pool_id=PoolId("pool-none"))
    other = OrganizationId("org-2")
    with pytest.raises(InvalidInputError, match="pool_id"):
        await world.script(pool_id=POOL, organization_id=other)
    task = await world.script(pool_id=POOL)
    assert task.pool_id == POOL


async def test_an_id_is_given_once(world: World) -> None:
    first = await world.script(task_id=TaskId("nightly"))
    assert first.id == "nightly"
    with pytest.raises(ConflictError, match="There is a task nightly already"):
        await world.script(task_id=TaskId("nightly"))
    assert await world.task(first.id) == first


async def test_cancel_in_the_queue_and_on_the_agent(world: World) -> None:
    agent, queued = await world.agent(), await world.script()
    done = await actions.cancel(
        world.tasks, task_id=queued.id, actor="ann", reason="no"
    )
    assert done.status is TaskStatus.CANCELED
    assert world.logs.status(queued.id) == "canceled"
    await world.script()
    phase = await world.claim(agent)
    await actions.cancel(world.tasks, task_id=phase.task_id, actor="ann", reason="")
    command = await actions.command_for_task(world.tasks, task_id=phase.task_id)
    assert command == "cancel"
    ended = await phase.finish(PhaseOutcome.CANCELED, exit_code=-2)
    assert (ended.status, ended.reason) == (TaskStatus.CANCELED, "canceled by ann")


# --- how it is shown ---------------------------------------------------------


async def test_lists_find_scripts_by_key_and_type(world: World) -> None:
    workspace = await world.workspace()
    await world.create(workspace)
    hello = await world.script()
    other = await world.script(facts=ScriptFacts(name="other", key="other"))
    unnamed = await world.script(facts=ScriptFacts(name="exec"))

    async def ids(**which: object) -> list[TaskId]:
        listing = await actions.list_tasks(
            world.tasks,
            which=TaskFilter(**which),  # type: ignore[arg-type]
            page=Page(),
        )
        return [task.id for task, _ in listing.tasks]

    scripts = [unnamed.id, other.id, hello.id]
    assert await ids(task_type=TaskType.SCRIPT) == scripts
    assert await ids(script="hello") == [hello.id]
    assert await ids(script="none") == []


async def test_the_resource_of_a_script(world: World) -> None:
    phase = await begun(world)
    details = await actions.get_task_details(world.tasks, task_id=phase.task_id)
    shown = task_resource(details)
    assert shown.workspace_id is None
    assert shown.script is not None
    assert shown.script.model_dump() == {
        "name": "hello",
        "key": "hello",
        "version": "1.2",
    }
    assert (shown.stage, shown.exit_code) == ("running", None)
    assert [stage.name for stage in shown.stages] == ["running"]
    assert shown.can_cancel
    done = await phase.finish(exit_code=0)
    row = task_row(done, done.reason)
    assert (row.exit_code, row.workspace_id) == (0, None)
    assert (row.log_summary.script_lines, row.log_summary.last_line) == (2, "unpacking")


# --- lost --------------------------------------------------------------------


async def test_a_script_that_did_not_begin_is_given_to_another(world: World) -> None:
    agent = await world.agent()
    task = await world.script()
    first = await world.claim(agent)
    await expire(world)
    assert (await world.task(task.id)).state is TaskState.QUEUED
    with pytest.raises(FencedError):
        await first.started()
    second = await world.claim(agent)
    assert second.order.script == first.order.script
    assert (await second.run_script()).status is TaskStatus.SUCCESS


async def test_a_begun_script_waits_for_its_agent_and_is_done_by_it(
    world: World,
) -> None:
    phase = await begun(world)
    await expire(world)
    lost = await world.task(phase.task_id)
    assert lost.agent_lost
    assert lost.status is TaskStatus.RUNNING
    await world.nothing(await world.agent("another"))
    reason = await world.reason(phase.task_id)
    assert "agent lost during the script: agent builder is unreachable since" in reason
    assert reason.endswith('last line received: "unpacking"')
    await expire(world, 3600)
    assert await world.task(phase.task_id) == lost
    await phase.write(b"done\n")
    done = await phase.finish(exit_code=0)
    assert (done.status, done.exit_code) == (TaskStatus.SUCCESS, 0)
    assert done.log.script_last_line == "done"
    assert not any(isinstance(e, AgentLost) for e in world.logs.events(phase.task_id))


async def test_a_lost_script_that_is_heard_of_goes_on(world: World) -> None:
    phase = await begun(world)
    await expire(world)
    await actions.renew_lease(
        world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
    )
    back = await world.task(phase.task_id)
    assert (back.agent_lost, back.reason) == (False, "")


async def test_force_cancel_ends_a_lost_script(world: World) -> None:
    phase = await begun(world)
    await expire(world)
    done = await actions.force_cancel(
        world.tasks, task_id=phase.task_id, actor="ann", reason="host is gone"
    )
    assert done.status is TaskStatus.CANCELED
    assert "force-canceled by ann: host is gone" in done.reason
    assert world.logs.status(phase.task_id) == "canceled"
    with pytest.raises(FencedError):
        await phase.finish(exit_code=0)


async def test_a_lost_script_fails_after_the_setting(world: World) -> None:
    phase = await begun(world)
    await expire(world)
    wait = world.tasks.lost_script_seconds
    await expire(world, wait - 61)
    assert (await world.task(phase.task_id)).agent_lost
    await expire(world, 61)
    failed = await world.task(phase.task_id)
    assert failed.status is TaskStatus.FAILED
    assert "agent builder was not heard of since 2026-11-21T10:00:00" in failed.error
    assert "whether the script reached its end is not known" in failed.reason
    assert failed.error in world.logs.text(phase.task_id)
    assert world.logs.status(phase.task_id) == "failed"
    async with world.transactions.read() as tx:
        (lease,) = await world.tasks.store.leases(tx, phase.task_id)
    assert lease.outcome is LeaseOutcome.LOST
    assert lease.log_end == phase.order.log.offset + len(phase.written)
    with pytest.raises(FencedError):
        await phase.finish(exit_code=0)


async def test_a_script_that_came_back_is_not_given_up(world: World) -> None:
    phase = await begun(world)
    await expire(world)
    await actions.renew_lease(
        world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
    )
    await expire(world, world.tasks.lost_script_seconds)
    lost = await world.task(phase.task_id)
    assert lost.agent_lost, "lost anew, and its time begins anew"
    assert lost.status is TaskStatus.RUNNING


async def test_a_lost_apply_is_never_given_up(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    await world.planned(agent, workspace)
    phase = await world.claim(agent)
    await phase.started()
    await expire(world)
    await expire(world, 30 * timedelta(days=1).total_seconds())
    lost = await world.task(phase.task_id)
    assert (lost.agent_lost, lost.state) == (True, TaskState.APPLYING)


async def test_an_apply_that_was_lost_is_taken_in_whole(world: World) -> None:
    """Its agent comes back hours later: lines, state, stages and result count."""
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.planned(agent, workspace)
    phase = await world.claim(agent)
    await phase.started()
    await phase.begin(Stage.APPLYING)
    await phase.write(b"aws_vpc.main: Creating...\n")
    await expire(world)
    await expire(world, 5 * 3600)
    assert (await world.task(task.id)).agent_lost
    lock = (await world.fresh(workspace)).lock
    assert lock is not None
    assert lock.id == task.id, "nobody else applies meanwhile"
    done = await _came_back(world, phase)
    assert (done.status, done.reason) == (TaskStatus.SUCCESS, "applied")
    assert not done.agent_lost
    text = world.logs.text(task.id)
    assert "Creating...\n" in text
    assert "Creation complete\n" in text
    assert world.logs.status(task.id) == "success"
    assert (await world.fresh(workspace)).lock is None
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    ended = {s.stage: s.status for s in details.stages if s.phase is PhaseName.APPLY}
    assert ended[Stage.APPLYING] is StageStatus.COMPLETED


async def _came_back(world: World, phase: Phase) -> Task:
    await phase.write(b"aws_vpc.main: Creation complete\n")
    await phase.end(Stage.APPLYING)
    await task_data.store_state(
        world.tasks, caller=phase.caller, content=state_of(serial=1)
    )
    done = await phase.finish()
    state = await current_state(world.tasks.states, workspace_id=done.home)
    assert state is not None
    assert state.task_id == done.id
    return done


# --- an agent that cannot be reached -----------------------------------------


async def test_silence_shows_before_the_lease_runs_out(world: World) -> None:
    phase = await begun(world)
    since = "2026-11-21T10:00:00"
    world.clock.turn(seconds=34)
    assert await world.reason(phase.task_id) == ""
    world.clock.turn(seconds=2)
    reason = await world.reason(phase.task_id)
    assert reason.startswith(f"agent builder is unreachable since {since}")
    assert reason.endswith('last line received: "unpacking"')
    listing = await actions.list_tasks(
        world.tasks, which=TaskFilter(task_type=TaskType.SCRIPT), page=Page()
    )
    assert [why for _, why in listing.tasks] == [reason]
    assert not (await world.task(phase.task_id)).agent_lost
    await actions.renew_lease(
        world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
    )
    assert await world.reason(phase.task_id) == ""


async def test_silence_of_an_apply_and_of_one_without_lines(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace(auto_apply=True)
    task = await world.planned(agent, workspace)
    phase = await world.claim(agent)
    await phase.started()
    await phase.begin(Stage.APPLYING)
    await phase.write(b"x" * 300 + b"\n")
    await expire(world)
    reason = await world.reason(task.id)
    assert "agent lost during apply: agent builder is unreachable since" in reason
    assert reason.endswith(f'last line received: "{"x" * 200}"')
    await world.script()
    other = await world.claim(await world.agent("quiet"))
    world.clock.turn(seconds=36)
    quiet = await world.reason(other.task_id)
    assert quiet.endswith("no line was received yet")


async def test_a_cancel_that_cannot_be_delivered_says_both(world: World) -> None:
    phase = await begun(world)
    await actions.cancel(world.tasks, task_id=phase.task_id, actor="ann", reason="")
    world.clock.turn(seconds=36)
    reason = await world.reason(phase.task_id)
    assert reason.startswith("being canceled by ann; agent builder is unreachable")


async def test_a_log_that_cannot_be_read_takes_nothing_but_its_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = await begun(world)
    world.clock.turn(seconds=36)

    async def away(task_id: TaskId) -> None:
        raise ConflictError("damaged")

    monkeypatch.setattr(world.logs, "head", away)
    reason = await world.reason(phase.task_id)
    assert reason.startswith("agent builder is unreachable since")


# --- saved plans and versions ------------------------------------------------


async def test_an_apply_of_a_saved_plan_shows_its_plan_and_takes_its_version(
    world: World,
) -> None:
    agent = await world.agent()
    workspace = await world.workspace(terraform_version="latest")
    await world.create(workspace, TaskType.PLAN)
    phase = await world.claim(agent)
    assert phase.order.terraform_version == "latest"
    plan = await _planned_with(phase, "1.12.1")
    assert plan.resolved_version == "1.12.1"
    apply = await world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)
    assert apply.has_changes is True
    assert apply.summary == plan.summary
    assert apply.summary is not None
    assert (await world.claim(agent)).order.terraform_version == "1.12.1"
    details = await actions.get_task_details(world.tasks, task_id=apply.id)
    assert task_resource(details).resolved_version == "1.12.1"


async def _planned_with(phase: Phase, version: str) -> Task:
    await phase.started()
    await task_data.store_plan(phase.world.tasks, caller=phase.caller, content=b"PLAN")
    await task_data.store_plan_json(
        phase.world.tasks, caller=phase.caller, content=PLAN_JSON.read_bytes()
    )
    return await phase.finish(has_changes=True, engine_version=version)


async def test_the_apply_phase_names_the_version_of_its_plan_phase(
    world: World,
) -> None:
    agent = await world.agent()
    workspace = await world.workspace(terraform_version="~> 1.11", auto_apply=True)
    await world.create(workspace)
    await _planned_with(await world.claim(agent), "v1.11.9")
    assert (await world.claim(agent)).order.terraform_version == "1.11.9"


async def test_a_version_that_is_none_is_not_taken(world: World) -> None:
    agent = await world.agent()
    workspace = await world.workspace(terraform_version="latest", auto_apply=True)
    await world.create(workspace)
    planned = await _planned_with(await world.claim(agent), "rm -rf /")
    assert planned.resolved_version == ""
    assert (await world.claim(agent)).order.terraform_version == "latest"
