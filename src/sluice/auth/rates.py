"""What a request counts for once its caller is known: a credential, and an organization.

Agents and tasks are not counted: their requests are paced by the server (long polls, the
upload's window, pings), and refusing one would lose a lease or a state.
"""

from typing import assert_never

from starlette.requests import HTTPConnection

from sluice.auth.model import (
    AgentPrincipal,
    Place,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    UserPrincipal,
)
from sluice.edge.rate_limits import RateKind, credential_taken, spend


async def count_caller(connection: HTTPConnection, principal: Principal) -> None:
    """Count a request for the credential that it came with.

    Raises:
        RateLimitedError: it is one too many.
    """
    whose = _credential(principal)
    credential_taken(connection, exempt=whose is None)
    if whose is not None:
        await spend(connection, RateKind.CREDENTIAL, whose)


async def count_place(
    connection: HTTPConnection, principal: Principal, place: Place
) -> None:
    """Count a request for the organization in which something is asked or done.

    Raises:
        RateLimitedError: it is one too many.
    """
    organization_id = place.organization_id
    if organization_id is None and isinstance(principal, PoolPrincipal):
        organization_id = principal.organization_id
    if organization_id is not None and _credential(principal) is not None:
        await spend(connection, RateKind.ORGANIZATION, organization_id)


def _credential(principal: Principal) -> str | None:
    """By what its requests are counted; None where they are not."""
    match principal:
        case UserPrincipal():
            return principal.credential_id or principal.user_id
        case PoolPrincipal():
            return principal.token_id
        case ResultPrincipal():
            return principal.result_id
        case AgentPrincipal() | TaskPrincipal():
            return None
        case _:
            assert_never(principal)
