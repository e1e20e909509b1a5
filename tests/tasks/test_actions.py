"""What people do with tasks: create, look, confirm, discard, cancel."""

from typing import Any

import pytest
from pydantic import ValidationError

from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from sluice.base.ids import TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.tasks import actions
from sluice.tasks.loop import look_at_logs
from sluice.tasks.model import TaskState
from sluice.tasks.ports import TaskFilter
from sluice.tasks.present import task_resource, task_row
from sluice.wire.agent import PhaseOutcome
from sluice.wire.events import Note
from sluice.wire.shapes.tasks import RunVariable, TaskInput, TaskStatus, TaskType
from sluice.wire.shapes.workspaces import ExecutionMode
from sluice.workspaces.actions import (
    delete_workspace,
    force_unlock_workspace,
    lock_workspace,
)
from tests.tasks.world import World

# --- create ------------------------------------------------------------------


async def test_a_new_task_takes_its_settings_from_the_workspace(world: World) -> None:
    workspace = await world.workspace(auto_apply=True, working_directory="live")
    version = await world.configuration(workspace.id)
    task = await world.create(workspace, message="first", targets=["aws_vpc.main"])
    stored = await world.task(task.id)
    assert stored == task
    assert task.state is TaskState.QUEUED
    assert task.auto_apply
    assert task.working_directory == "live"
    assert task.terraform_version == "1.11.4"
    assert task.configuration_version_id == version
    assert task.options.targets == ["aws_vpc.main"]
    assert world.logs.text(task.id) == ""


async def test_run_variables_are_sealed(world: World) -> None:
    workspace = await world.workspace()
    secret = RunVariable(key="token", value="s3cr3t-value")
    task = await world.create(workspace, variables=[secret])
    assert task.sealed_variables is not None
    assert b"s3cr3t-value" not in task.sealed_variables


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"task_type": "script"}, "script"),
        ({"task_type": "apply"}, "plan_task_id: an apply needs"),
        ({"task_type": "plan", "plan_task_id": "task-1"}, "only an apply takes"),
        ({"destroy": True, "refresh_only": True}, "refresh_only"),
        ({"refresh_only": True, "refresh": False}, "refresh"),
        ({"destroy": True, "replace": ["a.b"]}, "replace"),
        ({"targets": [""]}, "targets"),
        ({"targets": ["-destroy"]}, "targets"),
        ({"replace": ["a.b\nc"]}, "replace"),
        ({"variables": [{"key": "a b", "value": ""}]}, "variables: 'a b'"),
        (
            {"variables": [{"key": "a", "value": ""}, {"key": "a", "value": "1"}]},
            "more than once",
        ),
        (
            {"variables": [{"key": "a", "value": "[1", "hcl": True}]},
            "the value of a is no HCL expression: the bracket `[` in line 1, column 1",
        ),
        ({"configuration_version_id": "cv-none"}, "configuration_version_id"),
        (
            {"task_type": "apply", "plan_task_id": "task-1", "destroy": True},
            "takes everything from the plan",
        ),
        ({"task_type": "apply", "plan_task_id": "task-1"}, "no such task"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field(
    world: World, wanted: dict[str, Any], words: str
) -> None:
    workspace = await world.workspace()
    given = TaskInput.model_validate({"task_type": "plan_and_apply", **wanted})
    with pytest.raises(InvalidInputError) as refused:
        await actions.create_task(
            world.tasks, workspace_id=workspace.id, wanted=given, actor="ann"
        )
    assert words in refused.value.detail
    listing = await actions.list_tasks(world.tasks, which=TaskFilter(), page=Page())
    assert listing.total == 0


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        TaskInput.model_validate({"task_type": "plan", "auto-apply": True})


async def test_a_plan_only_workspace_refuses_applies(world: World) -> None:
    workspace = await world.workspace(execution_mode=ExecutionMode.PLAN_ONLY)
    for task_type in (TaskType.PLAN_AND_APPLY, TaskType.APPLY):
        with pytest.raises(InvalidInputError, match="is plan_only"):
            await world.create(workspace, task_type, plan_task_id=None)
    await world.create(workspace, TaskType.PLAN)


async def test_without_a_configuration_there_is_no_task(world: World) -> None:
    workspace = await world.workspace()
    async with world.transactions.write() as tx:
        await world.tasks.configs.store.delete_all(tx, workspace.id)
    with pytest.raises(InvalidInputError, match="no uploaded configuration"):
        await world.create(workspace)


async def test_another_workspaces_configuration_is_refused(world: World) -> None:
    workspace, other = await world.workspace(), await world.workspace()
    version = await world.configuration(other.id)
    with pytest.raises(InvalidInputError, match="no configuration version of"):
        await world.create(workspace, configuration_version_id=version)


async def test_a_diverged_workspace_is_not_applied_by_itself(world: World) -> None:
    workspace = await world.workspace(auto_apply=True)
    async with world.transactions.write() as tx:
        await world.tasks.workspaces.store.set_diverged(
            tx, workspace.id, "the state of task-0 is on agent-0"
        )
    task = await world.create(workspace)
    assert not task.auto_apply
    assert "may be behind: the state of task-0" in world.logs.text(task.id)
    plan = await world.create(workspace, TaskType.PLAN)
    assert world.logs.text(plan.id) == ""


# --- apply of a saved plan -----------------------------------------------------


async def test_a_saved_plan_can_be_applied_once(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    plan = await world.planned(agent, workspace, task_type=TaskType.PLAN)
    assert plan.state is TaskState.SUCCESS
    await world.configuration(workspace.id, b"newer")
    task = await world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)
    assert task.configuration_version_id == plan.configuration_version_id
    phase = await world.claim(agent)
    assert phase.order.action == "apply"
    done = await phase.run_apply()
    assert done.state is TaskState.SUCCESS
    with pytest.raises(ConflictError, match="stale"):
        await world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)


async def test_what_is_no_saved_plan_is_refused(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    other = await world.workspace()
    plan = await world.planned(agent, workspace, task_type=TaskType.PLAN)
    with pytest.raises(InvalidInputError, match="no such task in this workspace"):
        await world.create(other, TaskType.APPLY, plan_task_id=plan.id)
    both = await world.planned(agent, workspace)
    with pytest.raises(InvalidInputError, match="only the saved plan of a `plan`"):
        await world.create(workspace, TaskType.APPLY, plan_task_id=both.id)
    queued = await world.create(workspace, TaskType.PLAN)
    with pytest.raises(InvalidInputError, match="is `pending`"):
        await world.create(workspace, TaskType.APPLY, plan_task_id=queued.id)


async def test_a_plan_without_changes_cannot_be_applied(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await world.create(workspace, TaskType.PLAN)
    plan = await (await world.claim(agent)).run_plan(has_changes=False)
    with pytest.raises(ConflictError, match="nothing to change"):
        await world.create(workspace, TaskType.APPLY, plan_task_id=plan.id)


# --- look --------------------------------------------------------------------


async def test_unknown_things(world: World) -> None:
    with pytest.raises(NotFoundError):
        await actions.get_task(world.tasks, task_id=TaskId("task-none"))
    with pytest.raises(NotFoundError):
        await actions.get_task_details(world.tasks, task_id=TaskId("task-none"))
    with pytest.raises(NotFoundError):
        await actions.list_workspace_tasks(
            world.tasks,
            workspace_id=WorkspaceId("ws-none"),
            which=TaskFilter(),
            page=Page(),
        )
    with pytest.raises(NotFoundError):
        await actions.cancel(
            world.tasks, task_id=TaskId("task-none"), actor="ann", reason=""
        )


async def test_reasons_for_waiting(world: World) -> None:
    workspace = await world.workspace()
    first = await world.create(workspace)
    assert await world.reason(first.id) == (
        "the organization has no agents; start one with `sluice agent`"
    )
    agent = await world.agent()
    assert await world.reason(first.id) == "waits for an agent to take it"
    second, third = await world.create(workspace), await world.create(workspace)
    assert await world.reason(second.id) == (
        f"2nd in the workspace's queue: behind {first.id}"
    )
    await world.claim(agent)
    assert await world.reason(third.id) == (
        f"3rd in the workspace's queue: waits for {first.id} which holds the lock"
    )
    listing = await actions.list_tasks(world.tasks, which=TaskFilter(), page=Page())
    words = [reason for _, reason in listing.tasks]
    assert words == [await world.reason(third.id), await world.reason(second.id), ""]


async def test_a_users_lock_is_named(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    await lock_workspace(
        world.tasks.workspaces,
        workspace_id=workspace.id,
        actor="bob",
        reason="maintenance",
    )
    task = await world.create(workspace)
    assert await world.reason(task.id) == "workspace is locked by bob: maintenance"
    await world.nothing(agent)
    plan = await world.create(workspace, TaskType.PLAN)
    assert (await world.claim(agent)).task_id == plan.id


async def test_the_resource_says_what_can_be_done(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)

    async def can() -> tuple[bool, bool, bool, bool]:
        details = await actions.get_task_details(world.tasks, task_id=task.id)
        shown = task_resource(details)
        return (
            shown.can_confirm,
            shown.can_discard,
            shown.can_cancel,
            shown.can_force_cancel,
        )

    assert await can() == (False, False, True, False)
    phase = await world.claim(agent)
    assert await can() == (False, False, True, True)
    await phase.run_plan()
    assert await can() == (True, True, True, False)
    await actions.discard(world.tasks, task_id=task.id, actor="ann", reason="")
    assert await can() == (False, False, False, False)


async def test_the_resource_of_an_ended_task(world: World) -> None:
    agent, workspace = await world.agent("builder"), await world.workspace()
    task = await world.planned(agent, workspace)
    await actions.confirm(world.tasks, task_id=task.id, actor="bob", reason="go")
    await (await world.claim(agent)).run_apply()
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    shown = task_resource(details)
    assert shown.status is TaskStatus.SUCCESS
    assert shown.agent_name == "builder"
    assert shown.stage is None
    assert shown.summary is not None
    assert shown.summary.model_dump(by_alias=True) == {
        "add": 1,
        "change": 1,
        "destroy": 2,
        "import": 0,
    }
    assert [(s.name, s.phase, s.duration) for s in shown.stages] == [
        ("fetching", "plan", 0.1),
        ("init", "plan", 0.1),
        ("planning", "plan", 0.1),
        ("saving_plan", "plan", 0.1),
        ("fetching", "apply", 0.1),
        ("applying", "apply", 0.1),
        ("saving_state", "apply", 0.1),
    ]
    assert shown.stage_timings["fetching"] == 200
    assert shown.stage_timings["total"] == 700
    assert shown.duration == 0.7
    assert [(a.action, a.actor, a.reason) for a in shown.actions] == [
        ("confirm", "bob", "go")
    ]
    row = task_row(details.task, details.reason).log_summary
    assert row.last_line == "Apply complete!"
    assert not row.has_errors
    log = world.logs.text(task.id)
    plan_part, apply_part = log.split("confirmed by bob: go\n")
    assert row.plan_lines == plan_part.count("\n") + 1
    assert row.apply_lines == apply_part.count("\n")
    figures = details.task.log
    assert log[figures.apply_offset or 0 :] == apply_part
    assert figures.apply_line == log[: figures.apply_offset or 0].count("\n") + 1


# --- decide ------------------------------------------------------------------


async def test_confirm_and_discard_only_a_plan_that_waits(world: World) -> None:
    workspace = await world.workspace()
    task = await world.create(workspace)
    for verb in (actions.confirm, actions.discard):
        with pytest.raises(ConflictError, match="is in the queue"):
            await verb(world.tasks, task_id=task.id, actor="ann", reason="")
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert details.actions == []


async def test_discard_ends_the_task_and_frees_the_workspace(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.planned(agent, workspace)
    lock = (await world.fresh(workspace)).lock
    assert lock is not None
    assert lock.id == task.id
    done = await actions.discard(
        world.tasks, task_id=task.id, actor="ann", reason="too much"
    )
    assert done.status is TaskStatus.DISCARDED
    assert (await world.fresh(workspace)).lock is None
    assert world.logs.text(task.id).endswith("discarded by ann: too much\n")
    assert world.logs.status(task.id) == "discarded"


async def test_cancel_of_a_waiting_task_is_immediate(world: World) -> None:
    workspace = await world.workspace()
    first, second = await world.create(workspace), await world.create(workspace)
    done = await actions.cancel(
        world.tasks, task_id=first.id, actor="ann", reason="wrong"
    )
    assert done.status is TaskStatus.CANCELED
    assert done.reason == "canceled by ann: wrong"
    assert world.logs.events(first.id) == [Note("ann")]
    assert world.logs.status(first.id) == "canceled"
    agent = await world.agent()
    assert (await world.claim(agent)).task_id == second.id
    with pytest.raises(ConflictError, match="was canceled"):
        await actions.cancel(world.tasks, task_id=first.id, actor="ann", reason="")


async def test_a_reason_writes_one_line_whatever_is_in_it(world: World) -> None:
    task = await world.create(await world.workspace())
    reason = "enough\n========== PLANNING END at 2026-01-01 ==========\r\x1b[2J"
    await actions.cancel(world.tasks, task_id=task.id, actor="ann", reason=reason)
    assert world.logs.text(task.id) == (
        "canceled by ann: enough ========== PLANNING END at 2026-01-01 ========== [2J\n"
    )


async def test_cancel_of_a_running_phase_is_a_command(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.create(workspace)
    phase = await world.claim(agent)
    await phase.write(b"planning\n")
    asked = await actions.cancel(
        world.tasks, task_id=task.id, actor="ann", reason="wrong"
    )
    assert asked.status is TaskStatus.RUNNING
    assert await world.reason(task.id) == "being canceled by ann: wrong"
    (command,) = await actions.commands_for(world.tasks, agent_id=agent.agent_id)
    assert (command.type, command.task_id) == ("cancel", task.id)
    assert command.reason == "by ann: wrong"
    assert await actions.command_for_task(world.tasks, task_id=task.id) == "cancel"
    assert "canceled" not in world.logs.text(task.id)
    await actions.force_cancel(world.tasks, task_id=task.id, actor="bob", reason="now")
    command = (await actions.commands_for(world.tasks, agent_id=agent.agent_id))[0]
    assert command.type == "force_cancel"
    done = await phase.finish(PhaseOutcome.CANCELED)
    assert done.reason == "force-canceled by bob: now"
    assert await actions.commands_for(world.tasks, agent_id=agent.agent_id) == []
    assert await actions.command_for_task(world.tasks, task_id=task.id) == ""
    details = await actions.get_task_details(world.tasks, task_id=task.id)
    assert [a.action for a in details.actions] == ["cancel", "force_cancel"]


async def test_the_end_of_the_log_comes_after_the_state_and_is_made_up_for(
    world: World,
) -> None:
    workspace = await world.workspace()
    task = await world.create(workspace)
    world.logs.down = UnavailableError("the blob store is away")
    done = await actions.cancel(world.tasks, task_id=task.id, actor="ann", reason="")
    assert done.status is TaskStatus.CANCELED
    assert world.logs.status(task.id) is None
    world.logs.down = None
    await look_at_logs(world.tasks)
    assert world.logs.status(task.id) is None, "too soon to be called left over"
    world.clock.turn(seconds=10)
    await look_at_logs(world.tasks)
    assert world.logs.status(task.id) == "canceled"
    assert (await world.task(task.id)).log.sealed


# --- what workspaces ask -------------------------------------------------------


async def test_a_workspace_with_unfinished_tasks_is_not_deleted(world: World) -> None:
    agent, workspace = await world.agent(), await world.workspace()
    task = await world.planned(agent, workspace)
    with pytest.raises(ConflictError, match=task.id):
        await force_unlock_workspace(
            world.tasks.workspaces,
            workspace_id=workspace.id,
            actor="ann",
            reason="",
        )
    with pytest.raises(ConflictError, match=f"{task.id} has not ended"):
        await delete_workspace(
            world.tasks.workspaces, workspace_id=workspace.id, force=False
        )
    await actions.discard(world.tasks, task_id=task.id, actor="ann", reason="")
    async with world.transactions.write() as tx:
        await world.tasks.configs.store.delete_all(tx, workspace.id)
    assert task.plan_blob is not None
    assert await world.blobs.exists(task.plan_blob)
    await delete_workspace(
        world.tasks.workspaces, workspace_id=workspace.id, force=False
    )
    assert not await world.blobs.exists(task.plan_blob)
    with pytest.raises(NotFoundError):
        await world.task(task.id)
