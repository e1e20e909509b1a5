"""The in-memory twin of `SqlMemberStore`, and the rows that it shares with those of teams."""

from dataclasses import replace

from sluice.auth.model import Grant, Member, Membership, Role, Team, User
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TeamId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing


class Who:
    """Users, and what they are where; an inserted row is a new dict entry."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self.users: dict[UserId, User] = transactions.table({})
        self.memberships: dict[tuple[OrganizationId, UserId], Membership] = (
            transactions.table({})
        )
        self.teams: dict[TeamId, Team] = transactions.table({})
        # whether the identity provider put them there
        self.team_members: dict[tuple[TeamId, UserId], bool] = transactions.table({})
        self.grants: dict[tuple[WorkspaceId, TeamId | UserId], Grant] = (
            transactions.table({})
        )

    def leave(self, organization_id: OrganizationId, user_id: UserId) -> None:
        """Take all away that a user has in an organization."""
        self.memberships.pop((organization_id, user_id), None)
        for team_id, member in list(self.team_members):
            if (
                member == user_id
                and self.teams[team_id].organization_id == organization_id
            ):
                del self.team_members[team_id, member]
        for key, grant in list(self.grants.items()):
            if (grant.user_id, grant.organization_id) == (user_id, organization_id):
                del self.grants[key]

    def forget(self, user_id: UserId) -> None:
        """Delete a user."""
        for organization_id, member in list(self.memberships):
            if member == user_id:
                self.leave(organization_id, user_id)
        self.users.pop(user_id, None)


class MemoryMemberStore:
    """`MemberStore` over dicts."""

    def __init__(self, who: Who) -> None:
        self.who = who

    async def hold_organization(self, tx: Tx, organization_id: OrganizationId) -> None:
        """Nothing: nobody else writes anyway."""
        writing(tx)

    async def add_member(self, tx: Tx, membership: Membership) -> None:
        """Keep a new member."""
        writing(tx)
        key = (membership.organization_id, membership.user_id)
        if key in self.who.memberships:
            raise ConflictError(
                f"The member {membership.user_id} exists already; choose another name."
            )
        self.who.memberships[key] = membership

    async def get_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> Member | None:
        """A user as a member of an organization."""
        reading(tx)
        found = self.who.memberships.get((organization_id, user_id))
        return None if found is None else self._member(found)

    async def list_members(
        self, tx: Tx, organization_id: OrganizationId
    ) -> list[Member]:
        """All members by name."""
        reading(tx)
        found = [
            self._member(membership)
            for membership in self.who.memberships.values()
            if membership.organization_id == organization_id
        ]
        return sorted(found, key=lambda member: member.user.name)

    async def memberships_of(self, tx: Tx, user_id: UserId) -> list[Membership]:
        """What a user is where, by organization."""
        reading(tx)
        found = [m for m in self.who.memberships.values() if m.user_id == user_id]
        return sorted(found, key=lambda membership: membership.organization_id)

    async def set_role(self, tx: Tx, membership: Membership) -> None:
        """Change a member's role."""
        writing(tx)
        key = (membership.organization_id, membership.user_id)
        former = self.who.memberships[key]
        self.who.memberships[key] = replace(former, role=membership.role)

    async def remove_member(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> None:
        """Take a user out of an organization, of its teams, and their grants there away."""
        writing(tx)
        self.who.leave(organization_id, user_id)

    async def has_other_owner(
        self, tx: Tx, organization_id: OrganizationId, user_id: UserId
    ) -> bool:
        """Whether somebody else owns the organization who is not disabled."""
        reading(tx)
        return any(
            membership.organization_id == organization_id
            and membership.user_id != user_id
            and membership.role is Role.OWNER
            and self.who.users[membership.user_id].disabled_at is None
            for membership in self.who.memberships.values()
        )

    def _member(self, membership: Membership) -> Member:
        user = self.who.users[membership.user_id]
        return Member(user, membership.role, membership.created_at)
