"""Answers at the gate `cost_estimation`: remembers for each new task the price file of now."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sluice.base.clock import Clock
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.costs.model import CostEstimate, EstimateStatus
from sluice.costs.ports import EstimateStore, PriceStore
from sluice.tasks.model import Gate, Task, TaskState

_CALLED_OFF = frozenset({TaskState.CANCELED, TaskState.DISCARDED})


class CostKeeper:
    """Fulfils `tasks.ports.GateKeeper`; `answering.py` gives the answers."""

    def __init__(
        self, prices: PriceStore, estimates: EstimateStore, clock: Clock
    ) -> None:
        self._prices = prices
        self._estimates = estimates
        self._clock = clock

    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        """Remember the price file; where there is none, the task does not stop."""
        if Gate.COST_ESTIMATION not in possible:
            return frozenset()
        prices = await self._prices.get(tx, task.organization_id)
        if prices is None:
            return frozenset()
        await self._estimates.add(tx, CostEstimate(task.id, prices.digest))
        return frozenset({Gate.COST_ESTIMATION})

    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        """The task stands at the gate: its estimate is due."""
        if gate is not Gate.COST_ESTIMATION:
            return
        found = await self._estimates.hold(tx, task.id)
        if found is not None and found.closed_at is None:
            now = self._clock.now()
            await self._estimates.save(tx, replace(found, opened_at=now, due_at=now))

    async def ended(self, tx: Tx, task: Task) -> None:
        """The task has ended: nobody waits for an estimate any more."""
        found = await self._estimates.hold(tx, task.id)
        if found is None or found.closed_at is not None:
            return
        left = found.opened_at is not None or task.state in _CALLED_OFF
        closed = replace(
            found,
            status=EstimateStatus.CANCELED if left else EstimateStatus.SKIPPED,
            due_at=None,
            closed_at=self._clock.now(),
        )
        await self._estimates.save(tx, closed)

    async def describe(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[TaskId, str]:
        """What tasks at this gate wait for."""
        standing = [task.id for task in tasks if task.gate is Gate.COST_ESTIMATION]
        if not standing:
            return {}
        pending = await self._estimates.pending(tx, standing)
        return dict.fromkeys(pending, "waits for the cost estimate")
