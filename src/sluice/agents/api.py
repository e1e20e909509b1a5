"""Routes of pools and agents, and what agents report of phases."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from sluice.agents import actions, pool_actions, pulling
from sluice.agents.actions import AgentDeps
from sluice.agents.present import (
    agent_details,
    agent_resource,
    agent_status,
    pool_resource,
)
from sluice.auth.guard import require
from sluice.auth.model import (
    AgentPrincipal,
    PoolPrincipal,
    Principal,
    StoredToken,
    TaskPrincipal,
)
from sluice.auth.permissions import Permission
from sluice.base.errors import ForbiddenError, NotFoundError
from sluice.base.ids import AgentId, LeaseId, PoolId, TaskId, TokenId
from sluice.tasks.actions import finish_phase, get_lease, phase_started
from sluice.wire.agent import (
    PhaseOrder,
    PhaseResult,
    PingRequest,
    PingResponse,
    PullRequest,
    RegisterRequest,
    RegisterResponse,
    StartedReport,
)
from sluice.wire.shapes import people as people_shapes
from sluice.wire.shapes import pools as pools_shapes
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.people import TokenInput
from sluice.wire.shapes.pools import PoolInput, PoolPatch

PING_NOW = {"Sluice-Ping": "now"}
"""On a pull's 204: there is an order, and the agent hears it by its ping."""

Reader = Annotated[Principal, Depends(require(Permission.READ))]
Keeper = Annotated[Principal, Depends(require(Permission.MANAGE_POOLS))]
Registrant = Annotated[Principal, Depends(require(Permission.REGISTER_AGENT))]
Worker = Annotated[Principal, Depends(require(Permission.WORK))]
Reporter = Annotated[Principal, Depends(require(Permission.TASK_DATA))]


def build_router(deps: AgentDeps) -> APIRouter:
    """All routes of this package but the log upload."""
    router = APIRouter(prefix="/api/v1", tags=["agents"])
    _add_pools(router, deps)
    _add_pool_tokens(router, deps)
    _add_agents(router, deps)
    _add_drains(router, deps)
    _add_protocol(router, deps)
    _add_reports(router, deps)
    return router


def _add_pools(router: APIRouter, deps: AgentDeps) -> None:
    @router.get("/organizations/{organization}/pools")
    async def list_pools(organization: str, _: Reader) -> list[pools_shapes.Pool]:
        """An organization's pools by name."""
        pools = await pool_actions.list_pools(deps, organization=organization)
        return [pool_resource(pool) for pool in pools]

    @router.post("/organizations/{organization}/pools", status_code=201)
    async def create_pool(
        organization: str, given: PoolInput, _: Keeper
    ) -> pools_shapes.Pool:
        """Make a pool; the organization is named by its id or its name."""
        made = await pool_actions.create_pool(
            deps, organization=organization, wanted=given
        )
        return pool_resource(made)

    @router.get("/pools/{pool_id}")
    async def get_pool(pool_id: str, _: Reader) -> pools_shapes.Pool:
        """One pool."""
        return pool_resource(await pool_actions.get_pool(deps, pool_id=PoolId(pool_id)))

    @router.patch("/pools/{pool_id}")
    async def change_pool(
        pool_id: str, given: PoolPatch, _: Keeper
    ) -> pools_shapes.Pool:
        """Change a pool's rules; what is absent stays."""
        changed = await pool_actions.change_pool(
            deps, pool_id=PoolId(pool_id), patch=given
        )
        return pool_resource(changed)

    @router.delete(
        "/pools/{pool_id}",
        status_code=204,
        responses={409: {"description": "It is in use; the detail says by what."}},
    )
    async def delete_pool(pool_id: str, _: Keeper) -> None:
        """Remove a pool that nothing names, with its tokens and its offline agents."""
        await pool_actions.delete_pool(deps, pool_id=PoolId(pool_id))


def _add_pool_tokens(router: APIRouter, deps: AgentDeps) -> None:
    @router.post("/pools/{pool_id}/tokens", status_code=201)
    async def issue_pool_token(
        pool_id: str, given: TokenInput, _: Keeper
    ) -> people_shapes.NewToken:
        """Make a token with which agents register in the pool; it is shown this once."""
        issued = await pool_actions.issue_pool_token(
            deps, pool_id=PoolId(pool_id), wanted=given
        )
        return people_shapes.NewToken(
            id=issued.token.id,
            name=issued.token.name,
            token=issued.secret,
            expires_at=issued.token.expires_at,
        )

    @router.get("/pools/{pool_id}/tokens")
    async def list_pool_tokens(
        pool_id: str, _: Keeper
    ) -> list[people_shapes.TokenInfo]:
        """The pool's tokens, without their secrets."""
        found = await pool_actions.pool_tokens(deps, pool_id=PoolId(pool_id))
        return [_token_info(token) for token in found]

    @router.delete("/pools/{pool_id}/tokens/{token_id}", status_code=204)
    async def end_pool_token(pool_id: str, token_id: str, _: Keeper) -> None:
        """Revoke a token; agents that registered with it go on."""
        await pool_actions.end_pool_token(
            deps, pool_id=PoolId(pool_id), token_id=TokenId(token_id)
        )


def _add_agents(router: APIRouter, deps: AgentDeps) -> None:
    @router.get("/organizations/{organization}/agents")
    async def list_agents(organization: str, _: Reader) -> list[pools_shapes.Agent]:
        """An organization's agents as last heard of."""
        found = await actions.list_agents(deps, organization=organization)
        return [agent_resource(seen) for seen in found]

    @router.get("/agents/{agent_id}")
    async def get_agent(agent_id: str, _: Reader) -> pools_shapes.AgentDetails:
        """One agent: its load, what it runs, and what each of its loops is doing."""
        return agent_details(await actions.get_agent(deps, agent_id=AgentId(agent_id)))

    @router.get("/agents/{agent_id}/status")
    async def get_agent_status(agent_id: str, _: Reader) -> pools_shapes.AgentStatus:
        """An agent's live status tree, as it last told it."""
        return agent_status(await actions.get_agent(deps, agent_id=AgentId(agent_id)))

    @router.delete(
        "/agents/{agent_id}",
        status_code=204,
        responses={409: {"description": "It is alive, or holds a task."}},
    )
    async def remove_agent(agent_id: str, _: Keeper) -> None:
        """Forget an agent that is offline and holds nothing."""
        await actions.remove_agent(deps, agent_id=AgentId(agent_id))


def _add_drains(router: APIRouter, deps: AgentDeps) -> None:
    @router.post("/agents/{agent_id}/drain")
    async def drain(
        agent_id: str, given: ReasonInput, caller: Keeper
    ) -> pools_shapes.Agent:
        """Have an agent take no more work until it is resumed; what it runs goes on."""
        seen = await actions.drain(
            deps, agent_id=AgentId(agent_id), actor=caller.actor, reason=given.reason
        )
        return agent_resource(seen)

    @router.post("/agents/{agent_id}/resume")
    async def resume(
        agent_id: str, given: ReasonInput, caller: Keeper
    ) -> pools_shapes.Agent:
        """Have an agent take work again."""
        seen = await actions.resume(
            deps, agent_id=AgentId(agent_id), actor=caller.actor, reason=given.reason
        )
        return agent_resource(seen)


def _add_protocol(router: APIRouter, deps: AgentDeps) -> None:
    @router.post(
        "/agents/register",
        responses={
            409: {"description": "The versions do not fit; the detail says so."}
        },
    )
    async def register(given: RegisterRequest, caller: Registrant) -> RegisterResponse:
        """An agent introduces itself with its pool's token."""
        if not isinstance(caller, PoolPrincipal):
            raise ForbiddenError("Agents register with the token of a pool.")
        return await actions.register(deps, caller=caller, wanted=given)

    @router.post("/agents/{agent_id}/ping")
    async def ping(agent_id: str, given: PingRequest, caller: Worker) -> PingResponse:
        """What the agent is doing; the answer is what it should do."""
        agent = _agent_caller(caller, AgentId(agent_id))
        return await actions.ping(deps, caller=agent, said=given)

    @router.post(
        "/agents/{agent_id}/tasks/pull",
        response_model=PhaseOrder,
        responses={
            204: {
                "description": "No work came in time; or, with `Sluice-Ping: now`, there"
                " is an order that the agent hears by its ping."
            }
        },
    )
    async def pull(
        agent_id: str, given: PullRequest, caller: Worker, request: Request
    ) -> PhaseOrder | Response:
        """Wait up to 30 s for a phase that fits into the slots, and take it."""
        agent = _agent_caller(caller, AgentId(agent_id))
        pulled = await pulling.pull(
            deps, caller=agent, wanted=given, gone=request.is_disconnected
        )
        if pulled.order is not None:
            return pulled.order
        return Response(status_code=204, headers=PING_NOW if pulled.ping_now else None)


def _add_reports(router: APIRouter, deps: AgentDeps) -> None:
    @router.post("/agents/{agent_id}/tasks/{task_id}/started")
    async def started(
        agent_id: str, task_id: str, given: StartedReport, caller: Reporter
    ) -> dict[str, str]:
        """The phase process has begun under this lease."""
        told = _Told(AgentId(agent_id), TaskId(task_id), LeaseId(given.lease_id))
        await _check_reporter(deps, caller, told)
        await phase_started(
            deps.tasks, task_id=TaskId(task_id), lease_id=LeaseId(given.lease_id)
        )
        return {}

    @router.post(
        "/agents/{agent_id}/tasks/{task_id}/finish",
        responses={409: {"description": "The log is not wholly there (`committed`)."}},
    )
    async def finish(
        agent_id: str, task_id: str, given: PhaseResult, caller: Reporter
    ) -> dict[str, str]:
        """The phase has ended and its log is uploaded; saying it again changes nothing."""
        told = _Told(AgentId(agent_id), TaskId(task_id), LeaseId(given.lease_id))
        await _check_reporter(deps, caller, told)
        await finish_phase(deps.tasks, task_id=TaskId(task_id), result=given)
        return {}


def _agent_caller(caller: Principal, agent_id: AgentId) -> AgentPrincipal:
    if not isinstance(caller, AgentPrincipal):
        raise ForbiddenError("Only a registered agent asks for work.")
    actions.same_agent(caller, agent_id)
    return caller


@dataclass(frozen=True, slots=True)
class _Told:
    """Whose phase a report is about, as its address and body say."""

    agent_id: AgentId
    task_id: TaskId
    lease_id: LeaseId


async def _check_reporter(deps: AgentDeps, caller: Principal, told: _Told) -> None:
    """The lease is the caller's own: by the agent's token or by the task's."""
    lease_id = told.lease_id
    match caller:
        case AgentPrincipal():
            actions.same_agent(caller, told.agent_id)
            lease = await get_lease(deps.tasks, lease_id=lease_id)
            if (lease.agent_id, lease.task_id) != (told.agent_id, told.task_id):
                # as if it were not there: it may be another organization's
                raise NotFoundError(f"There is no lease {lease_id}.")
            own = True
        case TaskPrincipal():
            own = (caller.task_id, caller.lease_id) == (told.task_id, lease_id)
        case _:
            own = False
    if not own:
        raise ForbiddenError(f"{caller.actor} does not hold the lease {lease_id}.")


def _token_info(token: StoredToken) -> people_shapes.TokenInfo:
    return people_shapes.TokenInfo(
        id=token.id,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )
