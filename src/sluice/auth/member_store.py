"""Members of organizations in SQL."""

from sqlalchemy import delete, insert, select, update

from sluice.auth.model import Member, Membership, Role
from sluice.auth.rows import user_of, write_unique
from sluice.auth.tables import (
    grants,
    memberships,
    organizations,
    team_members,
    teams,
    users,
)
from sluice.base.ids import OrganizationId, UserId
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of


class SqlMemberStore:
    """`MemberStore` on SQLite and PostgreSQL."""

    async def hold_organization(self, tx: Tx, organization_id: OrganizationId) -> None:
        """Let nobody else change who belongs where in it until ``tx`` ends."""
        # rows that refer to the organization can still be written meanwhile
        query = (
            select(organizations.c.id)
            .where(organizations.c.id == organization_id)
            .with_for_update(key_share=True)
        )
        await connection_of(tx).execute(query)

    async def add_member(self, tx: Tx, membership: Membership) -> None:
        """Keep a new member."""
        statement = insert(memberships).values(
            organization_id=membership.organization_id,
            user_id=membership.user_id,
            role=membership.role.value,
            created_at=membership.created_at,
        )
        await write_unique(tx, statement, f"The member {membership.user_id}")

    async def get_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> Member | None:
        """A user as a member of an organization."""
        query = _MEMBERS.where(
            memberships.c.organization_id == organization_id,
            memberships.c.user_id == user_id,
        )
        row = (await connection_of(tx).execute(query)).one_or_none()
        if row is None:
            return None
        return Member(user_of(row), Role(row.role), row.since)

    async def list_members(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Member]:
        """All members by name."""
        query = _MEMBERS.where(
            memberships.c.organization_id == organization_id
        ).order_by(users.c.name)
        return [
            Member(user_of(row), Role(row.role), row.since)
            for row in await connection_of(tx).execute(query)
        ]

    async def memberships_of(self, tx: Tx, user_id: UserId) -> list[Membership]:
        """What a user is where, by organization."""
        query = (
            select(memberships)
            .where(memberships.c.user_id == user_id)
            .order_by(memberships.c.organization_id)
        )
        return [
            Membership(
                OrganizationId(row.organization_id),
                UserId(row.user_id),
                Role(row.role),
                row.created_at,
            )
            for row in await connection_of(tx).execute(query)
        ]

    async def set_role(self, tx: Tx, membership: Membership) -> None:
        """Change a member's role."""
        statement = (
            update(memberships)
            .where(
                memberships.c.organization_id == membership.organization_id,
                memberships.c.user_id == membership.user_id,
            )
            .values(role=membership.role.value)
        )
        await connection_of(tx).execute(statement)

    async def remove_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> None:
        """Take a user out of an organization, of its teams, and their grants there away."""
        own = select(teams.c.id).where(teams.c.organization_id == organization_id)
        for statement in (
            delete(team_members).where(
                team_members.c.user_id == user_id, team_members.c.team_id.in_(own)
            ),
            delete(grants).where(
                grants.c.user_id == user_id,
                grants.c.organization_id == organization_id,
            ),
            delete(memberships).where(
                memberships.c.organization_id == organization_id,
                memberships.c.user_id == user_id,
            ),
        ):
            await connection_of(tx).execute(statement)

    async def has_other_owner(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> bool:
        """Whether somebody else owns the organization who is not disabled."""
        query = (
            select(memberships.c.user_id)
            .join(users, users.c.id == memberships.c.user_id)
            .where(
                memberships.c.organization_id == organization_id,
                memberships.c.user_id != user_id,
                memberships.c.role == Role.OWNER.value,
                users.c.disabled_at.is_(None),
            )
            .limit(1)
        )
        return (await connection_of(tx).execute(query)).first() is not None


_MEMBERS = select(
    users, memberships.c.role, memberships.c.created_at.label("since")
).join_from(users, memberships, users.c.id == memberships.c.user_id)
