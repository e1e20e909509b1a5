from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.auth.model import Organization, StoredToken, TokenKind, User
from sluice.auth.ports import AuthStore
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TokenId, UserId
from tests.conftest import Backing

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
ORG = Organization(OrganizationId("org-1"), "acme", NOW)
ADA = User(UserId("user-1"), "ada", admin=True, created_at=NOW)
TOKEN = StoredToken(
    id=TokenId("tok-1"),
    kind=TokenKind.USER,
    subject_id="user-1",
    organization_id=None,
    name="laptop",
    hash="a" * 64,
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
)


async def test_organizations(transactions: Backing, store: AuthStore) -> None:
    other = Organization(OrganizationId("org-2"), "aaa", NOW)
    async with transactions.transactions.write() as tx:
        await store.add_organization(tx, ORG)
        await store.add_organization(tx, other)
    async with transactions.transactions.read() as tx:
        assert await store.get_organization(tx, ORG.id) == ORG
        assert await store.find_organization(tx, "acme") == ORG
        assert await store.list_organizations(tx) == [other, ORG]
        assert await store.get_organization(tx, OrganizationId("acme")) is None
        assert await store.find_organization(tx, "org-1") is None


async def test_a_taken_organization_name_is_a_conflict(
    transactions: Backing, store: AuthStore
) -> None:
    async with transactions.transactions.write() as tx:
        await store.add_organization(tx, ORG)
    same = Organization(OrganizationId("org-9"), "acme", NOW)
    with pytest.raises(ConflictError, match="acme"):
        async with transactions.transactions.write() as tx:
            await store.add_organization(tx, same)
    async with transactions.transactions.read() as tx:
        assert await store.list_organizations(tx) == [ORG]


async def test_users(transactions: Backing, store: AuthStore) -> None:
    bob = User(UserId("user-2"), "bob", admin=False, created_at=NOW)
    async with transactions.transactions.write() as tx:
        assert await store.count_users(tx) == 0
        await store.add_user(tx, bob)
        await store.add_user(tx, ADA)
    async with transactions.transactions.read() as tx:
        assert await store.get_user(tx, ADA.id) == ADA
        assert await store.get_user(tx, UserId("user-3")) is None
        assert await store.list_users(tx) == [ADA, bob]
        assert await store.count_users(tx) == 2


async def test_a_taken_user_name_is_a_conflict(
    transactions: Backing, store: AuthStore
) -> None:
    async with transactions.transactions.write() as tx:
        await store.add_user(tx, ADA)
    with pytest.raises(ConflictError, match="ada"):
        async with transactions.transactions.write() as tx:
            await store.add_user(tx, replace(ADA, id=UserId("user-9")))


async def test_tokens_come_back_whole(transactions: Backing, store: AuthStore) -> None:
    async with transactions.transactions.write() as tx:
        await store.add_organization(tx, ORG)
        await store.add_token(tx, TOKEN)
        pool = replace(
            TOKEN,
            id=TokenId("tok-2"),
            kind=TokenKind.POOL,
            subject_id="pool-1",
            organization_id=ORG.id,
            hash="b" * 64,
            expires_at=None,
        )
        await store.add_token(tx, pool)
    async with transactions.transactions.read() as tx:
        assert await store.get_token(tx, TOKEN.id) == TOKEN
        assert await store.find_token(tx, "a" * 64) == TOKEN
        assert await store.find_token(tx, "b" * 64) == pool
        assert await store.find_token(tx, "c" * 64) is None
        assert await store.list_tokens(tx, TokenKind.USER, "user-1") == [TOKEN]
        assert await store.list_tokens(tx, TokenKind.POOL, "user-1") == []


async def test_the_same_hash_twice_is_a_conflict(
    transactions: Backing, store: AuthStore
) -> None:
    async with transactions.transactions.write() as tx:
        await store.add_token(tx, TOKEN)
    with pytest.raises(ConflictError):
        async with transactions.transactions.write() as tx:
            await store.add_token(tx, replace(TOKEN, id=TokenId("tok-9")))


async def test_a_token_is_revoked_once_and_then_not_listed(
    transactions: Backing, store: AuthStore
) -> None:
    later = NOW + timedelta(hours=1)
    async with transactions.transactions.write() as tx:
        await store.add_token(tx, TOKEN)
        assert await store.revoke_token(tx, TOKEN.id, later)
        assert not await store.revoke_token(tx, TOKEN.id, later)
        assert not await store.revoke_token(tx, TokenId("tok-9"), later)
    async with transactions.transactions.read() as tx:
        assert await store.list_tokens(tx, TokenKind.USER, "user-1") == []
        found = await store.find_token(tx, TOKEN.hash)
    assert found == replace(TOKEN, revoked_at=later)


async def test_a_use_is_noted_unless_a_recent_one_is(
    transactions: Backing, store: AuthStore
) -> None:
    async with transactions.transactions.write() as tx:
        await store.add_token(tx, TOKEN)
        for seconds in (0, 30, 61):
            at = NOW + timedelta(seconds=seconds)
            since = at - timedelta(minutes=1)
            await store.touch_token(tx, TOKEN.id, at, unless_since=since)
            found = await store.get_token(tx, TOKEN.id)
            assert found is not None
            expected = NOW if seconds < 60 else at
            assert found.last_used_at == expected
