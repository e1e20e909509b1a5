"""In which organization a request asks for a script, where no path says it."""

from starlette.requests import HTTPConnection

from sluice.auth.guard import permit, permit_named, visible_organizations
from sluice.auth.model import Place
from sluice.base.ids import OrganizationId
from sluice.scripts.actions import ScriptDeps, find_owner


async def permitted_owner(
    deps: ScriptDeps, connection: HTTPConnection, wanted: str | None
) -> OrganizationId:
    """The organization of this id or name, or else the caller's only one.

    Raises:
        NotFoundError: there is none, or it is hidden from the caller.
        ForbiddenError: the caller may not do there what the route asks for.
        InvalidInputError: there are several and none is wanted.
    """
    if wanted:
        await permit_named(connection, organization=wanted)
        return await find_owner(deps, wanted=wanted)
    visible = await visible_organizations(connection)
    owner = await find_owner(deps, wanted=None, visible=visible)
    await permit(connection, Place(owner))
    return owner
