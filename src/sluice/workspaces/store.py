"""Workspaces and variables in the database."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import OrganizationId, PoolId, VariableId, WorkspaceId
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.db.lists import among
from sluice.terraform.lock_info import LockInfo
from sluice.wire.agent import Engine
from sluice.wire.shapes.workspaces import (
    ExecutionMode,
    LockHolderKind,
    VariableCategory,
)
from sluice.workspaces.model import Lock, Variable, Workspace
from sluice.workspaces.ports import WorkspaceFilter
from sluice.workspaces.tables import variables, workspaces

_FREE: dict[str, object] = {
    "lock_id": None,
    "lock_holder": None,
    "lock_kind": None,
    "lock_reason": None,
    "lock_info": None,
    "locked_at": None,
}


class SqlWorkspaceStore:
    """Workspaces and their locks, in SQLite or PostgreSQL."""

    async def add(self, tx: Tx, workspace: Workspace) -> None:
        """Keep a new workspace; ConflictError where the name is taken."""
        values = {
            "id": workspace.id,
            "organization_id": workspace.organization_id,
            "created_at": workspace.created_at,
            **_settings(workspace),
        }
        try:
            await connection_of(tx).execute(workspaces.insert().values(values))
        except IntegrityError as error:
            raise _taken(workspace) from error

    async def get(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace with this id."""
        return await _one(tx, select(workspaces).where(workspaces.c.id == workspace_id))

    async def hold(self, tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
        """The workspace, its row locked (SQLite has but one writer anyway)."""
        found = select(workspaces).where(workspaces.c.id == workspace_id)
        return await _one(tx, found.with_for_update())

    async def get_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """Workspaces by their ids; those unknown are left out."""
        found = select(workspaces).where(among(workspaces.c.id, workspace_ids))
        return await _by_id(tx, found)

    async def hold_free(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, Workspace]:
        """`hold` for many, without waiting: those that others hold are left out."""
        found = select(workspaces).where(among(workspaces.c.id, workspace_ids))
        return await _by_id(tx, found.with_for_update(key_share=True, skip_locked=True))

    async def find(
        self, tx: Tx, organization_id: OrganizationId, name: str
    ) -> Workspace | None:
        """The organization's workspace of this name."""
        found = select(workspaces).where(
            workspaces.c.organization_id == organization_id, workspaces.c.name == name
        )
        return await _one(tx, found)

    async def list_workspaces(
        self, tx: Tx, which: WorkspaceFilter, page: Page
    ) -> tuple[list[Workspace], int]:
        """Workspaces by name, and how many there are in all."""
        wanted = _wanted(which)
        found = (
            select(workspaces)
            .where(*wanted)
            .order_by(workspaces.c.name)
            .limit(page.limit)
            .offset(page.offset)
        )
        count = select(func.count()).select_from(workspaces).where(*wanted)
        connection = connection_of(tx)
        rows = await connection.execute(found)
        return [_workspace(row) for row in rows], await connection.scalar(count) or 0

    async def naming_pool(self, tx: Tx, pool_id: PoolId) -> list[str]:
        """Names of the workspaces that name this pool."""
        found = await connection_of(tx).scalars(
            select(workspaces.c.name)
            .where(workspaces.c.pool_id == pool_id)
            .order_by(workspaces.c.name)
        )
        return list(found)

    async def save(self, tx: Tx, workspace: Workspace) -> None:
        """Store changed settings; ConflictError where the name is taken."""
        changed = update(workspaces).where(workspaces.c.id == workspace.id)
        try:
            await connection_of(tx).execute(changed.values(_settings(workspace)))
        except IntegrityError as error:
            raise _taken(workspace) from error

    async def delete(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove the workspace and what the database keeps under it."""
        await connection_of(tx).execute(
            workspaces.delete().where(workspaces.c.id == workspace_id)
        )

    async def take_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock: Lock
    ) -> Lock | None:
        """Take the lock if it is free: None where taken, else who holds it."""
        taken = await connection_of(tx).execute(
            update(workspaces)
            .where(workspaces.c.id == workspace_id, workspaces.c.lock_id.is_(None))
            .values(_lock_values(lock))
        )
        if taken.rowcount == 1:
            return None
        # Held while it is looked at: it could be freed between the two statements.
        present = await self.hold(tx, workspace_id)
        if present is None:
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        if present.lock is None:
            return await self.take_lock(tx, workspace_id, lock)
        return present.lock

    async def set_locks(self, tx: Tx, locks: Mapping[WorkspaceId, Lock]) -> None:
        """Lock workspaces that this transaction holds and has seen unlocked."""
        if locks:
            await connection_of(tx).execute(
                update(workspaces).where(workspaces.c.id == bindparam("workspace_id")),
                [
                    {"workspace_id": workspace_id, **_lock_values(lock)}
                    for workspace_id, lock in locks.items()
                ],
            )

    async def release_lock(
        self, tx: Tx, workspace_id: WorkspaceId, lock_id: str
    ) -> bool:
        """Free the lock if ``lock_id`` holds it; False where it does not."""
        freed = await connection_of(tx).execute(
            update(workspaces)
            .where(workspaces.c.id == workspace_id, workspaces.c.lock_id == lock_id)
            .values(_FREE)
        )
        return freed.rowcount == 1

    async def set_diverged(
        self, tx: Tx, workspace_id: WorkspaceId, text: str | None
    ) -> None:
        """Note why the stored state is behind the infrastructure, or that it is not."""
        await connection_of(tx).execute(
            update(workspaces)
            .where(workspaces.c.id == workspace_id)
            .values(state_diverged=text)
        )


class SqlVariableStore:
    """Variables of workspaces, in SQLite or PostgreSQL."""

    async def add(self, tx: Tx, variable: Variable) -> None:
        """Keep a new variable; ConflictError where category and key are taken."""
        values = {
            "id": variable.id,
            "workspace_id": variable.workspace_id,
            "key": variable.key,
            "category": variable.category.value,
            **_content(variable),
        }
        try:
            await connection_of(tx).execute(variables.insert().values(values))
        except IntegrityError as error:
            raise ConflictError(
                f"The workspace has a {variable.category} variable "
                f"{variable.key!r} already; change that one."
            ) from error

    async def get(
        self, tx: Tx, workspace_id: WorkspaceId, variable_id: VariableId
    ) -> Variable | None:
        """The workspace's variable with this id."""
        rows = await connection_of(tx).execute(
            select(variables).where(
                variables.c.id == variable_id, variables.c.workspace_id == workspace_id
            )
        )
        row = rows.one_or_none()
        return None if row is None else _variable(row)

    async def list_variables(self, tx: Tx, workspace_id: WorkspaceId) -> list[Variable]:
        """A workspace's variables by category and key."""
        rows = await connection_of(tx).execute(
            select(variables)
            .where(variables.c.workspace_id == workspace_id)
            .order_by(variables.c.category, variables.c.key)
        )
        return [_variable(row) for row in rows]

    async def list_many(
        self, tx: Tx, workspace_ids: Collection[WorkspaceId]
    ) -> dict[WorkspaceId, list[Variable]]:
        """`list_variables` for many; workspaces without variables are left out."""
        rows = await connection_of(tx).execute(
            select(variables)
            .where(among(variables.c.workspace_id, workspace_ids))
            .order_by(variables.c.category, variables.c.key)
        )
        found: dict[WorkspaceId, list[Variable]] = {}
        for row in rows:
            found.setdefault(row.workspace_id, []).append(_variable(row))
        return found

    async def save(self, tx: Tx, variable: Variable) -> None:
        """Store a changed variable; its key and category never change."""
        await connection_of(tx).execute(
            update(variables)
            .where(variables.c.id == variable.id)
            .values(_content(variable))
        )

    async def delete(self, tx: Tx, variable_id: VariableId) -> None:
        """Remove a variable."""
        await connection_of(tx).execute(
            variables.delete().where(variables.c.id == variable_id)
        )

    async def delete_all(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        """Remove all variables of a workspace."""
        await connection_of(tx).execute(
            variables.delete().where(variables.c.workspace_id == workspace_id)
        )


def _wanted(which: WorkspaceFilter) -> list[ColumnElement[bool]]:
    columns = workspaces.c
    wanted = [columns.organization_id == which.organization_id]
    if which.name is not None:
        wanted.append(columns.name == which.name)
    if which.visible is not None:
        wanted.append(among(columns.id, which.visible))
    return wanted


async def _one(tx: Tx, found: Select[Any]) -> Workspace | None:
    row = (await connection_of(tx).execute(found)).one_or_none()
    return None if row is None else _workspace(row)


async def _by_id(tx: Tx, found: Select[Any]) -> dict[WorkspaceId, Workspace]:
    rows = await connection_of(tx).execute(found)
    return {row.id: _workspace(row) for row in rows}


def _taken(workspace: Workspace) -> ConflictError:
    return ConflictError(
        f"The organization has a workspace {workspace.name!r} already, or the pool "
        "is gone; choose another name, or look at the pool."
    )


def _settings(workspace: Workspace) -> dict[str, object]:
    return {
        "name": workspace.name,
        "execution_mode": workspace.execution_mode.value,
        "auto_apply": workspace.auto_apply,
        "working_directory": workspace.working_directory,
        "terraform_version": workspace.terraform_version,
        "engine": workspace.engine.value,
        "pool_id": workspace.pool_id,
        "labels": dict(workspace.labels),
    }


def _lock_values(lock: Lock) -> dict[str, object]:
    return {
        "lock_id": lock.id,
        "lock_holder": lock.holder,
        "lock_kind": lock.kind.value,
        "lock_reason": lock.reason,
        "lock_info": None if lock.info is None else msgspec.to_builtins(lock.info),
        "locked_at": lock.locked_at,
    }


def _content(variable: Variable) -> dict[str, object]:
    return {
        "hcl": variable.hcl,
        "sensitive": variable.sensitive,
        "value": variable.value,
        "sealed": variable.sealed,
        "description": variable.description,
        "updated_at": variable.updated_at,
    }


def _workspace(row: Row[Any]) -> Workspace:
    return Workspace(
        id=WorkspaceId(row.id),
        organization_id=OrganizationId(row.organization_id),
        name=row.name,
        execution_mode=ExecutionMode(row.execution_mode),
        auto_apply=row.auto_apply,
        working_directory=row.working_directory,
        terraform_version=row.terraform_version,
        engine=Engine(row.engine),
        pool_id=None if row.pool_id is None else PoolId(row.pool_id),
        labels=row.labels,
        created_at=row.created_at,
        state_diverged=row.state_diverged,
        lock=None if row.lock_id is None else _lock(row),
    )


def _lock(row: Row[Any]) -> Lock:
    info = row.lock_info
    return Lock(
        id=row.lock_id,
        holder=row.lock_holder,
        kind=LockHolderKind(row.lock_kind),
        reason=row.lock_reason,
        locked_at=row.locked_at,
        info=None if info is None else msgspec.convert(info, LockInfo),
    )


def _variable(row: Row[Any]) -> Variable:
    return Variable(
        id=VariableId(row.id),
        workspace_id=WorkspaceId(row.workspace_id),
        key=row.key,
        category=VariableCategory(row.category),
        hcl=row.hcl,
        sensitive=row.sensitive,
        value=row.value,
        sealed=row.sealed,
        description=row.description,
        updated_at=row.updated_at,
    )
