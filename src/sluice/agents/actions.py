"""What agents do, and what is done with them: register, ping, pull work, drain, look."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from sluice import __version__
from sluice.agents.dispatcher import Dispatcher
from sluice.agents.identity import candidates, same_instance
from sluice.agents.model import Agent, Pool
from sluice.agents.orders import drain_orders
from sluice.agents.ports import AgentStore, AgentTokens
from sluice.agents.presence import is_alive, state_of
from sluice.agents.skew import skew_of
from sluice.auth.actions import AuthDeps, get_organization
from sluice.auth.audit_calls import about
from sluice.auth.model import AgentPrincipal, PoolPrincipal
from sluice.base.clock import Clock
from sluice.base.errors import ConflictError, ForbiddenError, NotFoundError
from sluice.base.ids import AgentId, LeaseId, PoolId, new_agent_id
from sluice.base.transactions import Transactions, Tx
from sluice.events.hub import Hub
from sluice.events.topics import agent_topic
from sluice.tasks.actions import TaskDeps, commands_for, renew_leases
from sluice.wire.agent import (
    PingRequest,
    PingResponse,
    PoolInfo,
    RegisterRequest,
    RegisterResponse,
)
from sluice.wire.shapes.pools import AgentState

TOKEN_SECONDS = 3600.0
"""An agent's token; every ping brings a fresh one."""

PING_SECONDS = 10.0

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentDeps:
    """Stores, neighbours and rules of agents; ``version`` is the server's own."""

    transactions: Transactions
    store: AgentStore
    tokens: AgentTokens
    auth: AuthDeps
    tasks: TaskDeps
    hub: Hub
    clock: Clock
    dispatcher: Dispatcher
    ping_seconds: float = PING_SECONDS
    version: str = __version__


@dataclass(frozen=True, slots=True)
class SeenAgent:
    """An agent with how it stands at this moment, and what a person should know of it."""

    agent: Agent
    state: AgentState
    pool_name: str
    advice: str


# --- what agents say -----------------------------------------------------------


async def register(
    deps: AgentDeps, *, caller: PoolPrincipal, wanted: RegisterRequest
) -> RegisterResponse:
    """An agent introduces itself; one that was here before is the same again.

    Raises:
        ConflictError: its version does not fit the server's; the detail says what to do.
    """
    skew = skew_of(wanted.version, deps.version)
    if not skew.fits:
        raise ConflictError(
            skew.advice, agent_version=wanted.version, server_version=deps.version
        )
    now = deps.clock.now()
    async with deps.transactions.write() as tx:
        # held: two agents that register at once take up two identities
        pool = await deps.store.hold_pool(tx, caller.pool_id)
        if pool is None:
            raise NotFoundError(f"There is no pool {caller.pool_id}.")
        before = await _taken_up(deps, tx, pool, wanted)
        agent = _introduced(before, wanted, pool, now)
        await deps.store.put_agent(tx, agent)
        about(agent.id, organization_id=pool.organization_id, name=agent.name)
    _logger.info(
        "agent registered",
        agent_id=agent.id,
        name=agent.name,
        version=agent.version,
        again=before is not None,
    )
    token, expires_at = _token(deps, agent, pool)
    return RegisterResponse(
        agent_id=agent.id,
        token=token,
        token_expires_at=expires_at,
        pool=pool_info(pool),
        server_time=now,
        ping_seconds=deps.ping_seconds,
        advice=skew.advice,
    )


async def _taken_up(
    deps: AgentDeps, tx: Tx, pool: Pool, wanted: RegisterRequest
) -> Agent | None:
    """Which known agent it is; None for a new one."""
    known = None
    if wanted.agent_id is not None:
        known = await deps.store.hold_agent(tx, AgentId(wanted.agent_id))
    if known is not None and known.pool_id != pool.id:
        known = None
    namesakes = await deps.store.agents_of(tx, pool.id, wanted.name)
    for agent in candidates(wanted, known, namesakes, deps.clock.now()):
        own = known is not None and agent.id == known.id
        if own or not await deps.tasks.store.leased_by(tx, agent.id):
            return agent
    return None


def _introduced(
    before: Agent | None, wanted: RegisterRequest, pool: Pool, now: datetime
) -> Agent:
    """The agent as it is now; of what it was before, what people asked of it stays."""
    agent = Agent(
        id=before.id if before else new_agent_id(),
        pool_id=pool.id,
        name=wanted.name,
        version=wanted.version,
        registered_at=before.registered_at if before else now,
        last_seen_at=now,
        labels=wanted.labels,
        instance=wanted.instance,
        capabilities=tuple(wanted.capabilities),
        plan_task_limit=pool.max_plan_concurrency,
    )
    if before is None:
        return agent
    return replace(
        agent,
        drain_requested=before.drain_requested,
        drain_reason=before.drain_reason,
        drain_by=before.drain_by,
        drain_at=before.drain_at,
    )


async def ping(
    deps: AgentDeps, *, caller: AgentPrincipal, said: PingRequest
) -> PingResponse:
    """An agent says what it does; its leases last on, and it hears what it is asked to do.

    Raises:
        NotFoundError: the server does not know the agent; it registers again.
    """
    async with deps.transactions.write() as tx:
        pool = await known_pool(deps, tx, caller.pool_id)
        agent = await deps.store.hold_agent(tx, caller.agent_id)
        if agent is None:
            raise NotFoundError(f"There is no agent {caller.agent_id}; register again.")
        if not same_instance(agent, said.instance):
            raise NotFoundError(
                f"Another agent has taken the identity {agent.id} up; register again."
            )
        seen = _heard(agent, said, deps.clock.now())
        await deps.store.put_agent(tx, seen)
    leases = [LeaseId(lease_id) for lease_id in said.leases]
    await renew_leases(deps.tasks, agent_id=agent.id, lease_ids=leases)
    skew = skew_of(seen.version, deps.version)
    commands = await commands_for(deps.tasks, agent_id=agent.id)
    token, expires_at = _token(deps, agent, pool)
    return PingResponse(
        commands=[*commands, *drain_orders(seen, said, skew)],
        pool=pool_info(pool),
        token=token,
        token_expires_at=expires_at,
        advice=skew.advice,
    )


def _heard(agent: Agent, said: PingRequest, now: datetime) -> Agent:
    return replace(
        agent,
        last_seen_at=now,
        version=said.version or agent.version,
        busy=said.busy,
        draining=said.draining,
        plan_tasks_running=said.plan_tasks_running,
        plan_task_limit=said.plan_task_limit,
        apply_task_running=said.apply_task_running,
        current_tasks=tuple(said.current_tasks),
        cpu_usage=said.cpu_usage,
        mem_usage=said.mem_usage,
        loops={name: line.model_dump() for name, line in said.loops.items()},
    )


# --- what people ask of agents ---------------------------------------------------


async def drain(
    deps: AgentDeps, *, agent_id: AgentId, actor: str, reason: str
) -> SeenAgent:
    """Have an agent take no more work; what it runs goes on.

    It holds until `resume`, also over the agent's restart. The agent hears of it over
    whichever connection is open, and by its next ping.
    """
    return await _ask(deps, agent_id, drain=True, actor=actor, reason=reason)


async def resume(
    deps: AgentDeps, *, agent_id: AgentId, actor: str, reason: str
) -> SeenAgent:
    """Have an agent take work again."""
    return await _ask(deps, agent_id, drain=False, actor=actor, reason=reason)


async def _ask(
    deps: AgentDeps, agent_id: AgentId, *, drain: bool, actor: str, reason: str
) -> SeenAgent:
    async with deps.transactions.write() as tx:
        agent = _known(await deps.store.hold_agent(tx, agent_id), agent_id)
        pool = await known_pool(deps, tx, agent.pool_id)
        asked = replace(
            agent,
            drain_requested=drain,
            drain_by=actor,
            drain_reason=reason,
            drain_at=deps.clock.now(),
        )
        await deps.store.put_agent(tx, asked)
    _logger.info("agent asked", agent_id=agent_id, drain=drain, by=actor, why=reason)
    deps.hub.publish(agent_topic(agent_id))
    return _seen(deps, asked, pool.name)


async def remove_agent(deps: AgentDeps, *, agent_id: AgentId) -> None:
    """Forget an agent that is offline and holds nothing.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: it is alive, or holds a task.
    """
    async with deps.transactions.write() as tx:
        agent = _known(await deps.store.hold_agent(tx, agent_id), agent_id)
        if is_alive(agent, deps.clock.now()):
            raise ConflictError(
                f"The agent {agent.name} ({agent.id}) is alive; stop it, and remove it when"
                " it is offline. To keep work from it, drain it."
            )
        held = await deps.tasks.store.leased_by(tx, agent.id)
        if held:
            names = ", ".join(task.id for task in held)
            raise ConflictError(
                f"The agent {agent.name} ({agent.id}) still holds {names}; start it again, or"
                " force-cancel what it holds."
            )
        await deps.store.delete_agent(tx, agent.id)


async def list_agents(deps: AgentDeps, *, organization: str) -> list[SeenAgent]:
    """An organization's agents by name, as last heard of."""
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.read() as tx:
        found = await deps.store.list_agents(tx, owner.id)
        pools = await deps.store.list_pools(tx, owner.id)
    names: Mapping[PoolId, str] = {pool.id: pool.name for pool in pools}
    return [_seen(deps, agent, names.get(agent.pool_id, "")) for agent in found]


async def get_agent(deps: AgentDeps, *, agent_id: AgentId) -> SeenAgent:
    """One agent as last heard of.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        agent = _known(await deps.store.get_agent(tx, agent_id), agent_id)
        pool = await known_pool(deps, tx, agent.pool_id)
    return _seen(deps, agent, pool.name)


# --- what both share ---------------------------------------------------------------


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
        adaptive_concurrency=pool.adaptive_concurrency,
        cpu_threshold=pool.cpu_threshold,
        mem_threshold=pool.mem_threshold,
    )


async def known_pool(deps: AgentDeps, tx: Tx, pool_id: PoolId) -> Pool:
    """The pool with this id.

    Raises:
        NotFoundError: there is none.
    """
    pool = await deps.store.get_pool(tx, pool_id)
    if pool is None:
        raise NotFoundError(f"There is no pool {pool_id}.")
    return pool


def _known(agent: Agent | None, agent_id: AgentId) -> Agent:
    if agent is None:
        raise NotFoundError(f"There is no agent {agent_id}.")
    return agent


def _seen(deps: AgentDeps, agent: Agent, pool_name: str) -> SeenAgent:
    skew = skew_of(agent.version, deps.version)
    state = state_of(agent, deps.clock.now())
    return SeenAgent(agent, state, pool_name, skew.advice)


def _token(deps: AgentDeps, agent: Agent, pool: Pool) -> tuple[str, datetime]:
    return deps.tokens.agent(agent.id, pool.id, pool.organization_id, TOKEN_SECONDS)
