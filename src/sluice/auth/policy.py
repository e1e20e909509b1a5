"""Who may do what: pure functions, and the only way in."""

from typing import assert_never

from sluice.auth.model import (
    UNLIMITED,
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

_ANYBODY = frozenset({Permission.PUBLIC, Permission.WHOAMI})
_SIGNED_IN = _ANYBODY | {Permission.SIGNED_IN, Permission.MANAGE_OWN}
_POOL = _ANYBODY | {
    Permission.REGISTER_AGENT,
    Permission.RUN_SCRIPT,
    Permission.WRITE_RECORDS,
}
_AGENT = _ANYBODY | {Permission.WORK, Permission.TASK_DATA}
_TASK = _ANYBODY | {Permission.TASK_DATA, Permission.WRITE_RECORDS}
_RESULT = _ANYBODY | {Permission.REVIEW, Permission.REVIEW_SECRETS}

_LEVELS: dict[WorkspaceLevel, frozenset[Permission]] = {}
_LEVELS[WorkspaceLevel.READ] = frozenset({Permission.READ, Permission.REVIEW})
_LEVELS[WorkspaceLevel.PLAN] = _LEVELS[WorkspaceLevel.READ] | {
    Permission.PLAN,
    Permission.REVIEW_SECRETS,
}
_LEVELS[WorkspaceLevel.APPLY] = _LEVELS[WorkspaceLevel.PLAN] | {
    Permission.APPLY,
    Permission.WRITE_RECORDS,
}
_LEVELS[WorkspaceLevel.ADMIN] = _LEVELS[WorkspaceLevel.APPLY] | {
    Permission.ADMIN_WORKSPACE,
    Permission.MANAGE_RUN_TASKS,
    Permission.MANAGE_POLICIES,
}

_OF_TEAMS: dict[OrganizationPermission, frozenset[Permission]] = {
    OrganizationPermission.MANAGE_WORKSPACES: frozenset({Permission.CREATE_WORKSPACE}),
    OrganizationPermission.MANAGE_RUN_TASKS: frozenset({Permission.MANAGE_RUN_TASKS}),
    OrganizationPermission.MANAGE_POLICIES: frozenset({Permission.MANAGE_POLICIES}),
    OrganizationPermission.MANAGE_POOLS: frozenset({Permission.MANAGE_POOLS}),
    OrganizationPermission.MANAGE_SCRIPTS: frozenset({Permission.MANAGE_SCRIPTS}),
    # a task that runs a script lies in no workspace, so planning and applying are this
    OrganizationPermission.RUN_SCRIPTS: frozenset(
        {
            Permission.RUN_SCRIPT,
            Permission.PLAN,
            Permission.APPLY,
            Permission.WRITE_RECORDS,
        }
    ),
    OrganizationPermission.READ_AUDIT: frozenset({Permission.READ_AUDIT}),
}
_MEMBER = frozenset({Permission.FIND, Permission.READ})
_OWNER = (_MEMBER | {Permission.MANAGE_ORGANIZATION}).union(*_OF_TEAMS.values())
_EVERYTHING = _SIGNED_IN | _LEVELS[WorkspaceLevel.ADMIN] | _OWNER | {Permission.ADMIN}

_CEILINGS: dict[WorkspaceLevel, frozenset[Permission]] = {}
_CEILINGS[WorkspaceLevel.READ] = (
    _ANYBODY
    | _LEVELS[WorkspaceLevel.READ]
    | {Permission.SIGNED_IN, Permission.FIND, Permission.READ_AUDIT}
)
_CEILINGS[WorkspaceLevel.PLAN] = (
    _CEILINGS[WorkspaceLevel.READ] | _LEVELS[WorkspaceLevel.PLAN]
)
_CEILINGS[WorkspaceLevel.APPLY] = (
    _CEILINGS[WorkspaceLevel.PLAN]
    | _LEVELS[WorkspaceLevel.APPLY]
    | {Permission.RUN_SCRIPT}
)
_CEILINGS[WorkspaceLevel.ADMIN] = _EVERYTHING
_OF_THE_WHOLE = frozenset({Permission.ADMIN, Permission.MANAGE_OWN})


def granted(principal: Principal) -> frozenset[Permission]:
    """All permissions a caller has; a user at the place for which `user_at` was asked.

    Things of others are refused where they are loaded to agents, tasks and results.
    """
    match principal:
        case UserPrincipal():
            return principal.permissions
        case PoolPrincipal():
            return _POOL
        case AgentPrincipal():
            return _AGENT
        case TaskPrincipal():
            return _TASK
        case ResultPrincipal():
            return _RESULT
        case _:
            assert_never(principal)


def user_at(
    principal: UserPrincipal, place: Place, standing: Standing
) -> frozenset[Permission]:
    """What a user may do at ``place``, where they are what ``standing`` says.

    Without `READ` or `FIND` in it the place is hidden: they must not learn that it is there.
    """
    own = _EVERYTHING if principal.admin else _SIGNED_IN | _at(place, standing)
    return own & _allowed_by(principal.scope, place)


def _at(place: Place, standing: Standing) -> frozenset[Permission]:
    if place.organization_id is None or standing.role is None:
        return frozenset()
    if standing.role is Role.OWNER:
        if place.workspace_id is not None:
            return _LEVELS[WorkspaceLevel.ADMIN]
        return _OWNER
    if place.workspace_id is not None:
        return _in_workspace(standing)
    return _MEMBER.union(
        *(_OF_TEAMS[permission] for permission in standing.permissions)
    )


def _in_workspace(standing: Standing) -> frozenset[Permission]:
    if OrganizationPermission.MANAGE_WORKSPACES in standing.permissions:
        return _LEVELS[WorkspaceLevel.ADMIN]
    if standing.level is None:
        return frozenset()
    found = set(_LEVELS[standing.level])
    for permission in (
        OrganizationPermission.MANAGE_RUN_TASKS,
        OrganizationPermission.MANAGE_POLICIES,
    ):
        if permission in standing.permissions:
            found |= _OF_TEAMS[permission]
    return frozenset(found)


def _allowed_by(scope: Scope, place: Place) -> frozenset[Permission]:
    allowed = _CEILINGS[scope.level]
    if scope != UNLIMITED:
        allowed -= _OF_THE_WHOLE
    if place.organization_id is None:
        return allowed
    if scope.organization_id not in {None, place.organization_id}:
        return frozenset()
    if scope.workspace_ids is None:
        return allowed
    if place.workspace_id is None:
        # enough to find those workspaces by their names
        return allowed & {Permission.FIND}
    return allowed if place.workspace_id in scope.workspace_ids else frozenset()
