"""Routes of costs: an organization's price file, and a task's estimate."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends

from sluice.auth.guard import require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import NotFoundError
from sluice.base.ids import TaskId
from sluice.costs import actions
from sluice.costs.actions import KeptPrices
from sluice.costs.deps import CostDeps
from sluice.costs.model import CostEstimate
from sluice.costs.price_file import FileFormat
from sluice.tasks.actions import get_task
from sluice.wire.shapes import costs as shapes
from sluice.wire.shapes.costs import PriceFileInput

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Keeper = Annotated[Principal, Depends(require(Permission.MANAGE_POLICIES))]


def build_router(deps: CostDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["costs"])
    _add_price_file(router, deps)
    _add_estimates(router, deps)
    return router


def _add_price_file(router: APIRouter, deps: CostDeps) -> None:
    path = "/organizations/{organization}/price-file"

    @router.put(path)
    async def put_price_file(
        organization: str, given: PriceFileInput, caller: Keeper
    ) -> shapes.PriceFile:
        """Keep the organization's price file; new tasks are estimated by it."""
        kept = await actions.put_price_file(
            deps,
            organization=organization,
            content=given.content,
            form=FileFormat(given.format),
            actor=caller.actor,
        )
        return _price_file(kept)

    @router.get(path)
    async def get_price_file(organization: str, _: Reader) -> shapes.PriceFile:
        """The organization's price file."""
        kept = await actions.get_price_file(deps, organization=organization)
        return _price_file(kept)

    @router.delete(path, status_code=204)
    async def delete_price_file(organization: str, caller: Keeper) -> None:
        """Forget the price file; no new task is estimated."""
        await actions.delete_price_file(
            deps, organization=organization, actor=caller.actor
        )


def _add_estimates(router: APIRouter, deps: CostDeps) -> None:
    @router.get("/workspaces/{workspace_id}/tasks/{task_id}/cost-estimate")
    async def get_cost_estimate(
        workspace_id: str, task_id: str, _: Reader
    ) -> shapes.CostEstimate:
        """What the task's plan costs a month."""
        task = await get_task(deps.tasks, task_id=TaskId(task_id))
        if task.workspace_id != workspace_id:
            raise NotFoundError(f"There is no task {task_id} in {workspace_id}.")
        return _estimate(await actions.estimate_of(deps, task_id=task.id))


def _price_file(kept: KeptPrices) -> shapes.PriceFile:
    stored, file = kept.stored, kept.file
    return shapes.PriceFile(
        organization_id=stored.organization_id,
        format=stored.form.value,
        content=stored.content,
        currency=file.currency,
        price_count=len(file.price),
        level=file.level,
        max_monthly_increase=_text(file.max_monthly_increase),
        max_monthly_total=_text(file.max_monthly_total),
        updated_by=stored.updated_by,
        updated_at=stored.updated_at,
    )


def _estimate(found: CostEstimate) -> shapes.CostEstimate:
    made = found.estimate
    return shapes.CostEstimate(
        task_id=found.task_id,
        status=found.status.value,
        currency=made.currency if made else None,
        prior=_text(made.prior) if made else None,
        proposed=_text(made.proposed) if made else None,
        delta=_text(made.delta) if made else None,
        broken=list(made.broken) if made else [],
        resources=[
            shapes.ResourceCost(
                address=item.address,
                type=item.type,
                prior=_text(item.prior),
                proposed=_text(item.proposed),
            )
            for item in (made.resources if made else ())
        ],
        priced_count=made.priced_count if made else 0,
        unpriced=[
            shapes.UnpricedResource(
                address=item.address, type=item.type, reason=item.reason
            )
            for item in (made.unpriced if made else ())
        ],
        unpriced_count=made.unpriced_count if made else 0,
        error=found.error,
        completed_at=found.closed_at,
    )


def _text(amount: Decimal | None) -> str | None:
    """``12.5``, never ``1.25E+1``."""
    return None if amount is None else f"{amount:f}"
