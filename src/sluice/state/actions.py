"""Store, read, roll back and delete a workspace's state."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import msgspec
import structlog

from sluice.auth.audit_calls import about, aside
from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SluiceError,
    TooLargeError,
)
from sluice.base.ids import StateVersionId, TaskId, WorkspaceId, new_state_version_id
from sluice.base.paging import Page
from sluice.base.transactions import Transactions, Tx
from sluice.blobs.store import Blobs
from sluice.events.hub import Hub
from sluice.events.topics import workspace_topic
from sluice.state.model import StateVersion
from sluice.state.ports import Locks, StateStore
from sluice.state.sealing import (
    open_content,
    open_outputs,
    seal_content,
    seal_outputs,
)
from sluice.state.succession import Verdict, successor
from sluice.terraform.statefile import (
    BadStateError,
    Output,
    StateFile,
    parse_state,
    with_serial,
)
from sluice.wire.shapes.states import OutputValue

_logger = structlog.get_logger(__name__)

Check = Callable[[Tx], Awaitable[None]]
"""Looks inside the transaction whether the caller may write; raises where not."""


@dataclass(frozen=True, slots=True)
class StateDeps:
    """What the actions on state need. ``max_bytes``: the largest state taken."""

    transactions: Transactions
    store: StateStore
    locks: Locks
    blobs: Blobs
    keyring: KeyRing
    clock: Clock
    hub: Hub
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Draft:
    """A state on its way in; ``settles``: a person says that this is the true one."""

    version: StateVersion
    file: StateFile
    content: bytes
    force: bool = False
    settles: bool = False


async def current_state(
    deps: StateDeps, *, workspace_id: WorkspaceId
) -> StateVersion | None:
    """The workspace's present state; None where it has none (yet, or any more)."""
    async with deps.transactions.read() as tx:
        return _living(await deps.store.newest(tx, workspace_id))


async def list_state_versions(
    deps: StateDeps, *, workspace_id: WorkspaceId, page: Page
) -> list[StateVersion]:
    """A workspace's state versions, newest first."""
    async with deps.transactions.read() as tx:
        await _refuse_unknown(deps, tx, workspace_id)
        return await deps.store.list_versions(tx, workspace_id, page)


async def get_state_version(
    deps: StateDeps, *, state_version_id: StateVersionId
) -> StateVersion:
    """One state version.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        version = await deps.store.get(tx, state_version_id)
    if version is None:
        raise NotFoundError(f"There is no state version {state_version_id}.")
    return version


async def read_state(deps: StateDeps, *, state_version_id: StateVersionId) -> bytes:
    """A state version's content as it was sent.

    Raises:
        NotFoundError: no such version, or it says that the state was deleted.
    """
    version = await get_state_version(deps, state_version_id=state_version_id)
    if version.deleted:
        raise NotFoundError(
            f"State version {version.id} says that the state was deleted; "
            "it has no content."
        )
    sealed = await deps.blobs.get(version.blob_key)
    return await asyncio.to_thread(open_content, deps.keyring, version.id, sealed)


async def create_state_version(
    deps: StateDeps,
    *,
    workspace_id: WorkspaceId,
    content: bytes,
    created_by: str,
    task_id: TaskId | None = None,
    force: bool = False,
) -> StateVersion:
    """Store a state that a task made. Whether the task may write is the caller's to know.

    Sending the current state again is fine and gives the version that is there.

    Raises:
        InvalidInputError: the content is no state file.
        ConflictError: another lineage, or a serial that is not higher.
    """

    async def held(tx: Tx) -> None:
        await deps.locks.hold(tx, workspace_id)

    draft = await _draft(deps, workspace_id, content, created_by)
    draft = replace(draft, version=replace(draft.version, task_id=task_id), force=force)
    return await _store(deps, draft, held)


async def upload_state(
    deps: StateDeps,
    *,
    workspace_id: WorkspaceId,
    content: bytes,
    actor: str,
    force: bool = False,
) -> StateVersion:
    """Store a state that a person sends; the lock must be free or theirs.

    It also ends the state's divergence: the person has said what is true.

    Raises:
        InvalidInputError: the content is no state file.
        ConflictError: another lineage, or a serial that is not higher.
        LockedError: somebody else holds the workspace's lock.
    """

    async def unlocked(tx: Tx) -> None:
        await deps.locks.may_write(tx, workspace_id, actor)

    draft = await _draft(deps, workspace_id, content, actor)
    return await _store(deps, replace(draft, force=force, settles=True), unlocked)


async def store_checked(
    deps: StateDeps,
    *,
    workspace_id: WorkspaceId,
    content: bytes,
    actor: str,
    check: Check,
) -> StateVersion:
    """Store a state where the caller has a rule of its own for the lock."""
    draft = await _draft(deps, workspace_id, content, actor)
    return await _store(deps, draft, check)


async def roll_back(
    deps: StateDeps,
    *,
    workspace_id: WorkspaceId,
    state_version_id: StateVersionId,
    actor: str,
) -> StateVersion:
    """Make an earlier state the current one: a new version, same content, higher serial.

    Raises:
        NotFoundError: the workspace has no such state version.
        LockedError: somebody else holds the workspace's lock.
    """
    async with deps.transactions.read() as tx:
        earlier = await deps.store.get(tx, state_version_id)
        top = await deps.store.newest(tx, workspace_id)
    if earlier is None or earlier.workspace_id != workspace_id or top is None:
        raise NotFoundError(
            f"Workspace {workspace_id} has no state version {state_version_id}."
        )
    top_id = top.id

    async def unlocked(tx: Tx) -> None:
        await deps.locks.may_write(tx, workspace_id, actor)
        newest = await deps.store.newest(tx, workspace_id)
        if newest is None or newest.id != top_id:
            raise ConflictError(
                f"The state of {workspace_id} was changed meanwhile; look at it "
                "and roll back again if that is still right."
            )

    content = await read_state(deps, state_version_id=state_version_id)
    raised = await asyncio.to_thread(
        with_serial, content, max(top.serial, earlier.serial) + 1
    )
    draft = await _draft(deps, workspace_id, raised, actor)
    draft = replace(
        draft,
        version=replace(draft.version, rollback_of=earlier.id),
        force=True,
        settles=True,
    )
    return await _store(deps, draft, unlocked)


async def delete_state(
    deps: StateDeps, *, workspace_id: WorkspaceId, actor: str, check: Check
) -> None:
    """Say that there is no state any more; earlier versions stay and can be rolled back to."""
    async with deps.transactions.write() as tx:
        await check(tx)
        top = _living(await deps.store.newest(tx, workspace_id))
        if top is None:
            return
        gone = StateVersion(
            id=new_state_version_id(),
            workspace_id=workspace_id,
            sequence=top.sequence + 1,
            serial=top.serial,
            lineage=top.lineage,
            sha256=hashlib.sha256(b"").hexdigest(),
            md5=hashlib.md5(b"", usedforsecurity=False).hexdigest(),
            size_bytes=0,
            terraform_version="",
            resource_count=0,
            blob_key="",
            task_id=None,
            rollback_of=None,
            created_by=actor,
            created_at=deps.clock.now(),
        )
        await deps.store.add(tx, gone, None)
    deps.hub.publish(workspace_topic(workspace_id))


async def outputs(deps: StateDeps, *, workspace_id: WorkspaceId) -> list[OutputValue]:
    """The current state's outputs by name; the values of sensitive ones are left out."""
    async with deps.transactions.read() as tx:
        await _refuse_unknown(deps, tx, workspace_id)
        version = _living(await deps.store.newest(tx, workspace_id))
        sealed = (
            None if version is None else await deps.store.sealed_outputs(tx, version.id)
        )
    if version is None or sealed is None:
        return []
    found = open_outputs(deps.keyring, version.id, sealed)
    return [_output_value(name, found[name]) for name in sorted(found)]


def _output_value(name: str, output: Output) -> OutputValue:
    value = None if output.sensitive else msgspec.json.decode(output.value)
    return OutputValue(
        name=name,
        sensitive=output.sensitive,
        type=msgspec.json.decode(output.type),
        value=value,
    )


async def _draft(
    deps: StateDeps, workspace_id: WorkspaceId, content: bytes, created_by: str
) -> _Draft:
    if len(content) > deps.max_bytes:
        raise TooLargeError(
            f"The state has {len(content)} bytes; at most {deps.max_bytes} are taken.",
            limit=deps.max_bytes,
        )
    return await asyncio.to_thread(_read, deps, workspace_id, content, created_by)


def _read(
    deps: StateDeps, workspace_id: WorkspaceId, content: bytes, created_by: str
) -> _Draft:
    try:
        file = parse_state(content)
    except BadStateError as error:
        raise InvalidInputError(f"The state cannot be taken: {error}.") from None
    version_id = new_state_version_id()
    version = StateVersion(
        id=version_id,
        workspace_id=workspace_id,
        sequence=1,
        serial=file.serial,
        lineage=file.lineage,
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        size_bytes=len(content),
        terraform_version=file.terraform_version,
        resource_count=file.resource_count,
        blob_key=f"states/{version_id}",
        task_id=None,
        rollback_of=None,
        created_by=created_by,
        created_at=deps.clock.now(),
    )
    return _Draft(version, file, content)


async def _store(deps: StateDeps, draft: _Draft, check: Check) -> StateVersion:
    """The blob first, then the row: a version that can be seen can be read.

    A first look keeps what cannot be stored out of the blob store; the second one,
    beside the row, is the one that counts.
    """
    version = draft.version
    with aside():
        async with deps.transactions.write() as tx:
            known = await _judge(deps, tx, draft, check)
    if known is not None:
        return known
    sealed, sealed_outputs = await asyncio.to_thread(_seal, deps.keyring, draft)
    await deps.blobs.put(version.blob_key, sealed)
    try:
        async with deps.transactions.write() as tx:
            known = await _judge(deps, tx, draft, check)
            if known is None:
                newest = await deps.store.newest(tx, version.workspace_id)
                sequence = 1 if newest is None else newest.sequence + 1
                version = replace(version, sequence=sequence)
                await deps.store.add(tx, version, sealed_outputs)
                await _settle(deps, tx, draft)
                about(version.id, workspace_id=version.workspace_id)
    except SluiceError:
        await _drop_blob(deps, version.blob_key)
        raise
    if known is not None:
        await _drop_blob(deps, version.blob_key)
        return known
    deps.hub.publish(workspace_topic(version.workspace_id))
    return version


async def _judge(
    deps: StateDeps, tx: Tx, draft: _Draft, check: Check
) -> StateVersion | None:
    """The version that has this very content already, or None where it is to be stored."""
    await check(tx)
    newest = await deps.store.newest(tx, draft.version.workspace_id)
    verdict = successor(
        newest, draft.file, sha256=draft.version.sha256, force=draft.force
    )
    if verdict is not Verdict.KNOWN:
        return None
    await _settle(deps, tx, draft)
    return newest


async def _settle(deps: StateDeps, tx: Tx, draft: _Draft) -> None:
    if draft.settles:
        await deps.locks.settle_divergence(tx, draft.version.workspace_id)


async def _drop_blob(deps: StateDeps, key: str) -> None:
    try:
        await deps.blobs.delete(key)
    except SluiceError as error:
        _logger.warning("unused blob stays", key=key, because=error.detail)


async def _refuse_unknown(deps: StateDeps, tx: Tx, workspace_id: WorkspaceId) -> None:
    if not await deps.locks.exists(tx, workspace_id):
        raise NotFoundError(f"There is no workspace {workspace_id}.")


def _living(version: StateVersion | None) -> StateVersion | None:
    return None if version is None or version.deleted else version


def _seal(keyring: KeyRing, draft: _Draft) -> tuple[bytes, bytes]:
    version_id = draft.version.id
    return (
        seal_content(keyring, version_id, draft.content),
        seal_outputs(keyring, version_id, draft.file.outputs),
    )
