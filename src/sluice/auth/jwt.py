"""Short-lived signed tokens (JWT, HS256) for users, agents and tasks.

Algorithm, issuer and audience are fixed; the signing key is derived from the master key.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from sluice.auth.keyring import derive
from sluice.auth.model import (
    UNLIMITED,
    AgentPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    User,
    UserPrincipal,
)
from sluice.auth.scopes import scope_from_json, scope_to_json
from sluice.base.clock import Clock
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    RunTaskResultId,
    TaskId,
    TokenId,
    UserId,
    random_id,
)

USER_SECONDS = 15 * 60
LEEWAY_SECONDS = 5
MAX_LENGTH = 32 * 1024
"""Longer than any token that is made here."""

LOCAL_USER = UserPrincipal(UserId("user-up"), "up", admin=True)
"""Who `sluice up` calls its own server as; nobody is kept under this id."""

_ALGORITHM = "HS256"
_ISSUER = "sluice"
_AUDIENCE = "sluice-api"
_REASONS = {
    "expired_token": "it has expired",
    "bad_signature": "another server has made it, or this one under another master key",
}


class TokenIssuer:
    """Issues and verifies JWTs; verifies under former master keys too."""

    def __init__(self, masters: Sequence[bytes], clock: Clock) -> None:
        self._keys = [OctKey.import_key(derive(m, "sluice jwt v1")) for m in masters]
        self._clock = clock

    def user(
        self, user: User | UserPrincipal, *, ttl: float = USER_SECONDS
    ) -> tuple[str, datetime]:
        """A token for a user: ``(token, expires_at)``.

        It carries the credential with which the user asked for it, and that one's scope:
        it ends with that, and is as narrow.
        """
        if isinstance(user, User):
            user = UserPrincipal(user.id, user.name, user.admin)
        claims: dict[str, object] = {"name": user.name, "admin": user.admin}
        if user.credential_id is not None:
            claims["cred"] = user.credential_id
        if user.scope != UNLIMITED:
            claims["scope"] = scope_to_json(user.scope)
        kind = "local" if user.user_id == LOCAL_USER.user_id else "user"
        return self._issue(kind, user.user_id, ttl, claims)

    def agent(
        self, agent_id: AgentId, pool_id: PoolId, org_id: OrganizationId, ttl: float
    ) -> tuple[str, datetime]:
        """A token for a registered agent: ``(token, expires_at)``."""
        return self._issue("agent", agent_id, ttl, {"pool": pool_id, "org": org_id})

    def task(
        self, task_id: TaskId, lease_id: LeaseId, org_id: OrganizationId, ttl: float
    ) -> tuple[str, datetime]:
        """A token for one phase of one task: ``(token, expires_at)``."""
        return self._issue("task", task_id, ttl, {"lease": lease_id, "org": org_id})

    def result(
        self, result: ResultPrincipal, *, issued_at: datetime, ttl: float
    ) -> str:
        """The token of one result of a run task.

        The same arguments give the same token, so that a call that is repeated carries
        what the first one carried.
        """
        claims = {
            "jti": f"jti-{result.result_id}",
            "task": result.task_id,
            "org": result.organization_id,
        }
        token, _ = self._issue("result", result.result_id, ttl, claims, at=issued_at)
        return token

    def verify(self, token: str) -> Principal:
        """The caller that a token stands for.

        Neither a task's lease is looked at here, nor a user or their credential.

        Raises:
            UnauthorizedError: forged, expired, or not one of ours.
        """
        claims = self._checked_claims(token)
        try:
            return _principal(claims)
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            raise UnauthorizedError(
                "The token lacks what its kind has; sign in again."
            ) from None

    def _issue(
        self,
        kind: str,
        subject: str,
        ttl: float,
        extra: Mapping[str, object],
        *,
        at: datetime | None = None,
    ) -> tuple[str, datetime]:
        now = (at or self._clock.now()).replace(microsecond=0)
        expires_at = now + timedelta(seconds=ttl)
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": subject,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": random_id("jti"),
            "kind": kind,
            **extra,
        }
        token = jwt.encode(
            {"alg": _ALGORITHM}, claims, self._keys[0], algorithms=[_ALGORITHM]
        )
        return token, expires_at

    def _checked_claims(self, token: str) -> jwt.Claims:
        registry = jwt.JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": _ISSUER},
            aud={"essential": True, "value": _AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
            jti={"essential": True},
        )
        try:
            if len(token) > MAX_LENGTH:
                raise ValueError("too long")
            claims = self._decode(token).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise UnauthorizedError(
                f"The token is not valid here: {_reason(error)}. Sign in again."
            ) from None
        return claims

    def _decode(self, token: str) -> jwt.Token:
        for former, key in enumerate(self._keys, start=1):
            try:
                return jwt.decode(token, key, algorithms=[_ALGORITHM])
            except JoseError:
                if former == len(self._keys):
                    raise
        raise UnauthorizedError("This server has no signing key.")


def _principal(claims: jwt.Claims) -> Principal:
    subject = str(claims["sub"])
    match claims.get("kind"):
        case "user":
            credential = claims.get("cred")
            return UserPrincipal(
                UserId(subject),
                str(claims["name"]),
                claims["admin"] is True,
                credential_id=None if credential is None else TokenId(str(credential)),
                scope=scope_from_json(claims.get("scope")),
                until=datetime.fromtimestamp(int(claims["exp"]), UTC),
            )
        case "local":
            return LOCAL_USER
        case "agent":
            return AgentPrincipal(
                AgentId(subject),
                PoolId(str(claims["pool"])),
                OrganizationId(str(claims["org"])),
            )
        case "task":
            return TaskPrincipal(
                TaskId(subject),
                LeaseId(str(claims["lease"])),
                OrganizationId(str(claims["org"])),
            )
        case "result":
            return ResultPrincipal(
                RunTaskResultId(subject),
                TaskId(str(claims["task"])),
                OrganizationId(str(claims["org"])),
            )
        case _:
            raise UnauthorizedError("The token is of an unknown kind; sign in.")


def _reason(error: Exception) -> str:
    code = error.error if isinstance(error, JoseError) else ""
    return _REASONS.get(code, "it is not one that a Sluice server makes")
