"""Run tasks and their attachments in the database."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    RowMapping,
    Select,
    delete,
    distinct,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from sluice.base.errors import ConflictError
from sluice.base.ids import (
    OrganizationId,
    RunTaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.runtasks.asking import asked_of
from sluice.runtasks.model import Asked, RunTask, WorkspaceRunTask
from sluice.runtasks.tables import run_tasks, workspace_run_tasks
from sluice.wire.run_task import EnforcementLevel, RunTaskStage


class SqlRunTaskStore:
    """Run tasks and where they are attached, in SQLite or PostgreSQL."""

    async def add(self, tx: Tx, run_task: RunTask) -> None:
        """Keep a new run task; ConflictError where the name is taken."""
        async with _name_of_its_own(run_task):
            await connection_of(tx).execute(insert(run_tasks).values(_values(run_task)))

    async def get(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """A run task."""
        return await _one(tx, select(run_tasks).where(run_tasks.c.id == run_task_id))

    async def hold(self, tx: Tx, run_task_id: RunTaskId) -> RunTask | None:
        """The run task, its row locked (SQLite has but one writer anyway)."""
        query = select(run_tasks).where(run_tasks.c.id == run_task_id)
        return await _one(tx, query.with_for_update())

    async def get_many(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, RunTask]:
        """Run tasks by their ids; those unknown are left out."""
        query = select(run_tasks).where(among(run_tasks.c.id, run_task_ids))
        return {found.id: found for found in await _all(tx, query)}

    async def page(
        self, tx: Tx, organization_id: OrganizationId, page: Page
    ) -> tuple[list[RunTask], int]:
        """An organization's run tasks by name, and how many there are."""
        own = run_tasks.c.organization_id == organization_id
        found = await _all(
            tx,
            select(run_tasks)
            .where(own)
            .order_by(run_tasks.c.name)
            .limit(page.limit)
            .offset(page.offset),
        )
        count = select(func.count()).select_from(run_tasks).where(own)
        return found, await connection_of(tx).scalar(count) or 0

    async def save(self, tx: Tx, run_task: RunTask) -> None:
        """Store a changed run task; ConflictError where the name is taken."""
        change = update(run_tasks).where(run_tasks.c.id == run_task.id)
        async with _name_of_its_own(run_task):
            await connection_of(tx).execute(change.values(_values(run_task)))

    async def delete(self, tx: Tx, run_task_id: RunTaskId) -> None:
        """Forget a run task; the database forgets its attachments with it."""
        await connection_of(tx).execute(
            delete(run_tasks).where(run_tasks.c.id == run_task_id)
        )

    async def asked_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Asked]:
        """All that is to be asked in a workspace, by name and stage."""
        attached = await self.attachments(tx, workspace_id)
        ids = {attachment.run_task_id for attachment in attached}
        query = select(run_tasks).where(
            run_tasks.c.organization_id == organization_id,
            or_(run_tasks.c.is_global.is_(True), among(run_tasks.c.id, ids)),
        )
        return asked_of(await _all(tx, query), attached)

    async def workspace_counts(
        self, tx: Tx, run_task_ids: Collection[RunTaskId]
    ) -> dict[RunTaskId, int]:
        """In how many workspaces they are attached; those without are left out."""
        attached = workspace_run_tasks.c
        query = (
            select(attached.run_task_id, func.count(distinct(attached.workspace_id)))
            .where(among(attached.run_task_id, run_task_ids))
            .group_by(attached.run_task_id)
        )
        rows = await connection_of(tx).execute(query)
        return {RunTaskId(row[0]): row[1] for row in rows}

    async def workspaces_with(
        self, tx: Tx, run_task_id: RunTaskId
    ) -> list[WorkspaceId]:
        """Workspaces in which it is attached, each once."""
        query = (
            select(workspace_run_tasks.c.workspace_id)
            .where(workspace_run_tasks.c.run_task_id == run_task_id)
            .distinct()
        )
        return [WorkspaceId(found) for found in await connection_of(tx).scalars(query)]

    async def attach(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Keep a new attachment; ConflictError where there is one at this stage."""
        values = {
            "id": attachment.id,
            "workspace_id": attachment.workspace_id,
            "run_task_id": attachment.run_task_id,
            "created_at": attachment.created_at,
            **_settings(attachment),
        }
        async with _stage_of_its_own(attachment):
            await connection_of(tx).execute(insert(workspace_run_tasks).values(values))

    async def attachments(
        self, tx: Tx, workspace_id: WorkspaceId
    ) -> list[WorkspaceRunTask]:
        """A workspace's attachments, in the order in which they were made."""
        rows = await connection_of(tx).execute(
            select(workspace_run_tasks)
            .where(workspace_run_tasks.c.workspace_id == workspace_id)
            .order_by(workspace_run_tasks.c.created_at, workspace_run_tasks.c.id)
        )
        return [_attachment(row) for row in rows.mappings()]

    async def get_attachment(
        self, tx: Tx, workspace_id: WorkspaceId, attachment_id: WorkspaceRunTaskId
    ) -> WorkspaceRunTask | None:
        """A workspace's attachment."""
        rows = await connection_of(tx).execute(
            select(workspace_run_tasks).where(
                workspace_run_tasks.c.id == attachment_id,
                workspace_run_tasks.c.workspace_id == workspace_id,
            )
        )
        row = rows.mappings().one_or_none()
        return None if row is None else _attachment(row)

    async def save_attachment(self, tx: Tx, attachment: WorkspaceRunTask) -> None:
        """Store a changed attachment; ConflictError where there is one at this stage."""
        change = update(workspace_run_tasks).where(
            workspace_run_tasks.c.id == attachment.id
        )
        async with _stage_of_its_own(attachment):
            await connection_of(tx).execute(change.values(_settings(attachment)))

    async def detach(self, tx: Tx, attachment_id: WorkspaceRunTaskId) -> None:
        """Forget an attachment."""
        await connection_of(tx).execute(
            delete(workspace_run_tasks).where(workspace_run_tasks.c.id == attachment_id)
        )

    async def detach_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Forget all attachments of a workspace."""
        await connection_of(tx).execute(
            delete(workspace_run_tasks).where(
                workspace_run_tasks.c.workspace_id == workspace_id
            )
        )


async def _one(tx: Tx, query: Select[Any]) -> RunTask | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else _run_task(row)


async def _all(tx: Tx, query: Select[Any]) -> list[RunTask]:
    rows = await connection_of(tx).execute(query)
    return [_run_task(row) for row in rows.mappings()]


@asynccontextmanager
async def _name_of_its_own(run_task: RunTask) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(
            f"The organization has a run task {run_task.name!r} already; "
            "choose another name."
        ) from error


@asynccontextmanager
async def _stage_of_its_own(attachment: WorkspaceRunTask) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(
            f"The run task {attachment.run_task_id} is attached to this workspace at "
            f"{attachment.stage} already; change that attachment, or detach it first."
        ) from error


def _values(run_task: RunTask) -> dict[str, Any]:
    return {
        "id": run_task.id,
        "organization_id": run_task.organization_id,
        "name": run_task.name,
        "description": run_task.description,
        "endpoint_url": run_task.endpoint_url,
        "sealed_key": run_task.sealed_key,
        "signature_prefix": run_task.signature_prefix,
        "enabled": run_task.enabled,
        "timeout_seconds": run_task.timeout_seconds,
        "is_global": run_task.is_global,
        "global_stages": [stage.value for stage in run_task.global_stages],
        "global_level": run_task.global_level.value,
        "callback_allowed_cidrs": list(run_task.callback_allowed_cidrs),
        "team_id": run_task.team_id,
        "created_by": run_task.created_by,
        "created_at": run_task.created_at,
        "updated_at": run_task.updated_at,
    }


def _run_task(row: RowMapping) -> RunTask:
    return RunTask(
        id=row["id"],
        organization_id=row["organization_id"],
        name=row["name"],
        description=row["description"],
        endpoint_url=row["endpoint_url"],
        sealed_key=row["sealed_key"],
        signature_prefix=row["signature_prefix"],
        enabled=row["enabled"],
        timeout_seconds=row["timeout_seconds"],
        is_global=row["is_global"],
        global_stages=tuple(RunTaskStage(stage) for stage in row["global_stages"]),
        global_level=EnforcementLevel(row["global_level"]),
        callback_allowed_cidrs=tuple(row["callback_allowed_cidrs"]),
        team_id=row["team_id"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _settings(attachment: WorkspaceRunTask) -> dict[str, Any]:
    return {
        "stage": attachment.stage.value,
        "enforcement_level": attachment.enforcement_level.value,
        "enabled": attachment.enabled,
    }


def _attachment(row: RowMapping) -> WorkspaceRunTask:
    return WorkspaceRunTask(
        id=row["id"],
        workspace_id=row["workspace_id"],
        run_task_id=row["run_task_id"],
        stage=RunTaskStage(row["stage"]),
        enforcement_level=EnforcementLevel(row["enforcement_level"]),
        enabled=row["enabled"],
        created_at=row["created_at"],
    )
