"""What can be done with costs: keep a price file, and look at what tasks cost by it."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sluice.auth.actions import get_organization
from sluice.auth.audit_entries import new_entry
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import OrganizationId, TaskId
from sluice.base.transactions import Tx
from sluice.costs.deps import CostDeps
from sluice.costs.model import CostEstimate, StoredPrices
from sluice.costs.price_file import (
    MAX_BYTES,
    FileFormat,
    PriceFile,
    PriceFileError,
    read_price_file,
)


@dataclass(frozen=True, slots=True)
class KeptPrices:
    """A price file as it was given, and what it says."""

    stored: StoredPrices
    file: PriceFile


async def put_price_file(
    deps: CostDeps, *, organization: str, content: str, form: FileFormat, actor: str
) -> KeptPrices:
    """Keep an organization's price file; tasks that are made from then on are estimated.

    Raises:
        NotFoundError: there is no such organization.
        InvalidInputError: the text is no price file; each fault is in ``errors``.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    size = len(content.encode())
    if size > MAX_BYTES:
        raise InvalidInputError(
            f"content: the price file has {size} bytes; {MAX_BYTES} are the most."
        )
    file = await asyncio.to_thread(_read, content, form)
    stored = StoredPrices(owner.id, content, form, actor, deps.clock.now())
    async with deps.transactions.write() as tx:
        await deps.prices.put(tx, stored)
        digest = hashlib.sha256(content.encode()).hexdigest()
        await _record(deps, tx, owner.id, actor, "set", {"sha256": digest})
    return KeptPrices(stored, file)


async def get_price_file(deps: CostDeps, *, organization: str) -> KeptPrices:
    """An organization's price file.

    Raises:
        NotFoundError: there is no such organization, or it has none.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.read() as tx:
        stored = await deps.prices.get(tx, owner.id)
    if stored is None:
        raise _none(organization)
    file = await asyncio.to_thread(_read, stored.content, stored.form)
    return KeptPrices(stored, file)


async def delete_price_file(deps: CostDeps, *, organization: str, actor: str) -> None:
    """Forget an organization's price file; no new task is estimated.

    Raises:
        NotFoundError: there is no such organization, or it has none.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.write() as tx:
        if not await deps.prices.delete(tx, owner.id):
            raise _none(organization)
        await _record(deps, tx, owner.id, actor, "delete", {})


async def _record(
    deps: CostDeps,
    tx: Tx,
    organization_id: OrganizationId,
    actor: str,
    verb: str,
    detail: Mapping[str, str],
) -> None:
    entry = new_entry(
        deps.clock,
        actor=actor,
        action=f"price_file.{verb}",
        subject=organization_id,
        organization_id=organization_id,
        detail=detail,
    )
    await deps.audit.append(tx, entry)


async def estimate_of(deps: CostDeps, *, task_id: TaskId) -> CostEstimate:
    """What a task costs.

    Raises:
        NotFoundError: it was made where there was no price file.
    """
    async with deps.transactions.read() as tx:
        found = await deps.estimates.get(tx, task_id)
    if found is None:
        raise NotFoundError(
            f"{task_id} has no cost estimate; its organization had no price file when it"
            " was made."
        )
    return found


def _read(content: str, form: FileFormat) -> PriceFile:
    try:
        return read_price_file(content, form)
    except PriceFileError as error:
        raise InvalidInputError(
            f"content: {error}.",
            errors=[
                {"where": fault.where, "message": fault.message}
                for fault in error.faults
            ],
        ) from None


def _none(organization: str) -> NotFoundError:
    return NotFoundError(
        f"{organization} has no price file; `sluice price-file set FILE` makes one."
    )
