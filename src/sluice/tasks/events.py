"""What can happen to a task, and what then has to be done: plain records for the lifecycle."""

from dataclasses import dataclass
from datetime import datetime

from sluice.base.ids import AgentId, LeaseId
from sluice.tasks.gates import Verdict
from sluice.tasks.model import Gate, Lease, Task
from sluice.wire.agent import PhaseOutcome

# --- events ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """An agent takes the next phase."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Started:
    """The phase has begun on the agent, or may have."""


@dataclass(frozen=True, slots=True)
class LeaseRenewed:
    """The agent was heard of."""

    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The holder was not heard of for the length of its lease, for the ``losses``-th time.

    ``holder`` is what people call it (`reach.called`).
    """

    holder: str
    last_heard: str
    losses: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The holder of a begun script did not come back for as long as is waited."""

    holder: str
    last_heard: str


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The agent reports the end of a phase, and its log is there.

    ``state_kept`` says, of a state that could not be stored, whether the agent keeps it;
    ``engine_version`` is the version that ran, empty where it is not known.
    """

    outcome: PhaseOutcome
    error: str = ""
    has_changes: bool | None = None
    state_diverged: bool = False
    state_kept: bool = True
    exit_code: int | None = None
    engine_version: str = ""


@dataclass(frozen=True, slots=True)
class OrderFailed:
    """The server could not make up what the agent needs; the phase never began."""

    error: str


@dataclass(frozen=True, slots=True)
class GateReached:
    """It is the task's turn in its workspace: it comes to the gate before its first phase."""


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """The keeper of the gate at which the task stands has decided."""

    gate: Gate
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Somebody says that the plan may be applied."""

    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Discarded:
    """Somebody says that the plan is not to be applied."""

    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the task to stop, safely."""

    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ForceCancelAsked:
    """Somebody wants the phase killed, whatever becomes of it."""

    actor: str
    reason: str = ""


Event = (
    Claimed
    | Started
    | LeaseRenewed
    | LeaseExpired
    | GivenUp
    | PhaseEnded
    | OrderFailed
    | GateReached
    | GateAnswered
    | Confirmed
    | Discarded
    | CancelAsked
    | ForceCancelAsked
)


# --- effects ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FenceLog:
    """The log's writer is the server again."""


@dataclass(frozen=True, slots=True)
class WriteNote:
    """The server writes a line into the log."""

    text: str
    actor: str = ""
    error: bool = False


@dataclass(frozen=True, slots=True)
class WriteAgentLost:
    """The server writes into the log that the agent was lost."""

    agent_id: AgentId
    lease_id: LeaseId
    text: str


@dataclass(frozen=True, slots=True)
class OpenGate:
    """The task stands at a gate from now on: its stage begins, its keeper is asked."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class CloseGate:
    """The stage of a gate ends."""

    gate: Gate
    passed: bool


@dataclass(frozen=True, slots=True)
class EndGates:
    """The task ends: nothing more is asked at any of its gates."""


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """The task gives the workspace's lock back."""


@dataclass(frozen=True, slots=True)
class MarkDiverged:
    """The workspace's stored state may not be what stands in the infrastructure."""

    text: str


@dataclass(frozen=True, slots=True)
class WakeQueue:
    """Some phase may have become claimable."""


@dataclass(frozen=True, slots=True)
class SealLog:
    """The log ends here, after the task's state is visible."""


Effect = (
    FenceLog
    | WriteNote
    | WriteAgentLost
    | OpenGate
    | CloseGate
    | EndGates
    | ReleaseLock
    | MarkDiverged
    | WakeQueue
    | SealLog
)


@dataclass(frozen=True, slots=True)
class Step:
    """The task as it is now, and what has to be done about it, in order."""

    task: Task
    effects: tuple[Effect, ...] = ()
