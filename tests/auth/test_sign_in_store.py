"""One suite over every `SignInStore`; and `SqlLiveStore` against the single-place store."""

from datetime import timedelta

import pytest

from sluice.auth.access_store import SqlAccessStore
from sluice.auth.live_store import SqlLiveStore
from sluice.auth.model import (
    Grant,
    Membership,
    Organization,
    OrganizationPermission,
    Place,
    Role,
    StoredToken,
    Team,
    TokenKind,
    User,
    WorkspaceLevel,
)
from sluice.auth.ports import AuthStore
from sluice.auth.sign_in_ports import SignInStore
from sluice.auth.sign_in_store import SqlSignInStore
from sluice.base.ids import (
    OrganizationId,
    TeamId,
    TokenId,
    UserId,
    WorkspaceId,
)
from sluice.testing.memory_auth import MemoryAuthStore
from sluice.testing.memory_sign_in import MemorySignInStore
from tests.auth.conftest import TurnedClock
from tests.conftest import Backing

ADA, BOB = UserId("user-ada"), UserId("user-bob")
ORG = OrganizationId("org-1")
TEAM, OTHER = TeamId("team-1"), TeamId("team-2")


@pytest.fixture
def sign_in(transactions: Backing, store: AuthStore) -> SignInStore:
    if isinstance(store, MemoryAuthStore):
        return MemorySignInStore(transactions.memory, store)
    return SqlSignInStore()


@pytest.fixture
async def people(transactions: Backing, store: AuthStore, clock: TurnedClock) -> None:
    now = clock.now()
    async with transactions.transactions.write() as tx:
        await store.add_organization(tx, Organization(ORG, "one", now))
        for user_id, name in ((ADA, "ada"), (BOB, "bob")):
            await store.add_user(tx, User(user_id, name, admin=False, created_at=now))
        for team_id, name, group in ((TEAM, "ops", "ops"), (OTHER, "devs", None)):
            await store.add_team(
                tx,
                Team(
                    team_id,
                    ORG,
                    name,
                    frozenset({OrganizationPermission.MANAGE_POOLS}),
                    WorkspaceLevel.PLAN if group else None,
                    group,
                    now,
                ),
            )


@pytest.mark.usefixtures("people")
async def test_passwords(transactions: Backing, sign_in: SignInStore) -> None:
    async with transactions.transactions.write() as tx:
        assert await sign_in.password_of(tx, ADA) is None
        await sign_in.set_password(tx, ADA, "one")
        await sign_in.set_password(tx, ADA, "two")
    async with transactions.transactions.read() as tx:
        assert await sign_in.password_of(tx, ADA) == "two"
        assert await sign_in.password_of(tx, BOB) is None
        assert await sign_in.password_of(tx, UserId("user-none")) is None


@pytest.mark.usefixtures("people")
async def test_identities(
    transactions: Backing, sign_in: SignInStore, clock: TurnedClock
) -> None:
    async with transactions.transactions.write() as tx:
        assert await sign_in.identified(tx, "https://a", "1") is None
        for _ in range(2):
            await sign_in.put_identity(tx, "https://a", "1", ADA, at=clock.now())
        await sign_in.put_identity(tx, "https://b", "1", BOB, at=clock.now())
    async with transactions.transactions.read() as tx:
        assert await sign_in.identified(tx, "https://a", "1") == ADA
        assert await sign_in.identified(tx, "https://b", "1") == BOB
        assert await sign_in.identified(tx, "https://a", "2") is None


@pytest.mark.usefixtures("people")
async def test_teams_of_groups(
    transactions: Backing, store: AuthStore, sign_in: SignInStore
) -> None:
    async with transactions.transactions.write() as tx:
        await store.put_team_member(tx, TEAM, ADA, by_sso=True)
        await store.put_team_member(tx, OTHER, ADA, by_sso=False)
    async with transactions.transactions.read() as tx:
        [found] = await sign_in.sso_teams(tx)
        assert (found.id, found.organization_id, found.group) == (TEAM, ORG, "ops")
        assert await sign_in.teams_by_sso(tx, ADA) == {TEAM: True, OTHER: False}
        assert await sign_in.teams_by_sso(tx, BOB) == {}


@pytest.mark.usefixtures("people")
async def test_what_has_ended_is_forgotten(
    transactions: Backing, store: AuthStore, sign_in: SignInStore, clock: TurnedClock
) -> None:
    now = clock.now()
    ends = {"past": -1, "future": 1}
    async with transactions.transactions.write() as tx:
        for kind in (TokenKind.SESSION, TokenKind.TICKET, TokenKind.USER):
            for name, hours in ends.items():
                token_id = TokenId(f"{kind}-{name}")
                until = now + timedelta(hours=hours)
                await store.add_token(
                    tx,
                    StoredToken(token_id, kind, ADA, None, "t", token_id, now, until),
                )
    async with transactions.transactions.write() as tx:
        assert await sign_in.forget_ended(tx, now) == 2
    async with transactions.transactions.read() as tx:
        for kind, left in (
            (TokenKind.SESSION, 1),
            (TokenKind.TICKET, 1),
            (TokenKind.USER, 2),
        ):
            assert len(await store.list_tokens(tx, kind, ADA)) == left


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("backing_url", ["sqlite", "postgresql"], indirect=True)
async def test_many_standings_are_what_each_is(
    transactions: Backing, store: AuthStore, clock: TurnedClock
) -> None:
    one, two = WorkspaceId("ws-1"), WorkspaceId("ws-2")
    async with transactions.transactions.write() as tx:
        await store.add_member(tx, Membership(ORG, ADA, Role.MEMBER, clock.now()))
        await store.put_team_member(tx, TEAM, ADA, by_sso=False)
        # in a team without being a member: it counts for nothing
        await store.put_team_member(tx, TEAM, BOB, by_sso=False)
        level = WorkspaceLevel.APPLY
        await store.put_grant(tx, Grant(ORG, one, level, team_id=TEAM))
        await store.put_grant(tx, Grant(ORG, two, WorkspaceLevel.READ, user_id=ADA))
    wanted = [
        (user_id, Place(owner, workspace))
        for user_id in (ADA, BOB, UserId("user-none"))
        for owner in (ORG, OrganizationId("org-none"), None)
        for workspace in (one, two, WorkspaceId("ws-3"), None)
    ]
    async with transactions.transactions.read() as tx:
        found = await SqlLiveStore().standings(tx, wanted)
        for user_id, place in wanted:
            single = await SqlAccessStore().standing(tx, user_id, place)
            assert found[user_id, place] == single, (user_id, place)
    assert found[ADA, Place(ORG, one)].level is WorkspaceLevel.APPLY
