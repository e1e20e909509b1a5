"""State versions in the database; their content is in the blob store."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, select

from sluice.base.ids import StateVersionId, TaskId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.state.model import StateVersion
from sluice.state.tables import state_versions as table

# The outputs may be large and are read alone.
_FACTS = [column for column in table.c if column is not table.c.outputs]


class SqlStateStore:
    """State versions, in SQLite or PostgreSQL."""

    async def add(
        self, tx: Tx, version: StateVersion, sealed_outputs: bytes | None
    ) -> None:
        """Keep a new version; the workspace is held in this transaction."""
        values = {**asdict(version), "outputs": sealed_outputs}
        await connection_of(tx).execute(table.insert().values(values))

    async def sealed_outputs(self, tx: Tx, version_id: StateVersionId) -> bytes | None:
        """The version's outputs as they were added."""
        rows = await connection_of(tx).execute(
            select(table.c.outputs).where(table.c.id == version_id)
        )
        sealed: bytes | None = rows.scalar_one_or_none()
        return sealed

    async def get(self, tx: Tx, version_id: StateVersionId) -> StateVersion | None:
        """The version with this id."""
        return await _first(tx, select(*_FACTS).where(table.c.id == version_id))

    async def newest(self, tx: Tx, workspace_id: WorkspaceId) -> StateVersion | None:
        """The workspace's version with the highest sequence."""
        return await _first(tx, _newest_first(workspace_id).limit(1))

    async def list_versions(
        self, tx: Tx, workspace_id: WorkspaceId, page: Page
    ) -> list[StateVersion]:
        """A workspace's versions, newest first."""
        rows = await connection_of(tx).execute(
            _newest_first(workspace_id).limit(page.limit).offset(page.offset)
        )
        return [_version(row) for row in rows]

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        rows = await connection_of(tx).execute(
            select(table.c.blob_key).where(
                table.c.workspace_id == workspace_id, table.c.blob_key != ""
            )
        )
        return list(rows.scalars())

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        await connection_of(tx).execute(
            table.delete().where(table.c.workspace_id == workspace_id)
        )


def _newest_first(workspace_id: WorkspaceId) -> Select[Any]:
    return (
        select(*_FACTS)
        .where(table.c.workspace_id == workspace_id)
        .order_by(table.c.sequence.desc())
    )


async def _first(tx: Tx, found: Select[Any]) -> StateVersion | None:
    row = (await connection_of(tx).execute(found)).one_or_none()
    return None if row is None else _version(row)


def _version(row: Row[Any]) -> StateVersion:
    return StateVersion(
        id=StateVersionId(row.id),
        workspace_id=WorkspaceId(row.workspace_id),
        sequence=row.sequence,
        serial=row.serial,
        lineage=row.lineage,
        sha256=row.sha256,
        md5=row.md5,
        size_bytes=row.size_bytes,
        terraform_version=row.terraform_version,
        resource_count=row.resource_count,
        blob_key=row.blob_key,
        task_id=None if row.task_id is None else TaskId(row.task_id),
        rollback_of=None
        if row.rollback_of is None
        else StateVersionId(row.rollback_of),
        created_by=row.created_by,
        created_at=row.created_at,
    )
