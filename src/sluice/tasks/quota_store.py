"""Counts for quotas in SQL, exact also while others make and claim tasks."""

import zlib
from collections.abc import Collection

from sqlalchemy import ColumnElement, func, select, text

from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.tasks.quota import Unfinished
from sluice.tasks.tables import tasks

_NEW_TASKS = 0x51_0002
_RUNNING = 0x51_0003
"""PostgreSQL's advisory locks, each with a hash of the organization's id beside it."""

_OPEN = tasks.c.completed_at.is_(None)


class SqlQuotas:
    """The part of `SqlTaskStore` that quotas need."""

    async def unfinished(
        self,
        tx: Tx,
        organization_id: OrganizationId,
        workspace_id: WorkspaceId | None,
    ) -> Unfinished:
        """How many tasks have not ended; nobody else makes one until the transaction ends."""
        await _alone(tx, _NEW_TASKS, [organization_id])
        of_workspace = 0
        if workspace_id is not None:
            of_workspace = await _count(tx, tasks.c.workspace_id == workspace_id)
        of_organization = await _count(tx, tasks.c.organization_id == organization_id)
        return Unfinished(of_organization, of_workspace)

    async def running(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """How many tasks have a lease; those without are left out."""
        if not organization_ids:
            return {}
        rows = await connection_of(tx).execute(
            select(tasks.c.organization_id, func.count().label("number"))
            .where(
                among(tasks.c.organization_id, organization_ids),
                tasks.c.lease_agent_id.is_not(None),
                _OPEN,
            )
            .group_by(tasks.c.organization_id)
        )
        return {OrganizationId(row.organization_id): row.number for row in rows}

    async def claiming(
        self, tx: Tx, organization_ids: Collection[OrganizationId]
    ) -> dict[OrganizationId, int]:
        """As `running`; nobody else claims in them until the transaction ends."""
        await _alone(tx, _RUNNING, organization_ids)
        return await self.running(tx, organization_ids)


async def _count(tx: Tx, which: ColumnElement[bool]) -> int:
    number = await connection_of(tx).scalar(
        select(func.count()).select_from(tasks).where(which, _OPEN)
    )
    return number or 0


async def _alone(
    tx: Tx, what: int, organization_ids: Collection[OrganizationId]
) -> None:
    """Keep others out; on SQLite who writes is alone anyway."""
    connection = connection_of(tx)
    if connection.dialect.name != "postgresql":
        return
    # in one order, so that two who want several do not wait for each other
    for key in sorted(
        {_signed(organization_id) for organization_id in organization_ids}
    ):
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(:what, :key)"),
            {"what": what, "key": key},
        )


def _signed(organization_id: OrganizationId) -> int:
    """32 bits as PostgreSQL takes them."""
    return zlib.crc32(organization_id.encode()) - 2**31
