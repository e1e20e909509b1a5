"""What can be done with the teams of an organization."""

from collections.abc import Iterable
from dataclasses import replace

from sluice.auth.actions import AuthDeps
from sluice.auth.audit_calls import about
from sluice.auth.member_actions import find_member
from sluice.auth.model import OrganizationPermission, Team, TeamMember, WorkspaceLevel
from sluice.base.errors import NotFoundError
from sluice.base.ids import OrganizationId, TeamId, UserId, new_team_id
from sluice.base.transactions import Tx
from sluice.wire.shapes.teams import TeamInput, TeamPatch


async def list_teams(deps: AuthDeps, *, organization_id: OrganizationId) -> list[Team]:
    """An organization's teams by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_teams(tx, organization_id)


async def create_team(
    deps: AuthDeps, *, organization_id: OrganizationId, wanted: TeamInput
) -> Team:
    """A new team, without anybody in it.

    Raises:
        ConflictError: the organization has a team of this name.
    """
    team = Team(
        id=new_team_id(),
        organization_id=organization_id,
        name=wanted.name,
        permissions=_permissions(wanted.permissions),
        level=_level(wanted.level),
        sso_group=wanted.sso_group,
        created_at=deps.clock.now(),
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_team(tx, team)
        about(team.id, name=team.name)
    return team


async def get_team(deps: AuthDeps, *, team_id: TeamId) -> Team:
    """One team.

    Raises:
        NotFoundError: there is none of this id.
    """
    async with deps.transactions.read() as tx:
        return await _team(deps, tx, team_id)


async def change_team(deps: AuthDeps, *, team_id: TeamId, patch: TeamPatch) -> Team:
    """Change a team; what the patch does not name stays.

    Raises:
        NotFoundError: there is no such team.
        ConflictError: the organization has another team of this name.
    """
    given = patch.model_fields_set
    async with deps.transactions.write() as tx:
        team = await _hold(deps, tx, team_id)
        changed = replace(
            team,
            name=patch.name or team.name,
            permissions=team.permissions
            if patch.permissions is None
            else _permissions(patch.permissions),
            level=_level(patch.level) if "level" in given else team.level,
            sso_group=patch.sso_group if "sso_group" in given else team.sso_group,
        )
        await deps.store.save_team(tx, changed)
    return changed


async def delete_team(deps: AuthDeps, *, team_id: TeamId) -> None:
    """Delete a team and all that was granted to it.

    Raises:
        NotFoundError: there is no such team.
    """
    async with deps.transactions.write() as tx:
        await _hold(deps, tx, team_id)
        await deps.store.delete_team(tx, team_id)


async def list_team_members(deps: AuthDeps, *, team_id: TeamId) -> list[TeamMember]:
    """The users in a team by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_team_members(tx, team_id)


async def add_team_member(deps: AuthDeps, *, team_id: TeamId, user: str) -> TeamMember:
    """Put a member of the organization into a team; from then on they stay by hand.

    Args:
        deps: what the actions need.
        team_id: into which team.
        user: id, name or e-mail address.

    Raises:
        NotFoundError: there is no such team, or no such member of its organization.
    """
    async with deps.transactions.write() as tx:
        team = await _hold(deps, tx, team_id)
        member = await find_member(deps, tx, team.organization_id, user)
        await deps.store.put_team_member(tx, team_id, member.user.id, by_sso=False)
        about(member.user.id, team_id=team_id, name=member.user.name)
    return TeamMember(member.user, by_sso=False)


async def remove_team_member(
    deps: AuthDeps, *, team_id: TeamId, user_id: UserId
) -> None:
    """Take a user out of a team.

    Raises:
        NotFoundError: they are not in it.
    """
    async with deps.transactions.write() as tx:
        if not await deps.store.remove_team_member(tx, team_id, user_id):
            raise NotFoundError(f"{user_id} is not in the team {team_id}.")


async def _hold(deps: AuthDeps, tx: Tx, team_id: TeamId) -> Team:
    """The team as it is once nobody else changes the organization's members and teams."""
    team = await _team(deps, tx, team_id)
    await deps.store.hold_organization(tx, team.organization_id)
    return await _team(deps, tx, team_id)


async def _team(deps: AuthDeps, tx: Tx, team_id: TeamId) -> Team:
    found = await deps.store.get_team(tx, team_id)
    if found is None:
        raise NotFoundError(f"There is no team {team_id}.")
    return found


def _permissions(names: Iterable[str]) -> frozenset[OrganizationPermission]:
    return frozenset(OrganizationPermission(name) for name in names)


def _level(name: str | None) -> WorkspaceLevel | None:
    return None if name is None else WorkspaceLevel(name)
