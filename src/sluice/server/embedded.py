"""What `sluice up` sets up by itself: an organization, a pool, and tokens for this machine."""

from sluice.agents.model import Pool
from sluice.agents.pool_actions import create_pool, list_pools
from sluice.auth.actions import (
    FIRST_ORGANIZATION,
    create_organization,
    create_pool_token,
    get_organization,
    list_pool_tokens,
    revoke_pool_token,
)
from sluice.auth.jwt import LOCAL_USER
from sluice.base.errors import NotFoundError
from sluice.server.concepts import Concepts
from sluice.server.parts import Parts
from sluice.wire.shapes.pools import PoolInput

ORGANIZATION = FIRST_ORGANIZATION
POOL = "default-pool"
TOKEN_NAME = "up"  # noqa: S105 - a name
LOCAL_SECONDS = 24 * 3600.0


async def ensure_pool(concepts: Concepts) -> Pool:
    """The pool of the embedded agent; made, with its organization, where it is missing."""
    try:
        await get_organization(concepts.auth, id_or_name=ORGANIZATION)
    except NotFoundError:
        await create_organization(concepts.auth, name=ORGANIZATION)
    for pool in await list_pools(concepts.agents, organization=ORGANIZATION):
        if pool.name == POOL:
            return pool
    return await create_pool(
        concepts.agents, organization=ORGANIZATION, wanted=PoolInput(name=POOL)
    )


async def renew_agent_token(concepts: Concepts, pool: Pool) -> str:
    """A fresh pool token for the embedded agent; that of the last start ends."""
    for former in await list_pool_tokens(concepts.auth, pool_id=pool.id):
        if former.name == TOKEN_NAME:
            await revoke_pool_token(concepts.auth, pool_id=pool.id, token_id=former.id)
    issued = await create_pool_token(
        concepts.auth,
        pool_id=pool.id,
        organization_id=pool.organization_id,
        name=TOKEN_NAME,
    )
    return issued.secret


def local_token(parts: Parts) -> str:
    """A token for this process's own requests; it never leaves the process."""
    return parts.issuer.user(LOCAL_USER, ttl=LOCAL_SECONDS)[0]
