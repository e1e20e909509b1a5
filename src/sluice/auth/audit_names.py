"""Which requests the audit log keeps, and by which names."""

from sluice.auth.permissions import Permission

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OF_MACHINES = frozenset({Permission.WORK, Permission.TASK_DATA})
_GIVES_SECRETS = frozenset({Permission.REVIEW_SECRETS, Permission.PLAN})
_READS = frozenset(
    {
        Permission.WHOAMI,
        Permission.SIGNED_IN,
        Permission.READ,
        Permission.REVIEW,
        Permission.READ_AUDIT,
    }
)
_ODD = {
    "add_variable": "variable.create",
    "attach_run_task": "workspace_run_task.create",
    "cancel": "task.cancel",
    "confirm": "task.confirm",
    "create_organization_notification": "notification.create",
    "create_users_token": "token.create",
    "create_workspace_notification": "notification.create",
    "detach_run_task": "workspace_run_task.delete",
    "discard": "task.discard",
    "download": "configuration_version.download",
    "download_state": "state_version.download",
    "drain": "agent.drain",
    "change_password": "password.set",
    "end_other_sessions": "session.end_others",
    "force_cancel": "task.force_cancel",
    "force_unlock": "workspace.force_unlock",
    "grant_to_team": "grant.set",
    "grant_to_user": "grant.set",
    "install": "task.install",
    "lock": "workspace.lock",
    "logout": "session.end",
    "override": "run_task_result.override",
    "redeliver": "notification.redeliver",
    "register": "agent.register",
    "remove_agent": "agent.delete",
    "resume": "agent.resume",
    "revoke_from_team": "grant.delete",
    "revoke_from_user": "grant.delete",
    "revoke_users_token": "token.revoke",
    "roll_back": "state_version.roll_back",
    "try_notification": "notification.test",
    "unlock": "workspace.unlock",
    "upload": "configuration_version.upload",
    "upload_state": "state_version.upload",
}


_VERBS = {"change": "update", "put": "set"}


def is_audited(
    method: str | None, permission: Permission, *, by_user: bool = True
) -> bool:
    """Whether a request is kept: what changes something, and what gives out secrets.

    What agents and tasks do in their work is in the tasks' logs, and not here.

    Args:
        method: of HTTP; None for a WebSocket.
        permission: what the route asks for.
        by_user: whether a user asks; else a record that is added to a log is work, too.
    """
    if permission in _OF_MACHINES:
        return False
    if permission is Permission.WRITE_RECORDS and not by_user:
        return False
    if method is None:
        return permission not in _READS
    return method not in _SAFE or permission in _GIVES_SECRETS


def action_of(endpoint: str) -> str:
    """The action of a route: ``create_workspace`` is ``workspace.create``."""
    odd = _ODD.get(endpoint)
    if odd is not None:
        return odd
    verb, _, noun = endpoint.partition("_")
    verb = _VERBS.get(verb, verb)
    return f"{noun}.{verb}" if noun else f"request.{verb}"
