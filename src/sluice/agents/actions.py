"""What can be done with pools and agents: make pools, register, ping, pull work, look."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from sluice.agents.model import Agent, Pool
from sluice.agents.ports import AgentStore, AgentTokens
from sluice.agents.presence import state_of
from sluice.auth.actions import (
    AuthDeps,
    IssuedToken,
    create_pool_token,
    get_organization,
    list_pool_tokens,
    revoke_pool_token,
)
from sluice.auth.model import AgentPrincipal, PoolPrincipal, StoredToken
from sluice.base.clock import Clock
from sluice.base.errors import ForbiddenError, NotFoundError
from sluice.base.ids import (
    AgentId,
    LeaseId,
    PoolId,
    TokenId,
    new_agent_id,
    new_pool_id,
)
from sluice.base.transactions import Transactions, Tx
from sluice.events.hub import Hub
from sluice.events.topics import QUEUE
from sluice.tasks.actions import TaskDeps, claim_phase, commands_for, renew_leases
from sluice.wire.agent import (
    PhaseOrder,
    PingRequest,
    PingResponse,
    PoolInfo,
    PullRequest,
    RegisterRequest,
    RegisterResponse,
)
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import AgentState, PoolInput

TOKEN_SECONDS = 3600.0
"""An agent's token; every ping brings a fresh one."""

PING_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 1.5
"""A waiting pull looks again this often, should a wake-up have been lost."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentDeps:
    """Stores, neighbours and rules of agents."""

    transactions: Transactions
    store: AgentStore
    tokens: AgentTokens
    auth: AuthDeps
    tasks: TaskDeps
    hub: Hub
    clock: Clock
    ping_seconds: float = PING_SECONDS


@dataclass(frozen=True, slots=True)
class SeenAgent:
    """An agent with how it stands at this moment."""

    agent: Agent
    state: AgentState


# --- pools -------------------------------------------------------------------


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
        name=wanted.name,
        created_at=deps.clock.now(),
        labels=wanted.labels,
        max_plan_concurrency=wanted.max_plan_concurrency,
        allow_apply_concurrent=wanted.allow_apply_concurrent,
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_pool(tx, pool)
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
        return await _pool(deps, tx, pool_id)


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


# --- agents ------------------------------------------------------------------


async def register(
    deps: AgentDeps, *, caller: PoolPrincipal, wanted: RegisterRequest
) -> RegisterResponse:
    """An agent introduces itself; with the id of an earlier time it is the same again.

    An id that the pool does not know gives a new identity.
    """
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        pool = await _pool(deps, tx, caller.pool_id)
        known = None
        if wanted.agent_id is not None:
            known = await deps.store.get_agent(tx, AgentId(wanted.agent_id))
        if known is not None and known.pool_id != pool.id:
            known = None
        agent = Agent(
            id=known.id if known else new_agent_id(),
            pool_id=pool.id,
            name=wanted.name,
            version=wanted.version,
            registered_at=known.registered_at if known else now,
            last_seen_at=now,
            labels=wanted.labels,
            capabilities=tuple(wanted.capabilities),
            plan_task_limit=pool.max_plan_concurrency,
        )
        await deps.store.put_agent(tx, agent)
    _logger.info(
        "agent registered", agent_id=agent.id, name=agent.name, again=bool(known)
    )
    token, expires_at = _token(deps, agent, pool)
    return RegisterResponse(
        agent_id=agent.id,
        token=token,
        token_expires_at=expires_at,
        pool=pool_info(pool),
        server_time=now,
        ping_seconds=deps.ping_seconds,
    )


async def ping(
    deps: AgentDeps, *, caller: AgentPrincipal, said: PingRequest
) -> PingResponse:
    """An agent says what it does; its leases last on, and it hears what it is asked to do.

    Raises:
        NotFoundError: the server does not know the agent; it registers again.
    """
    async with deps.transactions.write() as tx:
        pool = await _pool(deps, tx, caller.pool_id)
        agent = await deps.store.get_agent(tx, caller.agent_id)
        if agent is None:
            raise NotFoundError(f"There is no agent {caller.agent_id}; register again.")
        seen = replace(
            agent,
            last_seen_at=deps.clock.now(),
            version=said.version or agent.version,
            busy=said.busy,
            draining=said.draining,
            plan_tasks_running=said.plan_tasks_running,
            plan_task_limit=said.plan_task_limit,
            apply_task_running=said.apply_task_running,
            current_tasks=tuple(said.current_tasks),
            cpu_usage=said.cpu_usage,
            mem_usage=said.mem_usage,
        )
        await deps.store.put_agent(tx, seen)
    leases = [LeaseId(lease_id) for lease_id in said.leases]
    await renew_leases(deps.tasks, agent_id=agent.id, lease_ids=leases)
    commands = await commands_for(deps.tasks, agent_id=agent.id)
    token, expires_at = _token(deps, agent, pool)
    return PingResponse(
        commands=commands,
        pool=pool_info(pool),
        token=token,
        token_expires_at=expires_at,
    )


async def pull(
    deps: AgentDeps,
    *,
    caller: AgentPrincipal,
    wanted: PullRequest,
    gone: Callable[[], Awaitable[bool]],
) -> PhaseOrder | None:
    """Wait for work and take it; None where none came in time.

    ``gone`` tells whether the agent's connection is closed. It is asked right before each
    claim: work is not given to a connection that nobody reads.
    """
    if wanted.slots.plan == 0 and wanted.slots.apply == 0:
        return None
    until = deps.clock.monotonic() + wanted.wait_seconds
    with deps.hub.subscribe(QUEUE) as queue:
        while not await gone():
            order = await claim_phase(deps.tasks, agent=caller, slots=wanted.slots)
            left = until - deps.clock.monotonic()
            if order is not None or left <= 0:
                return order
            await queue.wait(min(left, LOOK_AGAIN_SECONDS))
    return None


async def list_agents(deps: AgentDeps, *, organization: str) -> list[SeenAgent]:
    """An organization's agents by name, as last heard of."""
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.read() as tx:
        found = await deps.store.list_agents(tx, owner.id)
    now = deps.clock.now()
    return [SeenAgent(agent, state_of(agent, now)) for agent in found]


def same_agent(caller: AgentPrincipal, agent_id: AgentId) -> None:
    """Refuse an agent that speaks for another.

    Raises:
        ForbiddenError: it does.
    """
    if caller.agent_id != agent_id:
        raise ForbiddenError(
            f"The token is that of {caller.agent_id}, not of {agent_id}."
        )


def pool_info(pool: Pool) -> PoolInfo:
    """The pool's rules as its agents keep them."""
    return PoolInfo(
        pool_id=pool.id,
        name=pool.name,
        max_plan_concurrency=pool.max_plan_concurrency,
        allow_apply_concurrent=pool.allow_apply_concurrent,
        labels=dict(pool.labels),
    )


async def _pool(deps: AgentDeps, tx: Tx, pool_id: PoolId) -> Pool:
    pool = await deps.store.get_pool(tx, pool_id)
    if pool is None:
        raise NotFoundError(f"There is no pool {pool_id}.")
    return pool


def _token(deps: AgentDeps, agent: Agent, pool: Pool) -> tuple[str, datetime]:
    return deps.tokens.agent(agent.id, pool.id, pool.organization_id, TOKEN_SECONDS)
