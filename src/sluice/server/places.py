"""Where the things lie that requests name: one short query for each kind of id."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, null, or_, select

from sluice.agents.tables import agents, pools
from sluice.auth.access import Locate, Locator
from sluice.auth.model import Place
from sluice.auth.tables import organizations, teams
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.configs.tables import configuration_versions
from sluice.db.engine import connection_of
from sluice.notifications.tables import notifications
from sluice.policies.tables import policies
from sluice.runtasks.tables import run_task_results, run_tasks, workspace_run_tasks
from sluice.scripts.tables import scripts
from sluice.state.tables import state_versions
from sluice.tasks.tables import tasks
from sluice.workspaces.tables import variables, workspaces


def locators() -> Mapping[str, Locator]:
    """How each parameter that names something leads to where it lies."""
    organization = Locator("organization", _organization)
    return {
        "organization": organization,
        "id_or_name": organization,
        "organization_id": organization,
        "team_id": _owned("team", teams),
        "workspace_id": _from(
            "workspace",
            select(workspaces.c.organization_id, workspaces.c.id.label("workspace_id")),
            workspaces.c.id,
        ),
        "variable_id": _in_workspace("variable", variables),
        "configuration_version_id": _in_workspace(
            "configuration version", configuration_versions
        ),
        "state_version_id": _in_workspace("state version", state_versions),
        "workspace_run_task_id": _in_workspace(
            "run task of a workspace", workspace_run_tasks
        ),
        "task_id": _placed("task", tasks),
        "result_id": _placed("run task result", run_task_results),
        "policy_id": _placed("policy", policies),
        "notification_id": _placed("notification", notifications),
        "pool_id": _owned("pool", pools),
        "agent_id": _from(
            "agent",
            select(pools.c.organization_id, null().label("workspace_id")).join_from(
                agents, pools, agents.c.pool_id == pools.c.id
            ),
            agents.c.id,
        ),
        "script_id": _owned("script", scripts),
        "run_task_id": _owned("run task", run_tasks),
    }


async def _organization(tx: Tx, value: str) -> Place | None:
    """By its id or its name, as every route takes it."""
    columns = organizations.c
    # an id goes before a name that looks like one
    query = (
        select(columns.id)
        .where(or_(columns.id == value, columns.name == value))
        .order_by(columns.id != value)
        .limit(1)
    )
    found = await connection_of(tx).scalar(query)
    return None if found is None else Place(OrganizationId(found))


def _owned(noun: str, table: Table) -> Locator:
    """What belongs to an organization as a whole."""
    query = select(table.c.organization_id, null().label("workspace_id"))
    return _from(noun, query, table.c.id)


def _placed(noun: str, table: Table) -> Locator:
    """What lies in a workspace, or in no workspace of an organization."""
    query = select(table.c.organization_id, table.c.workspace_id)
    return _from(noun, query, table.c.id)


def _in_workspace(noun: str, table: Table) -> Locator:
    """What lies in a workspace and does not say in which organization that is."""
    query = select(workspaces.c.organization_id, table.c.workspace_id).join_from(
        table, workspaces, table.c.workspace_id == workspaces.c.id
    )
    return _from(noun, query, table.c.id)


def _from(noun: str, query: Select[Any], named: Column[str]) -> Locator:
    async def locate(tx: Tx, value: str) -> Place | None:
        wanted: ColumnElement[bool] = named == value
        row = (await connection_of(tx).execute(query.where(wanted))).one_or_none()
        if row is None:
            return None
        inside = row.workspace_id
        return Place(
            OrganizationId(row.organization_id),
            None if inside is None else WorkspaceId(inside),
        )

    found: Locate = locate
    return Locator(noun, found)
