"""Configuration versions in the database."""

from typing import Any

from sqlalchemy import Row, select, update

from sluice.base.ids import ConfigurationVersionId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.configs.model import ConfigurationVersion
from sluice.configs.tables import configuration_versions as table
from sluice.db.engine import connection_of
from sluice.wire.shapes.configs import ConfigurationStatus


class SqlConfigurationStore:
    """Configuration versions, in SQLite or PostgreSQL."""

    async def add(self, tx: Tx, version: ConfigurationVersion) -> None:
        """Keep a new version."""
        values = {
            "id": version.id,
            "workspace_id": version.workspace_id,
            "created_by": version.created_by,
            "created_at": version.created_at,
            **_outcome(version),
        }
        await connection_of(tx).execute(table.insert().values(values))

    async def get(
        self, tx: Tx, version_id: ConfigurationVersionId
    ) -> ConfigurationVersion | None:
        """The version with this id."""
        rows = await connection_of(tx).execute(
            select(table).where(table.c.id == version_id)
        )
        row = rows.one_or_none()
        return None if row is None else _version(row)

    async def settle(self, tx: Tx, version: ConfigurationVersion) -> bool:
        """Store the outcome of an upload if the version is still pending."""
        settled = await connection_of(tx).execute(
            update(table)
            .where(
                table.c.id == version.id,
                table.c.status == ConfigurationStatus.PENDING.value,
            )
            .values(_outcome(version))
        )
        return settled.rowcount == 1

    async def newest_uploaded(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> ConfigurationVersion | None:
        """The workspace's uploaded version that was created last."""
        rows = await connection_of(tx).execute(
            select(table)
            .where(
                table.c.workspace_id == workspace_id,
                table.c.status == ConfigurationStatus.UPLOADED.value,
            )
            .order_by(table.c.created_at.desc(), table.c.id.desc())
            .limit(1)
        )
        row = rows.one_or_none()
        return None if row is None else _version(row)

    async def blob_keys(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """The blobs of all versions of a workspace."""
        rows = await connection_of(tx).execute(
            select(table.c.blob_key).where(
                table.c.workspace_id == workspace_id, table.c.blob_key.is_not(None)
            )
        )
        return list(rows.scalars())

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all versions of a workspace."""
        await connection_of(tx).execute(
            table.delete().where(table.c.workspace_id == workspace_id)
        )


def _outcome(version: ConfigurationVersion) -> dict[str, object]:
    return {
        "status": version.status.value,
        "error": version.error,
        "size_bytes": version.size_bytes,
        "sha256": version.sha256,
        "blob_key": version.blob_key,
    }


def _version(row: Row[Any]) -> ConfigurationVersion:
    return ConfigurationVersion(
        id=ConfigurationVersionId(row.id),
        workspace_id=WorkspaceId(row.workspace_id),
        status=ConfigurationStatus(row.status),
        error=row.error,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        blob_key=row.blob_key,
        created_by=row.created_by,
        created_at=row.created_at,
    )
