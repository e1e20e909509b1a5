from sluice.agents.pool_actions import list_pools
from sluice.auth.actions import list_pool_tokens
from sluice.auth.model import PoolPrincipal, UserPrincipal
from sluice.base.errors import UnauthorizedError
from sluice.server.embedded import (
    ORGANIZATION,
    ensure_pool,
    local_token,
    renew_agent_token,
)
from sluice.server.serving import Serving


async def test_the_pool_is_made_once(server: Serving) -> None:
    first = await ensure_pool(server.concepts)
    assert await ensure_pool(server.concepts) == first
    pools = await list_pools(server.concepts.agents, organization=ORGANIZATION)
    assert [pool.name for pool in pools] == ["default-pool"]


async def test_each_start_ends_the_agents_former_token(server: Serving) -> None:
    pool = await ensure_pool(server.concepts)
    former = await renew_agent_token(server.concepts, pool)
    present = await renew_agent_token(server.concepts, pool)
    caller = await server.concepts.authenticator.authenticate(present)
    assert isinstance(caller, PoolPrincipal)
    assert caller.pool_id == pool.id
    try:
        await server.concepts.authenticator.authenticate(former)
    except UnauthorizedError:
        pass
    else:
        raise AssertionError("the former token still opens the pool")
    tokens = await list_pool_tokens(server.concepts.auth, pool_id=pool.id)
    assert len(tokens) == 1


async def test_the_local_token_is_an_admins_and_needs_no_user(server: Serving) -> None:
    token = local_token(server.parts)
    caller = await server.concepts.authenticator.authenticate(token)
    assert isinstance(caller, UserPrincipal)
    assert caller.admin
    assert server.setup_token is not None
