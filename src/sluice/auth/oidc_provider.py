"""Calls the OpenID provider: discovery, keys, the exchange of a code, and user info.

Every call is bounded in time and in size, and goes to the addresses that the provider's own
discovery document names; redirects are not followed.
"""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx2
import msgspec
import structlog
from authlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped]
    prepare_grant_uri,
)
from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped]
    create_s256_code_challenge,
)
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sluice.auth.oidc_model import OidcRules
from sluice.auth.oidc_tokens import UnknownKeyError, checked_claims
from sluice.base.clock import Clock
from sluice.base.errors import UnauthorizedError, UnavailableError

CALL_SECONDS = 10.0
MAX_BYTES = 1024 * 1024
KEPT_SECONDS = 3600.0
REFETCH_SECONDS = 10.0
_OK = 200
_CLIENT_ERROR = 400
_ADDRESS = frozenset({"email", "email_verified"})
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What discovery says, as far as it is needed."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    secret_in_body: bool


class Provider:
    """One provider, with what is kept of it: its metadata and its keys.

    Args:
        rules: which provider, and as which client.
        clock: tells when what is kept is old.
        call_seconds: how long one call may take altogether.
    """

    def __init__(
        self, rules: OidcRules, clock: Clock, *, call_seconds: float = CALL_SECONDS
    ) -> None:
        self.rules = rules
        self._clock = clock
        self._call_seconds = call_seconds
        self._client: httpx2.AsyncClient | None = None
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is sent to sign in."""
        metadata = await self._discovered()
        address: str = prepare_grant_uri(
            metadata.authorization,
            self.rules.client_id,
            "code",
            redirect_uri=self.rules.redirect_uri,
            scope=list(self.rules.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return address

    async def claims(self, *, code: str, verifier: str) -> Mapping[str, Any]:
        """What the ID token says that a code is exchanged for, and user info beside it.

        Raises:
            UnauthorizedError: the code is not taken, or the token is not.
            UnavailableError: the provider does not answer as it should.
        """
        metadata = await self._discovered()
        answer = await self._exchange(metadata, code, verifier)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise UnauthorizedError("The provider gave no ID token; ask for `openid`.")
        claims = await self._checked(metadata, token)
        if self._complete(claims) or not metadata.userinfo:
            return claims
        if not isinstance(access, str):
            return claims
        more = await self._get(metadata.userinfo, {"authorization": f"Bearer {access}"})
        if more.get("sub") != claims["sub"]:
            raise UnauthorizedError("The provider's user info is somebody else's.")
        return _joined(claims, more)

    def _complete(self, claims: Mapping[str, Any]) -> bool:
        wanted = {"email", "email_verified", self.rules.groups_claim} - {""}
        return wanted <= claims.keys()

    async def _checked(self, metadata: Metadata, token: str) -> Mapping[str, Any]:
        """Keys are fetched anew for one that is not known, though not for each token."""
        keys = await self._key_set(metadata, older_than=KEPT_SECONDS)
        for last in (False, True):
            try:
                return checked_claims(
                    token,
                    keys,
                    issuer=self.rules.issuer,
                    client_id=self.rules.client_id,
                    now=self._clock.now(),
                )
            except UnknownKeyError:
                if last:
                    raise UnauthorizedError(
                        "The provider's ID token is signed with a key that its key set"
                        " lacks; try again in a moment."
                    ) from None
                keys = await self._key_set(metadata, older_than=REFETCH_SECONDS)
        raise AssertionError("the last try returns or raises")

    async def _discovered(self) -> Metadata:
        async with self._turn:
            now = self._clock.monotonic()
            if self._metadata is None or now - self._metadata[0] > KEPT_SECONDS:
                base = self.rules.issuer.rstrip("/")
                found = await self._get(f"{base}/.well-known/openid-configuration")
                self._metadata = now, _metadata(found, self.rules.issuer)
            return self._metadata[1]

    async def _key_set(self, metadata: Metadata, *, older_than: float) -> KeySet:
        async with self._turn:
            now = self._clock.monotonic()
            if self._keys is None or now - self._keys[0] > older_than:
                found = await self._get(metadata.keys)
                try:
                    keys = KeySet.import_key_set(_public(found))  # type: ignore[arg-type]
                except (JoseError, ValueError, TypeError, KeyError):
                    raise _strange("its keys cannot be read") from None
                self._keys = now, keys
            return self._keys[1]

    async def _exchange(
        self, metadata: Metadata, code: str, verifier: str
    ) -> Mapping[str, Any]:
        rules = self.rules
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": rules.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if rules.client_secret and not metadata.secret_in_body:
            pair = f"{quote_plus(rules.client_id)}:{quote_plus(rules.client_secret)}"
            basic = base64.b64encode(pair.encode()).decode()
            headers["authorization"] = f"Basic {basic}"
        else:
            form["client_id"] = rules.client_id
            if rules.client_secret:
                form["client_secret"] = rules.client_secret
        request = self._http().build_request(
            "POST", metadata.token, data=form, headers=headers
        )
        return await self._call(request, refusal="The provider does not take the code")

    async def _get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        request = self._http().build_request("GET", url, headers=dict(headers or {}))
        return await self._call(request)

    async def _call(
        self, request: httpx2.Request, *, refusal: str = ""
    ) -> Mapping[str, Any]:
        request.headers["accept"] = "application/json"
        try:
            async with asyncio.timeout(self._call_seconds):
                status, body = await self._answer(request)
        except TimeoutError:
            raise _strange("it does not answer in time") from None
        except httpx2.HTTPError as error:
            _logger.warning("the OpenID provider cannot be called", reason=str(error))
            raise _strange("it cannot be reached") from None
        if refusal and _CLIENT_ERROR <= status < 500:
            raise UnauthorizedError(f"{refusal}; sign in again.")
        if status != _OK:
            raise _strange(f"it answers {status}")
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _strange("its answer is no JSON object") from None

    async def _answer(self, request: httpx2.Request) -> tuple[int, bytes]:
        response = await self._http().send(request, stream=True)
        try:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise _strange("its answer is too large")
        finally:
            await response.aclose()
        return response.status_code, bytes(body)

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=self._call_seconds, follow_redirects=False
            )
        return self._client


def _joined(claims: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ID token's claims before those of user info.

    An address and whether it is verified come from one of them: what one verifies says
    nothing of an address that the other names.
    """
    if not claims.keys() >= _ADDRESS and _ADDRESS & more.keys():
        claims = {name: it for name, it in claims.items() if name not in _ADDRESS}
    return {**more, **claims}


def _metadata(found: Mapping[str, Any], issuer: str) -> Metadata:
    if found.get("issuer") != issuer:
        raise _strange("its discovery document is of another issuer than oidc_issuer")
    scheme = urlsplit(issuer).scheme

    def endpoint(name: str) -> str:
        url = found.get(name)
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", scheme}:
            raise _strange(f"its discovery document has no usable {name}")
        return url

    offered = found.get("token_endpoint_auth_methods_supported")
    methods = offered if isinstance(offered, list) else ["client_secret_basic"]
    return Metadata(
        authorization=endpoint("authorization_endpoint"),
        token=endpoint("token_endpoint"),
        keys=endpoint("jwks_uri"),
        userinfo=endpoint("userinfo_endpoint")
        if "userinfo_endpoint" in found
        else None,
        secret_in_body="client_secret_basic" not in methods
        and "client_secret_post" in methods,
    )


def _public(found: Mapping[str, Any]) -> dict[str, Any]:
    """Asymmetric keys alone: a shared secret in a public document proves nothing."""
    keys = found["keys"]
    return {"keys": [key for key in keys if key.get("kty") in {"RSA", "EC", "OKP"}]}


def _strange(why: str) -> UnavailableError:
    return UnavailableError(
        f"Single sign-on does not work at the moment: the provider: {why}. Try again, or"
        " ask an administrator."
    )
