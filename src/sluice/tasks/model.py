"""The nouns of tasks: frozen records, built from rows in one place (`store.py`)."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sluice.base.ids import (
    AgentId,
    ConfigurationVersionId,
    LeaseId,
    OrganizationId,
    PoolId,
    StateVersionId,
    TaskId,
    WorkspaceId,
)
from sluice.wire.agent import Engine, PhaseName, PlanOptions
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import PlanSummary, StageStatus, TaskStatus, TaskType


class TaskState(StrEnum):
    """Where a task stands; `tasks/lifecycle.py` has the table of what leads where."""

    QUEUED = "queued"
    PLANNING = "planning"
    APPLY_PENDING = "apply_pending"
    APPLY_READY = "apply_ready"
    APPLYING = "applying"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    DISCARDED = "discarded"


class CancelKind(StrEnum):
    """How hard a leased phase is asked to stop."""

    CANCEL = "cancel"
    FORCE_CANCEL = "force_cancel"


class LeaseOutcome(StrEnum):
    """How a lease ended: its phase was reported, or its agent was not heard of."""

    FINISHED = "finished"
    LOST = "lost"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Lease:
    """An agent's right to a phase while it lasts.

    Attributes:
        id: the lease, named in every report of the agent.
        agent_id: who holds it.
        phase: what it is for.
        expires_at: when it ends unless it is renewed.
        started: whether the phase may have begun on the agent.
    """

    id: LeaseId
    agent_id: AgentId
    phase: PhaseName
    expires_at: datetime
    started: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as history keeps it; ``outcome`` is None while it lasts."""

    id: LeaseId
    task_id: TaskId
    agent_id: AgentId
    phase: PhaseName
    epoch: int
    log_offset: int
    log_line: int
    claimed_at: datetime
    base_state_id: StateVersionId | None = None
    ended_at: datetime | None = None
    outcome: LeaseOutcome | None = None


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What a task list says of a task's log, kept at the end of each phase.

    ``apply_offset`` and ``apply_line`` are where the apply phase's part begins.
    """

    apply_offset: int | None = None
    apply_line: int | None = None
    plan_lines: int = 0
    apply_lines: int = 0
    plan_last_line: str = ""
    apply_last_line: str = ""
    has_errors: bool = False
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One execution of Terraform in a workspace."""

    id: TaskId
    workspace_id: WorkspaceId
    organization_id: OrganizationId
    task_type: TaskType
    created_by: str
    created_at: datetime
    engine: Engine
    terraform_version: str
    working_directory: str
    sequence: int = 0
    version: int = 0
    pool_id: PoolId | None = None
    state: TaskState = TaskState.QUEUED
    stage: Stage | None = None
    reason: str = ""
    error: str = ""
    message: str = ""
    options: PlanOptions = field(default_factory=PlanOptions)
    sealed_variables: bytes | None = None
    auto_apply: bool = False
    configuration_version_id: ConfigurationVersionId | None = None
    plan_task_id: TaskId | None = None
    has_changes: bool | None = None
    summary: PlanSummary | None = None
    plan_blob: str | None = None
    plan_json_blob: str | None = None
    lease: Lease | None = None
    agent_lost: bool = False
    cancel: CancelKind | None = None
    cancel_reason: str = ""
    last_agent_id: AgentId | None = None
    log: LogFigures = LogFigures()
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def status(self) -> TaskStatus:
        """The public status."""
        return PUBLIC_STATUS[self.state]

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in TERMINAL_STATES

    @property
    def needs_lock(self) -> bool:
        """Whether it holds the workspace's lock from its first phase to its end."""
        return self.task_type is not TaskType.PLAN

    @property
    def first_phase(self) -> PhaseName:
        """The phase it begins with."""
        return PhaseName.APPLY if self.task_type is TaskType.APPLY else PhaseName.PLAN


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A stage of a task as stored."""

    phase: PhaseName
    stage: Stage
    status: StageStatus
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """Who did what to a task, when and why."""

    action: str
    actor: str
    reason: str
    at: datetime


TERMINAL_STATES = frozenset(
    {
        TaskState.SUCCESS,
        TaskState.FAILED,
        TaskState.CANCELED,
        TaskState.DISCARDED,
    }
)

PUBLIC_STATUS: dict[TaskState, TaskStatus] = {
    TaskState.QUEUED: TaskStatus.PENDING,
    TaskState.PLANNING: TaskStatus.RUNNING,
    TaskState.APPLY_PENDING: TaskStatus.APPLY_PENDING,
    TaskState.APPLY_READY: TaskStatus.RUNNING,
    TaskState.APPLYING: TaskStatus.RUNNING,
    TaskState.SUCCESS: TaskStatus.SUCCESS,
    TaskState.FAILED: TaskStatus.FAILED,
    TaskState.CANCELED: TaskStatus.CANCELED,
    TaskState.DISCARDED: TaskStatus.DISCARDED,
}
