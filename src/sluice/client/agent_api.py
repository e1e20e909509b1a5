"""What an agent asks of the server over HTTP: register, ping, pull, report, and upload where WebSockets are blocked."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from pydantic import BaseModel, ValidationError

from sluice.base.errors import SluiceError
from sluice.client.errors import ApiError, UnreachableError, error_of
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
from sluice.wire.exec import ExecRequest, ExecResponse
from sluice.wire.late_output import LateAnswer
from sluice.wire.log_flow import Ack

PULL_SLACK_SECONDS = 15.0

PING_HEADER = "Sluice-Ping"
"""On a pull's 204: ping now, there is an order."""

M = TypeVar("M", bound=BaseModel)

_acks = msgspec.json.Decoder(Ack)


def tls_of(ca_file: Path | None) -> ssl.SSLContext:
    """The certificates to trust: the system's, or those in a file instead."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def decode_ack(text: str | bytes) -> Ack:
    """The server's answer to an upload.

    Raises:
        ApiError: the text is no such answer.
    """
    try:
        return _acks.decode(text)
    except msgspec.DecodeError as error:
        raise ApiError(
            f"the answer to an upload cannot be read ({error}); is there a proxy between?"
        ) from None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a long poll brought: a phase, the wish that the agent ping now, or neither."""

    order: PhaseOrder | None = None
    ping_now: bool = False


class AgentApi:
    """The agent protocol of one server. Close it, or use it with `async with`.

    Nothing is retried here: the loops that call know how long waiting makes sense.

    Args:
        url: the server's address.
        tls: certificates to trust, see `tls_of`.
        version: this program's version, for the server's records.
    """

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None = None, version: str = ""
    ) -> None:
        self.url = url.rstrip("/")
        self.tls = tls or tls_of(None)
        self._http = httpx2.AsyncClient(
            base_url=f"{self.url}/api/v1",
            headers={"user-agent": f"sluice-agent/{version}"},
            timeout=httpx2.Timeout(30.0, connect=10.0),
            verify=self.tls,
            # One slot for the long poll, one for the ping, one for each phase's uploads.
            limits=httpx2.Limits(max_connections=200, keepalive_expiry=60.0),
        )

    async def __aenter__(self) -> "AgentApi":
        """Ready to use."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def register(
        self, pool_token: str, request: RegisterRequest
    ) -> RegisterResponse:
        """Introduce the agent with its pool's token."""
        answer = await self._post(pool_token, "/agents/register", request)
        return _read(RegisterResponse, answer)

    async def ping(self, token: str, request: PingRequest) -> PingResponse:
        """Say what the agent is doing, renew its leases, and take orders."""
        path = f"/agents/{request.agent_id}/ping"
        return _read(PingResponse, await self._post(token, path, request))

    async def pull(self, token: str, agent_id: str, request: PullRequest) -> Pulled:
        """Wait for a phase; there may be none for as long as was asked."""
        answer = await self._post(
            token,
            f"/agents/{agent_id}/tasks/pull",
            request,
            seconds=request.wait_seconds + PULL_SLACK_SECONDS,
        )
        if answer.status_code == httpx2.codes.NO_CONTENT:
            return Pulled(ping_now=PING_HEADER in answer.headers)
        return Pulled(_read(PhaseOrder, answer))

    async def started(
        self, token: str, agent_id: str, task_id: str, report: StartedReport
    ) -> None:
        """The phase process runs."""
        await self._post(token, f"/agents/{agent_id}/tasks/{task_id}/started", report)

    async def finish(
        self, token: str, agent_id: str, task_id: str, result: PhaseResult
    ) -> None:
        """The phase has ended; again is harmless.

        Raises:
            ConflictError: with ``committed`` in its extras, the log is not wholly there.
            FencedError: another lease holds the task now.
        """
        await self._post(token, f"/agents/{agent_id}/tasks/{task_id}/finish", result)

    async def begin_exec(
        self, token: str, task_id: str, request: ExecRequest, *, organization: str = ""
    ) -> ExecResponse:
        """A script runs outside any agent; again is harmless and gives a fresh token.

        ``organization`` is to be named by a user who has several.
        """
        path = f"/tasks/{task_id}/exec"
        if organization:
            path += f"?organization={quote(organization, safe='')}"
        answer = await self._post(token, path, request)
        return _read(ExecResponse, answer)

    async def patch_log(
        self, token: str, task_id: str, lease_id: str, message: bytes
    ) -> Ack:
        """Upload one message of log chunks, as over the WebSocket."""
        request = self._http.build_request(
            "PATCH",
            f"/tasks/{task_id}/log",
            content=message,
            params={"lease_id": lease_id},
            headers={"content-type": "application/octet-stream"},
            timeout=_patience(30.0),
        )
        answer = await self._send(request, token)
        try:
            return decode_ack(answer.content)
        except ApiError:
            if answer.is_success:
                raise
            raise error_of(
                answer.status_code, answer.content, what="uploading the log"
            ) from None

    async def late_output(
        self, token: str, agent_id: str, task_id: str, *, lease_id: str, body: bytes
    ) -> LateAnswer:
        """Hand in chunks that were captured before their lease ended; again is harmless.

        An empty body asks where to go on.

        Raises:
            ConflictError: with ``committed`` in its extras, bytes are missing before.
        """
        path = f"/agents/{agent_id}/tasks/{task_id}/late-output"
        request = self._http.build_request(
            "POST",
            path,
            content=body,
            params={"lease_id": lease_id},
            headers={"content-type": "application/octet-stream"},
            timeout=_patience(30.0),
        )
        answer = await self._send(request, token)
        if not answer.is_success:
            raise error_of(answer.status_code, answer.content, what=f"POST {path}")
        return _read(LateAnswer, answer)

    async def put(self, token: str, path: str, content: bytes) -> None:
        """Store a phase's file (state) under a path that its order names."""
        request = self._http.build_request(
            "PUT", self.url + path, content=content, timeout=_patience(120.0)
        )
        answer = await self._send(request, token)
        if not answer.is_success:
            raise error_of(answer.status_code, answer.content, what=f"PUT {path}")

    async def _post(
        self, token: str, path: str, body: BaseModel, *, seconds: float = 30.0
    ) -> httpx2.Response:
        request = self._http.build_request(
            "POST",
            path,
            content=body.model_dump_json().encode(),
            headers={"content-type": "application/json"},
            timeout=_patience(seconds),
        )
        answer = await self._send(request, token)
        if not answer.is_success:
            raise error_of(answer.status_code, answer.content, what=f"POST {path}")
        return answer

    async def _send(self, request: httpx2.Request, token: str) -> httpx2.Response:
        request.headers["authorization"] = f"Bearer {token}"
        try:
            return await self._http.send(request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> SluiceError:
        why = str(error) or type(error).__name__
        return UnreachableError(
            f"no answer from {self.url} ({why}); check the address and that the server runs."
        )


def _patience(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=10.0)


def _read(kind: type[M], answer: httpx2.Response) -> M:
    """The message of a successful answer."""
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ApiError(
            f"the server's {kind.__name__} cannot be read ({first['msg']} at"
            f" {first['loc']}); agent and server may be of different versions."
        ) from None
