"""Orders for phases that were just claimed; a task for which none can be made fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from sluice.base.errors import SluiceError
from sluice.base.ids import AgentId, WorkspaceId
from sluice.tasks.changes import Change, happen, tell
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import OrderFailed
from sluice.tasks.leases import held
from sluice.tasks.model import Lease
from sluice.tasks.order import make_order
from sluice.wire.agent import LogPosition, PhaseOrder
from sluice.workspaces.model import Variable, Workspace

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A phase that an agent has: the task before and after, its lease, and where it stands."""

    change: Change
    lease: Lease
    workspace: Workspace | None
    position: LogPosition


async def orders_for(
    deps: TaskDeps,
    claims: Sequence[Claim],
    variables: Mapping[WorkspaceId, Sequence[Variable]],
) -> dict[AgentId, PhaseOrder]:
    """The orders by agent, with the workspaces' variables; a task without one fails.

    Nothing is raised: the claims are committed, and the other agents' orders would be
    lost. A task that cannot even fail is dealt with when its lease runs out.
    """
    orders: dict[AgentId, PhaseOrder] = {}
    for claim in claims:
        stored = variables.get(claim.workspace.id, ()) if claim.workspace else ()
        try:
            order = await _order(deps, claim, stored)
        except Exception:  # as said above
            _logger.exception("no order, and no end", task_id=claim.change.after.id)
            continue
        if order is not None:
            orders[claim.lease.agent_id] = order
    return orders


async def _with_identities(deps: TaskDeps, order: PhaseOrder) -> PhaseOrder:
    """The order with the identity tokens that its workspace asks for."""
    if deps.identities is None:
        return order
    issued = await deps.identities.identities(order)
    return order.model_copy(update={"identities": issued})


async def _order(
    deps: TaskDeps, claim: Claim, variables: Sequence[Variable]
) -> PhaseOrder | None:
    task, lease = claim.change.after, claim.lease
    try:
        order = make_order(
            deps, task, claim.workspace, lease, claim.position, variables
        )
        return await _with_identities(deps, order)
    except SluiceError as error:
        _logger.warning("no order can be made", task_id=task.id, detail=error.detail)
        reason = error.detail
    except Exception as error:  # a fault in one task's data must not touch the others
        _logger.exception("no order can be made", task_id=task.id)
        reason = f"it is broken ({type(error).__name__}; the server's log says more)."
    failure = OrderFailed(f"The server could not make up the phase: {reason}")
    async with deps.transactions.write() as tx:
        present = await held(deps, tx, task.id, lease.id)
        change = await happen(deps, tx, present, failure)
        await deps.log.note(tx, task.id, failure.error, error=True)
    await tell(deps, change)
    return None
