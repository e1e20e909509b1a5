"""What can be done with the grants of a workspace, and how they go with it."""

from sluice.auth.actions import AuthDeps
from sluice.auth.model import Grant, NamedGrant, Place, WorkspaceLevel
from sluice.auth.ports import GrantStore
from sluice.base.errors import NotFoundError
from sluice.base.ids import OrganizationId, TeamId, UserId, WorkspaceId
from sluice.base.transactions import Tx


async def list_grants(deps: AuthDeps, *, workspace_id: WorkspaceId) -> list[NamedGrant]:
    """The grants of a workspace by name, those of teams first."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_grants(tx, workspace_id)


async def grant_to_team(
    deps: AuthDeps, *, place: Place, team_id: TeamId, level: WorkspaceLevel
) -> NamedGrant:
    """Give a team a level in a workspace, in place of the one it had there.

    Raises:
        NotFoundError: the workspace's organization has no such team.
    """
    organization_id, workspace_id = _inside(place)
    async with deps.transactions.write() as tx:
        await deps.store.hold_organization(tx, organization_id)
        team = await deps.store.get_team(tx, team_id)
        if team is None or team.organization_id != organization_id:
            raise NotFoundError(f"There is no team {team_id}.")
        grant = Grant(organization_id, workspace_id, level, team_id=team_id)
        await deps.store.put_grant(tx, grant)
    return NamedGrant(grant, team.name)


async def grant_to_user(
    deps: AuthDeps, *, place: Place, user_id: UserId, level: WorkspaceLevel
) -> NamedGrant:
    """Give a member a level in a workspace, in place of the one they had there.

    Raises:
        NotFoundError: they are no member of the workspace's organization.
    """
    organization_id, workspace_id = _inside(place)
    async with deps.transactions.write() as tx:
        await deps.store.hold_organization(tx, organization_id)
        member = await deps.store.get_member(tx, organization_id, user_id)
        if member is None:
            raise NotFoundError(
                f"{user_id} is no member of the organization; add them to it first."
            )
        grant = Grant(organization_id, workspace_id, level, user_id=user_id)
        await deps.store.put_grant(tx, grant)
    return NamedGrant(grant, member.user.name)


async def revoke_grant(
    deps: AuthDeps, *, workspace_id: WorkspaceId, subject_id: TeamId | UserId
) -> None:
    """Take away what a team or a user was given in a workspace.

    Raises:
        NotFoundError: they were given nothing there.
    """
    async with deps.transactions.write() as tx:
        if not await deps.store.remove_grant(tx, workspace_id, subject_id):
            raise NotFoundError(
                f"{subject_id} has no grant in the workspace {workspace_id}."
            )


def _inside(place: Place) -> tuple[OrganizationId, WorkspaceId]:
    if place.organization_id is None or place.workspace_id is None:
        raise NotFoundError("Name a workspace.")
    return place.organization_id, place.workspace_id


class GrantBelongings:
    """Grants go with their workspace and never stand against that."""

    def __init__(self, store: GrantStore) -> None:
        self._store = store

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        """Nothing: teams and users stay."""
        return None

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        """Delete all grants; there are no blobs of them."""
        await self._store.clear_grants(tx, workspace_id)
        return []
