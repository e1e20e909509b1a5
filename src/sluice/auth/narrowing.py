"""How far a new token is narrowed: only to what its user can see."""

from typing import Protocol

from sluice.auth.actions import AuthDeps, get_organization
from sluice.auth.model import (
    UNLIMITED,
    Place,
    Principal,
    Scope,
    UserPrincipal,
    WorkspaceLevel,
)
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import OrganizationId, WorkspaceId
from sluice.wire.shapes.people import ScopeInput


class Visibility(Protocol):
    """What is needed of `Access`."""

    async def at(self, principal: Principal, place: Place) -> Principal:
        """The caller at a place; NotFoundError where it is hidden from them."""
        ...


async def narrowed(
    deps: AuthDeps,
    access: Visibility,
    subject: UserPrincipal,
    wanted: ScopeInput | None,
) -> Scope:
    """The scope that is asked for, of a token of ``subject``.

    Raises:
        NotFoundError: it names what is not there, or hidden from the user.
        InvalidInputError: it names workspaces and not their organization.
    """
    if wanted is None:
        return UNLIMITED
    level = WorkspaceLevel(wanted.level)
    if wanted.organization is None:
        if wanted.workspaces is not None:
            raise InvalidInputError(
                "A token narrowed to workspaces needs their `organization`."
            )
        return Scope(level)
    owner = await _organization(deps, access, subject, wanted.organization)
    if wanted.workspaces is None:
        return Scope(level, owner)
    inside = [
        await _workspace(deps, access, subject, owner, name)
        for name in wanted.workspaces
    ]
    return Scope(level, owner, frozenset(inside))


async def _organization(
    deps: AuthDeps, access: Visibility, subject: UserPrincipal, wanted: str
) -> OrganizationId:
    try:
        found = await get_organization(deps, id_or_name=wanted)
        await access.at(subject, Place(found.id))
    except NotFoundError:
        # hidden and not there sound alike
        raise NotFoundError(f"There is no organization {wanted}.") from None
    return found.id


async def _workspace(
    deps: AuthDeps,
    access: Visibility,
    subject: UserPrincipal,
    owner: OrganizationId,
    wanted: str,
) -> WorkspaceId:
    missing = NotFoundError(f"There is no workspace {wanted}.")
    async with deps.transactions.read() as tx:
        found = await deps.workspaces.find(tx, owner, wanted)
    if found is None:
        raise missing
    try:
        await access.at(subject, Place(owner, found))
    except NotFoundError:
        raise missing from None
    return found
