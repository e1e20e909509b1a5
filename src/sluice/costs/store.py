"""Price files and estimates in SQL; a text is kept once, under its digest."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

from sqlalchemy import CursorResult, Select, delete, insert, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sluice.base.ids import OrganizationId, TaskId
from sluice.base.transactions import Tx
from sluice.costs.model import CostEstimate, EstimateStatus, StoredPrices
from sluice.costs.price_file import FileFormat
from sluice.costs.rows import estimate_of, estimate_values
from sluice.costs.tables import cost_estimates, price_contents, price_files
from sluice.db.claims import longest_due
from sluice.db.engine import connection_of
from sluice.db.lists import among

_ESTIMATES = select(cost_estimates)


class SqlPriceStore:
    """Price files on SQLite and PostgreSQL."""

    async def put(self, tx: Tx, prices: StoredPrices) -> None:
        """Keep an organization's price file, in place of the one it had."""
        connection = connection_of(tx)
        dialect = _dialect(tx)
        await connection.execute(
            dialect.insert(price_contents)
            .values(
                digest=prices.digest, format=prices.form.value, content=prices.content
            )
            .on_conflict_do_nothing(index_elements=["digest"])
        )
        values = {
            "digest": prices.digest,
            "updated_by": prices.updated_by,
            "updated_at": prices.updated_at,
        }
        await connection.execute(
            dialect.insert(price_files)
            .values(organization_id=prices.organization_id, **values)
            .on_conflict_do_update(index_elements=["organization_id"], set_=values)
        )

    async def get(self, tx: Tx, organization_id: OrganizationId) -> StoredPrices | None:
        """An organization's price file."""
        rows = await connection_of(tx).execute(
            select(price_files, price_contents.c.format, price_contents.c.content)
            .join(price_contents, price_contents.c.digest == price_files.c.digest)
            .where(price_files.c.organization_id == organization_id)
        )
        row = rows.mappings().one_or_none()
        if row is None:
            return None
        return StoredPrices(
            organization_id=row["organization_id"],
            content=row["content"],
            form=FileFormat(row["format"]),
            updated_by=row["updated_by"],
            updated_at=row["updated_at"],
        )

    async def delete(self, tx: Tx, organization_id: OrganizationId) -> bool:
        """Forget an organization's price file; False where it had none."""
        done = await connection_of(tx).execute(
            delete(price_files).where(price_files.c.organization_id == organization_id)
        )
        assert isinstance(done, CursorResult)
        return done.rowcount > 0

    async def content(self, tx: Tx, digest: str) -> tuple[str, FileFormat]:
        """The text that a task was made with."""
        rows = await connection_of(tx).execute(
            select(price_contents).where(price_contents.c.digest == digest)
        )
        row = rows.one()
        return row.content, FileFormat(row.format)


class SqlEstimateStore:
    """Estimates on SQLite and PostgreSQL."""

    async def add(self, tx: Tx, estimate: CostEstimate) -> None:
        """Remember that a new task will be estimated."""
        await connection_of(tx).execute(
            insert(cost_estimates).values(
                task_id=estimate.task_id, **_columns(estimate)
            )
        )

    async def get(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate."""
        return await _one(tx, _ESTIMATES.where(cost_estimates.c.task_id == task_id))

    async def hold(self, tx: Tx, task_id: TaskId) -> CostEstimate | None:
        """A task's estimate, kept from others until the transaction ends."""
        query = _ESTIMATES.where(cost_estimates.c.task_id == task_id)
        return await _one(tx, query.with_for_update())

    async def save(self, tx: Tx, estimate: CostEstimate) -> None:
        """Store a changed estimate."""
        change = update(cost_estimates).where(
            cost_estimates.c.task_id == estimate.task_id
        )
        await connection_of(tx).execute(change.values(_columns(estimate)))

    async def claim(
        self, tx: Tx, *, now: datetime, until: datetime
    ) -> CostEstimate | None:
        """Take the estimate that is due longest, put off ``until`` then."""
        found = await _one(tx, longest_due(_ESTIMATES, cost_estimates.c.due_at, now))
        if found is None:
            return None
        taken = replace(found, due_at=until, attempts=found.attempts + 1)
        await self.save(tx, taken)
        return taken

    async def pending(self, tx: Tx, task_ids: Sequence[TaskId]) -> set[TaskId]:
        """Which of these tasks wait for their estimate."""
        rows = await connection_of(tx).scalars(
            select(cost_estimates.c.task_id).where(
                among(cost_estimates.c.task_id, task_ids),
                cost_estimates.c.status == EstimateStatus.PENDING.value,
            )
        )
        return {TaskId(task_id) for task_id in rows}


def _columns(estimate: CostEstimate) -> dict[str, Any]:
    values = estimate_values(estimate)
    # else the column would hold JSON's null
    return values | ({"estimate": null()} if values["estimate"] is None else {})


def _dialect(tx: Tx) -> Any:
    chosen: ModuleType = sqlite
    if connection_of(tx).dialect.name == "postgresql":
        chosen = postgresql
    return chosen


async def _one(tx: Tx, query: Select[Any]) -> CostEstimate | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else estimate_of(row)
