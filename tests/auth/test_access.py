"""What users are at places: one suite for every store, and the places that requests name."""

from dataclasses import dataclass, replace

import pytest

from sluice.auth.access import Access, Locator, hidden
from sluice.auth.access_store import SqlAccessStore
from sluice.auth.model import (
    SITE,
    AgentPrincipal,
    OrganizationPermission,
    Place,
    PoolPrincipal,
    Role,
    Scope,
    Standing,
    UserPrincipal,
    WorkspaceLevel,
)
from sluice.auth.permissions import Permission
from sluice.auth.ports import AccessStore, AuthStore
from sluice.base.errors import NotFoundError
from sluice.base.ids import (
    AgentId,
    OrganizationId,
    PoolId,
    TokenId,
    UserId,
    WorkspaceId,
)
from sluice.base.transactions import Tx
from sluice.testing.memory_access import MemoryAccessStore
from sluice.testing.memory_auth import MemoryAuthStore
from tests.conftest import Backing
from tests.support.who import People

WS, OTHER_WS, FOREIGN_WS = WorkspaceId("ws-1"), WorkspaceId("ws-2"), WorkspaceId("ws-9")
READ, PLAN, APPLY, ADMIN = WorkspaceLevel


@dataclass
class World:
    """Two organizations, and a user who is nothing in them yet."""

    people: People
    standings: AccessStore
    access: Access
    own: OrganizationId
    foreign: OrganizationId
    user_id: UserId

    @property
    def user(self) -> UserPrincipal:
        return UserPrincipal(self.user_id, "bob", admin=False)

    async def standing(self, place: Place) -> Standing:
        async with self.people.transactions.read() as tx:
            return await self.standings.standing(tx, self.user_id, place)


@pytest.fixture
async def world(transactions: Backing, store: AuthStore) -> World:
    standings: AccessStore = SqlAccessStore()
    if isinstance(store, MemoryAuthStore):
        standings = MemoryAccessStore(store.who)
    people = People(transactions.transactions, store)
    own = await people.organization("acme")
    foreign = await people.organization("globex")
    places = {
        "ws-1": Place(own, WS),
        "ws-2": Place(own, OTHER_WS),
        "ws-9": Place(foreign, FOREIGN_WS),
        "task-1": Place(own, WS),
        "task-2": Place(own, OTHER_WS),
        "task-9": Place(foreign, FOREIGN_WS),
        "script-1": Place(own),
        "acme": Place(own),
        "globex": Place(foreign),
    }

    async def locate(tx: Tx, value: str) -> Place | None:
        return places.get(value)

    access = Access(
        transactions.transactions,
        standings,
        {
            "organization": Locator("organization", locate),
            "workspace_id": Locator("workspace", locate),
            "task_id": Locator("task", locate),
        },
    )
    user_id = await people.user("bob")
    return World(people, standings, access, own, foreign, user_id)


# --- what a user is -----------------------------------------------------------


async def test_nobody_is_anything_without_a_membership(world: World) -> None:
    await world.people.team(world.own, [world.user_id], level=ADMIN)
    await world.people.grant(world.own, WS, ADMIN, user_id=world.user_id)
    assert await world.standing(Place(world.own, WS)) == Standing()
    assert await world.standing(Place(world.own)) == Standing()
    assert await world.standing(SITE) == Standing()


async def test_a_member_is_one_in_that_organization_alone(world: World) -> None:
    await world.people.member(world.own, world.user_id)
    assert await world.standing(Place(world.own)) == Standing(Role.MEMBER)
    assert await world.standing(Place(world.own, WS)) == Standing(Role.MEMBER)
    assert await world.standing(Place(world.foreign)) == Standing()


async def test_an_owner_is_told_apart(world: World) -> None:
    await world.people.member(world.own, world.user_id, Role.OWNER)
    assert (await world.standing(Place(world.own))).role is Role.OWNER


async def test_permissions_of_all_teams_add_up(world: World) -> None:
    pools, scripts, audit = (
        OrganizationPermission.MANAGE_POOLS,
        OrganizationPermission.MANAGE_SCRIPTS,
        OrganizationPermission.READ_AUDIT,
    )
    await world.people.member(world.own, world.user_id)
    await world.people.team(world.own, [world.user_id], permissions=[pools])
    await world.people.team(world.own, [world.user_id], permissions=[pools, scripts])
    await world.people.team(world.own, [], permissions=[audit])
    found = await world.standing(Place(world.own))
    assert found.permissions == frozenset({pools, scripts})


async def test_the_highest_level_counts(world: World) -> None:
    people = world.people
    await people.member(world.own, world.user_id)
    everywhere = await people.team(world.own, [world.user_id], level=READ)
    team = await people.team(world.own, [world.user_id])
    others = await people.team(world.own, [])

    async def level(workspace_id: WorkspaceId) -> WorkspaceLevel | None:
        return (await world.standing(Place(world.own, workspace_id))).level

    assert await level(WS) is READ
    await people.grant(world.own, WS, PLAN, team_id=team)
    assert await level(WS) is PLAN
    await people.grant(world.own, WS, APPLY, user_id=world.user_id)
    assert await level(WS) is APPLY
    await people.grant(world.own, WS, ADMIN, team_id=others)
    assert await level(WS) is APPLY
    await people.grant(world.own, WS, READ, team_id=everywhere)
    assert await level(WS) is APPLY
    assert await level(OTHER_WS) is READ


async def test_teams_of_another_organization_give_nothing_here(world: World) -> None:
    people = world.people
    await people.member(world.own, world.user_id)
    await people.member(world.foreign, world.user_id)
    every = list(OrganizationPermission)
    team = await people.team(
        world.foreign, [world.user_id], permissions=every, level=ADMIN
    )
    await people.grant(world.foreign, FOREIGN_WS, ADMIN, team_id=team)
    assert await world.standing(Place(world.own, WS)) == Standing(Role.MEMBER)
    # and a workspace's grants do not count under another organization's name
    wrong = await world.standing(Place(world.own, FOREIGN_WS))
    assert wrong == Standing(Role.MEMBER)


async def test_grants_and_memberships_are_listed(world: World) -> None:
    people = world.people
    await people.member(world.own, world.user_id)
    team = await people.team(world.own, [world.user_id])
    await people.grant(world.own, WS, READ, team_id=team)
    await people.grant(world.own, OTHER_WS, PLAN, user_id=world.user_id)
    await people.grant(world.own, OTHER_WS, ADMIN, team_id=team)
    stranger = await people.user("eve")
    await people.grant(world.own, WorkspaceId("ws-3"), ADMIN, user_id=stranger)
    async with people.transactions.read() as tx:
        for user_id, expected in (
            (world.user_id, {WS, OTHER_WS}),
            (stranger, {WorkspaceId("ws-3")}),
        ):
            found = await world.standings.granted_workspaces(tx, user_id, world.own)
            assert found == expected
        assert (
            await world.standings.granted_workspaces(tx, world.user_id, world.foreign)
            == frozenset()
        )
        assert await world.standings.organizations_of(tx, world.user_id) == frozenset(
            {world.own}
        )
        assert await world.standings.organizations_of(tx, stranger) == frozenset()


# --- the place of a request ---------------------------------------------------


async def refusal(world: World, user: UserPrincipal, **named: str) -> str:
    with pytest.raises(NotFoundError) as refused:
        await world.access.enter(user, named)
    return refused.value.detail


@pytest.mark.parametrize(
    ("noun", "name", "hidden_one", "absent"),
    [
        ("organization", "organization", "globex", "nowhere"),
        ("workspace", "workspace_id", "ws-9", "ws-0"),
        ("workspace", "workspace_id", "ws-2", "ws-0"),
        ("task", "task_id", "task-9", "task-0"),
        ("task", "task_id", "task-2", "task-0"),
    ],
)
async def test_what_is_hidden_sounds_like_what_is_not_there(
    world: World, noun: str, name: str, hidden_one: str, absent: str
) -> None:
    await world.people.member(world.own, world.user_id)
    await world.people.grant(world.own, WS, READ, user_id=world.user_id)
    for value in (hidden_one, absent):
        said = await refusal(world, world.user, **{name: value})
        assert said == f"There is no {noun} {value}."


async def test_names_that_contradict_each_other_lead_nowhere(world: World) -> None:
    await world.people.member(world.own, world.user_id, Role.OWNER)
    for task in ("task-2", "task-9", "task-0"):
        said = await refusal(world, world.user, workspace_id="ws-1", task_id=task)
        assert said == f"There is no task {task}."
    for workspace in ("ws-9", "ws-0"):
        said = await refusal(
            world, world.user, workspace_id=workspace, task_id="task-1"
        )
        assert said == f"There is no workspace {workspace}."


async def test_names_that_agree_lead_to_the_narrowest_place(world: World) -> None:
    await world.people.member(world.own, world.user_id)
    await world.people.grant(world.own, WS, PLAN, user_id=world.user_id)
    named = {"organization": "acme", "workspace_id": "ws-1", "task_id": "task-1"}
    principal, place = await world.access.enter(world.user, named)
    assert place == Place(world.own, WS)
    assert isinstance(principal, UserPrincipal)
    assert Permission.PLAN in principal.permissions
    assert Permission.APPLY not in principal.permissions


async def test_an_administrator_enters_everything(world: World) -> None:
    admin = replace(world.user, admin=True)
    for value in ("ws-1", "ws-9"):
        principal, _ = await world.access.enter(admin, {"workspace_id": value})
        assert isinstance(principal, UserPrincipal)
        assert Permission.ADMIN in principal.permissions
    assert await refusal(world, admin, workspace_id="ws-0")


async def test_a_narrow_credential_hides_the_rest(world: World) -> None:
    scope = Scope(ADMIN, world.own, frozenset({WS}))
    admin = replace(world.user, admin=True, scope=scope)
    await world.access.enter(admin, {"workspace_id": "ws-1"})
    for value in ("ws-2", "ws-9"):
        said = await refusal(world, admin, workspace_id=value)
        assert said == f"There is no workspace {value}."
    assert await refusal(world, admin, organization="globex")


async def test_others_pass_where_what_they_hold_decides(world: World) -> None:
    agent = AgentPrincipal(AgentId("agent-1"), PoolId("pool-1"), world.own)
    assert await world.access.enter(agent, {"task_id": "task-9"}) == (agent, SITE)


async def test_a_pool_enters_its_own_organization_alone(world: World) -> None:
    pool = PoolPrincipal(PoolId("pool-1"), world.own, TokenId("token-1"))
    assert (await world.access.enter(pool, {"task_id": "task-1"}))[0] == pool
    with pytest.raises(NotFoundError, match=r"^There is no task task-9\.$"):
        await world.access.enter(pool, {"task_id": "task-9"})
    with pytest.raises(NotFoundError):
        await world.access.at(pool, Place(world.foreign))


async def test_a_place_that_is_learnt_late_hides_itself(world: World) -> None:
    await world.people.member(world.own, world.user_id)
    entered = await world.access.at(world.user, Place(world.own))
    assert not hidden(entered, Place(world.own))
    for place in (Place(world.foreign), Place(world.own, WS)):
        with pytest.raises(NotFoundError):
            await world.access.at(world.user, place)


# --- what lists show ----------------------------------------------------------


async def test_lists_show_what_may_be_read(world: World) -> None:
    people, access = world.people, world.access
    here = Place(world.own)
    await people.member(world.own, world.user_id)
    assert await access.visible_workspaces(world.user, here) == frozenset()
    await people.grant(world.own, WS, READ, user_id=world.user_id)
    assert await access.visible_workspaces(world.user, here) == frozenset({WS})
    narrow = replace(world.user, scope=Scope(workspace_ids=frozenset({OTHER_WS})))
    assert await access.visible_workspaces(narrow, here) == frozenset()
    assert await access.visible_organizations(world.user) == frozenset({world.own})


@pytest.mark.parametrize("way", ["owner", "team", "manager", "admin"])
async def test_who_reads_all_workspaces_is_shown_all(world: World, way: str) -> None:
    people, user = world.people, world.user
    role = Role.OWNER if way == "owner" else Role.MEMBER
    await people.member(world.own, world.user_id, role)
    if way == "team":
        await people.team(world.own, [world.user_id], level=READ)
    if way == "manager":
        may = [OrganizationPermission.MANAGE_WORKSPACES]
        await people.team(world.own, [world.user_id], permissions=may)
    if way == "admin":
        user = replace(user, admin=True)
    assert await world.access.visible_workspaces(user, Place(world.own)) is None
    only = frozenset({WS})
    narrow = replace(user, scope=Scope(workspace_ids=only))
    assert await world.access.visible_workspaces(narrow, Place(world.own)) == only


async def test_a_request_without_a_place_is_shown_no_workspaces(world: World) -> None:
    admin = replace(world.user, admin=True)
    assert await world.access.visible_workspaces(admin, SITE) == frozenset()
    agent = AgentPrincipal(AgentId("agent-1"), PoolId("pool-1"), world.own)
    shown = await world.access.visible_workspaces(agent, Place(world.own))
    assert shown == frozenset()


async def test_organizations_that_are_shown(world: World) -> None:
    admin = replace(world.user, admin=True)
    assert await world.access.visible_organizations(admin) is None
    narrow = replace(admin, scope=Scope(organization_id=world.foreign))
    assert await world.access.visible_organizations(narrow) == frozenset(
        {world.foreign}
    )
    assert await world.access.visible_organizations(world.user) == frozenset()
    agent = AgentPrincipal(AgentId("agent-1"), PoolId("pool-1"), world.own)
    assert await world.access.visible_organizations(agent) == frozenset({world.own})
