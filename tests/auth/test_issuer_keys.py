"""Keys of the issuer: one at first, none missing in a rotation, and tokens that verify."""

import asyncio
from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.issuer_key_store import SqlIssuerKeyStore
from sluice.auth.issuer_keys import PUBLISHED_AHEAD, IssuerKey
from sluice.auth.keyring import KeyRing, UnsealError
from sluice.auth.model import Organization
from sluice.auth.store import SqlAuthStore
from sluice.auth.workload_issuer import (
    IssuerDeps,
    IssuerKeyStore,
    WorkloadIssuer,
    replace_keys,
    rotate_key,
)
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import OrganizationId
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_auth import MemoryAuthStore
from sluice.testing.memory_issuer_keys import MemoryIssuerKeyStore
from sluice.wire.agent import PhaseName
from tests.auth.conftest import TurnedClock
from tests.auth.test_workload import order
from tests.conftest import Backing

RING = KeyRing([bytes(range(32))])
ASKS = {"TFC_WORKLOAD_IDENTITY_AUDIENCE": "vault"}
HOURS = 3600


@pytest.fixture
async def deps(transactions: Backing, clock: TurnedClock) -> IssuerDeps:
    keys: IssuerKeyStore = SqlIssuerKeyStore()
    organizations: SqlAuthStore | MemoryAuthStore = SqlAuthStore()
    if transactions.kind == "memory":
        keys = MemoryIssuerKeyStore(transactions.memory)
        organizations = MemoryAuthStore(transactions.memory)
    async with transactions.transactions.write() as tx:
        acme = Organization(OrganizationId("org-1"), "acme", clock.now())
        await organizations.add_organization(tx, acme)
    return IssuerDeps(
        transactions=transactions.transactions,
        keys=keys,
        organizations=organizations,
        keyring=RING,
        clock=clock,
        url="https://sluice.example",
        token_seconds=4 * HOURS,
    )


@pytest.fixture
def audit(transactions: Backing) -> SqlAuditLog | MemoryAuditLog:
    if transactions.kind == "memory":
        return MemoryAuditLog(transactions.memory)
    return SqlAuditLog()


async def stored(deps: IssuerDeps) -> list[IssuerKey]:
    async with deps.transactions.read() as tx:
        return await deps.keys.list_keys(tx)


async def token_of(issuer: WorkloadIssuer, **fields: PhaseName) -> str:
    (identity,) = await issuer.identities(order(ASKS, **fields))
    return identity.token


async def verified(issuer: WorkloadIssuer, token: str) -> jwt.Token:
    """What somebody reads who has just fetched the keys."""
    keys = KeySet.import_key_set({"keys": [dict(k) for k in await issuer.published()]})
    return jwt.decode(token, keys, algorithms=["RS256"])


async def test_two_servers_that_start_at_once_make_one_key(deps: IssuerDeps) -> None:
    issuers = [WorkloadIssuer(deps) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(issuer.published()) for issuer in issuers]
    shown = [[key["kid"] for key in one.result()] for one in asked]
    (key,) = await stored(deps)
    assert shown == [[key.id]] * 3
    assert (key.public["kty"], key.public["alg"], key.public["use"]) == (
        "RSA",
        "RS256",
        "sig",
    )
    assert not {"d", "p", "q", "dp", "dq", "qi"} & key.public.keys()


async def test_a_token_says_who_and_until_when(
    deps: IssuerDeps, clock: TurnedClock
) -> None:
    issuer = WorkloadIssuer(deps)
    token = await verified(issuer, await token_of(issuer))
    now = int(clock.now().timestamp())
    assert token.header["alg"] == "RS256"
    assert token.claims["iss"] == "https://sluice.example"
    assert token.claims["aud"] == "vault"
    assert token.claims["sub"].endswith(":workspace:shop:run_phase:plan")
    assert (token.claims["iat"], token.claims["exp"]) == (now, now + 4 * HOURS)
    assert token.claims["nbf"] <= now
    apply = await verified(issuer, await token_of(issuer, phase=PhaseName.APPLY))
    assert apply.claims["sub"].endswith(":run_phase:apply")
    assert apply.claims["jti"] != token.claims["jti"]


async def test_nothing_is_made_where_nothing_is_asked_for(deps: IssuerDeps) -> None:
    assert await WorkloadIssuer(deps).identities(order()) == []
    assert await stored(deps) == []


async def test_a_rotation_leaves_no_gap(
    deps: IssuerDeps, audit: SqlAuditLog | MemoryAuditLog, clock: TurnedClock
) -> None:
    issuer = WorkloadIssuer(deps)
    before = await token_of(issuer)
    known = await issuer.published()
    made = await rotate_key(deps, audit=audit, actor="ann")
    # shown before it signs: who fetches only now and then has it in time
    assert made.id in [key["kid"] for key in await issuer.published()]
    between = await token_of(issuer)
    jwt.decode(
        between,
        KeySet.import_key_set({"keys": [dict(key) for key in known]}),
        algorithms=["RS256"],
    )
    clock.at += PUBLISHED_AHEAD - timedelta(seconds=1)
    last = await token_of(issuer)
    clock.turn(seconds=2)
    after = await token_of(issuer)
    assert (await verified(issuer, after)).header["kid"] == made.id
    for token in (before, between, last):
        assert (await verified(issuer, token)).header["kid"] != made.id

    clock.turn(hours=23)
    await verified(issuer, last)
    clock.turn(hours=2)
    assert [key["kid"] for key in await issuer.published()] == [made.id]
    with pytest.raises((JoseError, ValueError)):
        await verified(issuer, last)
    newest = await rotate_key(deps, audit=audit, actor="ann")
    assert [key.id for key in await stored(deps)] == [made.id, newest.id]


async def test_rotations_one_after_the_other_retire_each_key_once(
    deps: IssuerDeps, audit: SqlAuditLog | MemoryAuditLog, clock: TurnedClock
) -> None:
    issuer = WorkloadIssuer(deps)
    await issuer.published()
    for _ in range(3):
        clock.turn(minutes=20)
        await rotate_key(deps, audit=audit, actor="ann")
        await verified(issuer, await token_of(issuer))
    keys = await stored(deps)
    assert [key.retired_at is None for key in keys] == [False, False, False, True]
    for _ in range(8):
        clock.turn(minutes=15)
        await verified(issuer, await token_of(issuer))
    assert (await verified(issuer, await token_of(issuer))).header["kid"] == keys[-1].id


async def test_a_key_that_was_seen_is_gone_at_once(
    deps: IssuerDeps, audit: SqlAuditLog | MemoryAuditLog
) -> None:
    issuer = WorkloadIssuer(deps)
    before = await token_of(issuer)
    made = await replace_keys(deps, audit=audit, actor="ann")
    assert [key["kid"] for key in await issuer.published()] == [made.id]
    assert (await verified(issuer, await token_of(issuer))).header["kid"] == made.id
    with pytest.raises((JoseError, ValueError)):
        await verified(issuer, before)


async def test_the_private_half_is_sealed(deps: IssuerDeps) -> None:
    issuer = WorkloadIssuer(deps)
    await issuer.published()
    (key,) = await stored(deps)
    assert b"PRIVATE KEY" not in key.private_sealed
    with pytest.raises(UnsealError):
        RING.open(key.private_sealed, "issuer-key:other")
    assert b"PRIVATE KEY" in RING.open(key.private_sealed, f"issuer-key:{key.id}")


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://sluice.example", True),
        ("http://127.0.0.1:8460", True),
        ("http://[::1]:8460", True),
        ("http://localhost:8460", True),
        ("http://10.0.0.4:8460", False),
        ("http://sluice.example", False),
    ],
)
async def test_an_issuer_needs_https_except_on_this_machine(
    clock: TurnedClock, url: str, *, trusted: bool
) -> None:
    memory = MemoryTransactions()
    organizations = MemoryAuthStore(memory)
    async with memory.write() as tx:
        acme = Organization(OrganizationId("org-1"), "acme", clock.now())
        await organizations.add_organization(tx, acme)
    issuer = WorkloadIssuer(
        IssuerDeps(
            memory, MemoryIssuerKeyStore(memory), organizations, RING, clock, url, 600
        )
    )
    if trusted:
        assert await issuer.identities(order(ASKS))
        return
    with pytest.raises(InvalidInputError, match="SLUICE_PUBLIC_URL"):
        await issuer.identities(order(ASKS))


async def test_an_organization_that_is_gone_gets_no_token(deps: IssuerDeps) -> None:
    gone = order(ASKS).model_copy(update={"organization_id": "org-2"})
    with pytest.raises(NotFoundError):
        await WorkloadIssuer(deps).identities(gone)
