"""Who may let a failed result pass, and what becomes of the task then."""

from dataclasses import replace
from pathlib import Path

import pytest

from sluice.auth.audit import AuditFilter
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import RunTaskResultId, TaskId
from sluice.base.paging import Page
from sluice.runtasks.model import Result
from sluice.runtasks.overrides import override_result
from sluice.tasks import actions
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.gates import Verdict
from sluice.tasks.model import Gate, Task, TaskState
from sluice.tasks.overrides import let_pass
from sluice.testing.memory_keeper import MemoryKeeper
from sluice.wire.run_task import ResultStatus, RunTaskStage
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.runtasks.rig import ADVISORY, MANDATORY, Rig, make_rig


@pytest.fixture
async def rig(transactions: Backing, tmp_path: Path) -> Rig:
    return await make_rig(transactions, tmp_path)


REFUSED = Verdict(passed=False, text="too dear")


async def override(rig: Rig, result: Result, reason: str = "it is fine") -> Result:
    return await override_result(
        rig.deps,
        task_id=result.task_id,
        result_id=result.id,
        actor="ann",
        reason=reason,
    )


async def say_all(rig: Rig, task: Task, status: str) -> None:
    """Every service that is due says this."""
    before = len(rig.sender.sent)
    await rig.call()
    for sent in rig.sender.sent[before:]:
        await rig.say(sent, status)


async def failed_plan(
    rig: Rig, task_type: TaskType = TaskType.PLAN
) -> tuple[Workspace, Task]:
    """A task that `a` and `b` stopped after its plan; `style` only warned."""
    workspace = await rig.world.workspace()
    for name, level in (("a", MANDATORY), ("b", MANDATORY), ("style", ADVISORY)):
        await rig.attach(workspace, name, RunTaskStage.POST_PLAN, level)
    given = {} if task_type is TaskType.PLAN else {"auto_apply": True}
    task = await rig.world.planned(
        await rig.world.agent(), workspace, task_type=task_type, **given
    )
    await say_all(rig, task, "failed")
    task = await rig.world.task(task.id)
    assert (task.state, task.gate) == (TaskState.FAILED, Gate.POST_PLAN)
    return workspace, task


async def test_while_others_are_waited_for_it_counts_as_passed(rig: Rig) -> None:
    task = await rig.at_gate("a", "b")
    await rig.call()
    said = {sent.url: sent for sent in rig.sender.sent}
    await rig.say(said["https://a.example.com/check"], "failed")
    a, b = await rig.results(task)
    with pytest.raises(ConflictError, match="it is running"):
        await override(rig, b)
    passed = await override(rig, a)
    assert passed.override is not None
    assert (passed.override.by, passed.override.reason) == ("ann", "it is fine")
    assert "run task a overridden: it is fine" in rig.log(task)
    with pytest.raises(ConflictError, match="ann has overridden it already"):
        await override(rig, a)
    await rig.say(said["https://b.example.com/check"], "passed")
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED


async def test_an_override_is_on_record(rig: Rig) -> None:
    _, task = await failed_plan(rig)
    await override(rig, (await rig.results(task))[0], "we know")
    async with rig.world.transactions.read() as tx:
        [entry], _ = await rig.deps.audit.page(tx, AuditFilter(), Page())
        [record] = await rig.deps.tasks.store.actions(tx, task.id)
    assert (entry.actor, entry.action) == ("ann", "run_task_result.override")
    assert entry.detail["reason"] == "we know"
    assert (record.action, record.actor, record.reason) == (
        "override",
        "ann",
        "we know",
    )


@pytest.mark.parametrize("task_type", [TaskType.PLAN, TaskType.PLAN_AND_APPLY])
async def test_a_failed_plan_may_be_applied_once_nothing_stops_it(
    rig: Rig, task_type: TaskType
) -> None:
    workspace, task = await failed_plan(rig, task_type)
    a, b, _ = await rig.results(task)
    await override(rig, a)
    assert not (await rig.world.task(task.id)).gate_overridden
    with pytest.raises(Exception, match="plan_task_id"):
        await rig.world.create(workspace, TaskType.APPLY, plan_task_id=task.id)
    await override(rig, b)
    assert (await rig.world.task(task.id)).gate_overridden
    apply = await rig.world.create(workspace, TaskType.APPLY, plan_task_id=task.id)
    assert apply.gates == frozenset()
    await (await rig.world.claim(await rig.world.agent("other"))).run_apply()
    assert (await rig.world.task(apply.id)).state is TaskState.SUCCESS


async def blocked(rig: Rig) -> Task:
    """A task that a person attends to, and that `a` and `b` blocked before its plan."""
    task = await rig.at_gate("a", "b", auto_apply=False)
    await say_all(rig, task, "failed")
    task = await rig.world.task(task.id)
    assert (task.state, task.gate) == (TaskState.BLOCKED, Gate.PRE_PLAN)
    return task


async def test_a_blocked_task_goes_on_once_nothing_stops_it(rig: Rig) -> None:
    task = await blocked(rig)
    a, b = await rig.results(task)
    await override(rig, a)
    still = await rig.world.task(task.id)
    assert still.state is TaskState.BLOCKED
    assert "run task a" not in still.reason
    assert "run task b (mandatory) failed" in still.reason
    [stage] = await rig.stages(task)
    assert stage.passed is False
    await override(rig, b)
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED
    [stage] = await rig.stages(task)
    assert stage.passed is True
    with pytest.raises(ConflictError, match="has overridden it already"):
        await override(rig, b)


async def test_a_blocked_task_that_is_discarded_is_over(rig: Rig) -> None:
    task = await blocked(rig)
    await actions.discard(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    assert (await rig.world.task(task.id)).state is TaskState.DISCARDED
    a, _ = await rig.results(task)
    assert a.status is ResultStatus.FAILED
    with pytest.raises(ConflictError, match="start a new task"):
        await override(rig, a)


async def test_what_was_overridden_before_an_apply_is_not_asked_again(
    rig: Rig,
) -> None:
    workspace = await rig.world.workspace()
    await rig.attach(workspace, "last-look", RunTaskStage.PRE_APPLY)
    agent = await rig.world.agent()
    plan = await rig.world.planned(agent, workspace, auto_apply=True)
    await say_all(rig, plan, "failed")
    failed = await rig.world.task(plan.id)
    assert (failed.state, failed.gate) == (TaskState.FAILED, Gate.PRE_APPLY)
    await override(rig, await rig.only(plan))
    apply = await rig.world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)
    assert apply.gates == frozenset()
    spared = await rig.only(apply)
    assert spared.status is ResultStatus.SKIPPED
    assert spared.message == f"overridden at {plan.id}"


async def test_what_a_failed_plan_did_not_come_to_is_asked_at_its_apply(
    rig: Rig,
) -> None:
    costs = MemoryKeeper({Gate.COST_ESTIMATION})
    keepers = (*rig.deps.tasks.keepers, costs)
    rig.world.tasks = replace(rig.deps.tasks, keepers=keepers)
    rig.deps = replace(rig.deps, tasks=rig.world.tasks)
    workspace = await rig.world.workspace()
    await rig.attach(workspace, "after", RunTaskStage.POST_PLAN)
    plan = await rig.world.create(workspace, TaskType.PLAN)
    await (await rig.world.claim(await rig.world.agent())).run_plan()
    await costs.answer(rig.deps.tasks, plan.id, Gate.COST_ESTIMATION, REFUSED)
    assert (await rig.world.task(plan.id)).state is TaskState.FAILED
    assert (await rig.only(plan)).status is ResultStatus.SKIPPED
    async with rig.world.transactions.write() as tx:
        failed = await rig.deps.tasks.store.lock(tx, plan.id)
        assert failed is not None
        await let_pass(rig.deps.tasks, tx, failed)
    apply = await rig.world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)
    assert apply.gates == {Gate.POST_PLAN}
    await open_gates(rig.deps.tasks)
    await say_all(rig, apply, "passed")
    assert (
        rig.sender.sent[0]
        .payload["plan_json_api_url"]
        .endswith(f"/tasks/{apply.id}/plan-json")
    )
    assert (await rig.world.task(apply.id)).gate is None


async def test_before_the_plan_it_is_too_late(rig: Rig) -> None:
    task = await rig.at_gate()
    await say_all(rig, task, "failed")
    with pytest.raises(ConflictError, match="start a new task"):
        await override(rig, await rig.only(task))


async def test_what_stopped_nothing_is_not_overridden(rig: Rig) -> None:
    _, task = await failed_plan(rig)
    advisory = (await rig.results(task))[2]
    with pytest.raises(ConflictError, match="it is advisory"):
        await override(rig, advisory)


async def test_a_canceled_task_stays_canceled(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    for name in ("a", "b"):
        await rig.attach(workspace, name, RunTaskStage.POST_PLAN)
    task = await rig.world.planned(await rig.world.agent(), workspace)
    await rig.call()
    await rig.say(rig.sender.sent[0], "failed")
    await actions.cancel(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    [failed] = [
        result
        for result in await rig.results(task)
        if result.status is ResultStatus.FAILED
    ]
    with pytest.raises(ConflictError, match="did not end with a plan"):
        await override(rig, failed)


async def test_a_result_of_another_task_is_not_found(rig: Rig) -> None:
    _, task = await failed_plan(rig)
    result = (await rig.results(task))[0]
    for task_id, result_id in (
        (TaskId("task-none"), result.id),
        (task.id, RunTaskResultId("rtr-none")),
    ):
        with pytest.raises(NotFoundError):
            await override_result(
                rig.deps,
                task_id=task_id,
                result_id=result_id,
                actor="ann",
                reason="x",
            )
