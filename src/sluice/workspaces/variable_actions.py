"""Add, list, change and delete a workspace's variables."""

from dataclasses import replace

from sluice.auth.audit_calls import about
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import VariableId, WorkspaceId, new_variable_id
from sluice.base.transactions import Tx
from sluice.wire.shapes.workspaces import VariableInput, VariablePatch
from sluice.workspaces import settings_check
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.model import Variable
from sluice.workspaces.sealing import value_of, with_value


async def add_variable(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, given: VariableInput
) -> Variable:
    """Add a variable; the value of a sensitive one can never be read again.

    Raises:
        ConflictError: there is one of this category and key.
        InvalidInputError: it could not be used.
    """
    settings_check.variable_kind(given.category, hcl=given.hcl)
    settings_check.variable_size(given.category, given.key, given.value)
    if given.hcl:
        settings_check.hcl_value(given.value)
    empty = Variable(
        id=new_variable_id(),
        workspace_id=workspace_id,
        key=given.key,
        category=given.category,
        hcl=given.hcl,
        sensitive=given.sensitive,
        value=None,
        sealed=None,
        description=given.description,
        updated_at=deps.clock.now(),
    )
    variable = with_value(deps.keyring, empty, given.value)
    async with deps.transactions.write() as tx:
        await _hold(deps, tx, workspace_id)
        for other in await deps.variables.list_variables(tx, workspace_id):
            if (other.category, other.key) == (variable.category, variable.key):
                raise ConflictError(
                    f"The workspace has a {variable.category} variable "
                    f"{variable.key!r} already ({other.id}); change that one."
                )
        await deps.variables.add(tx, variable)
        about(variable.id, key=variable.key, workspace_id=workspace_id)
    return variable


async def list_variables(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId
) -> list[Variable]:
    """A workspace's variables by category and key."""
    async with deps.transactions.read() as tx:
        if await deps.store.get(tx, workspace_id) is None:
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        return await deps.variables.list_variables(tx, workspace_id)


async def change_variable(
    deps: WorkspaceDeps,
    *,
    workspace_id: WorkspaceId,
    variable_id: VariableId,
    patch: VariablePatch,
) -> Variable:
    """Change a variable; what the patch does not name stays.

    Raises:
        InvalidInputError: it could not be used, or a sensitive one would become readable
            without a new value.
    """
    async with deps.transactions.write() as tx:
        await _hold(deps, tx, workspace_id)
        old = await _variable(deps, tx, workspace_id, variable_id)
        changed = _changed(deps, old, patch)
        await deps.variables.save(tx, changed)
    return changed


async def delete_variable(
    deps: WorkspaceDeps, *, workspace_id: WorkspaceId, variable_id: VariableId
) -> None:
    """Remove a variable."""
    async with deps.transactions.write() as tx:
        await _variable(deps, tx, workspace_id, variable_id)
        await deps.variables.delete(tx, variable_id)


def _changed(deps: WorkspaceDeps, old: Variable, patch: VariablePatch) -> Variable:
    sensitive = old.sensitive if patch.sensitive is None else patch.sensitive
    hcl = old.hcl if patch.hcl is None else patch.hcl
    settings_check.variable_kind(old.category, hcl=hcl)
    if old.sensitive and not sensitive and patch.value is None:
        raise InvalidInputError(
            f"sensitive: the value of {old.key} is sensitive and is never shown again; "
            "send a new value with the change."
        )
    value = value_of(deps.keyring, old) if patch.value is None else patch.value
    settings_check.variable_size(old.category, old.key, value)
    if hcl and (patch.value is not None or not old.hcl):
        settings_check.hcl_value(value)
    changed = replace(
        old,
        hcl=hcl,
        sensitive=sensitive,
        description=old.description if patch.description is None else patch.description,
        updated_at=deps.clock.now(),
    )
    return with_value(deps.keyring, changed, value)


async def _hold(deps: WorkspaceDeps, tx: Tx, workspace_id: WorkspaceId) -> None:
    """Two changes of one workspace's variables wait for each other."""
    if await deps.store.hold(tx, workspace_id) is None:
        raise NotFoundError(f"There is no workspace {workspace_id}.")


async def _variable(
    deps: WorkspaceDeps, tx: Tx, workspace_id: WorkspaceId, variable_id: VariableId
) -> Variable:
    found = await deps.variables.get(tx, workspace_id, variable_id)
    if found is None:
        raise NotFoundError(f"Workspace {workspace_id} has no variable {variable_id}.")
    return found
