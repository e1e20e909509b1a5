"""What the agent hands a phase process on its standard input, and what it gets back."""

from pydantic import BaseModel, ConfigDict, Field

from sluice.wire.agent import (
    LogEnd,
    PhaseOrder,
    PhaseOutcome,
    PhaseResult,
    StageReport,
)

MIB = 1024 * 1024


class JobMessage(BaseModel):
    """A frozen JSON message between an agent and its own phase processes."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class JobLimits(JobMessage):
    """Bounds a phase process keeps to; all times in seconds.

    Attributes:
        spool_bytes: quota of the spool on disk.
        segment_bytes: size at which the spool begins a new file.
        plan_grace: how long an interrupted plan may take to stop before it is terminated.
        apply_grace: the same for an apply, which may have a resource under way.
        terminate_grace: how long a terminated process may take before it is killed.
        drain_grace: how long to read on after terraform ended while somebody else still
            holds its output open.
        upload_deadline: how long the upload of plan or state is tried again.
        fetch_deadline: how long a download is tried again.
    """

    spool_bytes: int = Field(default=1024 * MIB, gt=0)
    segment_bytes: int = Field(default=16 * MIB, gt=0)
    plan_grace: float = 30.0
    apply_grace: float = 300.0
    terminate_grace: float = 10.0
    drain_grace: float = 5.0
    upload_deadline: float = 1800.0
    fetch_deadline: float = 600.0


class JobSpec(JobMessage):
    """All that a phase process needs; read once from standard input, never from disk.

    Attributes:
        order: the phase with its variables and task token.
        server_url: base of the order's URL paths, e.g. ``https://sluice.example``.
        binary: absolute path of the terraform (or tofu) program.
        binary_problem: why there is no such program, in one sentence; the job then says so
            in the task's log and fails in `init`.
        engine_version: the program's version, for the report.
        environment: the agent's environment as terraform may see it; ``SLUICE_*`` names
            are dropped again by the job.
        mask: further secrets that must not appear in the log.
        state_kept_dir: where a state goes that the server would not take
            (``<agent data>/state-kept``).
        ca_file: certificates to trust instead of the system's; empty for those.
        limits: bounds.
    """

    order: PhaseOrder
    server_url: str
    binary: str = ""
    binary_problem: str = ""
    engine_version: str = ""
    environment: dict[str, str] = Field(default={}, repr=False)
    mask: list[str] = Field(default=[], repr=False)
    state_kept_dir: str
    ca_file: str = ""
    limits: JobLimits = JobLimits()


class JobResult(JobMessage):
    """How a phase ended, as the job knows it; the agent adds lease and log end."""

    outcome: PhaseOutcome
    exit_code: int | None = None
    error: str = ""
    has_changes: bool | None = None
    stages: list[StageReport] = []
    state_diverged: bool = False
    state_kept: bool = True
    engine_version: str = ""

    def to_phase_result(self, *, lease_id: str, log_end: LogEnd) -> PhaseResult:
        """The message to the server."""
        return PhaseResult(
            lease_id=lease_id,
            outcome=self.outcome,
            exit_code=self.exit_code,
            error=self.error,
            has_changes=self.has_changes,
            stages=self.stages,
            log_end=log_end,
            state_diverged=self.state_diverged,
            state_kept=self.state_kept,
            engine_version=self.engine_version,
        )
