"""Evaluates the policies of tasks that stand at the gate, and answers there, exactly once.

An evaluation is claimed by putting off when it is due: a server that dies while it
evaluates leaves it to be done again. Nothing is held while a policy is judged. What is
found is stored in the transaction that answers.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from sluice.base.errors import NotFoundError
from sluice.base.ids import TaskId
from sluice.policies.deps import PolicyDeps
from sluice.policies.model import Evaluation, Judgement, PolicyResult
from sluice.policies.ports import Question
from sluice.policies.verdicts import log_line, verdict
from sluice.tasks.actions import get_task
from sluice.tasks.gate_actions import answer_gate, tell
from sluice.tasks.model import Gate, Task
from sluice.tasks.task_data import plan_json_of
from sluice.terraform.plan_json import PlanJsonError, mask_of
from sluice.workspaces.actions import get_workspace

MAX_ATTEMPTS = 5
"""What fails so often, whatever for, is answered with an error."""

_logger = structlog.get_logger(__name__)


async def evaluate_next(deps: PolicyDeps, group: asyncio.TaskGroup) -> bool:
    """Evaluate the task that waits longest; False where none does.

    ``group`` owns what judges meanwhile; nothing in it ever fails.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        claimed = await deps.evaluations.claim(tx, now=now, until=_until(deps))
    if claimed is None:
        return False
    await _evaluate(deps, group, claimed)
    return True


async def _evaluate(
    deps: PolicyDeps, group: asyncio.TaskGroup, claimed: Evaluation
) -> None:
    async with deps.transactions.read() as tx:
        pending = await deps.evaluations.results(tx, claimed.task_id)
        sources = await deps.evaluations.sources(tx, claimed.task_id)
    if claimed.attempts > MAX_ATTEMPTS:
        text = f"{MAX_ATTEMPTS} attempts came to no end; see the server's log"
        await _answer(deps, claimed, _all(pending, Judgement(error=text)))
        return
    task = await get_task(deps.tasks, task_id=claimed.task_id)
    facts = await facts_of(deps, task)
    try:
        plan = await open_plan(deps, task)
    except NotFoundError as error:
        await _answer(deps, claimed, _all(pending, Judgement(error=error.detail)))
        return
    judged = []
    for result in pending:
        question = Question(sources[result.digest], facts, plan.content)
        judging = group.create_task(_judge(deps, question))
        judgement = await _while_wanted(deps, claimed, judging)
        if judgement is None:
            return
        judged.append(_judged(result, plan.masked(judgement)))
    await _answer(deps, claimed, judged)


async def _judge(deps: PolicyDeps, question: Question) -> Judgement | None:
    try:
        return await deps.engine.judge(question)
    except Exception:  # the machine has no room for one more process: again, later
        _logger.exception("a policy could not be judged")
        return None


async def _while_wanted(
    deps: PolicyDeps, claimed: Evaluation, judging: asyncio.Task[Judgement | None]
) -> Judgement | None:
    """The judgement; None where nobody waits for it any more, or it has to be done again."""
    try:
        while not judging.done():
            if not await _go_on(deps, claimed):
                return None
            await asyncio.wait([judging], timeout=deps.lease_seconds / 4)
        return judging.result()
    finally:
        judging.cancel()


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """A task's plan JSON, and what masks the sensitive values that it marks."""

    content: bytes
    mask: Callable[[str], str]

    def masked(self, judgement: Judgement) -> Judgement:
        """A judgement that everybody may read."""
        mask = self.mask
        return replace(
            judgement,
            findings=[
                replace(
                    item,
                    message=mask(item.message),
                    address=mask(item.address),
                    severity=mask(item.severity),
                    url=mask(item.url),
                )
                for item in judgement.findings
            ],
            error=mask(judgement.error),
        )


async def open_plan(deps: PolicyDeps, task: Task) -> OpenPlan:
    """The stored plan of a task.

    Raises:
        NotFoundError: there is none that can be read.
    """
    content = await plan_json_of(deps.tasks, task=task)
    try:
        return OpenPlan(content, await asyncio.to_thread(mask_of, content))
    except PlanJsonError as error:
        raise NotFoundError(
            f"The plan of {task.id} cannot be read: {error}."
        ) from error


async def facts_of(deps: PolicyDeps, task: Task) -> dict[str, Any]:
    """What policies find in ``data.sluice`` beside the plan."""
    workspace = await get_workspace(deps.tasks.workspaces, workspace_id=task.home)
    return {
        "workspace": {"id": workspace.id, "name": workspace.name},
        "task": {
            "id": task.id,
            "type": task.task_type.value,
            "message": task.message,
            "created_by": task.created_by,
        },
    }


async def _go_on(deps: PolicyDeps, claimed: Evaluation) -> bool:
    async with deps.transactions.write() as tx:
        mine = await deps.evaluations.put_off(tx, claimed, until=_until(deps))
    if not mine:
        _logger.info("nobody waits for these policies any more", task=claimed.task_id)
    return mine


async def _answer(
    deps: PolicyDeps, claimed: Evaluation, judged: Sequence[PolicyResult]
) -> None:
    now = deps.clock.now()
    done = [replace(result, completed_at=now) for result in judged]
    async with deps.transactions.write() as tx:
        # the task first: whoever ends it locks in this order
        await deps.tasks.store.lock(tx, claimed.task_id)
        found = await deps.evaluations.hold(tx, claimed.task_id)
        if found is None or found.closed_at is not None:
            return
        if found.attempts != claimed.attempts:
            return
        await deps.evaluations.save_results(tx, done)
        await deps.evaluations.save(tx, replace(found, due_at=None, closed_at=now))
        for result in done:
            await deps.tasks.log.note(
                tx, claimed.task_id, log_line(result), error=result.stops
            )
        change = await answer_gate(
            deps.tasks,
            tx,
            task_id=claimed.task_id,
            gate=Gate.POLICY_CHECK,
            verdict=verdict(done),
        )
    if change is not None:
        await tell(deps.tasks, change)


def _all(results: Sequence[PolicyResult], judgement: Judgement) -> list[PolicyResult]:
    return [_judged(result, judgement) for result in results]


def _judged(result: PolicyResult, judgement: Judgement) -> PolicyResult:
    return replace(
        result,
        status=judgement.status,
        findings=tuple(judgement.findings),
        left_out=judgement.left_out,
        error=judgement.error,
    )


def _until(deps: PolicyDeps) -> datetime:
    return deps.clock.now() + timedelta(seconds=deps.lease_seconds)


async def results_of(deps: PolicyDeps, *, task_id: TaskId) -> list[PolicyResult]:
    """What policies say of a task, by name; none where it had to pass none."""
    async with deps.transactions.read() as tx:
        return await deps.evaluations.results(tx, task_id)
