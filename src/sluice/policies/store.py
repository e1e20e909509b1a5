"""Policies in SQL; a text is kept once, under its digest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import RowMapping, Select, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, PolicyId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.policies.model import Policy
from sluice.policies.tables import policies, policy_sources
from sluice.wire.run_task import EnforcementLevel

_WITH_SOURCE = select(policies, policy_sources.c.source).join(
    policy_sources, policy_sources.c.digest == policies.c.digest
)


class SqlPolicyStore:
    """Policies on SQLite and PostgreSQL."""

    async def add(self, tx: Tx, policy: Policy) -> None:
        """Keep a new policy."""
        await _keep_source(tx, policy)
        async with _name_of_its_own(policy):
            await connection_of(tx).execute(insert(policies).values(_values(policy)))

    async def get(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy with this id."""
        return await _one(tx, _WITH_SOURCE.where(policies.c.id == policy_id))

    async def hold(self, tx: Tx, policy_id: PolicyId) -> Policy | None:
        """The policy, kept from others' changes until the transaction ends."""
        query = _WITH_SOURCE.where(policies.c.id == policy_id)
        return await _one(tx, query.with_for_update(of=policies))

    async def of_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Policy]:
        """What holds in all of an organization, by name."""
        return await _many(tx, _WITH_SOURCE.where(_of_all(organization_id)))

    async def holding_in(
        self, tx: Tx, organization_id: OrganizationId, workspace_id: WorkspaceId
    ) -> list[Policy]:
        """What holds in a workspace: the organization's policies, then its own, by name."""
        own = policies.c.workspace_id == workspace_id
        return await _many(tx, _WITH_SOURCE.where(or_(_of_all(organization_id), own)))

    async def save(self, tx: Tx, policy: Policy) -> None:
        """Store a changed policy."""
        await _keep_source(tx, policy)
        change = update(policies).where(policies.c.id == policy.id)
        async with _name_of_its_own(policy):
            await connection_of(tx).execute(change.values(_values(policy)))

    async def delete(self, tx: Tx, policy_id: PolicyId) -> None:
        """Forget a policy; what it said of tasks stays."""
        await connection_of(tx).execute(
            delete(policies).where(policies.c.id == policy_id)
        )


def _of_all(organization_id: OrganizationId) -> Any:
    return (policies.c.organization_id == organization_id) & (
        policies.c.workspace_id.is_(None)
    )


async def _keep_source(tx: Tx, policy: Policy) -> None:
    connection = connection_of(tx)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(
        dialect.insert(policy_sources)
        .values(digest=policy.digest, source=policy.source)
        .on_conflict_do_nothing(index_elements=["digest"])
    )


async def _one(tx: Tx, query: Select[Any]) -> Policy | None:
    rows = await connection_of(tx).execute(query)
    row = rows.mappings().one_or_none()
    return None if row is None else _policy(row)


async def _many(tx: Tx, query: Select[Any]) -> list[Policy]:
    rows = await connection_of(tx).execute(query)
    found = [_policy(row) for row in rows.mappings()]
    # the database may have an order of its own for texts
    return sorted(found, key=lambda policy: (bool(policy.workspace_id), policy.name))


@asynccontextmanager
async def _name_of_its_own(policy: Policy) -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(
            f"{policy.owner} has a policy {policy.name} already; take another name, or"
            " change that one."
        ) from error


def _values(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.id,
        "organization_id": policy.organization_id,
        "workspace_id": policy.workspace_id,
        "owner_id": policy.owner,
        "name": policy.name,
        "description": policy.description,
        "digest": policy.digest,
        "enforcement_level": policy.level.value,
        "enabled": policy.enabled,
        "created_by": policy.created_by,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def _policy(row: RowMapping) -> Policy:
    return Policy(
        id=row["id"],
        organization_id=row["organization_id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        source=row["source"],
        level=EnforcementLevel(row["enforcement_level"]),
        created_by=row["created_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        description=row["description"],
        enabled=row["enabled"],
    )
