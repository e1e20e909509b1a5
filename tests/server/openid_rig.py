"""An OpenID provider as a process, one that misbehaves on request, and a browser's way."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from typing_extensions import override

CLIENT = "sluice-of-tests"
SECRET = "a client's secret"


def free_socket() -> socket.socket:
    """A listening socket on a free port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


@contextmanager
def mock_provider(*users: dict[str, object]) -> Iterator[str]:
    """`oidc-provider-mock` as a process of its own; its issuer."""
    with free_socket() as listener:
        port = listener.getsockname()[1]
    program = Path(sys.executable).with_name("oidc-provider-mock")
    claims = [f"--user-claims={json.dumps(user)}" for user in users]
    process = subprocess.Popen(
        [str(program), "-p", str(port), *claims],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        with httpx2.Client(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    url = f"{issuer}/.well-known/openid-configuration"
                    if client.get(url).status_code == 200:
                        break
                assert process.poll() is None, "the provider has ended"
                assert time.monotonic() < deadline, "the provider does not start"
                time.sleep(0.1)
        yield issuer
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Liar:
    """A provider of a test's own; a test changes what it says.

    Attributes:
        claims: put over those of a good ID token; None takes one out.
        header: put over that of a good token.
        codes: what was asked for, by code: the nonce and the challenge.
    """

    issuer: str
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, _kid("one")))
    published: list[RSAKey] = field(default_factory=list)
    claims: dict[str, object] = field(default_factory=dict)
    header: dict[str, object] = field(default_factory=dict)
    discovery: dict[str, object] = field(default_factory=dict)
    token: str | None = None
    userinfo: dict[str, object] = field(default_factory=dict)
    nonce: str = ""
    jwks_calls: int = 0
    exchanges: list[dict[str, str]] = field(default_factory=list)
    oversized: bool = False
    slow: bool = False

    def id_token(self) -> str:
        """A token by what the test has set."""
        if self.token is not None:
            return self.token
        now = int(time.time())
        good: dict[str, object] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "subject-1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "preferred_username": "grace",
            "email": "grace@example.com",
            "email_verified": True,
            "groups": [],
        }
        claims = {k: v for k, v in {**good, **self.claims}.items() if v is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        return jwt.encode(header, claims, self.key, algorithms=["RS256"])

    def by_shared_secret(self) -> str:
        """A token that the client's secret signs, as if it were a key."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "subject-1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
        }
        key = OctKey.import_key(SECRET)
        return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])

    def app(self) -> Starlette:
        """Its routes."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _discovery(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                **self.discovery,
            }
        )

    async def _jwks(self, request: Request) -> Response:
        self.jwks_calls += 1
        keys = self.published or [self.key]
        return JSONResponse({"keys": [key.as_dict(private=False) for key in keys]})

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.exchanges.append(form)
        if self.slow:
            await asyncio.sleep(60)
        if self.oversized:
            return StreamingResponse(_endless(), media_type="application/json")
        if form.get("code") in {one.get("code") for one in self.exchanges[:-1]}:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse({"id_token": self.id_token(), "access_token": "an access"})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer an access"
        return JSONResponse({"sub": "subject-1", **self.userinfo})


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield b" " * 65536


def _kid(name: str) -> Any:
    return {"kid": name}


def new_key(name: str) -> RSAKey:
    """Another key, by name."""
    return RSAKey.generate_key(2048, _kid(name))


class _Server(uvicorn.Server):
    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def liar() -> AsyncIterator[Liar]:
    """A provider in this loop."""
    listener = free_socket()
    found = Liar(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(found.app(), log_config=None, lifespan="off")
    config.timeout_graceful_shutdown = 1
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield found
        server.should_exit = True


@dataclass(frozen=True)
class Asked:
    """What the server sends a browser to the provider with."""

    url: str
    query: dict[str, str]

    @classmethod
    def of(cls, answer: httpx2.Response) -> "Asked":
        """What a redirect to the provider says."""
        assert answer.status_code == 302, answer.text
        url = answer.headers["location"]
        query = {name: only[0] for name, only in parse_qs(urlsplit(url).query).items()}
        return cls(url, query)
