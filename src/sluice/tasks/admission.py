"""Decides whether a new task may be, before anything is stored: 422 and 409 in words."""

import re
from collections.abc import Sequence

from sluice.base.errors import ConflictError, InvalidInputError
from sluice.base.ids import StateVersionId
from sluice.tasks.model import Task, TaskState
from sluice.terraform.hcl_text import BrokenHclError, check_expression
from sluice.wire.shapes.tasks import RunVariable, TaskInput, TaskType
from sluice.wire.shapes.workspaces import ExecutionMode
from sluice.workspaces.model import Workspace

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def check_input(wanted: TaskInput, workspace: Workspace) -> None:
    """Refuse what contradicts itself or the workspace's mode.

    Raises:
        InvalidInputError: the detail names the field.
    """
    _check_type(wanted, workspace)
    _check_options(wanted)
    _check_addresses("targets", wanted.targets)
    _check_addresses("replace", wanted.replace)
    _check_variables(wanted)


def _check_type(wanted: TaskInput, workspace: Workspace) -> None:
    applies = wanted.task_type in (TaskType.APPLY, TaskType.PLAN_AND_APPLY)
    if wanted.task_type is TaskType.SCRIPT:
        raise InvalidInputError(
            "task_type: `script` tasks do not run in a workspace; take plan,"
            " plan_and_apply or apply."
        )
    if applies and workspace.execution_mode is ExecutionMode.PLAN_ONLY:
        raise InvalidInputError(
            f"task_type: workspace {workspace.name} is plan_only, so `{wanted.task_type}`"
            " cannot run there; take `plan`, or change its execution_mode."
        )
    if wanted.task_type is TaskType.APPLY and wanted.plan_task_id is None:
        raise InvalidInputError(
            "plan_task_id: an apply needs the plan task whose saved plan it applies."
        )
    if wanted.task_type is not TaskType.APPLY and wanted.plan_task_id is not None:
        raise InvalidInputError(
            f"plan_task_id: only an apply takes a saved plan, not `{wanted.task_type}`."
        )


def _check_options(wanted: TaskInput) -> None:
    options = (wanted.destroy, wanted.refresh_only, not wanted.refresh)
    if wanted.task_type is TaskType.APPLY:
        given = wanted.targets or wanted.replace or wanted.variables
        if any(options) or given or wanted.configuration_version_id is not None:
            raise InvalidInputError(
                "task_type: an apply of a saved plan takes everything from the plan;"
                " leave configuration, options and variables out."
            )
    if wanted.destroy and wanted.refresh_only:
        raise InvalidInputError(
            "refresh_only: a task cannot destroy and only refresh; choose one."
        )
    if wanted.refresh_only and not wanted.refresh:
        raise InvalidInputError(
            "refresh: a task that only refreshes cannot leave the refresh out."
        )
    if wanted.replace and (wanted.destroy or wanted.refresh_only):
        raise InvalidInputError(
            "replace: resources are replaced in a normal plan only, not with destroy"
            " or refresh_only."
        )


def _check_addresses(field: str, addresses: Sequence[str]) -> None:
    for address in addresses:
        printable = address.isprintable() and address == address.strip()
        if not address or not printable or address.startswith("-"):
            raise InvalidInputError(
                f"{field}: {address!r} is no resource address such as aws_vpc.main."
            )


def _check_variables(wanted: TaskInput) -> None:
    keys = [variable.key for variable in wanted.variables]
    for key in keys:
        if not _IDENTIFIER.fullmatch(key):
            raise InvalidInputError(
                f"variables: {key!r} is no name of a Terraform variable."
            )
        if keys.count(key) > 1:
            raise InvalidInputError(f"variables: {key} is given more than once.")
    for variable in wanted.variables:
        if variable.hcl:
            _check_hcl(variable)


def _check_hcl(variable: RunVariable) -> None:
    try:
        check_expression(variable.value)
    except BrokenHclError as broken:
        raise InvalidInputError(
            f"variables: the value of {variable.key} is no HCL expression: {broken}."
        ) from None


def check_saved_plan(
    plan: Task | None,
    workspace: Workspace,
    *,
    planned_on: StateVersionId | None,
    current: StateVersionId | None,
) -> Task:
    """The plan task, if its saved plan can be applied in this workspace now.

    ``planned_on`` is the state version the plan was made from, ``current`` today's.

    Raises:
        InvalidInputError: there is no such finished plan here.
        ConflictError: the state has changed since, or there is nothing to apply.
    """
    if plan is None or plan.workspace_id != workspace.id:
        raise InvalidInputError(
            "plan_task_id: there is no such task in this workspace."
        )
    if plan.task_type is not TaskType.PLAN and not plan.gate_overridden:
        raise InvalidInputError(
            f"plan_task_id: {plan.id} is a `{plan.task_type}` task; only the saved plan"
            " of a `plan` task can be applied."
        )
    if plan.state is not TaskState.SUCCESS and not plan.gate_overridden:
        raise InvalidInputError(
            f"plan_task_id: {plan.id} is `{plan.status}`; only a successful plan can be"
            " applied."
        )
    if plan.plan_blob is None:
        raise InvalidInputError(
            f"plan_task_id: {plan.id} has no stored plan file; plan again."
        )
    if plan.has_changes is False:
        raise ConflictError(f"{plan.id} has nothing to change, so nothing to apply.")
    if planned_on != current:
        raise ConflictError(
            f"The saved plan of {plan.id} is stale: the workspace's state has changed"
            " since it was made; plan again."
        )
    return plan
