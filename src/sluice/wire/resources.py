"""The JSON shapes of the public API (`/api/v1`), shared by the server's routes and the client."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sluice.wire.agent import Engine
from sluice.wire.texts import check_texts

Name = Annotated[
    str, Field(min_length=1, max_length=90, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]


class Resource(BaseModel):
    """A frozen JSON object; unknown fields are ignored by readers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(BaseModel):
    """A frozen JSON request body; unknown fields are refused, and named.

    No text may hold a NUL character or half of a surrogate pair: PostgreSQL cannot
    store the first, and UTF-8 cannot write the second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _storable(cls, value: object) -> object:
        check_texts(value)
        return value


# --- who -------------------------------------------------------------------


class SetupInput(Input):
    """Redeems the one-time token that the first start printed."""

    token: str
    name: Name = "admin"


class NewToken(Resource):
    """An API token, shown this once; only its hash is kept."""

    id: str
    name: str
    token: str
    user_id: str | None = None
    expires_at: datetime | None = None


class TokenInput(Input):
    """A new API token of the caller's own."""

    name: Name
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class TokenInfo(Resource):
    """An API or pool token without its secret."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class AccessToken(Resource):
    """A short-lived JWT of the caller."""

    token: str
    expires_at: datetime


class Me(Resource):
    """Who the caller is."""

    id: str
    name: str
    kind: str
    admin: bool


class UserInput(Input):
    """A new user."""

    name: Name
    admin: bool = False


class User(Resource):
    """A user."""

    id: str
    name: str
    admin: bool
    created_at: datetime


class OrganizationInput(Input):
    """A new organization."""

    name: Name


class Organization(Resource):
    """An organization owns workspaces and pools."""

    id: str
    name: str
    created_at: datetime


# --- pools and agents ------------------------------------------------------


class PoolInput(Input):
    """A new pool."""

    name: Name
    labels: dict[str, str] = {}
    max_plan_concurrency: int = Field(default=3, ge=1, le=100)
    allow_apply_concurrent: bool = False


class Pool(Resource):
    """Agents that share work."""

    id: str
    organization_id: str
    name: str
    labels: dict[str, str]
    max_plan_concurrency: int
    allow_apply_concurrent: bool
    created_at: datetime


class AgentState(StrEnum):
    """How an agent stands with the server."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    OFFLINE = "offline"


class Agent(Resource):
    """An agent as last heard of."""

    id: str
    pool_id: str
    name: str
    version: str
    labels: dict[str, str]
    state: AgentState
    plan_tasks_running: int
    plan_task_limit: int
    apply_task_running: bool
    current_tasks: list[str]
    cpu_usage: float
    mem_usage: float
    last_seen_at: datetime


# --- workspaces ------------------------------------------------------------


class ExecutionMode(StrEnum):
    """Whether a workspace's tasks may apply."""

    PLAN_ONLY = "plan_only"
    PLAN_AND_APPLY = "plan_and_apply"


class WorkspaceInput(Input):
    """A new workspace. ``terraform_version`` is a version, a constraint, or `latest`."""

    name: Name
    execution_mode: ExecutionMode = ExecutionMode.PLAN_AND_APPLY
    auto_apply: bool = False
    working_directory: str = Field(default="", max_length=500)
    terraform_version: str = Field(default="latest", max_length=100)
    engine: Engine = Engine.TERRAFORM
    pool_id: str | None = None


class WorkspacePatch(Input):
    """Changes to a workspace; what is absent stays."""

    name: Name | None = None
    execution_mode: ExecutionMode | None = None
    auto_apply: bool | None = None
    working_directory: str | None = Field(default=None, max_length=500)
    terraform_version: str | None = Field(default=None, max_length=100)
    engine: Engine | None = None
    pool_id: str | None = None


class LockHolderKind(StrEnum):
    """Who can hold a workspace's lock."""

    USER = "user"
    TASK = "task"
    TERRAFORM = "terraform"


class Lock(Resource):
    """Who holds a workspace's lock, since when and why."""

    id: str
    holder: str
    kind: LockHolderKind
    reason: str
    locked_at: datetime


class Workspace(Resource):
    """Configuration, variables, state and lock."""

    id: str
    organization_id: str
    name: str
    execution_mode: ExecutionMode
    auto_apply: bool
    working_directory: str
    terraform_version: str
    engine: Engine
    pool_id: str | None
    lock: Lock | None
    state_diverged: str | None
    created_at: datetime


class ReasonInput(Input):
    """Why somebody does something; shown to others and kept."""

    reason: str = Field(default="", max_length=1000)


class VariableCategory(StrEnum):
    """Where a variable's value goes."""

    TERRAFORM = "terraform"
    ENV = "env"


class VariableInput(Input):
    """A new variable."""

    key: str = Field(min_length=1, max_length=250, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")
    value: str = Field(default="", max_length=256 * 1024)
    category: VariableCategory = VariableCategory.TERRAFORM
    hcl: bool = False
    sensitive: bool = False
    description: str = Field(default="", max_length=500)


class VariablePatch(Input):
    """Changes to a variable; a sensitive one can be replaced, never made readable."""

    value: str | None = Field(default=None, max_length=256 * 1024)
    hcl: bool | None = None
    sensitive: bool | None = None
    description: str | None = Field(default=None, max_length=500)


class Variable(Resource):
    """A variable; ``value`` is None where it is sensitive."""

    id: str
    workspace_id: str
    key: str
    value: str | None
    category: VariableCategory
    hcl: bool
    sensitive: bool
    description: str
    updated_at: datetime


class ConfigurationStatus(StrEnum):
    """Where a configuration version stands."""

    PENDING = "pending"
    UPLOADED = "uploaded"
    ERRORED = "errored"


class ConfigurationVersion(Resource):
    """One upload of a workspace's files; ``upload_url`` is a path to PUT a tar.gz to."""

    id: str
    workspace_id: str
    status: ConfigurationStatus
    error: str
    size_bytes: int | None
    sha256: str | None
    upload_url: str
    created_at: datetime


class StateVersion(Resource):
    """One version of a workspace's state, without its content."""

    id: str
    workspace_id: str
    serial: int
    lineage: str
    sha256: str
    size_bytes: int
    terraform_version: str
    resource_count: int
    task_id: str | None
    rollback_of: str | None
    created_by: str
    created_at: datetime


class OutputValue(Resource):
    """An output of the state; ``value`` is None where it is sensitive."""

    name: str
    sensitive: bool
    type: object
    value: object


# --- tasks -----------------------------------------------------------------


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
    value: str = Field(max_length=256 * 1024)
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
    targets: list[str] = []
    replace: list[str] = []


class TaskAction(Resource):
    """Who did what to a task, when and why."""

    action: str
    actor: str
    reason: str
    at: datetime


class Task(Resource):
    """A task with its stages. ``reason`` says in words why it waits or how it ended."""

    id: str
    workspace_id: str
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


class LogSummary(Resource):
    """What a task list says of a task's log."""

    plan_lines: int
    apply_lines: int
    has_errors: bool
    last_line: str


class TaskRow(Resource):
    """A task in a list."""

    id: str
    workspace_id: str
    task_type: TaskType
    status: TaskStatus
    stage: str | None
    reason: str
    message: str
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    duration: float | None
    summary: PlanSummary | None
    log_summary: LogSummary


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
    replace_paths: list[object] = []
    action_reason: str | None = None


class ResourceChanges(Resource):
    """All changes of a plan and their sum."""

    resource_changes: list[ResourceChange]
    summary: PlanSummary


class StreamStat(Resource):
    """One followed log; ``buffer_size`` in lines, ``uptime`` in seconds."""

    task_id: str
    clients_count: int
    buffer_size: int
    uptime: float
    closed: bool


class StreamStats(Resource):
    """All followed logs of this server process."""

    streams: list[StreamStat]
    count: int
