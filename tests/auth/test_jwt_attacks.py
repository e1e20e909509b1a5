"""What forgers try with JWTs: each is refused with 401, and none is a fault of the server's."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from joserfc import jwe, jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sluice.auth.actions import AuthDeps, create_user, create_user_token
from sluice.auth.authenticator import Authenticator
from sluice.auth.guard import guarded, require_user
from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import derive
from sluice.auth.model import User, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.trail import NoTrail
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
)
from sluice.edge.problems import install_problem_handlers
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_auth import MemoryAuthStore
from sluice.testing.open_access import OpenAccess
from tests.auth.conftest import TurnedClock

MASTER = bytes(range(32))
SIGNING = derive(MASTER, "sluice jwt v1")
ORG = OrganizationId("org-1")
FAR = 10**11


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class NoLease:
    """No lease counts."""

    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        return False


class Forge:
    """Makes tokens of a user: good ones, and what forgers make of them."""

    def __init__(self, deps: AuthDeps, user: User, credential: str) -> None:
        self.deps = deps
        self.user = user
        self.key = OctKey.import_key(SIGNING)
        self.now = int(deps.clock.now().timestamp())
        self.credential = credential
        self.good, _ = deps.issuer.user(user)
        self.rsa = RSAKey.generate_key(2048)

    def claims(self, **changes: object) -> dict[str, Any]:
        """Those of a good token, but for ``changes``; None takes one out."""
        claims: dict[str, object] = {
            "iss": "sluice",
            "aud": "sluice-api",
            "sub": self.user.id,
            "jti": "jti-1",
            "iat": self.now,
            "exp": self.now + 60,
            "kind": "user",
            "name": "ada",
            "admin": True,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, header: dict[str, Any] | None = None, **changes: object) -> str:
        """Signed with the server's own key: what only its claims can give away."""
        return self.by(self.key, {"alg": "HS256", **(header or {})}, **changes)

    def by(self, key: Any, header: dict[str, Any], **changes: object) -> str:
        """Signed with any key."""
        algorithms = [header["alg"]]
        return jwt.encode(header, self.claims(**changes), key, algorithms=algorithms)

    def bare(self, header: object, payload: object, signature: str = "") -> str:
        """Any three parts."""
        return f"{encoded(header)}.{encoded(payload)}.{signature}"

    def raw(self, header: bytes, payload: bytes, *, key: bytes = SIGNING) -> str:
        """Signed with the server's own key, however the parts are written."""
        signing = f"{encoded(header)}.{encoded(payload)}"
        mac = hmac.new(key, signing.encode(), hashlib.sha256).digest()
        return f"{signing}.{encoded(mac)}"

    @property
    def parts(self) -> list[str]:
        return self.good.split(".")


def _with_public_key_as_secret(f: Forge) -> str:
    """RS256 taken for HS256: the public key is known to all."""
    public = f.rsa.as_pem(private=False)
    return f.raw(b'{"alg":"HS256"}', json.dumps(f.claims()).encode(), key=public)


def _twice(f: Forge) -> str:
    payload = json.dumps(f.claims(exp=f.now - 100))
    return f.bare({"alg": "HS256"}, (payload[:-1] + f', "exp": {FAR}}}').encode(), "AA")


def _encrypted(f: Forge) -> str:
    key = OctKey.import_key(bytes(32))
    header = {"alg": "dir", "enc": "A256GCM"}
    return jwe.encrypt_compact(header, json.dumps(f.claims()).encode(), key)


OTHER = OctKey.import_key(bytes(32))
DEEP = b"[" * 4000 + b"]" * 4000
ATTACKS: dict[str, Callable[[Forge], str]] = {
    "alg none": lambda f: f.bare({"alg": "none"}, f.claims()),
    "alg None": lambda f: f.bare({"alg": "None"}, f.claims(), f.parts[2]),
    "alg nOnE": lambda f: f.bare({"alg": "nOnE"}, f.claims(), "AA"),
    "alg empty": lambda f: f.bare({"alg": ""}, f.claims(), f.parts[2]),
    "alg absent": lambda f: f.bare({"typ": "JWT"}, f.claims(), f.parts[2]),
    "alg a list": lambda f: f.bare({"alg": ["HS256"]}, f.claims(), f.parts[2]),
    "alg a number": lambda f: f.bare({"alg": 256}, f.claims(), f.parts[2]),
    "alg null": lambda f: f.bare({"alg": None}, f.claims(), f.parts[2]),
    "a stronger HMAC": lambda f: f.by(f.key, {"alg": "HS512"}),
    "RS256": lambda f: f.by(f.rsa, {"alg": "RS256"}),
    "RS256 taken for HS256": _with_public_key_as_secret,
    "another key": lambda f: f.by(OTHER, {"alg": "HS256"}),
    "the master key itself": lambda f: f.by(
        OctKey.import_key(MASTER), {"alg": "HS256"}
    ),
    "an empty key": lambda f: f.bare(
        {"alg": "HS256"},
        f.claims(),
        "thNvalyZUqCRA4Lmr3zi5M8q0XNfSb0qqfE7ykUVyBU",
    ),
    "another issuer": lambda f: f.signed(iss="elsewhere"),
    "no issuer": lambda f: f.signed(iss=None),
    "issuers in a list": lambda f: f.signed(iss=["sluice"]),
    "another audience": lambda f: f.signed(aud="elsewhere"),
    "no audience": lambda f: f.signed(aud=None),
    "other audiences": lambda f: f.signed(aud=["a", "b"]),
    "no end": lambda f: f.signed(exp=None),
    "its end is past": lambda f: f.signed(exp=f.now - 6),
    "its end is long past": lambda f: f.signed(exp=1),
    "its end is negative": lambda f: f.signed(exp=-1),
    "its end is a text": lambda f: f.signed(exp="never"),
    "its end is true": lambda f: f.signed(exp=True),
    "its end is a list": lambda f: f.signed(exp=[FAR]),
    "it begins later": lambda f: f.signed(nbf=f.now + 3600),
    "it begins at no time": lambda f: f.signed(nbf="now"),
    "made in the future": lambda f: f.signed(iat=f.now + 3600),
    "made far in the future": lambda f: f.signed(iat=FAR),
    "no id": lambda f: f.signed(jti=None),
    "no subject": lambda f: f.signed(sub=None),
    "a subject that is nobody": lambda f: f.signed(sub="user-nobody"),
    "a subject with SQL": lambda f: f.signed(sub="' OR 1=1 --"),
    "a subject that is no text": lambda f: f.signed(sub={"a": 1}),
    "no kind": lambda f: f.signed(kind=None),
    "a kind of its own": lambda f: f.signed(kind="god"),
    "a kind that is no text": lambda f: f.signed(kind=["user"]),
    "a user without a name": lambda f: f.signed(name=None),
    "a task without a lease": lambda f: f.signed(kind="task"),
    "an agent without a pool": lambda f: f.signed(kind="agent"),
    "a credential that is none": lambda f: f.signed(cred="tok-none"),
    "a scope that is none": lambda f: f.signed(scope={"level": "god"}),
    "a scope that is a text": lambda f: f.signed(scope="all"),
    "a task's, its lease over": lambda f: f.deps.issuer.task(
        TaskId("t"), LeaseId("l"), ORG, 60
    )[0],
    "kid, to a file": lambda f: f.by(
        OctKey.import_key(b"\0" * 32), {"alg": "HS256", "kid": "../../../dev/null"}
    ),
    "kid, to SQL": lambda f: f.by(
        OTHER, {"alg": "HS256", "kid": "x' UNION SELECT 'key' --"}
    ),
    "jwk, its own key": lambda f: f.by(
        f.rsa, {"alg": "RS256", "jwk": f.rsa.as_dict(private=False)}
    ),
    "jwk, its own secret": lambda f: f.by(
        OTHER, {"alg": "HS256", "jwk": {"kty": "oct", "k": encoded(bytes(32))}}
    ),
    "jku": lambda f: f.by(
        f.rsa, {"alg": "RS256", "jku": "http://127.0.0.1:1/jwks.json", "kid": "a"}
    ),
    "x5u": lambda f: f.by(f.rsa, {"alg": "RS256", "x5u": "http://127.0.0.1:1/x"}),
    "x5c": lambda f: f.by(f.rsa, {"alg": "RS256", "x5c": ["AAAA"]}),
    "crit": lambda f: f.bare(
        {"alg": "HS256", "crit": ["x"], "x": 1}, f.claims(), f.parts[2]
    ),
    "crit, well signed": lambda f: f.raw(
        b'{"alg":"HS256","crit":["x"],"x":1}', json.dumps(f.claims()).encode()
    ),
    "tampered payload": lambda f: ".".join(
        [f.parts[0], encoded(f.claims(admin=True)), f.parts[2]]
    ),
    "tampered header": lambda f: ".".join(
        [encoded({"alg": "HS256", "typ": "x"}), *f.parts[1:]]
    ),
    "another's signature": lambda f: ".".join([*f.parts[:2], encoded(bytes(32))]),
    "no signature": lambda f: ".".join([*f.parts[:2], ""]),
    "half a signature": lambda f: f.good[:-20],
    "half a payload": lambda f: ".".join([f.parts[0], f.parts[1][:20], f.parts[2]]),
    "two parts": lambda f: ".".join(f.parts[:2]),
    "four parts": lambda f: f.good + ".AAAA",
    "five parts": _encrypted,
    "only points": lambda f: "....",
    "claims twice": _twice,
    "a payload that is a list": lambda f: f.raw(b'{"alg":"HS256"}', b"[1]"),
    "a payload that is a text": lambda f: f.raw(b'{"alg":"HS256"}', b'"x"'),
    "a payload that is null": lambda f: f.raw(b'{"alg":"HS256"}', b"null"),
    "a payload that is no JSON": lambda f: f.raw(b'{"alg":"HS256"}', b"\xff\xfe"),
    "a payload that is deep": lambda f: f.raw(b'{"alg":"HS256"}', DEEP),
    "a header that is deep": lambda f: f.raw(DEEP, b"{}"),
    "a header that is a list": lambda f: f.raw(b"[]", b"{}"),
    "a header that is null": lambda f: f.raw(b"null", b"{}"),
    "a header that is no JSON": lambda f: f.raw(b"\xff", b"{}"),
    "an end that is huge": lambda f: f.raw(
        b'{"alg":"HS256"}',
        json.dumps(f.claims()).replace(str(f.now + 60), "1e400").encode(),
    ),
    "an end that is not a number": lambda f: f.raw(
        b'{"alg":"HS256"}',
        json.dumps(f.claims()).replace(str(f.now + 60), "NaN").encode(),
    ),
    "an end that no calendar has": lambda f: f.signed(exp=10**18),
    "one megabyte": lambda f: "a" * 1_000_000,
    "one megabyte of a payload": lambda f: f.signed(name="a" * 1_000_000),
    "signs that are no base64": lambda f: "a!b.c?d.e*f",
    "signs that no header has": lambda f: f.good.replace("e", "\xe9"),
    "unicode": lambda f: "\u0435yJhbGciOiJIUzI1NiJ9." + ".".join(f.parts[1:]),
    "a null byte": lambda f: f.good[:10] + "\0" + f.good[10:],
    "blanks inside": lambda f: f.good[:10] + " " + f.good[10:],
    "a session's prefix": lambda f: "sle_" + f.good,
    "a ticket's prefix": lambda f: "slt_" + f.good,
}


@pytest.fixture
async def forge(clock: TurnedClock) -> Forge:
    transactions = MemoryTransactions()
    issuer = TokenIssuer([MASTER], clock)
    deps = AuthDeps(transactions, MemoryAuthStore(transactions), issuer, clock)
    user = await create_user(deps, name="ada", admin=False)
    issued = await create_user_token(deps, user_id=user.id, name="t")
    return Forge(deps, user, issued.token.id)


@pytest.fixture
def app(forge: Forge) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    deps = forge.deps
    app.state.authenticator = Authenticator(
        deps.transactions, deps.store, deps.issuer, NoLease(), deps.clock
    )
    app.state.access = OpenAccess()
    app.state.trail = NoTrail()

    @guarded(Permission.WHOAMI)
    async def me(request: Request) -> Response:
        return PlainTextResponse(request.state.principal.actor)

    @guarded(Permission.ADMIN)
    async def admin(request: Request) -> Response:
        return PlainTextResponse("in")

    async def own(request: Request) -> Response:
        found = await require_user(Permission.SIGNED_IN)(request)
        return PlainTextResponse(found.actor)

    app.router.routes += [
        Route("/me", me),
        Route("/admin", admin),
        Route("/own", own),
    ]
    return app


async def asked(app: FastAPI, path: str, token: str) -> tuple[int, str]:
    """Status and body, straight from the application, whatever the token holds."""
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
        else:
            answer["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer " + token.encode("utf-8"))],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "http_version": "1.1",
        "app": app,
    }
    await app(scope, receive, send)
    return answer["status"], answer["body"].decode()


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_forgers_try_is_refused(
    app: FastAPI, forge: Forge, name: str
) -> None:
    token = ATTACKS[name](forge)
    status, body = await asked(app, "/me", token)
    assert status == 401, body
    assert json.loads(body)["code"] == "unauthorized"
    assert token[:100] not in body


async def test_the_forge_can_make_good_ones(app: FastAPI, forge: Forge) -> None:
    good = [
        forge.good,
        forge.signed(),
        forge.signed(cred=forge.credential),
        forge.signed({"kid": "whatever"}),
        forge.raw(b'{"alg":"HS256"}', json.dumps(forge.claims()).encode()),
    ]
    for token in good:
        assert await asked(app, "/me", token) == (200, "ada")


async def test_what_a_token_says_of_administrators_does_not_count(
    app: FastAPI, forge: Forge
) -> None:
    status, _ = await asked(app, "/admin", forge.signed(admin=True))
    assert status == 403


async def test_an_agents_token_is_no_users(app: FastAPI, forge: Forge) -> None:
    token, _ = forge.deps.issuer.agent(AgentId("a"), PoolId("p"), ORG, 60)
    assert (await asked(app, "/me", token))[0] == 200
    assert (await asked(app, "/own", token))[0] == 403
    assert (await asked(app, "/admin", token))[0] == 403


async def test_a_token_ends_with_the_credential_that_it_was_made_of(
    app: FastAPI, forge: Forge, clock: TurnedClock
) -> None:
    deps = forge.deps
    issued = await create_user_token(
        deps, user_id=forge.user.id, name="short", expires_in_days=1
    )
    caller = UserPrincipal(
        forge.user.id, "ada", admin=False, credential_id=issued.token.id
    )
    token, _ = deps.issuer.user(caller, ttl=10 * 86_400)
    assert (await asked(app, "/me", token))[0] == 200
    clock.turn(days=1)
    assert (await asked(app, "/me", token))[0] == 401
    second = await create_user_token(deps, user_id=forge.user.id, name="second")
    caller = UserPrincipal(
        forge.user.id, "ada", admin=False, credential_id=second.token.id
    )
    token, _ = deps.issuer.user(caller)
    assert (await asked(app, "/me", token))[0] == 200
    async with deps.transactions.write() as tx:
        await deps.store.revoke_token(tx, second.token.id, clock.now())
    assert (await asked(app, "/me", token))[0] == 401


async def test_a_token_of_a_disabled_user_opens_nothing(
    app: FastAPI, forge: Forge, clock: TurnedClock
) -> None:
    deps = forge.deps
    async with deps.transactions.write() as tx:
        gone = replace(forge.user, disabled_at=clock.now())
        await deps.store.save_user(tx, gone)
    status, body = await asked(app, "/me", forge.good)
    assert (status, "disabled" in body) == (401, True)
