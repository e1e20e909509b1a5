"""What can be done with the members of an organization; there is always an owner."""

from dataclasses import replace

from sluice.auth.actions import AuthDeps
from sluice.auth.audit_calls import about
from sluice.auth.model import Member, Membership, Role, User
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import OrganizationId, UserId
from sluice.base.transactions import Tx


async def list_members(
    deps: AuthDeps, *, organization_id: OrganizationId
) -> list[Member]:
    """All members by name."""
    async with deps.transactions.read() as tx:
        return await deps.store.list_members(tx, organization_id)


async def add_member(
    deps: AuthDeps, *, organization_id: OrganizationId, user: str, role: Role
) -> Member:
    """Make a user a member.

    Args:
        deps: what the actions need.
        organization_id: of which organization.
        user: id, name or e-mail address.
        role: what they are in it.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: they are a member already.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        await deps.store.hold_organization(tx, organization_id)
        found = await _find_user(deps, tx, user)
        if found is None:
            raise NotFoundError(
                f"There is no user {user}; an administrator makes users."
            )
        if await deps.store.get_member(tx, organization_id, found.id) is not None:
            raise ConflictError(
                f"{found.name} is a member already; change their role instead."
            )
        await deps.store.add_member(
            tx, Membership(organization_id, found.id, role, now)
        )
        about(found.id, name=found.name, role=role.value)
    return Member(found, role, now)


async def change_member(
    deps: AuthDeps, *, organization_id: OrganizationId, user_id: UserId, role: Role
) -> Member:
    """Change what a member is.

    Raises:
        NotFoundError: they are no member.
        ConflictError: they are the last owner.
    """
    async with deps.transactions.write() as tx:
        member = await _hold(deps, tx, organization_id, user_id)
        if role is not Role.OWNER:
            await _demand_owner(deps, tx, organization_id, member)
        await deps.store.set_role(
            tx, Membership(organization_id, user_id, role, member.created_at)
        )
    return replace(member, role=role)


async def remove_member(
    deps: AuthDeps, *, organization_id: OrganizationId, user_id: UserId
) -> None:
    """Take a user out of an organization, of its teams, and their grants there away.

    Raises:
        NotFoundError: they are no member.
        ConflictError: they are the last owner.
    """
    async with deps.transactions.write() as tx:
        member = await _hold(deps, tx, organization_id, user_id)
        await _demand_owner(deps, tx, organization_id, member)
        await deps.store.remove_member(tx, organization_id, user_id)


async def find_member(
    deps: AuthDeps, tx: Tx, organization_id: OrganizationId, wanted: str
) -> Member:
    """The member of an organization with this id, name or e-mail address.

    Raises:
        NotFoundError: there is none; who is no member sounds like who is nobody.
    """
    user = await _find_user(deps, tx, wanted)
    member = (
        None
        if user is None
        else await deps.store.get_member(tx, organization_id, user.id)
    )
    if member is None:
        raise NotFoundError(
            f"{wanted} is no member of the organization; add them to it first."
        )
    return member


async def _find_user(deps: AuthDeps, tx: Tx, wanted: str) -> User | None:
    found = await deps.store.get_user(tx, UserId(wanted))
    if found is not None:
        return found
    name = wanted.lower() if "@" in wanted else wanted
    return await deps.store.find_user(tx, name)


async def _hold(
    deps: AuthDeps, tx: Tx, organization_id: OrganizationId, user_id: UserId
) -> Member:
    await deps.store.hold_organization(tx, organization_id)
    member = await deps.store.get_member(tx, organization_id, user_id)
    if member is None:
        raise NotFoundError(f"{user_id} is no member of the organization.")
    return member


async def _demand_owner(
    deps: AuthDeps, tx: Tx, organization_id: OrganizationId, member: Member
) -> None:
    if member.role is not Role.OWNER:
        return
    if not await deps.store.has_other_owner(tx, organization_id, member.user.id):
        raise ConflictError(
            f"{member.user.name} is the last owner of the organization;"
            " make somebody else an owner first."
        )
