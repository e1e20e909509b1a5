"""What can be done with pools: make, change, remove, and their tokens."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sluice.agents.actions import AgentDeps, known_pool
from sluice.agents.model import Pool
from sluice.agents.presence import is_alive
from sluice.auth.actions import (
    IssuedToken,
    create_pool_token,
    get_organization,
    list_pool_tokens,
    revoke_pool_token,
)
from sluice.auth.audit_calls import about
from sluice.auth.model import StoredToken, TokenKind
from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import PoolId, TokenId, new_pool_id
from sluice.base.transactions import Tx
from sluice.events.topics import QUEUE
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import PoolInput, PoolPatch

_SHOWN = 5


async def create_pool(deps: AgentDeps, *, organization: str, wanted: PoolInput) -> Pool:
    """A new pool in an organization (named by its id or its name).

    Raises:
        NotFoundError: there is no such organization.
        ConflictError: it has a pool of this name.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    pool = Pool(
        id=new_pool_id(),
        organization_id=owner.id,
        created_at=deps.clock.now(),
        **wanted.model_dump(),
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_pool(tx, pool)
        about(pool.id, name=pool.name)
    return pool


async def list_pools(deps: AgentDeps, *, organization: str) -> list[Pool]:
    """An organization's pools by name."""
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.read() as tx:
        return await deps.store.list_pools(tx, owner.id)


async def get_pool(deps: AgentDeps, *, pool_id: PoolId) -> Pool:
    """A pool.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return await known_pool(deps, tx, pool_id)


async def change_pool(deps: AgentDeps, *, pool_id: PoolId, patch: PoolPatch) -> Pool:
    """Change a pool's rules; what the patch does not name stays.

    Its agents hear of it by their next ping; grants of work keep it at once.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: the organization has another pool of this name.
    """
    given: dict[str, Any] = patch.model_dump(exclude_none=True)
    async with deps.transactions.write() as tx:
        pool = replace(await _held(deps, tx, pool_id), **given)
        await deps.store.save_pool(tx, pool)
    # other labels or more room: something may have become claimable
    deps.hub.publish(QUEUE)
    return pool


async def delete_pool(deps: AgentDeps, *, pool_id: PoolId) -> None:
    """Remove a pool with its tokens and its agents, which are all away.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: workspaces or unfinished tasks name it, or one of its agents lives
            or holds a task.
    """
    async with deps.transactions.write() as tx:
        pool = await _held(deps, tx, pool_id)
        await _refuse_used(deps, tx, pool)
        now = deps.clock.now()
        for token in await deps.auth.store.list_tokens(tx, TokenKind.POOL, pool.id):
            await deps.auth.store.revoke_token(tx, token.id, now)
        await deps.store.delete_pool(tx, pool.id)


async def _refuse_used(deps: AgentDeps, tx: Tx, pool: Pool) -> None:
    naming = await deps.tasks.workspaces.store.naming_pool(tx, pool.id)
    if naming:
        raise ConflictError(
            f"The pool {pool.name} serves {_some(naming)}; name another pool there first."
        )
    waiting = await deps.tasks.store.unfinished_in(tx, pool.id)
    if waiting:
        raise ConflictError(
            f"The pool {pool.name} has unfinished tasks: {_some(waiting)}; let them end, or"
            " cancel them."
        )
    now = deps.clock.now()
    agents = await deps.store.agents_of(tx, pool.id)
    alive = [agent.name for agent in agents if is_alive(agent, now)]
    if alive:
        raise ConflictError(
            f"The pool {pool.name} has agents that were heard of lately: {_some(alive)};"
            " stop them, and remove the pool when they are offline."
        )
    for agent in agents:
        held = await deps.tasks.store.leased_by(tx, agent.id)
        if held:
            raise ConflictError(
                f"The agent {agent.name} of the pool {pool.name} still holds"
                f" {_some([task.id for task in held])}; start it again, or force-cancel"
                " what it holds."
            )


async def _held(deps: AgentDeps, tx: Tx, pool_id: PoolId) -> Pool:
    pool = await deps.store.hold_pool(tx, pool_id)
    if pool is None:
        raise NotFoundError(f"There is no pool {pool_id}.")
    return pool


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


# --- tokens ----------------------------------------------------------------------


async def issue_pool_token(
    deps: AgentDeps, *, pool_id: PoolId, wanted: TokenInput
) -> IssuedToken:
    """A new token with which agents register in a pool; its secret is shown once."""
    pool = await get_pool(deps, pool_id=pool_id)
    return await create_pool_token(
        deps.auth,
        pool_id=pool.id,
        organization_id=pool.organization_id,
        name=wanted.name,
        expires_in_days=wanted.expires_in_days,
    )


async def pool_tokens(deps: AgentDeps, *, pool_id: PoolId) -> list[StoredToken]:
    """A pool's tokens that are not revoked."""
    pool = await get_pool(deps, pool_id=pool_id)
    return await list_pool_tokens(deps.auth, pool_id=pool.id)


async def end_pool_token(
    deps: AgentDeps, *, pool_id: PoolId, token_id: TokenId
) -> None:
    """Revoke a pool's token.

    Raises:
        NotFoundError: the pool has no such token.
    """
    await revoke_pool_token(deps.auth, pool_id=pool_id, token_id=token_id)
