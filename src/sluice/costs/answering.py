"""Estimates tasks that stand at the gate, and answers there, exactly once.

An estimate is claimed by putting off when it is due: a server that dies while it works
leaves it to be done again. Nothing is held meanwhile. What is found is stored in the
transaction that answers.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

from sluice.base.errors import NotFoundError
from sluice.costs.deps import CostDeps
from sluice.costs.estimating import estimate, log_line, verdict
from sluice.costs.model import CostEstimate, Estimate, EstimateStatus
from sluice.costs.plan_values import PlanValuesError, planned_resources
from sluice.costs.price_file import PriceFile, read_price_file
from sluice.tasks.actions import get_task
from sluice.tasks.gate_actions import answer_gate, tell
from sluice.tasks.gates import Verdict
from sluice.tasks.model import Gate
from sluice.tasks.task_data import plan_json_of

MAX_ATTEMPTS = 5
"""What fails so often, whatever for, is answered with an error."""


async def estimate_next(deps: CostDeps) -> bool:
    """Estimate the task that waits longest; False where none does."""
    now = deps.clock.now()
    until = now + timedelta(seconds=deps.lease_seconds)
    async with deps.transactions.write() as tx:
        claimed = await deps.estimates.claim(tx, now=now, until=until)
        if claimed is None:
            return False
        text, form = await deps.prices.content(tx, claimed.digest)
    file = await asyncio.to_thread(read_price_file, text, form)
    done = await _estimated(deps, claimed, file)
    await _answer(deps, done, file)
    return True


async def _estimated(
    deps: CostDeps, claimed: CostEstimate, file: PriceFile
) -> CostEstimate:
    if claimed.attempts > MAX_ATTEMPTS:
        text = f"{MAX_ATTEMPTS} attempts came to no end; see the server's log"
        return replace(claimed, status=EstimateStatus.ERROR, error=text)
    task = await get_task(deps.tasks, task_id=claimed.task_id)
    try:
        plan = await plan_json_of(deps.tasks, task=task)
        found = await asyncio.to_thread(_of_plan, file, plan)
    except NotFoundError as error:
        return replace(claimed, status=EstimateStatus.ERROR, error=error.detail)
    except PlanValuesError as error:
        return replace(claimed, status=EstimateStatus.ERROR, error=str(error))
    status = EstimateStatus.FAILED if found.broken else EstimateStatus.PASSED
    return replace(claimed, status=status, estimate=found)


def _of_plan(file: PriceFile, plan: bytes) -> Estimate:
    return estimate(file, planned_resources(plan))


async def _answer(deps: CostDeps, done: CostEstimate, file: PriceFile) -> None:
    answer = _verdict(done, file)
    closed = replace(done, due_at=None, closed_at=deps.clock.now())
    line = f"cost estimate: {done.error}"
    if done.estimate is not None:
        line = log_line(done.estimate)
    async with deps.transactions.write() as tx:
        # the task first: whoever ends it locks in this order
        await deps.tasks.store.lock(tx, done.task_id)
        found = await deps.estimates.hold(tx, done.task_id)
        if found is None or found.closed_at is not None:
            return
        if found.attempts != done.attempts:
            return
        await deps.estimates.save(tx, closed)
        await deps.tasks.log.note(tx, done.task_id, line, error=not answer.passed)
        change = await answer_gate(
            deps.tasks,
            tx,
            task_id=done.task_id,
            gate=Gate.COST_ESTIMATION,
            verdict=answer,
        )
    if change is not None:
        await tell(deps.tasks, change)


def _verdict(done: CostEstimate, file: PriceFile) -> Verdict:
    if done.estimate is not None:
        return verdict(file, done.estimate)
    text = f"stopped, because there is no cost estimate: {done.error}"
    return Verdict(passed=not file.binding, text=text)
