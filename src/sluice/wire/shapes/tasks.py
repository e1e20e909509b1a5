"""Tasks, their stages and their plans."""

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Resource


class TaskType(StrEnum):
    """What a task does."""

    PLAN = "plan"
    APPLY = "apply"
    PLAN_AND_APPLY = "plan_and_apply"
    SCRIPT = "script"


class TaskStatus(StrEnum):
    """Public status of a task; the stage and a reason stand beside it."""

    PENDING = "pending"
    RUNNING = "running"
    APPLY_PENDING = "apply_pending"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    DISCARDED = "discarded"


TERMINAL = frozenset(
    {
        TaskStatus.SUCCESS,
        TaskStatus.FAILED,
        TaskStatus.CANCELED,
        TaskStatus.DISCARDED,
    }
)


class RunVariable(Input):
    """A variable for one task; ``value`` is literal text unless ``hcl``."""

    key: str = Field(min_length=1, max_length=250)
    value: Secret = Field(max_length=256 * 1024, repr=False)
    hcl: bool = False


class TaskInput(Input):
    """A new task. `apply` takes the saved plan of ``plan_task_id``.

    Without ``configuration_version_id`` the workspace's newest uploaded one is used.
    """

    task_type: TaskType
    message: str = Field(default="", max_length=1000)
    configuration_version_id: str | None = None
    plan_task_id: str | None = None
    auto_apply: bool | None = None
    destroy: bool = False
    refresh_only: bool = False
    refresh: bool = True
    targets: list[str] = Field(default=[], max_length=500)
    replace: list[str] = Field(default=[], max_length=500)
    variables: list[RunVariable] = Field(default=[], max_length=500)


class StageStatus(StrEnum):
    """Where a stage stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class TaskStage(Resource):
    """A stage of a task; ``duration`` in seconds."""

    name: str
    phase: str
    status: StageStatus
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None


class PlanSummary(Resource):
    """How many resources a plan changes, by action."""

    add: int = 0
    change: int = 0
    destroy: int = 0
    import_: int = Field(default=0, alias="import")

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class TaskOptions(Resource):
    """What the task was asked to do beyond its type."""

    destroy: bool = False
    refresh_only: bool = False
    refresh: bool = True
    targets: list[str] = Field(default=[])
    replace: list[str] = Field(default=[])


class TaskScript(Resource):
    """The script of a task; ``key`` and ``version`` are empty for `sluice exec`."""

    name: str
    key: str
    version: str


class TaskAction(Resource):
    """Who did what to a task, when and why."""

    action: str
    actor: str
    reason: str
    at: datetime


class Task(Resource):
    """A task with its stages. ``reason`` says in words why it waits or how it ended.

    ``resolved_version`` is the version of the engine that made the plan, where it is known;
    ``script`` and ``exit_code`` belong to scripts alone, which have no workspace. ``gate`` is
    the gate at which it stands or failed, and ``gates`` are all at which it stops;
    ``blocked`` says that the answer there was no and a person may let it pass or discard it;
    ``gate_overridden`` says that somebody let it pass there after it had failed, so that its
    saved plan may be applied by a task of type `apply`.
    """

    id: str
    workspace_id: str | None
    organization_id: str
    task_type: TaskType
    status: TaskStatus
    stage: str | None
    reason: str
    error: str
    message: str
    options: TaskOptions
    auto_apply: bool
    configuration_version_id: str | None
    plan_task_id: str | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None
    agent_id: str | None
    agent_name: str | None
    has_changes: bool | None
    summary: PlanSummary | None
    stages: list[TaskStage]
    stage_timings: dict[str, int]
    actions: list[TaskAction]
    can_confirm: bool
    can_discard: bool
    can_cancel: bool
    can_force_cancel: bool
    gate: str | None = None
    gates: list[str] = Field(default=[])
    blocked: bool = False
    gate_overridden: bool = False
    script: TaskScript | None = None
    exit_code: int | None = None
    resolved_version: str = ""


class LogSummary(Resource):
    """What a task list says of a task's log."""

    plan_lines: int
    apply_lines: int
    has_errors: bool
    last_line: str
    script_lines: int = 0


class TaskRow(Resource):
    """A task in a list."""

    id: str
    workspace_id: str | None
    task_type: TaskType
    status: TaskStatus
    stage: str | None
    reason: str
    message: str
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    duration: float | None
    options: TaskOptions = TaskOptions()
    summary: PlanSummary | None
    log_summary: LogSummary
    script: TaskScript | None = None
    exit_code: int | None = None


class TaskList(Resource):
    """A page of tasks, newest first."""

    tasks: list[TaskRow]
    total: int
    limit: int
    offset: int


class ResourceChange(Resource):
    """One resource's change; sensitive values read `(sensitive value)`."""

    address: str
    type: str
    name: str
    module_address: str | None = None
    provider_name: str = ""
    actions: list[str]
    before: object
    after: object
    after_unknown: object = None
    replace_paths: list[object] = Field(default=[])
    action_reason: str | None = None


class ResourceChanges(Resource):
    """All changes of a plan and their sum."""

    resource_changes: list[ResourceChange]
    summary: PlanSummary


class LateOutput(Resource):
    """Output that an agent had captured before its lease ended and delivered afterwards.

    ``bytes`` and ``lines`` count what is kept; it is no part of the task's log.
    """

    lease_id: str
    agent_id: str
    agent_name: str | None
    received_at: datetime
    bytes: int
    lines: int
