"""What asking services needs: a store of their results, tokens for them, and a way out."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sluice.auth.model import ResultPrincipal
from sluice.base.ids import RunTaskOutcomeId, RunTaskResultId, TaskId
from sluice.base.transactions import Tx
from sluice.runtasks.model import Finding, Outcome, Result, StageOfTask
from sluice.wire.run_task import ResultStatus


class ResultStore(Protocol):
    """What run tasks said of tasks, and what they are still to say."""

    async def add_stage(
        self, tx: Tx, stage: StageOfTask, results: Sequence[Result]
    ) -> None:
        """Remember a stage of a task with what is asked there."""
        ...

    async def stages(self, tx: Tx, task_id: TaskId) -> list[StageOfTask]:
        """All stages of a task at which something is asked, or was."""
        ...

    async def save_stage(self, tx: Tx, stage: StageOfTask) -> None:
        """Store a changed stage."""
        ...

    async def get(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result."""
        ...

    async def hold(self, tx: Tx, result_id: RunTaskResultId) -> Result | None:
        """A result, kept from others' changes until the transaction ends."""
        ...

    async def results(self, tx: Tx, task_id: TaskId) -> list[Result]:
        """All results of a task, by stage and name."""
        ...

    async def of_plan(self, tx: Tx, plan_task_id: TaskId) -> list[Result]:
        """Results of a plan's task and of tasks that were to apply it, oldest first."""
        ...

    async def save(self, tx: Tx, result: Result) -> None:
        """Store a changed result."""
        ...

    async def is_due(self, tx: Tx, now: datetime) -> bool:
        """Whether `take_due` would find something, others aside."""
        ...

    async def take_due(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Results whose service is to be called now, kept from others; longest due first.

        Those that others keep at this moment are passed over.
        """
        ...

    async def overdue(self, tx: Tx, now: datetime, limit: int) -> list[Result]:
        """Running results whose time is over, longest over first."""
        ...

    async def unanswered(self, tx: Tx, limit: int) -> list[StageOfTask]:
        """Stages at which tasks wait though every result is final."""
        ...

    async def open_names(
        self, tx: Tx, task_ids: Collection[TaskId]
    ) -> dict[TaskId, list[str]]:
        """Names of what each task's opened stages still wait for; those without are left out."""
        ...

    async def count_open(self, tx: Tx) -> dict[ResultStatus, int]:
        """How many results are not final, by status."""
        ...

    async def put_outcomes(
        self, tx: Tx, result_id: RunTaskResultId, findings: Sequence[Finding]
    ) -> None:
        """Store a result's outcomes in place of those it had."""
        ...

    async def outcomes(self, tx: Tx, task_id: TaskId) -> list[Outcome]:
        """The outcomes of all results of a task, in their order, without their bodies."""
        ...

    async def outcome_body(
        self, tx: Tx, task_id: TaskId, outcome_id: RunTaskOutcomeId
    ) -> str | None:
        """The Markdown of an outcome of this task."""
        ...


class ResultTokens(Protocol):
    """Makes the token of a result (`auth.jwt.TokenIssuer`)."""

    def result(
        self, result: ResultPrincipal, *, issued_at: datetime, ttl: float
    ) -> str:
        """The same token for the same arguments."""
        ...


class Sender(Protocol):
    """Sends to addresses that users typed (`edge.outgoing.Outgoing`)."""

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - as of an HTTP client: it bounds the whole call
    ) -> int:
        """The status code of the answer.

        Raises:
            SluiceError: the address is not allowed, or no answer came.
        """
        ...
