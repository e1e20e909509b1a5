"""What tasks need from others: their own store, the log, agents, and the lock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    WorkspaceId,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.tasks.matching import ClaimFacts, Holding, Overview, Wanted
from sluice.tasks.model import (
    ActionRecord,
    Gate,
    LateOutput,
    LeaseRecord,
    StageRecord,
    Task,
)
from sluice.tasks.queue import PoolFacts
from sluice.tasks.quota import Unfinished
from sluice.wire.agent import LogPosition, OrderIdentity, PhaseName, PhaseOrder
from sluice.wire.events import Event
from sluice.wire.log_flow import Head
from sluice.wire.script_mark import SaidLine, ScriptMark
from sluice.wire.shapes.tasks import TaskStatus, TaskType


class LogBook(Protocol):
    """The log as tasks write it. `logs.logbook.Logs` fulfils this.

    Methods that take a ``tx`` join the caller's transaction (the log's tables are in the
    same database): a task's new state, the hand-over of its log and what the server
    writes there are committed together, so that no agent can be given a log into which
    the server still wants to write.
    """

    async def open(self, tx: Tx, task_id: TaskId) -> None:
        """Open an empty log, written by the server; opening again changes nothing."""
        ...

    async def hand_over(self, tx: Tx, task_id: TaskId) -> LogPosition:
        """Fence the present writer off (epoch + 1) and say where the next goes on."""
        ...

    async def hand_over_all(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, LogPosition]:
        """`hand_over` for many; logs that are unknown or have ended are left out."""
        ...

    async def note(
        self,
        tx: Tx,
        task_id: TaskId,
        text: str,
        *,
        actor: str = "",
        error: bool = False,
    ) -> None:
        """Append one line of the server; only while no agent holds a lease."""
        ...

    async def event(self, tx: Tx, task_id: TaskId, event: Event, line: bytes) -> None:
        """Append an event of the server; only while no agent holds a lease."""
        ...

    async def write(
        self,
        task_id: TaskId,
        epoch: int,
        records: Sequence[SaidLine],
        start: ScriptMark,
    ) -> tuple[int, int]:
        """Append records as the server, in one piece, wherever the log stands; durable.

        ``start`` is what is known of the script where nothing stands before them.

        Returns:
            The number of its first line, and of the line that follows it.

        Raises:
            ConflictError: the log is no longer written under this epoch.
        """
        ...

    async def seal(self, task_id: TaskId, status: str) -> None:
        """Write the `end` event with the task's final status; again changes nothing."""
        ...

    async def head(self, task_id: TaskId) -> Head:
        """Epoch, durable length and next line."""
        ...

    async def digest(self, task_id: TaskId, start: int, end: int) -> str:
        """SHA-256 (hex) of the log's bytes from ``start`` up to ``end``."""
        ...

    async def last_line(self, task_id: TaskId, start: int, end: int) -> str:
        """The last non-empty line of output (not of events) between two offsets."""
        ...


class LogRemoval(Protocol):
    """Forgets logs (`logs.ports.LogStore`)."""

    async def remove(self, tx: Tx, task_id: TaskId) -> str | None:
        """Forget a log with its rows; the key of its archived object, if any."""
        ...


class AgentFacts(Protocol):
    """What tasks may know of agents (`agents` stands above and fulfils this)."""

    async def pools(
        self, tx: Tx, organization_id: OrganizationId, since: datetime
    ) -> list[PoolFacts]:
        """An organization's pools, with their agents that were heard of since then."""
        ...

    async def pool_labels(
        self, tx: Tx, pool_ids: Collection[PoolId]
    ) -> dict[PoolId, Mapping[str, str]]:
        """Labels of pools; those unknown are left out."""
        ...

    async def claim_facts(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, ClaimFacts]:
        """What a claim needs of agents, kept from others' claims until the transaction ends.

        Those unknown are left out.
        """
        ...

    async def agent_names(
        self, tx: Tx, agent_ids: Sequence[AgentId]
    ) -> dict[AgentId, str]:
        """Names of agents; those unknown are left out."""
        ...


class TaskWatcher(Protocol):
    """Writes down what becomes of tasks (`notifications` stands above and fulfils this).

    It joins the transaction that changes the task, so nothing is lost and nothing told that
    did not happen; it waits for nothing outside the database.
    """

    async def changed(
        self, tx: Tx, before: Task | None, after: Task, actor: str
    ) -> None:
        """A task was made (``before`` is None) or changed.

        Args:
            tx: the transaction that does it.
            before: the task as it was.
            after: the task as it is stored.
            actor: who did it: a user's name, an agent's id, or `server`.
        """
        ...


class GateKeeper(Protocol):
    """Answers at gates (`runtasks`, `costs`, `policies` stand above and fulfil this).

    Each method joins the caller's transaction, which has locked the task, and waits for
    nothing outside the database. The answer itself is given by `gate_actions.answer_gate`,
    later, in a transaction of its own that locks the task before the keeper's own rows:
    never from inside one of these methods.
    """

    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        """Remember what will be asked about a new task; the gates at which it has to stop.

        They are some of ``possible``, those to which the task may come.
        """
        ...

    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        """The task stands at ``gate`` from now on; a gate of another keeper is ignored."""
        ...

    async def ended(self, tx: Tx, task: Task) -> None:
        """The task has ended: whatever is open about it is closed, and its tokens die."""
        ...

    async def describe(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[TaskId, str]:
        """What tasks wait for that stand at this keeper's gates, in words."""
        ...


class TaskIdentities(Protocol):
    """Issues identity tokens of phases (`auth.workload_issuer.WorkloadIssuer`)."""

    async def identities(self, order: PhaseOrder) -> list[OrderIdentity]:
        """The tokens that an order's workspace asks for.

        Raises:
            SluiceError: it asks for what cannot be.
        """
        ...


class TaskTokens(Protocol):
    """Issues the token of one phase (`auth.jwt.TokenIssuer`)."""

    def task(
        self,
        task_id: TaskId,
        lease_id: LeaseId,
        org_id: OrganizationId,
        ttl: float,
    ) -> tuple[str, datetime]:
        """A token that reads and writes this task alone."""
        ...


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None means any.

    Attributes:
        visible: of tasks in workspaces, those in these alone.
        in_no_workspace: whether tasks that run scripts, which lie in none, are shown.
    """

    organization_id: OrganizationId | None = None
    workspace_id: WorkspaceId | None = None
    status: TaskStatus | None = None
    task_type: TaskType | None = None
    script: str | None = None
    visible: frozenset[WorkspaceId] | None = None
    in_no_workspace: bool = True


class TaskStore(Protocol):
    """Tasks with their stages, leases and actions."""

    async def insert(self, tx: Tx, task: Task) -> Task:
        """Add a task at the end of the queue; returns it with its sequence.

        Raises:
            ConflictError: there is a task with this id.
        """
        ...

    async def get(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task."""
        ...

    async def lock(self, tx: Tx, task_id: TaskId) -> Task | None:
        """A task, kept from others' writes until the transaction ends."""
        ...

    async def save(self, tx: Tx, task: Task) -> Task:
        """Store a changed task; returns it with its new version.

        Raises:
            ConflictError: somebody else changed it since it was read.
        """
        ...

    async def page(
        self, tx: Tx, which: TaskFilter, page: Page
    ) -> tuple[list[Task], int]:
        """Tasks newest first, and how many there are in all."""
        ...

    async def save_all(self, tx: Tx, tasks: Sequence[Task]) -> list[Task]:
        """Store changed tasks that this transaction keeps from others' writes."""
        ...

    async def unfinished(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId | None,
    ) -> Unfinished:
        """How many tasks have not ended; nobody else makes one until the transaction ends."""
        ...

    async def running(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """How many tasks have a lease; those without are left out."""
        ...

    async def claiming(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """As `running`; nobody else claims in them until the transaction ends."""
        ...

    async def overview(
        self,
        tx: Tx,
        organization_ids: Collection[OrganizationId],
        pool_ids: Collection[PoolId],
    ) -> Overview:
        """What could be claimed now by one of these pools, labels aside; oldest first."""
        ...

    async def claimable(
        self, tx: Tx, wanted: Wanted, *, limit: int, without: Collection[TaskId] = ()
    ) -> list[Task]:
        """The first tasks in the queue whose phase may be taken, kept from others.

        Tasks that others keep at this moment are passed over, and so are those ``without``.
        """
        ...

    async def before_gate(self, tx: Tx, *, limit: int) -> list[TaskId]:
        """Queued tasks whose turn it is and that have a gate before their first phase."""
        ...

    async def holdings(
        self, tx: Tx, agent_ids: Collection[AgentId]
    ) -> dict[AgentId, Holding]:
        """What agents hold leases of; those without are left out."""
        ...

    async def waiting_for_lock(
        self, tx: Tx, workspace_ids: Sequence[WorkspaceId]
    ) -> list[Task]:
        """Tasks that hold or wait for these workspaces' locks, in queue order."""
        ...

    async def leased_by(self, tx: Tx, agent_id: AgentId) -> list[Task]:
        """Tasks whose lease this agent holds."""
        ...

    async def expired(self, tx: Tx, now: datetime) -> list[TaskId]:
        """Tasks whose lease ran out and is not yet known to be lost."""
        ...

    async def lost_scripts(self, tx: Tx, expired_before: datetime) -> list[TaskId]:
        """Begun scripts whose agent is lost, with a lease that ran out before then."""
        ...

    async def unsealed(self, tx: Tx, ended_before: datetime) -> list[TaskId]:
        """Ended tasks whose log has no `end` yet."""
        ...

    async def unfinished_in(self, tx: Tx, pool_id: PoolId) -> list[TaskId]:
        """Tasks that name this pool and have not ended, oldest first."""
        ...

    async def of_workspace(self, tx: Tx, workspace_id: WorkspaceId) -> list[Task]:
        """All tasks of a workspace, oldest first."""
        ...

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove a workspace's tasks with all that hangs on them."""
        ...

    async def add_leases(self, tx: Tx, leases: Sequence[LeaseRecord]) -> None:
        """Remember new leases."""
        ...

    async def get_lease(self, tx: Tx, lease_id: LeaseId) -> LeaseRecord | None:
        """A lease, present or past."""
        ...

    async def save_lease(self, tx: Tx, lease: LeaseRecord) -> None:
        """Store a changed lease."""
        ...

    async def leases(self, tx: Tx, task_id: TaskId) -> list[LeaseRecord]:
        """All leases of a task, oldest first."""
        ...

    async def put_stage(self, tx: Tx, task_id: TaskId, stage: StageRecord) -> None:
        """Store a stage, new or changed."""
        ...

    async def clear_stages(self, tx: Tx, task_id: TaskId, phase: PhaseName) -> None:
        """Forget the stages of a phase that will be done again; gates are not asked again."""
        ...

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageRecord]:
        """All stored stages of a task."""
        ...

    async def add_action(self, tx: Tx, task_id: TaskId, action: ActionRecord) -> None:
        """Remember who did what."""
        ...

    async def actions(self, tx: Tx, task_id: TaskId) -> list[ActionRecord]:
        """What was done to a task, oldest first."""
        ...


class LateOutputStore(Protocol):
    """Output that came after its lease had ended."""

    async def get(self, tx: Tx, lease_id: LeaseId) -> LateOutput | None:
        """What is kept of a lease."""
        ...

    async def keep(self, tx: Tx, newer: LateOutput, start: int, data: bytes) -> None:
        """Keep the bytes from offset ``start`` on; ``newer`` is what is kept then."""
        ...

    async def of_task(self, tx: Tx, task_id: TaskId) -> list[LateOutput]:
        """What is kept of a task's leases, in the order in which it came."""
        ...

    async def content(self, tx: Tx, lease_id: LeaseId) -> bytes:
        """All bytes that are kept of a lease."""
        ...

    async def remove(self, tx: Tx, task_id: TaskId) -> None:
        """Forget what is kept of a task's leases."""
        ...
