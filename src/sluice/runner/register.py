"""Registers the agent with its pool, and holds who it is to the server from then on."""

import asyncio
import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import structlog

from sluice.base.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
    UnauthorizedError,
)
from sluice.base.ids import random_id
from sluice.client.agent_api import AgentApi
from sluice.runner.backoff import Backoff
from sluice.runner.phase_dir import write_json_atomic
from sluice.runner.status import StatusNode
from sluice.wire.agent import (
    PingResponse,
    PoolInfo,
    RegisterRequest,
    RegisterResponse,
)

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
CAPABILITIES = ["terraform", "opentofu", "script"]
AGENT_VERSION = version("sluice")

_REFUSED = (
    UnauthorizedError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    ConflictError,
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Introduction:
    """How the agent introduces itself, and with which token."""

    pool_token: str = field(repr=False)
    name: str
    labels: dict[str, str]


class Identity:
    """The agent's id on disk, so that a restarted agent is the same agent.

    Attributes:
        instance: the random name of this data directory; another agent never has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.instance = self._read().get("instance") or random_id("dir")

    def read(self, url: str) -> str | None:
        """The id that the server at ``url`` gave; None for a new agent or another server."""
        kept = self._read()
        return kept.get("agent_id") if kept.get("url") == url else None

    def write(self, url: str, agent_id: str) -> None:
        """Keep the id."""
        body = {"url": url, "agent_id": agent_id, "instance": self.instance}
        write_json_atomic(self._path, json.dumps(body))

    def _read(self) -> dict[str, str]:
        try:
            kept = json.loads(self._path.read_bytes())
            return {name: str(value) for name, value in kept.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError):
            _log.warning("identity unreadable, registering anew", path=str(self._path))
            return {}


class Session:
    """Who the agent is to the server: id, current token, and the pool's rules.

    Attributes:
        agent_id: the agent's id.
        token: its JWT, renewed by each ping.
        pool: the pool's rules as last heard.
        ping_seconds: how often the server wants to hear of the agent.
        instance: the random name of the agent's data directory.
        advice: what the server wants a person to do about this agent; else empty.
    """

    def __init__(
        self,
        api: AgentApi,
        introduction: Introduction,
        identity: Identity,
        answer: RegisterResponse,
    ) -> None:
        self._api = api
        self._introduction = introduction
        self._identity = identity
        self._lock = asyncio.Lock()
        self.instance = identity.instance
        self.advice = ""
        self._take(answer)

    def _take(self, answer: RegisterResponse) -> None:
        self.agent_id = answer.agent_id
        self.token = answer.token
        self.pool: PoolInfo = answer.pool
        self.ping_seconds = answer.ping_seconds
        self._heed(answer.advice)

    def refreshed(self, answer: PingResponse) -> None:
        """Take the fresh token and rules that a ping brought."""
        self.token = answer.token
        self.pool = answer.pool
        self._heed(answer.advice)

    def _heed(self, advice: str) -> None:
        """Keep the server's advice, and log it once."""
        if advice and advice != self.advice:
            _log.warning("advice of the server", advice=advice)
        self.advice = advice

    async def renew(self, refused_token: str) -> None:
        """Register again because a token was refused; many callers register once.

        Raises:
            SluiceError: the server did not take the registration.
        """
        async with self._lock:
            if self.token == refused_token:
                answer = await register_once(
                    self._api, self._introduction, self._identity
                )
                self._take(answer)
                _log.info("registered again", agent_id=self.agent_id)


async def register_once(
    api: AgentApi, introduction: Introduction, identity: Identity
) -> RegisterResponse:
    """One registration; the identity is kept on disk.

    Raises:
        SluiceError: the server did not take it, or did not answer.
    """
    request = RegisterRequest(
        name=introduction.name,
        version=AGENT_VERSION,
        labels=introduction.labels,
        capabilities=CAPABILITIES,
        agent_id=identity.read(api.url),
        instance=identity.instance,
    )
    answer = await api.register(introduction.pool_token, request)
    await asyncio.to_thread(identity.write, api.url, answer.agent_id)
    return answer


async def register(
    api: AgentApi, introduction: Introduction, identity: Identity, status: StatusNode
) -> Session:
    """Register, for as long as it takes the server to answer.

    Raises:
        UnauthorizedError: the pool token is not (or no longer) valid.
        SluiceError: the server refuses this agent for another reason of its own.
    """
    backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
    while True:
        try:
            status.say(f"registering with {api.url}")
            answer = await register_once(api, introduction, identity)
        except _REFUSED as error:
            raise _refusal(error, api.url) from None
        except SluiceError as error:
            delay = backoff.delay()
            status.say(f"cannot register: {error.detail}")
            _log.warning(
                "cannot register", why=error.detail, again_in_seconds=round(delay, 1)
            )
            await asyncio.sleep(delay)
        else:
            status.say(f"registered with {api.url} as {answer.agent_id}")
            _log.info(
                "registered",
                agent_id=answer.agent_id,
                pool=answer.pool.name,
                url=api.url,
            )
            return Session(api, introduction, identity, answer)


def _refusal(error: SluiceError, url: str) -> SluiceError:
    if isinstance(error, UnauthorizedError):
        return UnauthorizedError(
            f"{url} does not accept the pool token; make a new one for the pool and set"
            " SLUICE_POOL_TOKEN."
        )
    return type(error)(f"{url} refuses this agent: {error.detail}")
