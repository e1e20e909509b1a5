"""What a lock's holder is told to others as, and who may free it."""

from datetime import datetime

from sluice.base.clock import rfc3339
from sluice.terraform.lock_info import LockInfo
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.model import Lock, Workspace


def holds(lock: Lock, actor: str) -> bool:
    """Whether ``actor`` took this lock by hand; tasks and terraform free their own."""
    return lock.kind is LockHolderKind.USER and lock.holder == actor


def refusal(workspace: Workspace, lock: Lock) -> str:
    """Who holds the lock, since when and why, and what to do about it."""
    reason = f" ({lock.reason})" if lock.reason else ""
    return (
        f"Workspace {workspace.name} is locked by {_holder(lock)} "
        f"since {rfc3339(lock.locked_at)}{reason}; {_way_out(lock.kind)}."
    )


def _holder(lock: Lock) -> str:
    match lock.kind:
        case LockHolderKind.USER:
            return lock.holder
        case LockHolderKind.TASK:
            return f"task {lock.id}"
        case LockHolderKind.TERRAFORM:
            return f"a terraform of {lock.holder}"


def _way_out(kind: LockHolderKind) -> str:
    match kind:
        case LockHolderKind.USER:
            return "wait until they unlock it, or force-unlock it"
        case LockHolderKind.TASK:
            return "wait for the task, or cancel it"
        case LockHolderKind.TERRAFORM:
            return "wait until it is done, or force-unlock it if it no longer runs"


def as_lock_info(workspace: Workspace, lock: Lock) -> LockInfo:
    """Any holder in the form that terraform reads."""
    if lock.info is not None:
        return lock.info
    return LockInfo(
        id=lock.id,
        operation=f"locked by a {lock.kind.value}",
        info=lock.reason,
        who=lock.holder,
        created=rfc3339(lock.locked_at),
        path=workspace.name,
    )


def terraform_lock(info: LockInfo, *, actor: str, now: datetime) -> Lock:
    """The lock that a terraform of ``actor`` asks for."""
    about = ", ".join(part for part in (info.operation, info.who, info.info) if part)
    return Lock(
        id=info.id,
        holder=actor,
        kind=LockHolderKind.TERRAFORM,
        reason=about,
        locked_at=now,
        info=info,
    )
