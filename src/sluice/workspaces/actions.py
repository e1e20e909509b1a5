"""Make, look up, change, lock and delete workspaces, and hand their variables to tasks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog

from sluice.auth.audit_calls import about
from sluice.auth.keyring import KeyRing
from sluice.auth.model import Organization
from sluice.base.clock import Clock
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    SluiceError,
)
from sluice.base.ids import (
    OrganizationId,
    PoolId,
    TaskId,
    WorkspaceId,
    new_workspace_id,
    random_id,
)
from sluice.base.paging import Page
from sluice.base.transactions import Transactions, Tx
from sluice.blobs.store import Blobs
from sluice.events.hub import Hub
from sluice.events.topics import QUEUE, workspace_topic
from sluice.wire.agent import OrderVariable
from sluice.wire.shapes.workspaces import LockHolderKind, WorkspaceInput, WorkspacePatch
from sluice.workspaces import settings_check
from sluice.workspaces.locking import holds, refusal
from sluice.workspaces.model import Lock, Variable, Workspace
from sluice.workspaces.ports import (
    Belongings,
    Organizations,
    Pools,
    Tasks,
    VariableStore,
    WorkspaceFilter,
    WorkspaceStore,
)
from sluice.workspaces.sealing import value_of

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkspaceDeps:
    """What the actions on workspaces need.

    ``belongings`` hang on a workspace and go with it, in this order.
    """

    transactions: Transactions
    store: WorkspaceStore
    variables: VariableStore
    organizations: Organizations
    pools: Pools
    tasks: Tasks
    belongings: tuple[Belongings, ...]
    blobs: Blobs
    keyring: KeyRing
    clock: Clock
    hub: Hub


async def create_workspace(
    deps: WorkspaceDeps, *, organization: str, given: WorkspaceInput
) -> Workspace:
    """Make a workspace in an organization (named by its id or its name).

    Raises:
        NotFoundError: there is no such organization.
        InvalidInputError: a setting cannot be taken.
        ConflictError: the organization has one of this name.
    """
    async with deps.transactions.write() as tx:
        owner = await _organization(deps, tx, organization)
        workspace = Workspace(
            id=new_workspace_id(),
            organization_id=owner.id,
            name=given.name,
            execution_mode=given.execution_mode,
            auto_apply=given.auto_apply,
            working_directory=settings_check.working_directory(given.working_directory),
            terraform_version=settings_check.terraform_version(given.terraform_version),
            engine=given.engine,
            pool_id=await _pool(deps, tx, owner.id, given.pool_id),
            labels=given.labels,
            created_at=deps.clock.now(),
        )
        await _refuse_taken(deps, tx, workspace)
        await deps.store.add(tx, workspace)
        about(workspace.id, name=workspace.name)
    return workspace


async def list_workspaces(
    deps: WorkspaceDeps,
    *,
    organization: str,
    page: Page,
    name: str | None = None,
    visible: frozenset[WorkspaceId] | None = None,
) -> tuple[list[Workspace], int]:
    """A page of an organization's workspaces by name and how many there are.

    With ``name`` the one of this name, whatever the page; none but those ``visible``.
    """
    async with deps.transactions.read() as tx:
        owner = await _organization(deps, tx, organization)
        which = WorkspaceFilter(owner.id, name, visible)
        return await deps.store.list_workspaces(
            tx, which, page if name is None else Page()
        )


async def get_workspace(deps: WorkspaceDeps, *, workspace_id: WorkspaceId) -> Workspace:
    """One workspace.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return _known(await deps.store.get(tx, workspace_id), workspace_id)


async def change_workspace(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, patch: WorkspacePatch
) -> Workspace:
    """Change settings; what the patch does not name stays, ``pool_id: null`` clears it."""
    async with deps.transactions.write() as tx:
        old = _known(await deps.store.hold(tx, workspace_id), workspace_id)
        changed = _changed(old, patch)
        if "pool_id" in patch.model_fields_set:
            pool_id = await _pool(deps, tx, old.organization_id, patch.pool_id)
            changed = replace(changed, pool_id=pool_id)
        if changed.name != old.name:
            await _refuse_taken(deps, tx, changed)
        await deps.store.save(tx, changed)
    deps.hub.publish(workspace_topic(workspace_id))
    return changed


def _changed(old: Workspace, patch: WorkspacePatch) -> Workspace:
    given = patch.model_dump(exclude_none=True, exclude={"pool_id"})
    if "working_directory" in given:
        text = given["working_directory"]
        given["working_directory"] = settings_check.working_directory(text)
    if "terraform_version" in given:
        text = given["terraform_version"]
        given["terraform_version"] = settings_check.terraform_version(text)
    return replace(old, **given)


async def delete_workspace(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, force: bool
) -> None:
    """Delete a workspace with its variables, configurations, state and tasks.

    Raises:
        ConflictError: something stands against it (resources in its state, unfinished
            tasks, a lock), and ``force`` is not given.
    """
    blob_keys: list[str] = []
    async with deps.transactions.write() as tx:
        workspace = _known(await deps.store.hold(tx, workspace_id), workspace_id)
        if not force:
            await _refuse_hindered(deps, tx, workspace)
        for belongings in deps.belongings:
            blob_keys += await belongings.clear(tx, workspace_id)
        await deps.variables.delete_all(tx, workspace_id)
        await deps.store.delete(tx, workspace_id)
    _logger.info("workspace deleted", workspace_id=workspace_id, name=workspace.name)
    deps.hub.publish(workspace_topic(workspace_id))
    for key in blob_keys:
        try:
            await deps.blobs.delete(key)
        except SluiceError as error:
            _logger.warning("unused blob stays", key=key, because=error.detail)


async def _refuse_hindered(deps: WorkspaceDeps, tx: Tx, workspace: Workspace) -> None:
    hindrances = [
        found
        for belongings in deps.belongings
        if (found := await belongings.hindrance(tx, workspace.id)) is not None
    ]
    if workspace.lock is not None:
        hindrances.append(refusal(workspace, workspace.lock).rstrip("."))
    if hindrances:
        raise ConflictError(
            f"Workspace {workspace.name} cannot be deleted: {'; '.join(hindrances)}. "
            "Destroy and finish what is there, or delete with force=true."
        )


async def lock_workspace(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, actor: str, reason: str
) -> Workspace:
    """Take the lock by hand: no task begins to change anything until it is given back.

    Raises:
        LockedError: it is held already; the detail names the holder and the reason.
    """
    lock = Lock(
        id=random_id("lock"),
        holder=actor,
        kind=LockHolderKind.USER,
        reason=reason,
        locked_at=deps.clock.now(),
    )
    async with deps.transactions.write() as tx:
        workspace = _known(await deps.store.hold(tx, workspace_id), workspace_id)
        held = await deps.store.take_lock(tx, workspace_id, lock)
        if held is not None:
            raise LockedError(refusal(workspace, held))
    deps.hub.publish(workspace_topic(workspace_id))
    return replace(workspace, lock=lock)


async def unlock_workspace(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, actor: str
) -> Workspace:
    """Give the lock back that ``actor`` took by hand.

    Raises:
        ConflictError: it is not locked.
        LockedError: somebody else holds it.
    """
    async with deps.transactions.write() as tx:
        workspace, lock = await _locked(deps, tx, workspace_id)
        if not holds(lock, actor):
            raise LockedError(refusal(workspace, lock))
        await deps.store.release_lock(tx, workspace_id, lock.id)
    return _announce_free(deps, workspace)


async def force_unlock_workspace(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, actor: str, reason: str
) -> Workspace:
    """Free a lock that its holder does not give back; who did it and why is logged.

    Raises:
        ConflictError: it is not locked, or the task that holds it has not ended (cancel
            that task: two of them changing the same infrastructure would destroy it).
    """
    async with deps.transactions.write() as tx:
        workspace, lock = await _locked(deps, tx, workspace_id)
        if lock.kind is LockHolderKind.TASK and await deps.tasks.unfinished(
            tx, TaskId(lock.id)
        ):
            raise ConflictError(
                f"Workspace {workspace.name} is locked by task {lock.id}, which has not "
                "ended; cancel the task, which frees the lock."
            )
        await deps.store.release_lock(tx, workspace_id, lock.id)
    _logger.warning(
        "lock broken",
        workspace_id=workspace_id,
        actor=actor,
        reason=reason,
        holder=lock.holder,
        holder_reason=lock.reason,
    )
    return _announce_free(deps, workspace)


def _announce_free(deps: WorkspaceDeps, workspace: Workspace) -> Workspace:
    deps.hub.publish(workspace_topic(workspace.id))
    deps.hub.publish(QUEUE)
    return replace(workspace, lock=None)


def order_variables(
    deps: WorkspaceDeps, variables: Iterable[Variable]
) -> list[OrderVariable]:
    """Variables with their values in the clear, for an agent's phase alone.

    Raises:
        UnsealError: a value cannot be opened.
    """
    return [
        OrderVariable(
            key=variable.key,
            value=value_of(deps.keyring, variable),
            category=variable.category.value,
            hcl=variable.hcl,
            sensitive=variable.sensitive,
        )
        for variable in variables
    ]


async def _locked(
    deps: WorkspaceDeps, tx: Tx, workspace_id: WorkspaceId
) -> tuple[Workspace, Lock]:
    workspace = _known(await deps.store.hold(tx, workspace_id), workspace_id)
    if workspace.lock is None:
        raise ConflictError(
            f"Workspace {workspace.name} is not locked; there is nothing to unlock."
        )
    return workspace, workspace.lock


async def _organization(deps: WorkspaceDeps, tx: Tx, given: str) -> Organization:
    found = await deps.organizations.get_organization(tx, OrganizationId(given))
    if found is None:
        found = await deps.organizations.find_organization(tx, given)
    if found is None:
        raise NotFoundError(f"There is no organization {given!r}.")
    return found


async def _pool(
    deps: WorkspaceDeps, tx: Tx, organization_id: OrganizationId, given: str | None
) -> PoolId | None:
    if given is None:
        return None
    pool_id = PoolId(given)
    if await deps.pools.pool_organization(tx, pool_id) != organization_id:
        raise InvalidInputError(
            f"pool_id: the organization has no pool {given!r}; "
            "take one of its pools, or none."
        )
    return pool_id


async def _refuse_taken(deps: WorkspaceDeps, tx: Tx, workspace: Workspace) -> None:
    found = await deps.store.find(tx, workspace.organization_id, workspace.name)
    if found is not None:
        raise ConflictError(
            f"The organization has a workspace {workspace.name!r} already; "
            "choose another name."
        )


def _known(workspace: Workspace | None, workspace_id: WorkspaceId) -> Workspace:
    if workspace is None:
        raise NotFoundError(f"There is no workspace {workspace_id}.")
    return workspace
