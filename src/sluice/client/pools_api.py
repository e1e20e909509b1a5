"""Routes about who does the work: pools with their tokens, and agents."""

from sluice.client.answers import many, one
from sluice.client.paths import api_path
from sluice.client.transport import Transport
from sluice.wire.shapes.base import ReasonInput
from sluice.wire.shapes.people import NewToken, TokenInfo, TokenInput
from sluice.wire.shapes.pools import (
    Agent,
    AgentDetails,
    AgentStatus,
    Pool,
    PoolInput,
    PoolPatch,
)


class PoolsApi:
    """Agent pools and their tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def tokens(self, pool_id: str) -> list[TokenInfo]:
        """The pool's tokens, without their secrets."""
        path = api_path("pools", pool_id, "tokens")
        return many(TokenInfo, self._transport.send("GET", path))

    def list(self, organization_id: str) -> list[Pool]:
        """An organization's pools."""
        path = api_path("organizations", organization_id, "pools")
        return many(Pool, self._transport.send("GET", path))

    def create(self, organization_id: str, body: PoolInput) -> Pool:
        """A new pool."""
        path = api_path("organizations", organization_id, "pools")
        return one(Pool, self._transport.send("POST", path, body=body))

    def get(self, pool_id: str) -> Pool:
        """The pool with this id."""
        return one(Pool, self._transport.send("GET", api_path("pools", pool_id)))

    def update(self, pool_id: str, body: PoolPatch) -> Pool:
        """Change a pool's rules; what ``body`` does not set stays."""
        path = api_path("pools", pool_id)
        return one(Pool, self._transport.send("PATCH", path, body=body))

    def delete(self, pool_id: str) -> None:
        """Remove a pool that nothing names, with its tokens and offline agents."""
        self._transport.send("DELETE", api_path("pools", pool_id))

    def create_token(self, pool_id: str, body: TokenInput) -> NewToken:
        """A token with which agents register in the pool."""
        path = api_path("pools", pool_id, "tokens")
        return one(NewToken, self._transport.send("POST", path, body=body))

    def revoke_token(self, pool_id: str, token_id: str) -> None:
        """End one of the pool's tokens; agents that registered with it go on."""
        self._transport.send("DELETE", api_path("pools", pool_id, "tokens", token_id))


class AgentsApi:
    """Agents as the server last heard of them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, organization: str) -> list[Agent]:
        """An organization's agents."""
        path = api_path("organizations", organization, "agents")
        return many(Agent, self._transport.send("GET", path))

    def get(self, agent_id: str) -> AgentDetails:
        """One agent with its live status tree."""
        path = api_path("agents", agent_id)
        return one(AgentDetails, self._transport.send("GET", path))

    def status(self, agent_id: str) -> AgentStatus:
        """An agent's live status tree alone."""
        path = api_path("agents", agent_id, "status")
        return one(AgentStatus, self._transport.send("GET", path))

    def drain(self, agent_id: str, reason: str) -> Agent:
        """Have an agent take no more work until it is resumed."""
        return self._ask(agent_id, "drain", reason)

    def resume(self, agent_id: str, reason: str) -> Agent:
        """Have an agent take work again."""
        return self._ask(agent_id, "resume", reason)

    def remove(self, agent_id: str) -> None:
        """Forget an agent that is offline and holds nothing."""
        self._transport.send("DELETE", api_path("agents", agent_id))

    def _ask(self, agent_id: str, verb: str, reason: str) -> Agent:
        path = api_path("agents", agent_id, verb)
        body = ReasonInput(reason=reason)
        return one(Agent, self._transport.send("POST", path, body=body))
