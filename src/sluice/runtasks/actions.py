"""What can be done with run tasks: make, look up, change and delete them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sluice.auth.actions import AuthDeps, get_organization, list_organizations
from sluice.auth.audit import AuditLog
from sluice.auth.audit_entries import new_entry
from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import OrganizationId, RunTaskId, new_run_task_id
from sluice.base.paging import Page
from sluice.base.transactions import Transactions, Tx
from sluice.runtasks.model import RunTask
from sluice.runtasks.ports import Endpoints, RunTaskStore, Workspaces
from sluice.runtasks.sealing import with_key
from sluice.wire.run_task import RunTaskStage
from sluice.wire.shapes.run_tasks import RunTaskChange, RunTaskInput

_SHOWN = 20
_NAMED = 100
"""So many of the workspaces with a run task are named in an error's document."""
_LISTS = ("global_stages", "callback_allowed_cidrs")
_APART = frozenset({*_LISTS, "hmac_key", "team_id"})


@dataclass(frozen=True, slots=True)
class RunTaskDeps:
    """What the actions need.

    ``endpoints`` judges addresses and calls them; ``public_url`` is where services find
    this server.
    """

    transactions: Transactions
    store: RunTaskStore
    auth: AuthDeps
    workspaces: Workspaces
    audit: AuditLog
    endpoints: Endpoints
    public_url: str
    keyring: KeyRing
    clock: Clock


@dataclass(frozen=True, slots=True)
class ListedRunTask:
    """A run task, and in how many workspaces it is attached."""

    run_task: RunTask
    workspace_count: int


async def create_run_task(
    deps: RunTaskDeps, *, owner: OrganizationId, wanted: RunTaskInput, actor: str
) -> RunTask:
    """Make a run task in an organization.

    Raises:
        InvalidInputError: it cannot be taken as it is; the detail names the field.
        ConflictError: the organization has one of this name.
    """
    now = deps.clock.now()
    bare = RunTask(
        id=new_run_task_id(),
        organization_id=owner,
        name=wanted.name,
        description=wanted.description,
        endpoint_url=wanted.endpoint_url,
        signature_prefix=wanted.signature_prefix,
        enabled=wanted.enabled,
        timeout_seconds=wanted.timeout_seconds,
        is_global=wanted.is_global,
        global_stages=_in_order(wanted.global_stages),
        global_level=wanted.global_level,
        callback_allowed_cidrs=tuple(wanted.callback_allowed_cidrs),
        team_id=wanted.team_id,
        created_by=actor,
        created_at=now,
        updated_at=now,
    )
    run_task = with_key(deps.keyring, bare, wanted.hmac_key)
    deps.endpoints.check_url(run_task.endpoint_url)
    _check_stages(run_task)
    async with deps.transactions.write() as tx:
        await deps.store.add(tx, run_task)
        await note(deps, tx, run_task, actor=actor, action="run_task.create")
    return run_task


async def get_run_task(deps: RunTaskDeps, *, run_task_id: RunTaskId) -> RunTask:
    """One run task.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return known(await deps.store.get(tx, run_task_id), run_task_id)


async def list_run_tasks(
    deps: RunTaskDeps, *, owner: OrganizationId, page: Page
) -> tuple[list[ListedRunTask], int]:
    """A page of an organization's run tasks by name, and how many there are."""
    async with deps.transactions.read() as tx:
        found, total = await deps.store.page(tx, owner, page)
        ids = [run_task.id for run_task in found]
        counts = await deps.store.workspace_counts(tx, ids)
    rows = [ListedRunTask(run_task, counts.get(run_task.id, 0)) for run_task in found]
    return rows, total


async def change_run_task(
    deps: RunTaskDeps, *, run_task_id: RunTaskId, change: RunTaskChange, actor: str
) -> RunTask:
    """Change a run task; what tasks under way ask already, they ask as it was.

    Raises:
        NotFoundError: there is none with this id.
        InvalidInputError: it cannot be taken as it is; the detail names the field.
        ConflictError: the organization has another one of this name.
    """
    async with deps.transactions.write() as tx:
        old = known(await deps.store.hold(tx, run_task_id), run_task_id)
        wanted = with_key(deps.keyring, _changed(old, change), change.hmac_key)
        changed = _changed_fields(old, wanted)
        if not changed:
            return old
        if "endpoint_url" in changed:
            deps.endpoints.check_url(wanted.endpoint_url)
        _check_stages(wanted)
        run_task = replace(wanted, updated_at=deps.clock.now())
        await deps.store.save(tx, run_task)
        detail = {"changed": ", ".join(changed)}
        await note(
            deps, tx, run_task, actor=actor, action="run_task.update", detail=detail
        )
    return run_task


async def delete_run_task(
    deps: RunTaskDeps, *, run_task_id: RunTaskId, force: bool, actor: str
) -> None:
    """Forget a run task, with ``force`` its attachments too; its results stay.

    Raises:
        NotFoundError: there is none with this id.
        ConflictError: it is attached; the detail names the workspaces.
    """
    async with deps.transactions.write() as tx:
        run_task = known(await deps.store.hold(tx, run_task_id), run_task_id)
        attached = await deps.store.workspaces_with(tx, run_task_id)
        found = await deps.workspaces.get_many(tx, attached[:_NAMED])
        named = sorted((workspace.name, workspace.id) for workspace in found.values())
        where = _some([name for name, _ in named], len(attached))
        if attached and not force:
            raise ConflictError(
                f"The run task {run_task.name} is attached to {where}; detach it there,"
                " or delete it with force=true.",
                workspaces=[
                    {"workspace_id": workspace_id, "name": name}
                    for name, workspace_id in named
                ],
            )
        await deps.store.delete(tx, run_task_id)
        await note(
            deps,
            tx,
            run_task,
            actor=actor,
            action="run_task.delete",
            detail={"detached_from": where} if attached else {},
        )


async def owner_of(
    deps: RunTaskDeps,
    *,
    wanted: str | None,
    visible: frozenset[OrganizationId] | None = None,
) -> OrganizationId:
    """The organization of this id or name; the only one ``visible`` where none is named.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: there are several and none is named.
    """
    if wanted:
        return (await get_organization(deps.auth, id_or_name=wanted)).id
    known_ones = [
        organization
        for organization in await list_organizations(deps.auth)
        if visible is None or organization.id in visible
    ]
    if len(known_ones) == 1:
        return known_ones[0].id
    if not known_ones:
        raise NotFoundError("There is no organization yet; make one first.")
    names = ", ".join(organization.name for organization in known_ones)
    raise InvalidInputError(f"organization_id: there are several ({names}); say which.")


def known(run_task: RunTask | None, run_task_id: RunTaskId) -> RunTask:
    """The run task, or NotFoundError."""
    if run_task is None:
        raise NotFoundError(f"There is no run task {run_task_id}.")
    return run_task


async def note(
    deps: RunTaskDeps,
    tx: Tx,
    run_task: RunTask,
    *,
    actor: str,
    action: str,
    detail: dict[str, str] | None = None,
) -> None:
    """Keep in the audit log what somebody does to a run task."""
    entry = new_entry(
        deps.clock,
        actor=actor,
        action=action,
        subject=run_task.id,
        organization_id=run_task.organization_id,
        detail={"name": run_task.name, **(detail or {})},
    )
    await deps.audit.append(tx, entry)


def _changed(old: RunTask, change: RunTaskChange) -> RunTask:
    given: dict[str, Any] = change.model_dump(exclude_none=True, exclude=set(_APART))
    if change.global_stages is not None:
        given["global_stages"] = _in_order(change.global_stages)
    if change.callback_allowed_cidrs is not None:
        given["callback_allowed_cidrs"] = tuple(change.callback_allowed_cidrs)
    if "team_id" in change.model_fields_set:
        given["team_id"] = change.team_id
    return replace(old, **given)


def _changed_fields(old: RunTask, new: RunTask) -> list[str]:
    """Names of what differs, as the API has them."""
    names = [
        field.name
        for field in fields(RunTask)
        if getattr(old, field.name) != getattr(new, field.name)
    ]
    return ["hmac_key" if name == "sealed_key" else name for name in names]


def _check_stages(run_task: RunTask) -> None:
    if run_task.is_global and not run_task.global_stages:
        raise InvalidInputError(
            "global_stages: a run task for all workspaces needs at least one stage;"
            f" name some of {', '.join(RunTaskStage)}."
        )


def _in_order(stages: Iterable[RunTaskStage]) -> tuple[RunTaskStage, ...]:
    given = set(stages)
    return tuple(stage for stage in RunTaskStage if stage in given)


def _some(names: Sequence[str], total: int) -> str:
    """The first names, and how many there are beside them."""
    shown = names[:_SHOWN]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
