"""Who may do what: one pure function, and the only way in."""

from enum import StrEnum
from typing import assert_never

from sluice.auth.model import (
    AgentPrincipal,
    PoolPrincipal,
    Principal,
    ResultPrincipal,
    TaskPrincipal,
    UserPrincipal,
)


class Permission(StrEnum):
    """What a route asks for. `PUBLIC` needs no caller at all.

    `REVIEW` reads what a task would do, masked; `REVIEW_SECRETS` reads its plan and its
    configuration in the clear. Both are what services at gates have, of their own task.
    """

    PUBLIC = "public"
    WHOAMI = "whoami"
    SIGNED_IN = "signed_in"
    READ = "read"
    PLAN = "plan"
    APPLY = "apply"
    ADMIN_WORKSPACE = "admin_workspace"
    ADMIN = "admin"
    REGISTER_AGENT = "register_agent"
    WORK = "work"
    TASK_DATA = "task_data"
    RUN_SCRIPT = "run_script"
    WRITE_RECORDS = "write_records"
    REVIEW = "review"
    REVIEW_SECRETS = "review_secrets"


_USER = frozenset(
    {
        Permission.PUBLIC,
        Permission.WHOAMI,
        Permission.SIGNED_IN,
        Permission.READ,
        Permission.PLAN,
        Permission.APPLY,
        Permission.ADMIN_WORKSPACE,
        Permission.RUN_SCRIPT,
        Permission.WRITE_RECORDS,
        Permission.REVIEW,
        Permission.REVIEW_SECRETS,
    }
)
_POOL = frozenset(
    {
        Permission.PUBLIC,
        Permission.WHOAMI,
        Permission.REGISTER_AGENT,
        Permission.RUN_SCRIPT,
        Permission.WRITE_RECORDS,
    }
)
_AGENT = frozenset(
    {Permission.PUBLIC, Permission.WHOAMI, Permission.WORK, Permission.TASK_DATA}
)
_TASK = frozenset(
    {
        Permission.PUBLIC,
        Permission.WHOAMI,
        Permission.TASK_DATA,
        Permission.WRITE_RECORDS,
    }
)
_RESULT = frozenset(
    {
        Permission.PUBLIC,
        Permission.WHOAMI,
        Permission.REVIEW,
        Permission.REVIEW_SECRETS,
    }
)


def granted(principal: Principal) -> frozenset[Permission]:
    """All permissions a caller has; things of others are refused where they are loaded."""
    match principal:
        case UserPrincipal(admin=True):
            return _USER | {Permission.ADMIN}
        case UserPrincipal():
            return _USER
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
