"""Issues identity tokens for phases, and keeps the keys that sign them.

The server is an OpenID Connect issuer for its tasks: other services trust what it says of a
phase, so that no key of theirs has to be stored here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from joserfc import jwt

from sluice.auth.audit import AuditEntry, AuditLog
from sluice.auth.audit_entries import new_entry
from sluice.auth.issuer_keys import (
    ALGORITHM,
    MAX_TOKEN_SECONDS,
    IssuerKey,
    is_published,
    new_issuer_key,
    private_half,
    retired,
    signing_key,
)
from sluice.auth.keyring import KeyRing
from sluice.auth.model import Organization
from sluice.auth.workload import Wanted, claims, wanted_tokens
from sluice.base.clock import Clock
from sluice.base.errors import InvalidInputError, NotFoundError, UnavailableError
from sluice.base.ids import OrganizationId, random_id
from sluice.base.transactions import Transactions, Tx
from sluice.wire.agent import OrderIdentity, PhaseOrder

BACKDATED_SECONDS = 5
"""A token is valid so long before it was made, for clocks that are a little behind."""

_logger = structlog.get_logger(__name__)


class IssuerKeyStore(Protocol):
    """The key pairs."""

    async def list_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys, oldest first."""
        ...

    async def hold_keys(self, tx: Tx) -> list[IssuerKey]:
        """All keys; nobody else changes them until the transaction ends."""
        ...

    async def add_key(self, tx: Tx, key: IssuerKey) -> None:
        """Keep a new key."""
        ...

    async def retire_key(self, tx: Tx, key: IssuerKey) -> None:
        """Store when a key is retired."""
        ...

    async def delete_key(self, tx: Tx, key_id: str) -> None:
        """Forget a key."""
        ...


class Organizations(Protocol):
    """Knows organizations (`auth.ports.AuthStore`)."""

    async def get_organization(
        self, tx: Tx, organization_id: OrganizationId
    ) -> Organization | None:
        """The organization with this id."""
        ...


@dataclass(frozen=True, slots=True)
class IssuerDeps:
    """What issuing needs.

    Attributes:
        url: who signs, as others reach it: the server's public address.
        token_seconds: how long a token is valid.
    """

    transactions: Transactions
    keys: IssuerKeyStore
    organizations: Organizations
    keyring: KeyRing
    clock: Clock
    url: str
    token_seconds: int


class WorkloadIssuer:
    """One server's issuer; what it must share with others lies in the database."""

    def __init__(self, deps: IssuerDeps) -> None:
        self._deps = deps
        self._making = asyncio.Lock()

    @property
    def url(self) -> str:
        """Who signs."""
        return self._deps.url

    async def identities(self, order: PhaseOrder) -> list[OrderIdentity]:
        """The tokens that an order's workspace asks for; none where it asks for none.

        Raises:
            InvalidInputError: it asks for what cannot be.
            NotFoundError: the organization is gone.
        """
        wanted = wanted_tokens(order)
        if not wanted:
            return []
        if not _can_be_trusted(self.url):
            raise InvalidInputError(
                f"The server is known as {self.url}, and identity tokens of an issuer "
                "without https are trusted by nobody; set SLUICE_PUBLIC_URL."
            )
        said = claims(order, await self._organization_name(order.organization_id))
        key = signing_key(await self._keys(), self._deps.clock.now())
        if key is None:
            raise UnavailableError(
                "No key signs identity tokens; run `sluice keys rotate-issuer`."
            )
        return await asyncio.to_thread(self._signed, key, wanted, said)

    async def published(self) -> list[Mapping[str, str]]:
        """The public halves with which tokens of this server are verified, as JWKs."""
        now = self._deps.clock.now()
        return [key.public for key in await self._keys() if is_published(key, now)]

    async def _organization_name(self, organization_id: str) -> str:
        async with self._deps.transactions.read() as tx:
            organization = await self._deps.organizations.get_organization(
                tx, OrganizationId(organization_id)
            )
        if organization is None:
            raise NotFoundError(f"There is no organization {organization_id}.")
        return organization.name

    async def _keys(self) -> Sequence[IssuerKey]:
        """All keys; the first one is made at first need, once for all servers."""
        async with self._deps.transactions.read() as tx:
            keys = await self._deps.keys.list_keys(tx)
        if keys:
            return keys
        async with self._making:
            return await ensure_key(self._deps)

    def _signed(
        self, key: IssuerKey, wanted: Sequence[Wanted], said: Mapping[str, str]
    ) -> list[OrderIdentity]:
        private = private_half(self._deps.keyring, key)
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.id}
        now = int(self._deps.clock.now().timestamp())
        until = now + min(self._deps.token_seconds, MAX_TOKEN_SECONDS)
        return [
            OrderIdentity(
                name=one.name,
                token=jwt.encode(
                    header,
                    {
                        "iss": self.url,
                        "aud": one.audience,
                        "iat": now,
                        "nbf": now - BACKDATED_SECONDS,
                        "exp": until,
                        "jti": random_id("jti"),
                        **said,
                    },
                    private,
                    algorithms=[ALGORITHM],
                ),
                token_variables=list(one.token_variables),
                path_variables=list(one.path_variables),
                environment=dict(one.environment),
                instead_of=list(one.instead_of),
            )
            for one in wanted
        ]


async def ensure_key(deps: IssuerDeps) -> Sequence[IssuerKey]:
    """All keys; a first one is made where there is none, also where several servers try."""
    async with deps.transactions.read() as tx:
        keys = await deps.keys.list_keys(tx)
    if keys:
        return keys
    made = await asyncio.to_thread(new_issuer_key, deps.keyring, deps.clock.now())
    async with deps.transactions.write() as tx:
        keys = await deps.keys.hold_keys(tx)
        if not keys:
            await deps.keys.add_key(tx, made)
            _logger.info("made a key that signs identity tokens", key_id=made.id)
            return [made]
    return keys


async def rotate_key(deps: IssuerDeps, *, audit: AuditLog, actor: str) -> IssuerKey:
    """Put a new key beside the present one, which it follows in an hour.

    What has been retired for so long that no token of it lives is forgotten.
    """
    now = deps.clock.now()
    made = await asyncio.to_thread(new_issuer_key, deps.keyring, now)
    async with deps.transactions.write() as tx:
        for key in await deps.keys.hold_keys(tx):
            if is_published(key, now):
                await deps.keys.retire_key(tx, retired(key, now))
            else:
                await deps.keys.delete_key(tx, key.id)
        await deps.keys.add_key(tx, made)
        await audit.append(tx, _entry(deps, actor, "issuer_key.rotate", made))
    return made


async def replace_keys(deps: IssuerDeps, *, audit: AuditLog, actor: str) -> IssuerKey:
    """Forget all keys and sign with a new one at once: for a key that somebody has seen.

    Tokens of phases that run are refused from here on.
    """
    made = await asyncio.to_thread(new_issuer_key, deps.keyring, deps.clock.now())
    async with deps.transactions.write() as tx:
        for key in await deps.keys.hold_keys(tx):
            await deps.keys.delete_key(tx, key.id)
        await deps.keys.add_key(tx, made)
        await audit.append(tx, _entry(deps, actor, "issuer_key.replace", made))
    return made


def _entry(deps: IssuerDeps, actor: str, action: str, made: IssuerKey) -> AuditEntry:
    return new_entry(deps.clock, actor=actor, action=action, subject=made.id)


def _can_be_trusted(url: str) -> bool:
    """Whether an issuer's address is such that its keys come from it: https, or this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    host = parts.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
