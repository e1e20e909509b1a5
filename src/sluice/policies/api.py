"""Routes of policies: keep them, try them, and look at what they said of tasks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from sluice.auth.guard import permit_named, require
from sluice.auth.model import Principal
from sluice.auth.permissions import Permission
from sluice.base.errors import NotFoundError
from sluice.base.ids import PolicyId, TaskId, WorkspaceId
from sluice.policies import actions
from sluice.policies.actions import Owner
from sluice.policies.deps import PolicyDeps
from sluice.policies.model import Finding, Policy, PolicyResult
from sluice.tasks.actions import get_task
from sluice.wire.shapes import policies as shapes
from sluice.wire.shapes.policies import PolicyCheckInput, PolicyInput

Reader = Annotated[Principal, Depends(require(Permission.READ))]
LateReader = Annotated[Principal, Depends(require(Permission.READ, late=True))]
Maker = Annotated[Principal, Depends(require(Permission.MANAGE_POLICIES, late=True))]
Keeper = Annotated[Principal, Depends(require(Permission.MANAGE_POLICIES))]
OfOrganization = Annotated[
    str | None, Query(alias="organization_id", description="Id or name.")
]
OfWorkspace = Annotated[str | None, Query(alias="workspace_id")]


def build_router(deps: PolicyDeps) -> APIRouter:
    """All routes of this package."""
    router = APIRouter(prefix="/api/v1", tags=["policies"])
    _add_lists(router, deps)
    _add_single(router, deps)
    _add_trial(router, deps)
    _add_results(router, deps)
    return router


def _add_lists(router: APIRouter, deps: PolicyDeps) -> None:
    @router.get("/policies")
    async def list_policies(
        _: LateReader,
        request: Request,
        organization: OfOrganization = None,
        workspace: OfWorkspace = None,
    ) -> list[shapes.PolicyInfo]:
        """An organization's policies, or all that hold in a workspace, by name."""
        owner = await _permitted_owner(deps, request, organization, workspace)
        found = await actions.list_policies(deps, owner=owner)
        return [shapes.PolicyInfo(**_facts(policy)) for policy in found]

    @router.post("/policies", status_code=201)
    async def create_policy(
        given: PolicyInput,
        caller: Maker,
        request: Request,
        organization: OfOrganization = None,
        workspace: OfWorkspace = None,
    ) -> shapes.Policy:
        """Keep a new policy of an organization or a workspace; its text is checked."""
        owner = await _permitted_owner(deps, request, organization, workspace)
        made = await actions.create_policy(
            deps, owner=owner, wanted=given, actor=caller.actor
        )
        return _resource(made)


def _add_single(router: APIRouter, deps: PolicyDeps) -> None:
    @router.get("/policies/{policy_id}")
    async def get_policy(policy_id: str, _: Reader) -> shapes.Policy:
        """One policy with its text."""
        found = await actions.get_policy(deps, policy_id=PolicyId(policy_id))
        return _resource(found)

    @router.put("/policies/{policy_id}")
    async def change_policy(
        policy_id: str, given: PolicyInput, caller: Keeper
    ) -> shapes.Policy:
        """Replace a policy; what runs already is judged by what it was."""
        changed = await actions.change_policy(
            deps, policy_id=PolicyId(policy_id), wanted=given, actor=caller.actor
        )
        return _resource(changed)

    @router.delete("/policies/{policy_id}", status_code=204)
    async def delete_policy(policy_id: str, caller: Keeper) -> None:
        """Forget a policy; what it said of tasks stays."""
        await actions.delete_policy(
            deps, policy_id=PolicyId(policy_id), actor=caller.actor
        )


def _add_trial(router: APIRouter, deps: PolicyDeps) -> None:
    @router.post("/policies/{policy_id}/check")
    async def check_policy(
        policy_id: str, given: PolicyCheckInput, request: Request, _: Keeper
    ) -> shapes.PolicyCheck:
        """Try a policy on a plan, or on the stored plan of a task; nothing is stored.

        The policy's text reads all of the plan, so the caller must be one who may.
        """
        if given.task_id is not None and given.plan is None:
            await permit_named(
                request, Permission.REVIEW_SECRETS, task_id=given.task_id
            )
        policy = await actions.get_policy(deps, policy_id=PolicyId(policy_id))
        said = await actions.check_policy(deps, policy=policy, given=given)
        return shapes.PolicyCheck(
            status=said.status.value,
            messages=[_message(item) for item in said.findings],
            left_out=said.left_out,
            error=said.error,
        )


def _add_results(router: APIRouter, deps: PolicyDeps) -> None:
    @router.get("/workspaces/{workspace_id}/tasks/{task_id}/policy-results")
    async def get_policy_results(
        workspace_id: str, task_id: str, _: Reader
    ) -> shapes.PolicyResults:
        """What policies say of a task; none where it had to pass none."""
        task = await get_task(deps.tasks, task_id=TaskId(task_id))
        if task.workspace_id != WorkspaceId(workspace_id):
            raise NotFoundError(f"There is no task {task_id} in {workspace_id}.")
        found = await actions.results_of(deps, task_id=task.id)
        return shapes.PolicyResults(
            task_id=task.id, results=[_result(one) for one in found]
        )


async def _permitted_owner(
    deps: PolicyDeps, request: Request, organization: str | None, workspace: str | None
) -> Owner:
    """The owner that a request names, where the caller may do what they ask for."""
    if organization is not None and workspace is None:
        await permit_named(request, organization=organization)
    if workspace is not None and organization is None:
        await permit_named(request, workspace_id=workspace)
    return await actions.owner_of(
        deps, organization=organization, workspace_id=workspace
    )


def _resource(policy: Policy) -> shapes.Policy:
    return shapes.Policy(**_facts(policy), source=policy.source)


def _facts(policy: Policy) -> dict[str, object]:
    return {
        "id": policy.id,
        "organization_id": policy.organization_id,
        "workspace_id": policy.workspace_id,
        "name": policy.name,
        "description": policy.description,
        "level": policy.level,
        "enabled": policy.enabled,
        "created_by": policy.created_by,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def _result(result: PolicyResult) -> shapes.PolicyResult:
    return shapes.PolicyResult(
        policy_id=result.policy_id,
        name=result.name,
        level=result.level,
        status=result.status.value,
        messages=[_message(item) for item in result.findings],
        left_out=result.left_out,
        error=result.error,
        completed_at=result.completed_at,
    )


def _message(item: Finding) -> shapes.PolicyMessage:
    return shapes.PolicyMessage(
        kind=item.kind.value,
        message=item.message,
        address=item.address,
        severity=item.severity,
        url=item.url,
    )
