"""Who may do what: one pure function, and the only way in."""

from enum import StrEnum
from typing import assert_never

from sluice.auth.model import (
    AgentPrincipal,
    PoolPrincipal,
    Principal,
    TaskPrincipal,
    UserPrincipal,
)


class Permission(StrEnum):
    """What a route asks for. `PUBLIC` needs no caller at all."""

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
        case _:
            assert_never(principal)
