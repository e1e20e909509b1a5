from datetime import timedelta

import pytest

from sluice.auth.actions import (
    AuthDeps,
    create_pool_token,
    create_user,
    create_user_token,
    issue_setup_token,
    revoke_pool_token,
)
from sluice.auth.authenticator import Authenticator
from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import PoolPrincipal, TaskPrincipal, TokenKind, UserPrincipal
from sluice.auth.tokens import new_secret
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import LeaseId, OrganizationId, PoolId, TaskId
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_auth import MemoryAuthStore
from tests.auth.conftest import TurnedClock

ORG = OrganizationId("org-1")
POOL = PoolId("pool-1")


class OneLease:
    """The lease `lease-1` counts, and no other."""

    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        return (task_id, lease_id) == ("task-1", "lease-1")


@pytest.fixture
def deps(clock: TurnedClock) -> AuthDeps:
    transactions = MemoryTransactions()
    issuer = TokenIssuer([bytes(32)], clock)
    return AuthDeps(transactions, MemoryAuthStore(transactions), issuer, clock)


@pytest.fixture
def authenticator(deps: AuthDeps) -> Authenticator:
    return Authenticator(
        deps.transactions, deps.store, deps.issuer, OneLease(), deps.clock
    )


async def test_a_users_api_token(deps: AuthDeps, authenticator: Authenticator) -> None:
    user = await create_user(deps, name="ada", admin=True)
    issued = await create_user_token(deps, user_id=user.id, name="laptop")
    assert issued.secret.startswith("slu_")
    expected = UserPrincipal(user.id, "ada", admin=True, credential_id=issued.token.id)
    assert await authenticator.authenticate(issued.secret) == expected


async def test_only_the_hash_of_a_token_is_stored(deps: AuthDeps) -> None:
    user = await create_user(deps, name="ada", admin=True)
    issued = await create_user_token(deps, user_id=user.id, name="laptop")
    assert issued.secret not in repr(issued.token)
    assert issued.secret[4:] not in repr(issued.token)


async def test_a_pools_token_until_it_is_revoked(
    deps: AuthDeps, authenticator: Authenticator
) -> None:
    issued = await create_pool_token(
        deps, pool_id=POOL, organization_id=ORG, name="agents"
    )
    assert await authenticator.authenticate(issued.secret) == PoolPrincipal(
        POOL, ORG, issued.token.id
    )
    await revoke_pool_token(deps, pool_id=POOL, token_id=issued.token.id)
    with pytest.raises(UnauthorizedError):
        await authenticator.authenticate(issued.secret)


async def test_an_api_token_ends_on_its_day(
    deps: AuthDeps, authenticator: Authenticator, clock: TurnedClock
) -> None:
    user = await create_user(deps, name="ada", admin=True)
    issued = await create_user_token(
        deps, user_id=user.id, name="short", expires_in_days=1
    )
    clock.turn(hours=23)
    await authenticator.authenticate(issued.secret)
    clock.turn(hours=1)
    with pytest.raises(UnauthorizedError, match="expired"):
        await authenticator.authenticate(issued.secret)


async def test_a_setup_token_signs_nobody_in(
    deps: AuthDeps, authenticator: Authenticator
) -> None:
    secret = await issue_setup_token(deps)
    assert secret is not None
    with pytest.raises(UnauthorizedError, match="sluice login"):
        await authenticator.authenticate(secret)


@pytest.mark.parametrize(
    "bearer",
    ["", "rubbish", pytest.param(new_secret(TokenKind.USER), id="unknown")],
)
async def test_the_unknown_is_refused(
    authenticator: Authenticator, bearer: str
) -> None:
    with pytest.raises(UnauthorizedError):
        await authenticator.authenticate(bearer)


async def test_a_jwt_of_a_user(deps: AuthDeps, authenticator: Authenticator) -> None:
    user = await create_user(deps, name="ada", admin=False)
    token, _ = deps.issuer.user(user)
    found = await authenticator.authenticate(token)
    assert found == UserPrincipal(user.id, "ada", admin=False)


async def test_a_task_token_dies_with_its_lease(
    deps: AuthDeps, authenticator: Authenticator
) -> None:
    task = TaskId("task-1")
    alive, _ = deps.issuer.task(task, LeaseId("lease-1"), ORG, 60)
    found = await authenticator.authenticate(alive)
    assert found == TaskPrincipal(task, LeaseId("lease-1"), ORG)
    superseded, _ = deps.issuer.task(task, LeaseId("lease-0"), ORG, 60)
    with pytest.raises(UnauthorizedError, match="lease-0"):
        await authenticator.authenticate(superseded)


async def test_uses_are_noted_at_most_once_a_minute(
    deps: AuthDeps, authenticator: Authenticator, clock: TurnedClock
) -> None:
    user = await create_user(deps, name="ada", admin=True)
    issued = await create_user_token(deps, user_id=user.id, name="laptop")
    first = clock.now()
    noted = []
    for _ in range(3):
        await authenticator.authenticate(issued.secret)
        async with deps.transactions.read() as tx:
            token = await deps.store.get_token(tx, issued.token.id)
        assert token is not None
        noted.append(token.last_used_at)
        clock.turn(seconds=30)
    assert noted == [first, first, first + timedelta(minutes=1)]
