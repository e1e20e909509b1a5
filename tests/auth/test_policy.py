"""The one policy as tables: roles, team permissions, levels and scopes at every place."""

from collections.abc import Iterable

import pytest

from sluice.auth.model import (
    SITE,
    AgentPrincipal,
    OrganizationPermission,
    Place,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    Role,
    Scope,
    Standing,
    TaskPrincipal,
    UserPrincipal,
    WorkspaceLevel,
)
from sluice.auth.permissions import Permission
from sluice.auth.policy import granted, user_at
from sluice.base.ids import (
    AgentId,
    LeaseId,
    OrganizationId,
    PoolId,
    RunTaskResultId,
    TaskId,
    TokenId,
    UserId,
    WorkspaceId,
)

P = Permission
ORG, OTHER = OrganizationId("org-1"), OrganizationId("org-2")
WS, OTHER_WS = WorkspaceId("ws-1"), WorkspaceId("ws-2")
IN_ORG, IN_WS = Place(ORG), Place(ORG, WS)
NOBODY, MEMBER, OWNER = Standing(), Standing(Role.MEMBER), Standing(Role.OWNER)

ANYBODY = {P.PUBLIC, P.WHOAMI}
SIGNED_IN = ANYBODY | {P.SIGNED_IN, P.MANAGE_OWN}
LEVELS = {
    WorkspaceLevel.READ: {P.READ, P.REVIEW},
    WorkspaceLevel.PLAN: {P.READ, P.REVIEW, P.PLAN, P.REVIEW_SECRETS},
    WorkspaceLevel.APPLY: {
        *(P.READ, P.REVIEW, P.PLAN, P.REVIEW_SECRETS),
        *(P.APPLY, P.WRITE_RECORDS),
    },
    WorkspaceLevel.ADMIN: {
        *(P.READ, P.REVIEW, P.PLAN, P.REVIEW_SECRETS, P.APPLY, P.WRITE_RECORDS),
        *(P.ADMIN_WORKSPACE, P.MANAGE_RUN_TASKS, P.MANAGE_POLICIES),
    },
}
OF_TEAMS = {
    OrganizationPermission.MANAGE_WORKSPACES: {P.CREATE_WORKSPACE},
    OrganizationPermission.MANAGE_RUN_TASKS: {P.MANAGE_RUN_TASKS},
    OrganizationPermission.MANAGE_POLICIES: {P.MANAGE_POLICIES},
    OrganizationPermission.MANAGE_POOLS: {P.MANAGE_POOLS},
    OrganizationPermission.MANAGE_SCRIPTS: {P.MANAGE_SCRIPTS},
    OrganizationPermission.RUN_SCRIPTS: {
        *(P.RUN_SCRIPT, P.PLAN, P.APPLY, P.WRITE_RECORDS),
    },
    OrganizationPermission.READ_AUDIT: {P.READ_AUDIT},
}
OF_OWNER = {P.FIND, P.READ, P.MANAGE_ORGANIZATION}.union(*OF_TEAMS.values())
EVERYTHING = set(P) - {P.REGISTER_AGENT, P.WORK, P.TASK_DATA}


def user(*, admin: bool = False, scope: Scope = Scope()) -> UserPrincipal:  # noqa: B008
    return UserPrincipal(UserId("user-1"), "bob", admin, None, scope)


def teams(*permissions: OrganizationPermission) -> Standing:
    return Standing(Role.MEMBER, frozenset(permissions))


def level(name: WorkspaceLevel, *also: OrganizationPermission) -> Standing:
    return Standing(Role.MEMBER, frozenset(also), name)


@pytest.mark.parametrize(
    ("place", "standing", "expected"),
    [
        (SITE, NOBODY, set()),
        (SITE, OWNER, set()),
        (IN_ORG, NOBODY, set()),
        (IN_WS, NOBODY, set()),
        # who is no member has nothing of their teams either
        (IN_WS, Standing(None, frozenset(OrganizationPermission)), set()),
        (IN_WS, Standing(None, level=WorkspaceLevel.ADMIN), set()),
        (IN_ORG, MEMBER, {P.FIND, P.READ}),
        (IN_WS, MEMBER, set()),
        (IN_ORG, OWNER, OF_OWNER),
        (IN_WS, OWNER, LEVELS[WorkspaceLevel.ADMIN]),
        *((IN_WS, level(name), may) for name, may in LEVELS.items()),
        # a level in workspaces is none in the organization
        *((IN_ORG, level(name), {P.FIND, P.READ}) for name in LEVELS),
        *(
            (IN_ORG, teams(name), {P.FIND, P.READ, *may})
            for name, may in OF_TEAMS.items()
        ),
        # what a team may do in its organization opens no workspace
        *(
            (IN_WS, teams(name), set())
            for name in OF_TEAMS
            if name is not OrganizationPermission.MANAGE_WORKSPACES
        ),
        (
            IN_WS,
            teams(OrganizationPermission.MANAGE_WORKSPACES),
            LEVELS[WorkspaceLevel.ADMIN],
        ),
        # but two of them hold in the workspaces that are open
        (
            IN_WS,
            level(WorkspaceLevel.READ, OrganizationPermission.MANAGE_RUN_TASKS),
            LEVELS[WorkspaceLevel.READ] | {P.MANAGE_RUN_TASKS},
        ),
        (
            IN_WS,
            level(WorkspaceLevel.PLAN, OrganizationPermission.MANAGE_POLICIES),
            LEVELS[WorkspaceLevel.PLAN] | {P.MANAGE_POLICIES},
        ),
        (
            IN_WS,
            level(
                WorkspaceLevel.READ,
                OrganizationPermission.RUN_SCRIPTS,
                OrganizationPermission.READ_AUDIT,
                OrganizationPermission.MANAGE_POOLS,
            ),
            LEVELS[WorkspaceLevel.READ],
        ),
    ],
)
def test_what_a_standing_gives(
    place: Place, standing: Standing, expected: Iterable[P]
) -> None:
    assert user_at(user(), place, standing) == SIGNED_IN | set(expected)


@pytest.mark.parametrize("place", [SITE, IN_ORG, IN_WS])
def test_an_administrator_may_do_everything_everywhere(place: Place) -> None:
    assert user_at(user(admin=True), place, NOBODY) == EVERYTHING


CEILINGS = {
    WorkspaceLevel.READ: {
        *(P.PUBLIC, P.WHOAMI, P.SIGNED_IN),
        *(P.FIND, P.READ, P.REVIEW, P.READ_AUDIT),
    },
    WorkspaceLevel.PLAN: {
        *(P.PUBLIC, P.WHOAMI, P.SIGNED_IN, P.FIND, P.READ, P.REVIEW, P.READ_AUDIT),
        *(P.PLAN, P.REVIEW_SECRETS),
    },
    WorkspaceLevel.APPLY: {
        *(P.PUBLIC, P.WHOAMI, P.SIGNED_IN, P.FIND, P.READ, P.REVIEW, P.READ_AUDIT),
        *(P.PLAN, P.REVIEW_SECRETS, P.APPLY, P.WRITE_RECORDS, P.RUN_SCRIPT),
    },
}


@pytest.mark.parametrize("ceiling", list(CEILINGS))
@pytest.mark.parametrize("place", [SITE, IN_ORG, IN_WS])
def test_a_level_is_a_ceiling_for_everybody(
    ceiling: WorkspaceLevel, place: Place
) -> None:
    narrow = Scope(level=ceiling)
    assert user_at(user(admin=True, scope=narrow), place, NOBODY) == CEILINGS[ceiling]
    for standing in (MEMBER, OWNER, level(WorkspaceLevel.ADMIN)):
        whole = user_at(user(), place, standing)
        found = user_at(user(scope=narrow), place, standing)
        assert found == whole & CEILINGS[ceiling]


def test_a_narrow_credential_makes_no_wider_one() -> None:
    for scope in (
        Scope(organization_id=ORG),
        Scope(workspace_ids=frozenset({WS})),
        Scope(level=WorkspaceLevel.APPLY),
    ):
        for place in (SITE, IN_ORG, IN_WS):
            found = user_at(user(admin=True, scope=scope), place, NOBODY)
            assert not found & {P.MANAGE_OWN, P.ADMIN}


def test_one_organization_hides_the_others() -> None:
    scope = Scope(organization_id=OTHER)
    for admin in (False, True):
        for place in (IN_ORG, IN_WS):
            assert user_at(user(admin=admin, scope=scope), place, OWNER) == set()
    own = user_at(user(scope=Scope(organization_id=ORG)), IN_ORG, OWNER)
    assert own == (ANYBODY | {P.SIGNED_IN} | OF_OWNER)


def test_some_workspaces_hide_the_others() -> None:
    scope = Scope(workspace_ids=frozenset({WS}))
    for admin in (False, True):
        narrow = user(admin=admin, scope=scope)
        assert user_at(narrow, Place(ORG, OTHER_WS), OWNER) == set()
        # no more of the organization than is needed to find them
        assert user_at(narrow, IN_ORG, OWNER) == {P.FIND}
        assert user_at(narrow, IN_WS, OWNER) >= LEVELS[WorkspaceLevel.ADMIN]


def test_nothing_is_given_before_a_place_is_known() -> None:
    assert granted(user(admin=True)) == set()


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (
            PoolPrincipal(PoolId("p"), ORG, TokenId("t")),
            {P.REGISTER_AGENT, P.RUN_SCRIPT, P.WRITE_RECORDS},
        ),
        (AgentPrincipal(AgentId("a"), PoolId("p"), ORG), {P.WORK, P.TASK_DATA}),
        (
            TaskPrincipal(TaskId("t"), LeaseId("l"), ORG),
            {P.TASK_DATA, P.WRITE_RECORDS},
        ),
        (
            ResultPrincipal(RunTaskResultId("r"), TaskId("t"), ORG),
            {P.REVIEW, P.REVIEW_SECRETS},
        ),
    ],
)
def test_what_machines_may_do(principal: Principal, expected: set[P]) -> None:
    assert granted(principal) == ANYBODY | expected
