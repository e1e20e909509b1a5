"""Users, members, teams and grants: one suite for memory, SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.auth.model import (
    Grant,
    Member,
    Membership,
    NamedGrant,
    Organization,
    OrganizationPermission,
    Role,
    StoredToken,
    Team,
    TeamMember,
    TokenKind,
    User,
    WorkspaceLevel,
)
from sluice.auth.ports import AuthStore
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, TeamId, TokenId, UserId, WorkspaceId
from sluice.base.transactions import Tx
from tests.conftest import Backing

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
ORG, OTHER = OrganizationId("org-1"), OrganizationId("org-2")
ADA = User(UserId("user-1"), "ada", admin=True, created_at=NOW, email="ada@acme.org")
BOB = User(UserId("user-2"), "bob", admin=False, created_at=NOW)
EVE = User(UserId("user-3"), "eve", admin=False, created_at=NOW)
NET = Team(
    id=TeamId("team-1"),
    organization_id=ORG,
    name="net",
    permissions=frozenset(
        {OrganizationPermission.MANAGE_POOLS, OrganizationPermission.READ_AUDIT}
    ),
    level=WorkspaceLevel.PLAN,
    sso_group="cn=net",
    created_at=NOW,
)
WS, WS2 = WorkspaceId("ws-1"), WorkspaceId("ws-2")


@pytest.fixture
async def tx(transactions: Backing, store: AuthStore) -> AsyncIterator[Tx]:
    """A write transaction in which there are two organizations and three users."""
    async with transactions.transactions.write() as tx:
        for organization_id, name in ((ORG, "acme"), (OTHER, "other")):
            await store.add_organization(tx, Organization(organization_id, name, NOW))
        for user in (ADA, BOB, EVE):
            await store.add_user(tx, user)
        yield tx


def member_of(
    organization_id: OrganizationId, user: User, role: Role = Role.MEMBER
) -> Membership:
    return Membership(organization_id, user.id, role, NOW)


async def test_an_organization_is_renamed(tx: Tx, store: AuthStore) -> None:
    await store.rename_organization(tx, ORG, "acme2")
    await store.rename_organization(tx, ORG, "acme2")
    assert await store.find_organization(tx, "acme") is None
    found = await store.get_organization(tx, ORG)
    assert found == Organization(ORG, "acme2", NOW)


async def test_a_taken_name_of_an_organization_is_a_conflict(
    tx: Tx, store: AuthStore
) -> None:
    with pytest.raises(ConflictError, match="other"):
        await store.rename_organization(tx, ORG, "other")


async def test_users_are_found_by_name_and_address_and_changed(
    tx: Tx, store: AuthStore
) -> None:
    assert await store.find_user(tx, "ada") == ADA
    assert await store.find_user(tx, "ada@acme.org") == ADA
    assert await store.find_user(tx, "user-1") is None
    changed = replace(ADA, name="lovelace", email=None, disabled_at=NOW, admin=False)
    await store.save_user(tx, changed)
    assert await store.hold_user(tx, ADA.id) == changed
    assert await store.find_user(tx, "ada@acme.org") is None
    assert await store.hold_user(tx, UserId("user-9")) is None


@pytest.mark.parametrize("same", [{"name": "ada"}, {"email": "ada@acme.org"}])
async def test_no_two_users_have_one_name_or_address(
    tx: Tx, store: AuthStore, same: dict[str, str]
) -> None:
    with pytest.raises(ConflictError):
        await store.save_user(tx, replace(BOB, **same))  # type: ignore[arg-type]


async def test_the_other_admin_must_be_enabled(tx: Tx, store: AuthStore) -> None:
    assert not await store.has_other_admin(tx, ADA.id)
    assert await store.has_other_admin(tx, BOB.id)
    await store.save_user(tx, replace(BOB, admin=True, disabled_at=NOW))
    assert not await store.has_other_admin(tx, ADA.id)
    await store.save_user(tx, replace(BOB, admin=True))
    assert await store.has_other_admin(tx, ADA.id)


async def test_members_are_kept_by_organization(tx: Tx, store: AuthStore) -> None:
    await store.hold_organization(tx, ORG)
    for one in (
        member_of(ORG, EVE),
        member_of(ORG, ADA, Role.OWNER),
        member_of(OTHER, ADA),
    ):
        await store.add_member(tx, one)
    eve = Member(EVE, Role.MEMBER, NOW)
    assert await store.list_members(tx, ORG) == [Member(ADA, Role.OWNER, NOW), eve]
    assert await store.get_member(tx, ORG, EVE.id) == eve
    assert await store.get_member(tx, OTHER, EVE.id) is None
    assert await store.memberships_of(tx, ADA.id) == [
        member_of(ORG, ADA, Role.OWNER),
        member_of(OTHER, ADA),
    ]
    await store.set_role(tx, member_of(OTHER, ADA, Role.OWNER))
    found = await store.get_member(tx, OTHER, ADA.id)
    assert found == Member(ADA, Role.OWNER, NOW)


async def test_nobody_is_a_member_twice(tx: Tx, store: AuthStore) -> None:
    await store.add_member(tx, member_of(ORG, ADA))
    with pytest.raises(ConflictError):
        await store.add_member(tx, member_of(ORG, ADA, Role.OWNER))


async def test_the_other_owner_must_be_enabled_and_of_that_organization(
    tx: Tx, store: AuthStore
) -> None:
    await store.add_member(tx, member_of(ORG, ADA, Role.OWNER))
    await store.add_member(tx, member_of(ORG, EVE))
    await store.add_member(tx, member_of(OTHER, BOB, Role.OWNER))
    assert not await store.has_other_owner(tx, ORG, ADA.id)
    await store.set_role(tx, member_of(ORG, EVE, Role.OWNER))
    assert await store.has_other_owner(tx, ORG, ADA.id)
    await store.save_user(tx, replace(EVE, disabled_at=NOW))
    assert not await store.has_other_owner(tx, ORG, ADA.id)


async def test_who_leaves_takes_teams_and_grants_of_that_organization_along(
    tx: Tx, store: AuthStore
) -> None:
    there = replace(NET, id=TeamId("team-2"), organization_id=OTHER)
    for organization_id, team, workspace in ((ORG, NET, WS), (OTHER, there, WS2)):
        await store.add_member(tx, member_of(organization_id, EVE))
        await store.add_team(tx, team)
        await store.put_team_member(tx, team.id, EVE.id, by_sso=False)
        await store.put_grant(
            tx,
            Grant(organization_id, workspace, WorkspaceLevel.READ, user_id=EVE.id),
        )
    await store.remove_member(tx, ORG, EVE.id)
    assert await store.list_members(tx, ORG) == []
    assert await store.list_team_members(tx, NET.id) == []
    assert await store.list_grants(tx, WS) == []
    assert await store.list_team_members(tx, there.id) == [TeamMember(EVE, False)]
    assert len(await store.list_grants(tx, WS2)) == 1


async def test_teams_come_back_whole(tx: Tx, store: AuthStore) -> None:
    bare = replace(
        NET,
        id=TeamId("team-2"),
        name="all",
        permissions=frozenset(),
        level=None,
        sso_group=None,
    )
    await store.add_team(tx, NET)
    await store.add_team(tx, bare)
    await store.add_team(tx, replace(NET, id=TeamId("team-3"), organization_id=OTHER))
    assert await store.list_teams(tx, ORG) == [bare, NET]
    assert await store.get_team(tx, NET.id) == NET
    assert await store.get_team(tx, TeamId("team-9")) is None
    changed = replace(bare, name="some", level=WorkspaceLevel.ADMIN, sso_group="g")
    await store.save_team(tx, changed)
    assert await store.get_team(tx, bare.id) == changed


async def test_a_team_name_is_taken_once_in_an_organization(
    tx: Tx, store: AuthStore
) -> None:
    await store.add_team(tx, NET)
    with pytest.raises(ConflictError, match="net"):
        await store.add_team(tx, replace(NET, id=TeamId("team-2")))


async def test_a_team_takes_no_other_teams_name(tx: Tx, store: AuthStore) -> None:
    await store.add_team(tx, NET)
    other = replace(NET, id=TeamId("team-2"), name="ops")
    await store.add_team(tx, other)
    with pytest.raises(ConflictError, match="net"):
        await store.save_team(tx, replace(other, name="net"))


async def test_who_is_in_a_team_and_by_whom(tx: Tx, store: AuthStore) -> None:
    await store.add_team(tx, NET)
    await store.put_team_member(tx, NET.id, EVE.id, by_sso=True)
    await store.put_team_member(tx, NET.id, BOB.id, by_sso=False)
    assert await store.list_team_members(tx, NET.id) == [
        TeamMember(BOB, by_sso=False),
        TeamMember(EVE, by_sso=True),
    ]
    await store.put_team_member(tx, NET.id, EVE.id, by_sso=False)
    assert await store.remove_team_member(tx, NET.id, BOB.id)
    assert not await store.remove_team_member(tx, NET.id, BOB.id)
    found = await store.list_team_members(tx, NET.id)
    assert found == [TeamMember(EVE, by_sso=False)]


async def test_grants_are_replaced_and_taken_away(tx: Tx, store: AuthStore) -> None:
    await store.add_team(tx, NET)
    to_team = Grant(ORG, WS, WorkspaceLevel.READ, team_id=NET.id)
    to_ada = Grant(ORG, WS, WorkspaceLevel.PLAN, user_id=ADA.id)
    for grant in (to_ada, to_team, replace(to_ada, workspace_id=WS2)):
        await store.put_grant(tx, grant)
    await store.put_grant(tx, replace(to_ada, level=WorkspaceLevel.ADMIN))
    assert await store.list_grants(tx, WS) == [
        NamedGrant(to_team, "net"),
        NamedGrant(replace(to_ada, level=WorkspaceLevel.ADMIN), "ada"),
    ]
    assert await store.remove_grant(tx, WS, ADA.id)
    assert not await store.remove_grant(tx, WS, ADA.id)
    assert await store.list_grants(tx, WS) == [NamedGrant(to_team, "net")]
    await store.clear_grants(tx, WS)
    assert await store.list_grants(tx, WS) == []
    assert len(await store.list_grants(tx, WS2)) == 1


async def test_a_team_goes_with_all_of_it(tx: Tx, store: AuthStore) -> None:
    await store.add_team(tx, NET)
    await store.put_team_member(tx, NET.id, EVE.id, by_sso=True)
    await store.put_grant(tx, Grant(ORG, WS, WorkspaceLevel.READ, team_id=NET.id))
    await store.delete_team(tx, NET.id)
    assert await store.get_team(tx, NET.id) is None
    assert await store.list_team_members(tx, NET.id) == []
    assert await store.list_grants(tx, WS) == []


async def test_a_user_goes_with_all_of_it(tx: Tx, store: AuthStore) -> None:
    token = StoredToken(
        id=TokenId("tok-1"),
        kind=TokenKind.USER,
        subject_id=EVE.id,
        organization_id=None,
        name="laptop",
        hash="a" * 64,
        created_at=NOW,
    )
    await store.add_member(tx, member_of(ORG, EVE))
    await store.add_team(tx, NET)
    await store.put_team_member(tx, NET.id, EVE.id, by_sso=True)
    await store.put_grant(tx, Grant(ORG, WS, WorkspaceLevel.READ, user_id=EVE.id))
    await store.add_token(tx, token)
    assert not await store.has_history(tx, EVE)
    await store.touch_token(tx, token.id, NOW, unless_since=NOW - timedelta(1))
    assert await store.has_history(tx, EVE)
    assert not await store.has_history(tx, BOB)
    await store.delete_user(tx, EVE.id)
    assert await store.list_users(tx) == [ADA, BOB]
    assert await store.list_members(tx, ORG) == []
    assert await store.list_team_members(tx, NET.id) == []
    assert await store.list_grants(tx, WS) == []
    assert await store.get_token(tx, token.id) is None
