"""What agents and the server say to each other besides log bytes (spec/4, "Protocol")."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sluice.wire.events import Stage, StageOutcome
from sluice.wire.labels import Labels
from sluice.wire.texts import check_texts, storable

Count = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(allow_inf_nan=False)]

MAX_LOOPS = 100
MAX_LOOP_NAME = 100
MAX_LOOP_WORDS = 300


class Message(BaseModel):
    """A frozen JSON message; unknown fields are ignored so that versions may differ."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Report(Message):
    """What an agent says; its texts are such that every database can store them."""

    @field_validator("*")
    @classmethod
    def _storable(cls, value: object) -> object:
        check_texts(value)
        return value


class PhaseName(StrEnum):
    """What an agent does in one go."""

    PLAN = "plan"
    APPLY = "apply"
    SCRIPT = "script"


class Engine(StrEnum):
    """Which program runs the configuration."""

    TERRAFORM = "terraform"
    OPENTOFU = "opentofu"


class RegisterRequest(Report):
    """An agent introduces itself with its pool's token.

    ``agent_id`` is the identity of an earlier registration, kept on the agent's disk, so
    that a restarted agent takes it up again. ``instance`` is a random name, made once for
    the agent's data directory: what tells two agents apart that claim one identity.
    """

    name: str = Field(min_length=1, max_length=200)
    version: str = Field(max_length=200)
    labels: Labels = {}
    capabilities: list[str] = Field(default=[], max_length=100)
    agent_id: str | None = None
    instance: str = Field(default="", max_length=64)

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("may hold printable characters only")
        return name


class PoolInfo(Message):
    """The pool's rules as the agent must keep them."""

    pool_id: str
    name: str
    max_plan_concurrency: int
    allow_apply_concurrent: bool
    labels: dict[str, str] = {}
    adaptive_concurrency: bool = False
    cpu_threshold: float = 0.85
    mem_threshold: float = 0.85


class RegisterResponse(Message):
    """The agent's identity and its short-lived token (a JWT)."""

    agent_id: str
    token: str = Field(repr=False)
    token_expires_at: datetime
    pool: PoolInfo
    server_time: datetime
    ping_seconds: float = 10.0
    advice: str = ""


class LoopStatus(Report):
    """What one loop of an agent is doing, in words, and since when."""

    doing: str
    since: str = ""

    @field_validator("*", mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return storable(value)[:MAX_LOOP_WORDS] if isinstance(value, str) else value


class PingRequest(Report):
    """What an agent is doing, every few seconds; ``loops`` is its live status tree.

    Attributes:
        ending: it drains because it is to end; nothing takes that back.
        instance: as in `RegisterRequest`.
    """

    agent_id: str
    busy: bool
    draining: bool = False
    plan_tasks_running: Count = 0
    plan_task_limit: Count = 0
    apply_task_running: bool = False
    current_tasks: list[str] = []
    leases: list[str] = []
    cpu_usage: Share = 0.0
    mem_usage: Share = 0.0
    version: str = Field(default="", max_length=200)
    loops: dict[str, LoopStatus] = {}
    ending: bool = False
    instance: str = Field(default="", max_length=64)

    @field_validator("loops", mode="before")
    @classmethod
    def _few(cls, value: object) -> object:
        """Too long a tree is cut: leases are not to be lost over it."""
        if not isinstance(value, dict):
            return value
        first = list(value.items())[:MAX_LOOPS]
        return {storable(str(name))[:MAX_LOOP_NAME]: line for name, line in first}


class CommandType(StrEnum):
    """What the server asks of an agent."""

    CANCEL = "cancel"
    FORCE_CANCEL = "force_cancel"
    DRAIN = "drain"
    RESUME = "resume"


_COMMANDS = tuple(CommandType)


PING_COMMAND = "ping"
"""In the answer to an upload: ping now, there is an order for the agent."""


class Command(Message):
    """One order; ``reason`` names who asked and why, for the task's log."""

    type: CommandType
    task_id: str | None = None
    reason: str = ""


class PingResponse(Message):
    """Orders, the pool's current rules, a fresh token, and advice for the operator."""

    commands: list[Command] = []
    pool: PoolInfo
    token: str = Field(repr=False)
    token_expires_at: datetime
    advice: str = ""

    @field_validator("commands", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        """An order that only newer agents know does not hide the others."""
        if not isinstance(value, list):
            return value
        return [
            one
            for one in value
            if not isinstance(one, dict) or one.get("type") in _COMMANDS
        ]


class Slots(Message):
    """How many phases of each kind the agent has room for."""

    plan: int = Field(default=0, ge=0)
    apply: int = Field(default=0, ge=0)


class PullRequest(Message):
    """A long poll for work; 204 when there is none within ``wait_seconds``."""

    slots: Slots
    wait_seconds: float = Field(default=30.0, ge=0, le=30)


class OrderVariable(Message):
    """A variable with its value, as the phase needs it."""

    key: str
    value: str = Field(repr=False)
    category: str
    hcl: bool = False
    sensitive: bool = False


class OrderIdentity(Message):
    """A token with which a phase shows to other services what it is.

    Attributes:
        name: of its file; letters, digits and `_`.
        token: signed by the server, for one audience.
        token_variables: environment variables that hold the token.
        path_variables: environment variables that name its file.
        environment: what else is set with it.
        instead_of: variables of the agent's own environment that would win over it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    token: str = Field(repr=False)
    token_variables: list[str] = []
    path_variables: list[str] = []
    environment: dict[str, str] = {}
    instead_of: list[str] = []


class PlanOptions(Message):
    """What to plan beyond the plain plan."""

    destroy: bool = False
    refresh_only: bool = False
    refresh: bool = True
    targets: list[str] = []
    replace: list[str] = []


class ScriptOrder(Message):
    """A script as it was when its task was started.

    Attributes:
        name: what people call it.
        interpreter: program and arguments that the script's file is given to; empty where
            the file itself is run.
        body: the script's text; empty where ``path`` names a file on the agent.
        path: absolute path of a script on the agent.
        environment: the parameters, as environment variables.
        sensitive: names of parameters whose values are masked in the output.
        timeout_seconds: how long it may run; None for as long as it takes.
    """

    name: str
    interpreter: list[str] = []
    body: str = ""
    path: str = ""
    environment: dict[str, str] = Field(default={}, repr=False)
    sensitive: list[str] = []
    timeout_seconds: float | None = None


class LogPosition(Message):
    """Where the lease holder goes on writing, and under which fencing number."""

    epoch: int
    offset: int
    next_line: int


class PhaseOrder(Message):
    """All that an agent needs for one phase. URLs are paths on the server.

    ``task_token`` reads and writes this task alone and dies with the lease.
    """

    task_id: str
    lease_id: str
    lease_seconds: float
    workspace_id: str
    workspace_name: str
    organization_id: str
    action: str
    phase: PhaseName
    engine: Engine
    terraform_version: str
    working_directory: str
    configuration_url: str
    state_url: str
    plan_url: str
    plan_json_url: str
    variables: list[OrderVariable]
    options: PlanOptions
    task_token: str = Field(repr=False)
    log: LogPosition
    script: ScriptOrder | None = Field(default=None, repr=False)
    identities: list[OrderIdentity] = []


class StageReport(Message):
    """One stage as the agent saw it; `completed_at` is None while it runs."""

    stage: Stage
    outcome: StageOutcome | None = None
    started_at: datetime
    completed_at: datetime | None = None


class PhaseOutcome(StrEnum):
    """How a phase ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class LogEnd(Message):
    """What the agent wrote: the offset just after its last byte, the number of the line
    that follows, and the SHA-256 of the phase's bytes (None where a gap prevents it).
    """

    offset: int
    next_line: int
    sha256: str | None = None


class PhaseResult(Report):
    """An agent reports the end of a phase; sending it again changes nothing.

    ``state_diverged`` says that the state could not be stored, ``state_kept`` whether the
    agent keeps it then; ``error`` is one sentence for people where the phase did not
    succeed; ``engine_version`` is that of the program that ran, where it is known.
    """

    lease_id: str
    outcome: PhaseOutcome
    exit_code: int | None = None
    error: str = ""
    has_changes: bool | None = None
    stages: list[StageReport] = []
    log_end: LogEnd
    state_diverged: bool = False
    state_kept: bool = True
    engine_version: str = Field(default="", max_length=100)

    @field_validator("error", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        """A word that cannot be stored must not keep a phase from its end."""
        return storable(value) if isinstance(value, str) else value


class StartedReport(Report):
    """The phase process has begun under this lease."""

    lease_id: str
