"""What Terraform's `http` backend asks for: read, write, delete, lock and unlock one state.

A terraform that holds the lock names its ID with every write. A write without an ID, or
with one whose lock was broken meanwhile, is taken while nobody holds the lock: refusing it
would lose what is already true of the infrastructure, and the serial still guards it.
"""

import base64
import hashlib

from sluice.base.errors import InvalidInputError, LockedError, NotFoundError
from sluice.base.ids import WorkspaceId
from sluice.base.transactions import Tx
from sluice.events.topics import QUEUE, workspace_topic
from sluice.state.actions import (
    StateDeps,
    current_state,
    delete_state,
    read_state,
    store_checked,
)
from sluice.terraform.lock_info import BadLockInfoError, LockInfo, parse_lock_info


class StateHeldError(LockedError):
    """Somebody else holds the lock; terraform is answered with their lock document."""

    def __init__(self, holder: LockInfo) -> None:
        super().__init__(
            f"The state is locked by {holder.who} ({holder.operation}, ID {holder.id}); "
            "wait until they are done."
        )
        self.holder = holder


async def read(deps: StateDeps, *, workspace_id: WorkspaceId) -> bytes | None:
    """The current state, or None where there is none.

    Raises:
        NotFoundError: there is no such workspace.
    """
    async with deps.transactions.read() as tx:
        if not await deps.locks.exists(tx, workspace_id):
            raise NotFoundError(f"There is no workspace {workspace_id}.")
    version = await current_state(deps, workspace_id=workspace_id)
    if version is None:
        return None
    return await read_state(deps, state_version_id=version.id)


async def write(
    deps: StateDeps,
    *,
    workspace_id: WorkspaceId,
    content: bytes,
    actor: str,
    lock_id: str,
) -> None:
    """Store a state that terraform sends; the same one once more is fine.

    Raises:
        StateHeldError: another holds the lock.
        InvalidInputError: no state file.
        ConflictError: another lineage, or a serial that is not higher.
    """
    await store_checked(
        deps,
        workspace_id=workspace_id,
        content=content,
        actor=actor,
        check=_Writable(deps, workspace_id, lock_id),
    )


async def delete(
    deps: StateDeps, *, workspace_id: WorkspaceId, actor: str, lock_id: str
) -> None:
    """Forget the current state; earlier versions stay.

    Raises:
        StateHeldError: another holds the lock.
    """
    check = _Writable(deps, workspace_id, lock_id)
    await delete_state(deps, workspace_id=workspace_id, actor=actor, check=check)


async def lock(
    deps: StateDeps, *, workspace_id: WorkspaceId, body: bytes, actor: str
) -> None:
    """Take the workspace's lock for a terraform; its own once more is fine.

    Raises:
        StateHeldError: another holds it.
        InvalidInputError: the body is no lock document.
    """
    info = _lock_info(body)
    async with deps.transactions.write() as tx:
        holder = await deps.locks.take(
            tx, workspace_id, info, actor=actor, now=deps.clock.now()
        )
    if holder is not None:
        raise StateHeldError(holder)
    deps.hub.publish(workspace_topic(workspace_id))


async def unlock(
    deps: StateDeps, *, workspace_id: WorkspaceId, body: bytes, actor: str
) -> None:
    """Free ``actor``'s lock; without a body (`terraform force-unlock`) any terraform's.

    Raises:
        StateHeldError: another holds it, or no terraform does.
        InvalidInputError: the body is no lock document.
    """
    lock_id = _lock_info(body).id if body else None
    async with deps.transactions.write() as tx:
        holder = await deps.locks.release(tx, workspace_id, lock_id, actor=actor)
    if holder is not None:
        raise StateHeldError(holder)
    deps.hub.publish(workspace_topic(workspace_id))
    deps.hub.publish(QUEUE)


def content_md5(content: bytes) -> str:
    """The `Content-MD5` header of a state."""
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def verify_md5(content: bytes, header: str | None) -> None:
    """Refuse a state that was damaged on the way.

    Raises:
        InvalidInputError: `Content-MD5` says otherwise.
    """
    if header is not None and header != content_md5(content):
        raise InvalidInputError(
            f"Content-MD5 is {header}, but the body's is {content_md5(content)}; "
            "the state was damaged on the way, send it again."
        )


def _lock_info(body: bytes) -> LockInfo:
    try:
        return parse_lock_info(body)
    except BadLockInfoError as error:
        raise InvalidInputError(f"The lock cannot be read: {error}.") from None


class _Writable:
    """The rule for the lock that `store_checked` and `delete_state` apply."""

    def __init__(
        self, deps: StateDeps, workspace_id: WorkspaceId, lock_id: str
    ) -> None:
        self._deps = deps
        self._workspace_id = workspace_id
        self._lock_id = lock_id

    async def __call__(self, tx: Tx) -> None:
        holder = await self._deps.locks.terraform_may_write(
            tx, self._workspace_id, self._lock_id
        )
        if holder is not None:
            raise StateHeldError(holder)
