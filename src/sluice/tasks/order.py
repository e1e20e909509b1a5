"""Makes up what an agent gets for one phase: variables or script in the clear, a token."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sluice.base.errors import NotFoundError
from sluice.base.ids import TaskId
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import Lease, Task
from sluice.wire.agent import (
    LogPosition,
    OrderVariable,
    PhaseName,
    PhaseOrder,
    ScriptOrder,
)
from sluice.wire.shapes.tasks import RunVariable, TaskType
from sluice.wire.shapes.workspaces import VariableCategory
from sluice.workspaces.actions import order_variables
from sluice.workspaces.model import Variable, Workspace

TOKEN_SECONDS = 7 * 24 * 3600.0
"""A task token ends with its lease; this only bounds what a leaked one is good for."""

_ACTIONS = {
    TaskType.PLAN: "plan",
    TaskType.APPLY: "apply",
    TaskType.PLAN_AND_APPLY: "plan_apply",
    TaskType.SCRIPT: "script",
}


def make_order(
    deps: TaskDeps,
    task: Task,
    workspace: Workspace | None,
    lease: Lease,
    log: LogPosition,
    stored: Sequence[Variable] = (),
) -> PhaseOrder:
    """The order for a phase that was just claimed; scripts have no workspace.

    ``stored`` are the workspace's variables.

    Raises:
        SluiceError: a secret cannot be opened, or the workspace is gone.
    """
    if lease.phase is PhaseName.SCRIPT:
        return _script_order(deps, task, lease, log)
    if workspace is None:
        raise NotFoundError(f"The workspace of {task.id} is gone.")
    variables = order_variables(deps.workspaces, stored)
    here = f"/api/v1/tasks/{task.id}"
    return PhaseOrder(
        task_id=task.id,
        lease_id=lease.id,
        lease_seconds=deps.lease_seconds,
        workspace_id=task.home,
        workspace_name=workspace.name,
        organization_id=task.organization_id,
        action=_ACTIONS[task.task_type],
        phase=lease.phase,
        engine=task.engine,
        terraform_version=_version(task, lease),
        working_directory=task.working_directory,
        configuration_url=f"{here}/configuration",
        state_url=f"{here}/state",
        plan_url=f"{here}/plan-file",
        plan_json_url=f"{here}/plan-json",
        variables=with_run_variables(variables, run_variables(deps, task)),
        options=task.options,
        task_token=task_token(deps, task, lease),
        log=log,
    )


def _script_order(
    deps: TaskDeps, task: Task, lease: Lease, log: LogPosition
) -> PhaseOrder:
    return PhaseOrder(
        task_id=task.id,
        lease_id=lease.id,
        lease_seconds=deps.lease_seconds,
        workspace_id="",
        workspace_name="",
        organization_id=task.organization_id,
        action=_ACTIONS[task.task_type],
        phase=lease.phase,
        engine=task.engine,
        terraform_version="",
        working_directory="",
        configuration_url="",
        state_url="",
        plan_url="",
        plan_json_url="",
        variables=[],
        options=task.options,
        task_token=task_token(deps, task, lease),
        log=log,
        script=open_script(deps, task),
    )


def _version(task: Task, lease: Lease) -> str:
    """An apply takes the very version that made its plan, whatever `latest` is by now."""
    if lease.phase is PhaseName.APPLY and task.resolved_version:
        return task.resolved_version
    return task.terraform_version


def task_token(deps: TaskDeps, task: Task, lease: Lease) -> str:
    """A token that speaks for the phase as long as its lease lasts."""
    token, _ = deps.tokens.task(task.id, lease.id, task.organization_id, TOKEN_SECONDS)
    return token


def seal_script(deps: TaskDeps, task_id: TaskId, script: ScriptOrder) -> bytes:
    """A script with the values of its parameters, as it is stored."""
    return deps.keyring.seal(script.model_dump_json().encode(), _script_name(task_id))


def open_script(deps: TaskDeps, task: Task) -> ScriptOrder:
    """The script of a task as it was when it was started.

    Raises:
        NotFoundError: the task has none that agents could run.
    """
    if task.sealed_script is None:
        raise NotFoundError(f"{task.id} has no script that an agent could run.")
    plain = deps.keyring.open(task.sealed_script, _script_name(task.id))
    return ScriptOrder.model_validate_json(plain)


def seal_run_variables(
    deps: TaskDeps, task_id: TaskId, variables: Sequence[RunVariable]
) -> bytes | None:
    """Run variables as they are stored; None where there are none."""
    if not variables:
        return None
    plain: list[dict[str, Any]] = [item.model_dump() for item in variables]
    return deps.keyring.seal(msgspec.json.encode(plain), _name(task_id))


def run_variables(deps: TaskDeps, task: Task) -> list[RunVariable]:
    """The run variables of a task, in the clear."""
    if task.sealed_variables is None:
        return []
    plain = deps.keyring.open(task.sealed_variables, _name(task.id))
    return [RunVariable.model_validate(item) for item in msgspec.json.decode(plain)]


def with_run_variables(
    variables: Sequence[OrderVariable], extra: Sequence[RunVariable]
) -> list[OrderVariable]:
    """Run variables replace Terraform variables of the same key, and stay as sensitive."""
    terraform = VariableCategory.TERRAFORM.value
    sensitive = {
        variable.key
        for variable in variables
        if variable.category == terraform and variable.sensitive
    }
    replaced = {variable.key for variable in extra}
    kept = [
        variable
        for variable in variables
        if variable.category != terraform or variable.key not in replaced
    ]
    return kept + [
        OrderVariable(
            key=variable.key,
            value=variable.value,
            category=terraform,
            hcl=variable.hcl,
            sensitive=variable.key in sensitive,
        )
        for variable in extra
    ]


def _name(task_id: TaskId) -> str:
    return f"run-variables:{task_id}"


def _script_name(task_id: TaskId) -> str:
    return f"script:{task_id}"
