"""Registered scripts in SQL, and which logs of their tasks are old."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, ScriptId, TaskId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.logs.tables import logs
from sluice.scripts.model import OldLog, Script
from sluice.scripts.tables import scripts
from sluice.tasks.tables import tasks
from sluice.wire.shapes.scripts import Parameter
from sluice.wire.shapes.tasks import TaskType


class SqlScriptStore:
    """Scripts on SQLite and PostgreSQL."""

    async def add(self, tx: Tx, script: Script) -> None:
        """Keep a new script."""
        async with _key_of_its_own(script):
            await connection_of(tx).execute(insert(scripts).values(_values(script)))

    async def get(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script with this id."""
        return await _one(tx, select(scripts).where(scripts.c.id == script_id))

    async def hold(self, tx: Tx, script_id: ScriptId) -> Script | None:
        """The script, kept from others' changes until the transaction ends."""
        query = select(scripts).where(scripts.c.id == script_id)
        return await _one(tx, query.with_for_update())

    async def find(
        self, tx: Tx, organization_id: OrganizationId, key: str
    ) -> Script | None:
        """The organization's script with this key."""
        query = select(scripts).where(
            scripts.c.organization_id == organization_id, scripts.c.key == key
        )
        return await _one(tx, query)

    async def list_scripts(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Script]:
        """An organization's scripts by key."""
        query = (
            select(scripts)
            .where(scripts.c.organization_id == organization_id)
            .order_by(scripts.c.key)
        )
        rows = await connection_of(tx).execute(query)
        found = [_script(row) for row in rows.mappings()]
        # the database may have an order of its own for texts
        return sorted(found, key=lambda script: script.key)

    async def save(self, tx: Tx, script: Script) -> None:
        """Store a changed script."""
        change = update(scripts).where(scripts.c.id == script.id)
        async with _key_of_its_own(script):
            await connection_of(tx).execute(change.values(_values(script)))

    async def set_last_task(self, tx: Tx, script_id: ScriptId, task_id: TaskId) -> None:
        """Remember the newest run."""
        change = update(scripts).where(scripts.c.id == script_id)
        await connection_of(tx).execute(change.values(last_task_id=task_id))

    async def delete(self, tx: Tx, script_id: ScriptId) -> None:
        """Forget a script; its tasks stay."""
        await connection_of(tx).execute(
            delete(scripts).where(scripts.c.id == script_id)
        )

    async def old_logs(
        self, tx: Tx, *, ended_before: datetime, limit: int
    ) -> list[OldLog]:
        """Archived logs of script tasks that ended before then, oldest first."""
        query = (
            select(logs.c.task_id, logs.c.committed, logs.c.blob_key)
            .join(tasks, tasks.c.id == logs.c.task_id)
            .where(
                tasks.c.task_type == TaskType.SCRIPT.value,
                logs.c.sealed_at < ended_before,
                logs.c.archived_at.is_not(None),
                logs.c.blob_key.is_not(None),
            )
            .order_by(logs.c.sealed_at)
            .limit(limit)
        )
        rows = await connection_of(tx).execute(query)
        return [OldLog(TaskId(row[0]), row[1], row[2]) for row in rows]


async def _one(tx: Tx, query: Select[Any]) -> Script | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else _script(row)


@asynccontextmanager
async def _key_of_its_own(script: Script) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(
            f"There is a script with the key {script.key} already; take another key,"
            " or change that one."
        ) from error


def _values(script: Script) -> dict[str, Any]:
    return {
        "id": script.id,
        "organization_id": script.organization_id,
        "key": script.key,
        "name": script.name,
        "description": script.description,
        "interpreter": list(script.interpreter),
        "body": script.body,
        "path": script.path,
        "parameters": [
            parameter.model_dump(mode="json") for parameter in script.parameters
        ],
        "sealed_defaults": dict(script.sealed_defaults),
        "timeout_seconds": script.timeout_seconds,
        "pool_id": script.pool_id,
        "labels": dict(script.labels),
        "last_task_id": script.last_task_id,
        "created_by": script.created_by,
        "created_at": script.created_at,
        "updated_at": script.updated_at,
    }


def _script(row: RowMapping) -> Script:
    return Script(
        id=row["id"],
        organization_id=row["organization_id"],
        key=row["key"],
        name=row["name"],
        description=row["description"],
        interpreter=tuple(row["interpreter"]),
        body=row["body"],
        path=row["path"],
        parameters=tuple(
            Parameter.model_validate(parameter) for parameter in row["parameters"]
        ),
        sealed_defaults=row["sealed_defaults"],
        timeout_seconds=row["timeout_seconds"],
        pool_id=row["pool_id"],
        labels=row["labels"],
        last_task_id=row["last_task_id"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
