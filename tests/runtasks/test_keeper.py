"""What is asked of a task, where it stops, and what becomes of what nobody came to."""

from dataclasses import replace
from pathlib import Path

import pytest

from sluice.runtasks.model import Result
from sluice.tasks import actions
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.model import Gate, Task, TaskState
from sluice.wire.run_task import ResultStatus, RunTaskStage
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.runtasks.rig import ADVISORY, MANDATORY, Rig, make_rig

STAGES = list(RunTaskStage)


@pytest.fixture
async def rig(transactions: Backing, tmp_path: Path) -> Rig:
    return await make_rig(transactions, tmp_path)


async def everywhere(rig: Rig) -> Workspace:
    """A workspace in which `at-STAGE` is asked at each stage."""
    workspace = await rig.world.workspace()
    for stage in STAGES:
        level = ADVISORY if stage is RunTaskStage.POST_APPLY else MANDATORY
        await rig.attach(workspace, f"at-{stage.replace('_', '-')}", stage, level)
    return workspace


async def statuses(rig: Rig, task: Task) -> dict[str, str]:
    return {
        result.stage.value: result.status.value for result in await rig.results(task)
    }


async def answered(rig: Rig, status: str = "passed") -> Result:
    """The one call that is due is made and answered."""
    assert await rig.call() == 1
    return await rig.say(rig.sender.sent[-1], status)


@pytest.mark.parametrize(
    ("task_type", "wanted"),
    [
        (TaskType.PLAN, {Gate.PRE_PLAN, Gate.POST_PLAN}),
        (
            TaskType.PLAN_AND_APPLY,
            {Gate.PRE_PLAN, Gate.POST_PLAN, Gate.PRE_APPLY, Gate.POST_APPLY},
        ),
    ],
)
async def test_a_task_stops_where_something_is_asked(
    rig: Rig, task_type: TaskType, wanted: set[Gate]
) -> None:
    workspace = await everywhere(rig)
    task = await rig.world.create(workspace, task_type)
    assert task.gates == wanted
    found = await rig.results(task)
    assert {Gate(result.stage.value) for result in found} == wanted
    assert {result.status for result in found} == {ResultStatus.PENDING}


async def test_a_script_is_not_asked_about(rig: Rig) -> None:
    await everywhere(rig)
    task = await rig.world.script()
    assert task.gates == frozenset()
    assert await rig.results(task) == []


async def test_what_is_disabled_is_skipped_and_stops_nobody(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    await rig.attach(workspace, "off", RunTaskStage.PRE_PLAN, enabled=False)
    await rig.attach(workspace, "off-too", RunTaskStage.POST_PLAN, enabled=False)
    await rig.attach(workspace, "on", RunTaskStage.POST_PLAN)
    task = await rig.world.create(workspace)
    assert task.gates == {Gate.POST_PLAN}
    found = {result.name: result for result in await rig.results(task)}
    assert found["off"].status is ResultStatus.SKIPPED
    assert found["off"].message == "the run task is disabled"
    assert found["off-too"].status is ResultStatus.SKIPPED
    assert found["on"].status is ResultStatus.PENDING


async def test_later_changes_do_not_touch_a_task_that_is_under_way(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    first = await rig.attach(workspace, "first", RunTaskStage.PRE_PLAN)
    task = await rig.world.create(workspace)
    await rig.attach(workspace, "second", RunTaskStage.PRE_PLAN)
    async with rig.world.transactions.write() as tx:
        await rig.definitions.save(tx, replace(first, enabled=False, name="renamed"))
    await open_gates(rig.deps.tasks)
    await answered(rig)
    [result] = await rig.results(task)
    assert (result.name, result.status) == ("first", ResultStatus.PASSED)
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED


async def test_a_whole_way_asks_at_each_stage_once(rig: Rig) -> None:
    workspace = await everywhere(rig)
    agent = await rig.world.agent()
    task = await rig.world.create(workspace)
    await rig.world.nothing(agent)
    await open_gates(rig.deps.tasks)
    await answered(rig)
    await (await rig.world.claim(agent)).run_plan()
    assert (await rig.world.task(task.id)).gate is Gate.POST_PLAN
    await answered(rig)
    await actions.confirm(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    assert (await rig.world.task(task.id)).gate is Gate.PRE_APPLY
    await rig.world.nothing(agent)
    await answered(rig)
    await (await rig.world.claim(agent)).run_apply()
    assert (await rig.world.task(task.id)).gate is Gate.POST_APPLY
    await answered(rig, "failed")
    ended = await rig.world.task(task.id)
    assert (ended.state, ended.reason) == (TaskState.SUCCESS, "applied")
    asked = [sent.payload["stage"] for sent in rig.sender.sent]
    assert asked == [stage.value for stage in STAGES]
    assert [stage.answered_at is None for stage in await rig.stages(task)] == [
        False
    ] * 4


async def test_a_stage_that_is_never_reached_is_skipped(rig: Rig) -> None:
    workspace = await everywhere(rig)
    task = await rig.world.create(workspace, auto_apply=True)
    await open_gates(rig.deps.tasks)
    await answered(rig, "failed")
    assert (await rig.world.task(task.id)).state is TaskState.FAILED
    assert await statuses(rig, task) == {
        "pre_plan": "failed",
        "post_plan": "skipped",
        "pre_apply": "skipped",
        "post_apply": "skipped",
    }
    async with rig.world.transactions.read() as tx:
        assert await rig.store.count_open(tx) == {}


async def test_nothing_to_change_skips_the_stages_of_the_apply(rig: Rig) -> None:
    workspace = await everywhere(rig)
    agent = await rig.world.agent()
    task = await rig.world.create(workspace)
    await open_gates(rig.deps.tasks)
    await answered(rig)
    await (await rig.world.claim(agent)).run_plan(has_changes=False)
    await answered(rig)
    assert (await rig.world.task(task.id)).state is TaskState.SUCCESS
    found = await statuses(rig, task)
    assert (found["pre_apply"], found["post_apply"]) == ("skipped", "skipped")


async def test_a_cancel_cancels_what_was_not_asked_too(rig: Rig) -> None:
    workspace = await everywhere(rig)
    task = await rig.world.create(workspace)
    await actions.cancel(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    assert set((await statuses(rig, task)).values()) == {"canceled"}
    await open_gates(rig.deps.tasks)
    assert await rig.call() == 0


async def test_a_cancel_after_the_apply_leaves_it_applied(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    await rig.attach(workspace, "tell", RunTaskStage.POST_APPLY, ADVISORY)
    agent = await rig.world.agent()
    task = await rig.world.planned(agent, workspace)
    await actions.confirm(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    await (await rig.world.claim(agent)).run_apply()
    await rig.call()
    await actions.cancel(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    assert (await rig.world.task(task.id)).state is TaskState.SUCCESS
    assert await statuses(rig, task) == {"post_apply": "canceled"}


async def test_a_lost_plan_is_made_again_and_nobody_asked_twice(rig: Rig) -> None:
    workspace = await everywhere(rig)
    agent = await rig.world.agent()
    task = await rig.world.create(workspace)
    await open_gates(rig.deps.tasks)
    await answered(rig)
    await (await rig.world.claim(agent)).started()
    rig.clock.turn(seconds=120)
    await actions.expire_leases(rig.deps.tasks)
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED
    await open_gates(rig.deps.tasks)
    assert await rig.call() == 0
    await (await rig.world.claim(await rig.world.agent("other"))).run_plan()
    await answered(rig)
    assert len(rig.sender.sent) == 2
