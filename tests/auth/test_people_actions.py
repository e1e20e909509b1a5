"""Rules about users, members, teams and tokens, on memory, SQLite and PostgreSQL."""

import asyncio
from collections.abc import Awaitable

import pytest

from sluice.auth.actions import (
    AuthDeps,
    create_organization,
    create_user,
    create_user_token,
    issue_setup_token,
    list_user_tokens,
    redeem_setup_token,
)
from sluice.auth.grant_actions import (
    GrantBelongings,
    grant_to_team,
    grant_to_user,
    list_grants,
    revoke_grant,
)
from sluice.auth.jwt import TokenIssuer
from sluice.auth.member_actions import (
    add_member,
    change_member,
    list_members,
    remove_member,
)
from sluice.auth.model import (
    Organization,
    Place,
    Role,
    Scope,
    StoredToken,
    TokenKind,
    User,
    WorkspaceLevel,
)
from sluice.auth.ports import AuthStore
from sluice.auth.team_actions import (
    add_team_member,
    change_team,
    create_team,
    delete_team,
    list_team_members,
    remove_team_member,
)
from sluice.auth.token_rotation import rotate_user_token
from sluice.auth.user_actions import (
    change_user,
    delete_user,
    disable_user,
    enable_user,
    get_user,
)
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
)
from sluice.base.ids import TokenId, UserId, WorkspaceId
from sluice.wire.shapes.people import UserPatch
from sluice.wire.shapes.teams import TeamInput, TeamPatch
from tests.auth.conftest import TurnedClock
from tests.conftest import Backing

WS = WorkspaceId("ws-1")


@pytest.fixture
def deps(transactions: Backing, store: AuthStore, clock: TurnedClock) -> AuthDeps:
    issuer = TokenIssuer([bytes(32)], clock)
    return AuthDeps(transactions.transactions, store, issuer, clock)


@pytest.fixture
async def ada(deps: AuthDeps) -> User:
    return await create_user(deps, name="ada", admin=True, email="Ada@Acme.org")


@pytest.fixture
async def bob(deps: AuthDeps) -> User:
    return await create_user(deps, name="bob", admin=False)


@pytest.fixture
async def acme(deps: AuthDeps, ada: User) -> Organization:
    return await create_organization(deps, name="acme", owner_id=ada.id)


async def outcomes(*calls: Awaitable[object]) -> list[str]:
    """The codes with which calls at the same time end; "ok" for those that go well."""

    async def one(call: Awaitable[object]) -> str:
        try:
            await call
        except SluiceError as error:
            return error.code
        return "ok"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(call)) for call in calls]
    return sorted(task.result() for task in tasks)


# --- users ------------------------------------------------------------------------


async def test_a_user_is_changed_in_what_is_named(deps: AuthDeps, ada: User) -> None:
    assert ada.email == "ada@acme.org"
    renamed = await change_user(
        deps, user_id=ada.id, patch=UserPatch(name="countess", email="C@acme.org")
    )
    assert (renamed.name, renamed.email, renamed.admin) == (
        "countess",
        "c@acme.org",
        True,
    )
    bare = await change_user(deps, user_id=ada.id, patch=UserPatch(email=None))
    assert (bare.name, bare.email) == ("countess", None)
    assert await get_user(deps, user_id=ada.id) == bare


@pytest.mark.parametrize("name", ["server", "CLI", "up"])
async def test_nobody_is_called_as_the_server(
    deps: AuthDeps, ada: User, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="choose another"):
        await create_user(deps, name=name, admin=False)
    with pytest.raises(InvalidInputError, match="choose another"):
        await change_user(deps, user_id=ada.id, patch=UserPatch(name=name))


async def test_the_last_administrator_stays(
    deps: AuthDeps, ada: User, bob: User
) -> None:
    with pytest.raises(ConflictError, match="last enabled administrator"):
        await disable_user(deps, user_id=ada.id)
    with pytest.raises(ConflictError, match="somebody else an administrator first"):
        await change_user(deps, user_id=ada.id, patch=UserPatch(admin=False))
    with pytest.raises(ConflictError, match="cannot be deleted"):
        await delete_user(deps, user_id=ada.id)
    await change_user(deps, user_id=bob.id, patch=UserPatch(admin=True))
    disabled = await disable_user(deps, user_id=bob.id)
    assert disabled.disabled_at is not None
    with pytest.raises(ConflictError):
        await disable_user(deps, user_id=ada.id)
    await enable_user(deps, user_id=bob.id)
    await disable_user(deps, user_id=ada.id)


async def test_of_two_administrators_who_go_at_once_one_stays(
    deps: AuthDeps, ada: User, bob: User
) -> None:
    for _ in range(5):
        await change_user(deps, user_id=bob.id, patch=UserPatch(admin=True))
        await change_user(deps, user_id=ada.id, patch=UserPatch(admin=True))
        plain = UserPatch(admin=False)
        ended = await outcomes(
            change_user(deps, user_id=ada.id, patch=plain),
            change_user(deps, user_id=bob.id, patch=plain),
        )
        assert ended == ["conflict", "ok"]
        left = [await get_user(deps, user_id=user.id) for user in (ada, bob)]
        assert [user.admin for user in left].count(True) == 1


async def test_disabling_ends_sessions_and_leaves_api_tokens_be(
    deps: AuthDeps, ada: User, bob: User, clock: TurnedClock
) -> None:
    await create_user_token(deps, user_id=bob.id, name="laptop")
    session = StoredToken(
        id=TokenId("tok-session"),
        kind=TokenKind.SESSION,
        subject_id=bob.id,
        organization_id=None,
        name="page",
        hash="c" * 64,
        created_at=clock.now(),
    )
    async with deps.transactions.write() as tx:
        await deps.store.add_token(tx, session)
    first = await disable_user(deps, user_id=bob.id)
    clock.turn(hours=1)
    assert await disable_user(deps, user_id=bob.id) == first
    await enable_user(deps, user_id=bob.id)
    async with deps.transactions.read() as tx:
        assert await deps.store.list_tokens(tx, TokenKind.SESSION, bob.id) == []
    assert len(await list_user_tokens(deps, user_id=bob.id)) == 1


async def test_only_who_never_did_anything_is_deleted(
    deps: AuthDeps, acme: Organization, bob: User, clock: TurnedClock
) -> None:
    await add_member(deps, organization_id=acme.id, user="bob", role=Role.OWNER)
    issued = await create_user_token(deps, user_id=bob.id, name="laptop")
    await delete_user(deps, user_id=bob.id)
    with pytest.raises(NotFoundError):
        await get_user(deps, user_id=bob.id)
    assert len(await list_members(deps, organization_id=acme.id)) == 1
    again = await create_user(deps, name="bob", admin=False)
    issued = await create_user_token(deps, user_id=again.id, name="laptop")
    async with deps.transactions.write() as tx:
        now = clock.now()
        await deps.store.touch_token(tx, issued.token.id, now, unless_since=now)
    with pytest.raises(ConflictError, match="disable them instead"):
        await delete_user(deps, user_id=again.id)


async def test_the_last_owner_is_not_deleted(
    deps: AuthDeps, acme: Organization, bob: User
) -> None:
    other = await create_organization(deps, name="other", owner_id=bob.id)
    with pytest.raises(ConflictError, match="no owner"):
        await delete_user(deps, user_id=bob.id)
    assert len(await list_members(deps, organization_id=other.id)) == 1


@pytest.mark.parametrize("action", [disable_user, enable_user, delete_user])
async def test_there_is_no_such_user(deps: AuthDeps, ada: User, action: object) -> None:
    with pytest.raises(NotFoundError, match="user-none"):
        await action(deps, user_id=UserId("user-none"))  # type: ignore[operator]


# --- organizations and members ------------------------------------------------------


async def test_the_first_admin_owns_what_was_there(deps: AuthDeps) -> None:
    found = await create_organization(deps, name="default")
    secret = await issue_setup_token(deps)
    assert secret is not None
    issued = await redeem_setup_token(deps, secret=secret, name="ada")
    members = await list_members(deps, organization_id=found.id)
    assert [(one.user.id, one.role) for one in members] == [
        (issued.token.subject_id, Role.OWNER)
    ]


async def test_who_is_no_stored_user_owns_nothing(deps: AuthDeps) -> None:
    made = await create_organization(deps, name="x", owner_id=UserId("user-up"))
    assert await list_members(deps, organization_id=made.id) == []


async def test_members_are_added_by_id_name_and_address(
    deps: AuthDeps, acme: Organization, bob: User
) -> None:
    for wanted in (bob.id, "bob"):
        added = await add_member(
            deps, organization_id=acme.id, user=wanted, role=Role.OWNER
        )
        assert (added.user, added.role) == (bob, Role.OWNER)
        await remove_member(deps, organization_id=acme.id, user_id=bob.id)
    for known in ("ada", "ADA@acme.ORG"):
        with pytest.raises(ConflictError, match="change their role"):
            await add_member(
                deps, organization_id=acme.id, user=known, role=Role.MEMBER
            )
    with pytest.raises(NotFoundError, match="nobody"):
        await add_member(deps, organization_id=acme.id, user="nobody", role=Role.MEMBER)


async def test_the_last_owner_stays(
    deps: AuthDeps, acme: Organization, ada: User, bob: User
) -> None:
    place = {"organization_id": acme.id, "user_id": ada.id}
    with pytest.raises(ConflictError, match="ada is the last owner"):
        await remove_member(deps, **place)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="somebody else an owner first"):
        await change_member(deps, **place, role=Role.MEMBER)  # type: ignore[arg-type]
    await add_member(deps, organization_id=acme.id, user="bob", role=Role.OWNER)
    await remove_member(deps, **place)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="no member"):
        await remove_member(deps, **place)  # type: ignore[arg-type]


async def test_of_two_owners_who_go_at_once_one_stays(
    deps: AuthDeps, acme: Organization, ada: User, bob: User
) -> None:
    await add_member(deps, organization_id=acme.id, user="bob", role=Role.OWNER)
    for _ in range(5):
        ended = await outcomes(
            change_member(
                deps, organization_id=acme.id, user_id=ada.id, role=Role.MEMBER
            ),
            change_member(
                deps, organization_id=acme.id, user_id=bob.id, role=Role.MEMBER
            ),
        )
        assert ended == ["conflict", "ok"]
        for user in (ada, bob):
            await change_member(
                deps, organization_id=acme.id, user_id=user.id, role=Role.OWNER
            )
    ended = await outcomes(
        remove_member(deps, organization_id=acme.id, user_id=ada.id),
        remove_member(deps, organization_id=acme.id, user_id=bob.id),
    )
    assert ended == ["conflict", "ok"]
    members = await list_members(deps, organization_id=acme.id)
    assert [member.role for member in members] == [Role.OWNER]


# --- teams and grants ---------------------------------------------------------------


async def test_a_team_is_changed_in_what_is_named(
    deps: AuthDeps, acme: Organization
) -> None:
    team = await create_team(
        deps,
        organization_id=acme.id,
        wanted=TeamInput(
            name="net", permissions=["manage_pools"], level="plan", sso_group="g"
        ),
    )
    renamed = await change_team(deps, team_id=team.id, patch=TeamPatch(name="ops"))
    assert (renamed.level, renamed.sso_group) == (WorkspaceLevel.PLAN, "g")
    bare = await change_team(
        deps,
        team_id=team.id,
        patch=TeamPatch(permissions=[], level=None, sso_group=None),
    )
    assert (bare.name, bare.permissions, bare.level, bare.sso_group) == (
        "ops",
        frozenset(),
        None,
        None,
    )


async def test_only_members_join_teams_and_get_grants(
    deps: AuthDeps, acme: Organization, bob: User
) -> None:
    place = Place(acme.id, WS)
    team = await create_team(
        deps, organization_id=acme.id, wanted=TeamInput(name="net")
    )
    for wanted in ("bob", "nobody"):
        with pytest.raises(NotFoundError, match=f"{wanted} is no member"):
            await add_team_member(deps, team_id=team.id, user=wanted)
    with pytest.raises(NotFoundError, match="no member"):
        await grant_to_user(
            deps, place=place, user_id=bob.id, level=WorkspaceLevel.PLAN
        )
    await add_member(deps, organization_id=acme.id, user="bob", role=Role.MEMBER)
    added = await add_team_member(deps, team_id=team.id, user="bob")
    assert (added.user, added.by_sso) == (bob, False)
    await grant_to_user(deps, place=place, user_id=bob.id, level=WorkspaceLevel.PLAN)
    await grant_to_team(deps, place=place, team_id=team.id, level=WorkspaceLevel.READ)
    assert [one.name for one in await list_grants(deps, workspace_id=WS)] == [
        "net",
        "bob",
    ]
    await remove_member(deps, organization_id=acme.id, user_id=bob.id)
    assert await list_team_members(deps, team_id=team.id) == []
    assert [one.name for one in await list_grants(deps, workspace_id=WS)] == ["net"]
    await delete_team(deps, team_id=team.id)
    assert await list_grants(deps, workspace_id=WS) == []
    with pytest.raises(NotFoundError, match=team.id):
        await add_team_member(deps, team_id=team.id, user="bob")


async def test_another_organizations_team_gets_no_grant(
    deps: AuthDeps, acme: Organization
) -> None:
    other = await create_organization(deps, name="other")
    team = await create_team(
        deps, organization_id=other.id, wanted=TeamInput(name="net")
    )
    with pytest.raises(NotFoundError, match=team.id):
        await grant_to_team(
            deps,
            place=Place(acme.id, WS),
            team_id=team.id,
            level=WorkspaceLevel.READ,
        )


async def test_what_is_not_there_is_not_taken_away(
    deps: AuthDeps, acme: Organization, ada: User
) -> None:
    team = await create_team(
        deps, organization_id=acme.id, wanted=TeamInput(name="net")
    )
    with pytest.raises(NotFoundError):
        await remove_team_member(deps, team_id=team.id, user_id=ada.id)
    with pytest.raises(NotFoundError):
        await revoke_grant(deps, workspace_id=WS, subject_id=ada.id)


async def test_grants_go_with_their_workspace(
    deps: AuthDeps, acme: Organization, ada: User
) -> None:
    place = Place(acme.id, WS)
    await grant_to_user(deps, place=place, user_id=ada.id, level=WorkspaceLevel.READ)
    belongings = GrantBelongings(deps.store)
    async with deps.transactions.write() as tx:
        assert await belongings.hindrance(tx, WS) is None
        assert await belongings.clear(tx, WS) == []
    assert await list_grants(deps, workspace_id=WS) == []


# --- tokens -------------------------------------------------------------------------


async def test_a_rotated_token_is_the_same_with_another_secret(
    deps: AuthDeps, ada: User, bob: User, clock: TurnedClock
) -> None:
    scope = Scope(WorkspaceLevel.PLAN)
    former = await create_user_token(
        deps, user_id=ada.id, name="ci", expires_in_days=10, scope=scope
    )
    clock.turn(days=4)
    with pytest.raises(NotFoundError):
        await rotate_user_token(deps, user_id=bob.id, token_id=former.token.id)
    issued = await rotate_user_token(deps, user_id=ada.id, token_id=former.token.id)
    assert issued.secret != former.secret
    token = issued.token
    assert (token.name, token.scope, token.hash == former.token.hash) == (
        "ci",
        scope,
        False,
    )
    assert token.expires_at is not None
    assert (token.expires_at - clock.now()).days == 10
    assert await list_user_tokens(deps, user_id=ada.id) == [token]
    with pytest.raises(NotFoundError):
        await rotate_user_token(deps, user_id=ada.id, token_id=former.token.id)
    clock.turn(days=10)
    with pytest.raises(NotFoundError):
        await rotate_user_token(deps, user_id=ada.id, token_id=token.id)


async def test_no_token_lives_longer_than_the_server_allows(
    transactions: Backing, store: AuthStore, clock: TurnedClock
) -> None:
    issuer = TokenIssuer([bytes(32)], clock)
    free = AuthDeps(transactions.transactions, store, issuer, clock)
    capped = AuthDeps(transactions.transactions, store, issuer, clock, token_days_max=7)
    ada = await create_user(capped, name="ada", admin=True)
    unending = await create_user_token(free, user_id=ada.id, name="old")
    assert unending.token.expires_at is None
    rotated = await rotate_user_token(
        capped, user_id=ada.id, token_id=unending.token.id
    )
    made = await create_user_token(capped, user_id=ada.id, name="new")
    for token in (rotated.token, made.token):
        assert token.expires_at is not None
        assert (token.expires_at - clock.now()).days == 7
    short = await create_user_token(
        capped, user_id=ada.id, name="short", expires_in_days=2
    )
    assert short.token.expires_at is not None
    assert (short.token.expires_at - clock.now()).days == 2
    with pytest.raises(InvalidInputError, match="SLUICE_TOKEN_DAYS_MAX"):
        await create_user_token(capped, user_id=ada.id, name="long", expires_in_days=8)
