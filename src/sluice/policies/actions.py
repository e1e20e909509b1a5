"""What can be done with policies: keep them, try them, and look at what they said."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from sluice.auth.actions import get_organization
from sluice.auth.audit_entries import new_entry
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import (
    OrganizationId,
    PolicyId,
    TaskId,
    WorkspaceId,
    new_policy_id,
)
from sluice.base.transactions import Tx
from sluice.policies.deps import PolicyDeps
from sluice.policies.evaluating import facts_of, open_plan, results_of
from sluice.policies.model import Judgement, Policy
from sluice.policies.ports import Question
from sluice.tasks.actions import get_task
from sluice.wire.shapes.policies import MAX_SOURCE, PolicyCheckInput, PolicyInput
from sluice.workspaces.actions import get_workspace

__all__ = [
    "Owner",
    "PolicyDeps",
    "change_policy",
    "check_policy",
    "create_policy",
    "delete_policy",
    "get_policy",
    "list_policies",
    "owner_of",
    "results_of",
]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a policy is; without a workspace it is the organization's."""

    organization_id: OrganizationId
    workspace_id: WorkspaceId | None = None


async def owner_of(
    deps: PolicyDeps, *, organization: str | None, workspace_id: str | None
) -> Owner:
    """The owner that a request names.

    Raises:
        InvalidInputError: it names none, or two.
        NotFoundError: there is none such.
    """
    if workspace_id is not None and organization is None:
        workspace = await get_workspace(
            deps.tasks.workspaces, workspace_id=WorkspaceId(workspace_id)
        )
        return Owner(workspace.organization_id, workspace.id)
    if organization is not None and workspace_id is None:
        return Owner((await get_organization(deps.auth, id_or_name=organization)).id)
    raise InvalidInputError(
        "Say whose policies are meant: give either organization_id or workspace_id."
    )


# --- keep ----------------------------------------------------------------------


async def create_policy(
    deps: PolicyDeps, *, owner: Owner, wanted: PolicyInput, actor: str
) -> Policy:
    """Keep a new policy; tasks that are made from then on have to pass it.

    Raises:
        InvalidInputError: the text is no policy; each fault is in ``errors``.
        ConflictError: the owner has one of this name.
        UnavailableError: the engine is not installed.
    """
    await _check_source(deps, wanted.source)
    now = deps.clock.now()
    policy = Policy(
        id=new_policy_id(),
        organization_id=owner.organization_id,
        workspace_id=owner.workspace_id,
        name=wanted.name,
        description=wanted.description,
        source=wanted.source,
        level=wanted.level,
        enabled=wanted.enabled,
        created_by=actor,
        created_at=now,
        updated_at=now,
    )
    async with deps.transactions.write() as tx:
        await deps.store.add(tx, policy)
        await _record(deps, tx, policy, actor=actor, verb="create")
    return policy


async def list_policies(deps: PolicyDeps, *, owner: Owner) -> list[Policy]:
    """An organization's policies, or all that hold in a workspace, by name."""
    async with deps.transactions.read() as tx:
        if owner.workspace_id is None:
            return await deps.store.of_organization(tx, owner.organization_id)
        return await deps.store.holding_in(
            tx, owner.organization_id, owner.workspace_id
        )


async def get_policy(deps: PolicyDeps, *, policy_id: PolicyId) -> Policy:
    """One policy.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return _known(await deps.store.get(tx, policy_id), policy_id)


async def change_policy(
    deps: PolicyDeps, *, policy_id: PolicyId, wanted: PolicyInput, actor: str
) -> Policy:
    """Replace a policy; tasks that were made before are judged by what it was.

    Raises:
        InvalidInputError: the text is no policy; each fault is in ``errors``.
        ConflictError: another of its owner has this name.
        NotFoundError: there is none with this id.
        UnavailableError: the engine is not installed.
    """
    await _check_source(deps, wanted.source)
    async with deps.transactions.write() as tx:
        policy = replace(
            await _held(deps, tx, policy_id),
            name=wanted.name,
            description=wanted.description,
            source=wanted.source,
            level=wanted.level,
            enabled=wanted.enabled,
            updated_at=deps.clock.now(),
        )
        await deps.store.save(tx, policy)
        await _record(deps, tx, policy, actor=actor, verb="update")
    return policy


async def delete_policy(deps: PolicyDeps, *, policy_id: PolicyId, actor: str) -> None:
    """Forget a policy; tasks that were made before still have to pass it.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.write() as tx:
        policy = await _held(deps, tx, policy_id)
        await deps.store.delete(tx, policy_id)
        await _record(deps, tx, policy, actor=actor, verb="delete")


async def _record(
    deps: PolicyDeps, tx: Tx, policy: Policy, *, actor: str, verb: str
) -> None:
    """Keep in the audit log who did what to a policy, and which text it has by its digest."""
    digest = hashlib.sha256(policy.source.encode()).hexdigest()
    entry = new_entry(
        deps.clock,
        actor=actor,
        action=f"policy.{verb}",
        subject=policy.id,
        organization_id=policy.organization_id,
        detail={
            "name": policy.name,
            "level": policy.level.value,
            "enabled": str(policy.enabled).lower(),
            "workspace_id": policy.workspace_id or "",
            "source_sha256": digest,
        },
    )
    await deps.audit.append(tx, entry)


async def _held(deps: PolicyDeps, tx: Tx, policy_id: PolicyId) -> Policy:
    return _known(await deps.store.hold(tx, policy_id), policy_id)


def _known(policy: Policy | None, policy_id: PolicyId) -> Policy:
    if policy is None:
        raise NotFoundError(f"There is no policy {policy_id}.")
    return policy


async def _check_source(deps: PolicyDeps, source: str) -> None:
    size = len(source.encode())
    if size > MAX_SOURCE:
        raise InvalidInputError(
            f"source: the text has {size} bytes; {MAX_SOURCE} are the most."
        )
    faults = await deps.engine.faults(source)
    if faults:
        first = faults[0]
        raise InvalidInputError(
            f"source: line {first.line}: {first.message}.",
            errors=[
                {"line": str(fault.line), "message": fault.message} for fault in faults
            ],
        )


# --- try -----------------------------------------------------------------------


async def check_policy(
    deps: PolicyDeps, *, policy: Policy, given: PolicyCheckInput
) -> Judgement:
    """What a policy says of a plan; nothing is stored.

    Raises:
        InvalidInputError: neither a plan nor a task is given, or both, or a text is no policy.
        NotFoundError: there is no such task in the policy's organization, or no plan of it.
    """
    if (given.plan is None) == (given.task_id is None):
        raise InvalidInputError("Give either a plan or a task_id to try the policy on.")
    if given.source is not None:
        await _check_source(deps, given.source)
    source = given.source or policy.source
    if given.task_id is not None:
        return await _on_task(deps, policy, source, TaskId(given.task_id))
    content = await asyncio.to_thread(json.dumps, given.plan)
    facts = await _facts(deps, policy)
    return await deps.engine.judge(Question(source, facts, content.encode()))


async def _on_task(
    deps: PolicyDeps, policy: Policy, source: str, task_id: TaskId
) -> Judgement:
    task = await get_task(deps.tasks, task_id=task_id)
    foreign = policy.workspace_id not in {None, task.workspace_id}
    if foreign or task.organization_id != policy.organization_id:
        raise NotFoundError(
            f"There is no task {task.id} where the policy {policy.name} holds."
        )
    plan = await open_plan(deps, task)
    question = Question(source, await facts_of(deps, task), plan.content)
    return plan.masked(await deps.engine.judge(question))


async def _facts(deps: PolicyDeps, policy: Policy) -> dict[str, Any]:
    """What stands for workspace and task where there is only a plan."""
    name = ""
    if policy.workspace_id is not None:
        workspace = await get_workspace(
            deps.tasks.workspaces, workspace_id=policy.workspace_id
        )
        name = workspace.name
    return {
        "workspace": {"id": policy.workspace_id or "", "name": name},
        "task": {"id": "", "type": "", "message": "", "created_by": ""},
    }
