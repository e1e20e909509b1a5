"""Tasks and workspaces as tests need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    TaskId,
    WorkspaceId,
    new_task_id,
)
from sluice.tasks.model import Gate, Lease, ScriptFacts, Task, TaskState
from sluice.wire.agent import Engine, PhaseName
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import TaskType
from sluice.wire.shapes.workspaces import ExecutionMode, LockHolderKind
from sluice.workspaces.model import Lock, Workspace

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ORG = OrganizationId("org-1")
OTHER_ORG = OrganizationId("org-2")
WS = WorkspaceId("ws-1")
AGENT = AgentId("agent-1")

LEASED = {
    TaskState.PLANNING: PhaseName.PLAN,
    TaskState.APPLYING: PhaseName.APPLY,
    TaskState.RUNNING: PhaseName.SCRIPT,
}


def make_task(state: TaskState = TaskState.QUEUED, **fields: Any) -> Task:
    """A task of type plan_and_apply, with a lease or a gate where its state has one."""
    at_gate = state in (TaskState.AT_GATE, TaskState.BLOCKED)
    task = Task(
        id=new_task_id(),
        workspace_id=WS,
        organization_id=ORG,
        task_type=TaskType.PLAN_AND_APPLY,
        created_by="ann",
        created_at=NOW,
        engine=Engine.TERRAFORM,
        terraform_version="latest",
        working_directory="",
        state=state,
        lease=make_lease(LEASED[state]) if state in LEASED else None,
        gates=frozenset({Gate.POST_PLAN}) if at_gate else frozenset(),
        gate=Gate.POST_PLAN if at_gate else None,
        stage=Stage.POST_PLAN if at_gate else None,
    )
    return replace(task, **fields)


def at_gate(gate: Gate, **fields: Any) -> Task:
    """A task that stands at ``gate``, the only one at which it stops."""
    stands = {"gate": gate, "gates": frozenset({gate}), "stage": Stage(gate.value)}
    return make_task(TaskState.AT_GATE, **{**stands, **fields})


def make_script(state: TaskState = TaskState.QUEUED, **fields: Any) -> Task:
    """A script, which has no workspace."""
    facts = ScriptFacts(name="hello", key="hello", version="1.2")
    return make_task(
        state,
        **{
            "workspace_id": None,
            "task_type": TaskType.SCRIPT,
            "script": facts,
            **fields,
        },
    )


def make_lease(phase: PhaseName, **fields: Any) -> Lease:
    """A lease of `AGENT` for a minute."""
    lease = Lease(LeaseId("lease-1"), AGENT, phase, NOW + timedelta(seconds=60))
    return replace(lease, **fields)


def make_workspace(workspace_id: WorkspaceId = WS, **fields: Any) -> Workspace:
    """A workspace that may apply."""
    workspace = Workspace(
        id=workspace_id,
        organization_id=ORG,
        name=str(workspace_id),
        execution_mode=ExecutionMode.PLAN_AND_APPLY,
        auto_apply=False,
        working_directory="",
        terraform_version="latest",
        engine=Engine.TERRAFORM,
        pool_id=None,
        created_at=NOW,
    )
    return replace(workspace, **fields)


def user_lock(holder: str = "ann", reason: str = "maintenance") -> Lock:
    """The lock as a person holds it."""
    return Lock("lock-1", holder, LockHolderKind.USER, reason, NOW)


def task_lock(task: Task | TaskId) -> Lock:
    """The lock as a task holds it."""
    task_id = task.id if isinstance(task, Task) else task
    return Lock(task_id, task_id, LockHolderKind.TASK, "", NOW)
