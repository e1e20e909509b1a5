"""Single sign-on, both of its steps: to the provider, and back with a code."""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from sluice.auth.model import User
from sluice.auth.oidc_model import local_path, person_of
from sluice.auth.oidc_people import OidcPeople, user_for
from sluice.auth.oidc_provider import Provider
from sluice.auth.oidc_tokens import check_nonce
from sluice.base.errors import UnauthorizedError

STATE_SECONDS = 600
_RANDOM_BYTES = 32
_MOST_USED = 10_000
_LONGEST_COOKIE = 8192


class _Question(msgspec.Struct, frozen=True):
    """What was asked of the provider, as the browser keeps it; signed."""

    state: str
    nonce: str
    verifier: str
    next: str
    until: float


_decode = msgspec.json.Decoder(_Question).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class OidcDeps:
    """What single sign-on works with.

    Attributes:
        keys: sign what the browser keeps, the first; all open it.
        used: questions that were answered already, on this server.
    """

    people: OidcPeople
    provider: Provider
    keys: Sequence[bytes]
    used: OrderedDict[str, None] = field(default_factory=OrderedDict)


async def begin(deps: OidcDeps, *, next_path: str | None) -> tuple[str, str]:
    """Where to send the browser, and what it has to keep until it comes back."""
    state, nonce, verifier = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
    until = deps.people.auth.clock.now().timestamp() + STATE_SECONDS
    kept = _Question(state, nonce, verifier, local_path(next_path), until)
    address = await deps.provider.address(state=state, nonce=nonce, verifier=verifier)
    return address, _sealed(deps.keys[0], _encode(kept))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser came back with; ``kept`` is its cookie's."""

    kept: str
    state: str
    code: str
    error: str
    issuer: str | None


async def finish(deps: OidcDeps, *, answer: Answer, address: str) -> tuple[User, str]:
    """The user who has signed in, and where they wanted to go.

    Raises:
        UnauthorizedError: this is no answer to what this browser asked.
        ForbiddenError: the person may not sign in.
        UnavailableError: the provider does not answer.
    """
    asked = _opened(deps, answer.kept, deps.people.auth.clock.now())
    if not hmac.compare_digest(asked.state.encode(), answer.state.encode()):
        raise _not_ours()
    _use_once(deps, asked.state)
    if answer.issuer not in {None, deps.provider.rules.issuer}:
        raise UnauthorizedError("Another provider than the one that was asked answers.")
    if answer.error or not answer.code:
        raise UnauthorizedError(
            "The provider has not signed you in; try again, or ask its administrator."
        )
    claims = await deps.provider.claims(code=answer.code, verifier=asked.verifier)
    check_nonce(claims, asked.nonce)
    person = person_of(deps.provider.rules, claims)
    return await user_for(deps.people, person=person, address=address), asked.next


def _use_once(deps: OidcDeps, state: str) -> None:
    if state in deps.used:
        raise _not_ours()
    deps.used[state] = None
    if len(deps.used) > _MOST_USED:
        deps.used.popitem(last=False)


def _sealed(key: bytes, payload: bytes) -> str:
    return f"{_text(payload)}.{_text(_signature(key, payload))}"


def _opened(deps: OidcDeps, kept: str, now: datetime) -> _Question:
    try:
        if len(kept) > _LONGEST_COOKIE:
            raise ValueError("too long")
        first, _, second = kept.partition(".")
        payload, signature = _bytes(first), _bytes(second)
        wanted = (_signature(key, payload) for key in deps.keys)
        if not sum(hmac.compare_digest(signature, one) for one in wanted):
            raise ValueError("not signed here")
        asked = _decode(payload)
    except (ValueError, msgspec.DecodeError):
        raise _not_ours() from None
    if now.timestamp() > asked.until:
        raise _not_ours()
    return asked


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.new(key, b"oidc:" + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))


def _not_ours() -> UnauthorizedError:
    return UnauthorizedError(
        "This browser has not asked to sign in, or too long ago, or it was answered"
        " already; begin again at the sign-in page."
    )
