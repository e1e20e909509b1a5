"""Checks an OpenID provider's ID token: signature, issuer, audience, time and nonce."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.util import urlsafe_b64decode

from sluice.base.errors import UnauthorizedError

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""Asymmetric ones alone: the client's secret signs nothing."""

LEEWAY_SECONDS = 60
MAX_LENGTH = 64 * 1024
_LONGEST_SUBJECT = 255


class UnknownKeyError(Exception):
    """The ID token names a key that these keys do not have; newer ones may."""


def key_id_of(token: str) -> str | None:
    """The key that a token says it is signed with; nothing of it is checked yet.

    Raises:
        UnauthorizedError: it is no token, or of an algorithm that is not taken.
    """
    try:
        if len(token) > MAX_LENGTH:
            raise ValueError("too long")
        header = msgspec.json.decode(
            urlsafe_b64decode(token.partition(".")[0].encode()), type=dict[str, Any]
        )
    except (ValueError, RecursionError):
        raise _refused("it cannot be read") from None
    if header.get("alg") not in ALGORITHMS:
        raise _refused("its algorithm is not one that is taken")
    kid = header.get("kid")
    return kid if isinstance(kid, str) else None


def checked_claims(
    token: str, keys: KeySet, *, issuer: str, client_id: str, now: datetime
) -> Mapping[str, Any]:
    """The claims of a token that is this provider's, for this client, and of now.

    Raises:
        UnknownKeyError: it names a key that ``keys`` has not.
        UnauthorizedError: something of it is wrong.
    """
    kid = key_id_of(token)
    if kid is not None and all(key.kid != kid for key in keys.keys):
        raise UnknownKeyError
    registry = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        claims = _decoded(token, keys, kid).claims
        registry.validate(claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise _refused(getattr(error, "error", "") or "it cannot be read") from None
    _check_parties(claims, client_id)
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise _refused("its subject is none")
    return claims


def check_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """See that the token answers this very question.

    Raises:
        UnauthorizedError: it answers another.
    """
    given = str(claims.get("nonce", "")).encode()
    if not hmac.compare_digest(given, nonce.encode()):
        raise _refused("its nonce is another's")


def _decoded(token: str, keys: KeySet, kid: str | None) -> jwt.Token:
    if kid is not None:
        return jwt.decode(token, keys, algorithms=list(ALGORITHMS))
    # without a name any of the provider's keys may be meant
    failure: JoseError | ValueError = ValueError("no key")
    for key in keys.keys:
        try:
            return jwt.decode(token, key, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError) as error:
            failure = error
    raise failure


def _check_parties(claims: Mapping[str, Any], client_id: str) -> None:
    audience, party = claims["aud"], claims.get("azp")
    several = isinstance(audience, list) and len(audience) > 1
    if (several and party is None) or party not in {None, client_id}:
        raise _refused("it was made for another client")


def _refused(why: str) -> UnauthorizedError:
    return UnauthorizedError(
        f"The provider's ID token is not taken: {why}. Sign in again; if that does not"
        " help, an administrator has to compare the settings of both sides."
    )
