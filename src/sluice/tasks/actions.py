"""What can be done with tasks: by people here, by phases in the modules named below.

The verbs of agents live beside the rules they follow (`phases`, `leases`, `task_data`)
and are offered here as well, so that others need to know one name only.
"""

from dataclasses import dataclass, replace

from sluice.auth.audit_calls import about
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import (
    ConfigurationVersionId,
    OrganizationId,
    StateVersionId,
    TaskId,
    WorkspaceId,
    new_task_id,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.configs.actions import get_configuration_version, newest_uploaded
from sluice.configs.model import ConfigurationVersion
from sluice.events.topics import QUEUE, task_topic, workspace_topic
from sluice.state.actions import current_state
from sluice.tasks.admission import check_input, check_saved_plan
from sluice.tasks.admitting import admit
from sluice.tasks.changes import happen, locked, tell
from sluice.tasks.claims import claim_phases, find_takers
from sluice.tasks.deps import TaskDeps
from sluice.tasks.events import (
    CancelAsked,
    Confirmed,
    Discarded,
    ForceCancelAsked,
)
from sluice.tasks.gate_actions import plan_gates
from sluice.tasks.leases import (
    CurrentLeases,
    command_for_task,
    commands_for,
    expire_leases,
    get_lease,
    renew_lease,
    renew_leases,
)
from sluice.tasks.model import ActionRecord, LeaseOutcome, Task
from sluice.tasks.order import seal_run_variables
from sluice.tasks.phases import (
    finish_phase,
    phase_started,
    record_events,
)
from sluice.tasks.ports import TaskFilter
from sluice.tasks.present import TaskDetails
from sluice.tasks.reach import name_of
from sluice.tasks.scripts import start_script
from sluice.tasks.unreachable import silences, unreachable_reasons
from sluice.tasks.waits import reasons
from sluice.wire.agent import PhaseName, PlanOptions
from sluice.wire.shapes.configs import ConfigurationStatus
from sluice.wire.shapes.tasks import TaskInput, TaskType
from sluice.workspaces.actions import get_workspace
from sluice.workspaces.model import Workspace

__all__ = [
    "CurrentLeases",
    "TaskDeps",
    "cancel",
    "claim_phases",
    "command_for_task",
    "commands_for",
    "confirm",
    "create_task",
    "discard",
    "expire_leases",
    "find_takers",
    "finish_phase",
    "force_cancel",
    "get_lease",
    "get_task",
    "get_task_details",
    "list_tasks",
    "phase_started",
    "record_events",
    "renew_lease",
    "renew_leases",
    "start_script",
]


@dataclass(frozen=True, slots=True)
class TaskListing:
    """A page of tasks with why each stands where it stands."""

    tasks: list[tuple[Task, str]]
    total: int


# --- create ------------------------------------------------------------------


async def create_task(
    deps: TaskDeps, *, workspace_id: WorkspaceId, wanted: TaskInput, actor: str
) -> Task:
    """Put a new task into the workspace's queue.

    Raises:
        NotFoundError: there is no such workspace.
        InvalidInputError: the detail names the field that cannot be taken.
        ConflictError: the saved plan is stale.
        RateLimitedError: there are as many unfinished tasks as there may be.
    """
    workspace = await get_workspace(deps.workspaces, workspace_id=workspace_id)
    check_input(wanted, workspace)
    task = await _new_task(deps, workspace, wanted, actor)
    diverged = workspace.state_diverged if task.needs_lock else None
    async with deps.transactions.write() as tx:
        await admit(
            deps,
            tx,
            organization_id=task.organization_id,
            workspace_id=task.workspace_id,
        )
        await deps.log.open(tx, task.id)
        stored = await plan_gates(deps, tx, await deps.store.insert(tx, task))
        about(task.id, workspace_id=workspace_id, task_type=task.task_type.value)
        for watcher in deps.watchers:
            await watcher.changed(tx, None, stored, actor)
        if diverged:
            text = f"the workspace's state may be behind: {diverged}"
            await deps.log.note(tx, task.id, text, error=True)
    deps.hub.publish(task_topic(stored.id))
    deps.hub.publish(workspace_topic(workspace_id))
    deps.hub.publish(QUEUE)
    return stored


async def _new_task(
    deps: TaskDeps, workspace: Workspace, wanted: TaskInput, actor: str
) -> Task:
    task_id = new_task_id()
    like: Task | Workspace = workspace
    plan: Task | None = None
    if wanted.task_type is TaskType.APPLY:
        plan = await _saved_plan(deps, workspace, wanted)
        configuration_id = plan.configuration_version_id
        options, like = plan.options, plan
        plan_id: TaskId | None = plan.id
    else:
        version = await _configuration(deps, workspace, wanted)
        configuration_id, plan_id = version.id, None
        options = PlanOptions(
            destroy=wanted.destroy,
            refresh_only=wanted.refresh_only,
            refresh=wanted.refresh,
            targets=wanted.targets,
            replace=wanted.replace,
        )
    return Task(
        id=task_id,
        workspace_id=workspace.id,
        organization_id=workspace.organization_id,
        task_type=wanted.task_type,
        created_by=actor,
        created_at=deps.clock.now(),
        engine=like.engine,
        terraform_version=like.terraform_version,
        working_directory=like.working_directory,
        pool_id=workspace.pool_id,
        labels=workspace.labels,
        message=wanted.message,
        options=options,
        sealed_variables=seal_run_variables(deps, task_id, wanted.variables),
        auto_apply=_auto_apply(workspace, wanted),
        configuration_version_id=configuration_id,
        plan_task_id=plan_id,
        resolved_version=plan.resolved_version if plan else "",
        has_changes=plan.has_changes if plan else None,
        summary=plan.summary if plan else None,
    )


def _auto_apply(workspace: Workspace, wanted: TaskInput) -> bool:
    """Nothing is applied by itself on a state that is known to be behind."""
    if wanted.task_type is not TaskType.PLAN_AND_APPLY:
        return False
    asked = workspace.auto_apply if wanted.auto_apply is None else wanted.auto_apply
    return asked and workspace.state_diverged is None


async def _configuration(
    deps: TaskDeps, workspace: Workspace, wanted: TaskInput
) -> ConfigurationVersion:
    if wanted.configuration_version_id is None:
        newest = await newest_uploaded(deps.configs, workspace_id=workspace.id)
        if newest is None:
            raise InvalidInputError(
                f"configuration_version_id: workspace {workspace.name} has no uploaded"
                " configuration; upload one first."
            )
        return newest
    version_id = ConfigurationVersionId(wanted.configuration_version_id)
    try:
        version = await get_configuration_version(
            deps.configs, configuration_version_id=version_id
        )
    except NotFoundError:
        version = None
    if version is None or version.workspace_id != workspace.id:
        raise InvalidInputError(
            f"configuration_version_id: {version_id} is no configuration version of"
            f" workspace {workspace.name}."
        )
    if version.status is not ConfigurationStatus.UPLOADED:
        raise InvalidInputError(
            f"configuration_version_id: {version_id} is {version.status}; upload it"
            " first, or take another one."
        )
    return version


async def _saved_plan(deps: TaskDeps, workspace: Workspace, wanted: TaskInput) -> Task:
    plan_id = TaskId(wanted.plan_task_id or "")
    state = await current_state(deps.states, workspace_id=workspace.id)
    async with deps.transactions.read() as tx:
        plan = await deps.store.get(tx, plan_id)
        planned_on = await _planned_on(deps, tx, plan_id)
    return check_saved_plan(
        plan, workspace, planned_on=planned_on, current=state.id if state else None
    )


async def _planned_on(deps: TaskDeps, tx: Tx, plan_id: TaskId) -> StateVersionId | None:
    for lease in reversed(await deps.store.leases(tx, plan_id)):
        if lease.phase is PhaseName.PLAN and lease.outcome is LeaseOutcome.FINISHED:
            return lease.base_state_id
    return None


# --- read --------------------------------------------------------------------


async def get_task(deps: TaskDeps, *, task_id: TaskId) -> Task:
    """A task.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
    if task is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return task


async def get_task_details(deps: TaskDeps, *, task_id: TaskId) -> TaskDetails:
    """A task with its stages, actions, agent and the reason why it stands where it does.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
        if task is None:
            raise NotFoundError(f"There is no task {task_id}.")
        agent_id = task.last_agent_id
        names = await deps.agents.agent_names(tx, [agent_id]) if agent_id else {}
        silent = await silences(deps, tx, [task])
        details = TaskDetails(
            task=task,
            reason=(await reasons(deps, tx, [task]))[task_id],
            stages=await deps.store.stages(tx, task_id),
            actions=await deps.store.actions(tx, task_id),
            agent_name=name_of(agent_id, names, task.script) if agent_id else None,
        )
    unreachable = await unreachable_reasons(deps, silent)
    return replace(details, reason=unreachable.get(task_id, details.reason))


async def list_tasks(deps: TaskDeps, *, which: TaskFilter, page: Page) -> TaskListing:
    """Tasks newest first, with the reason of each."""
    async with deps.transactions.read() as tx:
        found, total = await deps.store.page(tx, which, page)
        why = await reasons(deps, tx, found)
        silent = await silences(deps, tx, found)
    why |= await unreachable_reasons(deps, silent)
    return TaskListing([(task, why[task.id]) for task in found], total)


async def list_workspace_tasks(
    deps: TaskDeps, *, workspace_id: WorkspaceId, which: TaskFilter, page: Page
) -> TaskListing:
    """A workspace's tasks, newest first.

    Raises:
        NotFoundError: there is no such workspace.
    """
    await get_workspace(deps.workspaces, workspace_id=workspace_id)
    return await list_tasks(deps, which=which, page=page)


async def find_organization(deps: TaskDeps, *, organization: str) -> OrganizationId:
    """The organization of this id or name.

    Raises:
        NotFoundError: there is none.
    """
    organizations = deps.workspaces.organizations
    async with deps.transactions.read() as tx:
        found = await organizations.get_organization(tx, OrganizationId(organization))
        if found is None:
            found = await organizations.find_organization(tx, organization)
    if found is None:
        raise NotFoundError(f"There is no organization {organization!r}.")
    return found.id


# --- decide ------------------------------------------------------------------


async def confirm(deps: TaskDeps, *, task_id: TaskId, actor: str, reason: str) -> Task:
    """Let a planned task apply.

    Raises:
        ConflictError: it does not wait for confirmation.
    """
    return await _ask(deps, task_id, "confirm", Confirmed(actor, reason))


async def discard(deps: TaskDeps, *, task_id: TaskId, actor: str, reason: str) -> Task:
    """End a planned task without applying it.

    Raises:
        ConflictError: it does not wait for confirmation.
    """
    return await _ask(deps, task_id, "discard", Discarded(actor, reason))


async def cancel(deps: TaskDeps, *, task_id: TaskId, actor: str, reason: str) -> Task:
    """Stop a task: at once where no agent works on it, else as its agent's next safe point.

    Raises:
        ConflictError: it has ended.
    """
    return await _ask(deps, task_id, "cancel", CancelAsked(actor, reason))


async def force_cancel(
    deps: TaskDeps, *, task_id: TaskId, actor: str, reason: str
) -> Task:
    """Have the phase killed; where its agent is lost, end the task without it.

    Raises:
        ConflictError: no agent works on it.
    """
    return await _ask(deps, task_id, "force_cancel", ForceCancelAsked(actor, reason))


async def _ask(
    deps: TaskDeps,
    task_id: TaskId,
    action: str,
    event: Confirmed | Discarded | CancelAsked | ForceCancelAsked,
) -> Task:
    async with deps.transactions.write() as tx:
        task = await locked(deps, tx, task_id)
        change = await happen(deps, tx, task, event)
        record = ActionRecord(action, event.actor, event.reason, deps.clock.now())
        await deps.store.add_action(tx, task_id, record)
    await tell(deps, change)
    return change.after
