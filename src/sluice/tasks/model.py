"""The nouns of tasks: frozen records, built from rows in one place (`store.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sluice.base.errors import ConflictError
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
    AT_GATE = "at_gate"
    BLOCKED = "blocked"
    PLANNING = "planning"
    APPLY_PENDING = "apply_pending"
    APPLY_READY = "apply_ready"
    APPLYING = "applying"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    DISCARDED = "discarded"


class Gate(StrEnum):
    """The question "may this task go on?" at one place of a task's way.

    The names are those of the stages that stand for them.
    """

    PRE_PLAN = "pre_plan"
    COST_ESTIMATION = "cost_estimation"
    POST_PLAN = "post_plan"
    POLICY_CHECK = "policy_check"
    PRE_APPLY = "pre_apply"
    POST_APPLY = "post_apply"


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
    """A lease as history keeps it; ``outcome`` is None while it lasts.

    ``log_offset`` and ``log_end`` bound the bytes that its holder wrote into the log.
    """

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
    log_end: int | None = None


@dataclass(frozen=True, slots=True)
class LateOutput:
    """Output that a holder had captured before its lease ended and delivered afterwards.

    Attributes:
        lease_id: the lease that had ended.
        task_id: whose output it is.
        agent_id: who held the lease.
        committed: offset, as the lease's own chunks count, at which it goes on.
        size: bytes that are kept.
        lines: how many lines end in them.
        received_at: when the first of them came.
    """

    lease_id: LeaseId
    task_id: TaskId
    agent_id: AgentId
    committed: int
    size: int
    lines: int
    received_at: datetime


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
    script_lines: int = 0
    script_last_line: str = ""

    @property
    def last_line(self) -> str:
        """The last line of the last phase that wrote one."""
        return self.apply_last_line or self.plan_last_line or self.script_last_line


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """What everybody may know of a task's script.

    Attributes:
        name: what people call it.
        key: the registered script it was started from; empty for `sluice exec`.
        version: the version that was asked for.
        path: the script's file, as viewers are told.
        process_id: its process where it runs, 0 while unknown.
        floor: the lowest level that live viewers are sent; empty for all.
        run_id: the caller's name of a run outside agents; empty for agents' own.
        records: whether the server writes the log, from records that are posted.
        host: where it runs, if outside agents.
    """

    name: str
    key: str = ""
    version: str = ""
    path: str = ""
    process_id: int = 0
    floor: str = ""
    run_id: str = ""
    records: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One execution of Terraform in a workspace, or (without a workspace) of a script.

    ``labels`` are those a pool must have to run it where ``pool_id`` is None. A script
    without ``sealed_script`` runs outside agents (`tasks/exec.py`).
    ``resolved_version`` is the version of the engine that made the plan. ``gates`` are
    those at which it has to stop, ``gate`` the one at which it stands, is to come to before
    its first phase, or has failed; ``gate_overridden`` says that somebody let it pass there
    afterwards.
    """

    id: TaskId
    workspace_id: WorkspaceId | None
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
    labels: Mapping[str, str] = field(default_factory=dict)
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
    resolved_version: str = ""
    has_changes: bool | None = None
    summary: PlanSummary | None = None
    plan_blob: str | None = None
    plan_json_blob: str | None = None
    script: ScriptFacts | None = None
    sealed_script: bytes | None = None
    exit_code: int | None = None
    gates: frozenset[Gate] = frozenset()
    gate: Gate | None = None
    gate_overridden: bool = False
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
        return self.task_type not in {TaskType.PLAN, TaskType.SCRIPT}

    @property
    def blocks_others(self) -> bool:
        """Whether other tasks have to wait for this one's turn to end.

        What has been applied and only tells services so keeps nobody waiting.
        """
        return (
            self.needs_lock and not self.terminal and self.gate is not Gate.POST_APPLY
        )

    @property
    def home(self) -> WorkspaceId:
        """Its workspace.

        Raises:
            ConflictError: it is a script, which has none.
        """
        if self.workspace_id is None:
            raise ConflictError(f"{self.id} is a script and has no workspace.")
        return self.workspace_id

    @property
    def first_phase(self) -> PhaseName:
        """The phase it begins with."""
        return _FIRST_PHASES.get(self.task_type, PhaseName.PLAN)


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


_FIRST_PHASES = {
    TaskType.APPLY: PhaseName.APPLY,
    TaskType.SCRIPT: PhaseName.SCRIPT,
}

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
    TaskState.AT_GATE: TaskStatus.RUNNING,
    TaskState.BLOCKED: TaskStatus.RUNNING,
    TaskState.PLANNING: TaskStatus.RUNNING,
    TaskState.APPLY_PENDING: TaskStatus.APPLY_PENDING,
    TaskState.APPLY_READY: TaskStatus.RUNNING,
    TaskState.APPLYING: TaskStatus.RUNNING,
    TaskState.RUNNING: TaskStatus.RUNNING,
    TaskState.SUCCESS: TaskStatus.SUCCESS,
    TaskState.FAILED: TaskStatus.FAILED,
    TaskState.CANCELED: TaskStatus.CANCELED,
    TaskState.DISCARDED: TaskStatus.DISCARDED,
}
