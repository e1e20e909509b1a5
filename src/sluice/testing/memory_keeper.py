"""A keeper of gates for tests: it stops tasks where it is told to, and answers when told."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.gate_actions import answer_gate, tell
from sluice.tasks.gates import Verdict
from sluice.tasks.model import Gate, Task
from sluice.testing.memory import MemoryTransactions


class AskStatus(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked about a task at one gate."""

    task_id: TaskId
    gate: Gate
    status: AskStatus = AskStatus.PENDING


class MemoryKeeper:
    """A `tasks.ports.GateKeeper` in a dict, for tests of what builds on gates.

    New tasks stop at those gates of ``stops_at`` that they may come to; it may be changed
    between tasks. A task waits at each until the test answers with `answer`. The rules that
    every keeper may rely on are checked: a gate opens once, only where it was planned and
    nothing came of it yet, and a task ends once.

    With ``transactions`` what it remembers rolls back with them. Beside a database it
    cannot: leave them out there, and let no transaction fail.
    """

    def __init__(
        self,
        stops_at: Collection[Gate] = (),
        *,
        transactions: MemoryTransactions | None = None,
    ) -> None:
        self.stops_at = frozenset(stops_at)
        asks: dict[tuple[TaskId, Gate], Ask] = {}
        ended: dict[TaskId, Task] = {}
        self._asks = transactions.table(asks) if transactions else asks
        self._ended = transactions.table(ended) if transactions else ended

    # --- what tasks call (`GateKeeper`) ---

    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        """Remember that the task is to stop at these gates."""
        wanted = self.stops_at & possible
        for gate in wanted:
            self._put(Ask(task.id, gate))
        return wanted

    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        """The task stands at ``gate``; gates that were not planned are another keeper's."""
        ask = self._asks.get((task.id, gate))
        if ask is None:
            return
        if ask.status is not AskStatus.PENDING:
            raise AssertionError(f"{task.id} came to {gate} again: it was {ask.status}")
        self._put(replace(ask, status=AskStatus.OPEN))

    async def ended(self, tx: Tx, task: Task) -> None:
        """Nothing more is asked about the task."""
        if task.id in self._ended:
            raise AssertionError(f"{task.id} ended twice")
        self._ended[task.id] = task
        for ask in self.asks(task.id).values():
            if ask.status is AskStatus.OPEN:
                self._put(replace(ask, status=AskStatus.CANCELED))
            elif ask.status is AskStatus.PENDING:
                self._put(replace(ask, status=AskStatus.SKIPPED))

    async def describe(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[TaskId, str]:
        """What the tasks at its gates wait for."""
        return {
            task.id: f"waits for the test at {task.gate}"
            for task in tasks
            if task.gate is not None and (task.id, task.gate) in self._asks
        }

    # --- what tests do ---

    def asks(self, task_id: TaskId) -> dict[Gate, Ask]:
        """All that is or was asked about a task."""
        found = [ask for ask in self._asks.values() if ask.task_id == task_id]
        return {ask.gate: ask for ask in found}

    def standing(self) -> list[Ask]:
        """What waits for an answer now."""
        return [ask for ask in self._asks.values() if ask.status is AskStatus.OPEN]

    async def answer(
        self, deps: TaskDeps, task_id: TaskId, gate: Gate, verdict: Verdict
    ) -> bool:
        """Give an answer, as keepers do; False where it came too late to count."""
        async with deps.transactions.write() as tx:
            # the task before what the keeper remembers, as a cancel does
            await deps.store.lock(tx, task_id)
            change = await answer_gate(
                deps, tx, task_id=task_id, gate=gate, verdict=verdict
            )
            if change is not None:
                status = AskStatus.PASSED if verdict.passed else AskStatus.FAILED
                self._put(Ask(task_id, gate, status))
        if change is None:
            return False
        await tell(deps, change)
        return True

    def _put(self, ask: Ask) -> None:
        self._asks[ask.task_id, ask.gate] = ask
