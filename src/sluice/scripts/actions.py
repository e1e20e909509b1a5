"""What can be done with registered scripts: keep them, and start them by their key."""

from dataclasses import dataclass, replace

from sluice.auth.actions import AuthDeps, get_organization, list_organizations
from sluice.auth.audit_calls import about
from sluice.auth.keyring import KeyRing
from sluice.base.clock import Clock
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import (
    OrganizationId,
    PoolId,
    ScriptId,
    TaskId,
    new_script_id,
)
from sluice.base.transactions import Transactions, Tx
from sluice.scripts.model import Script
from sluice.scripts.parameters import environment, faults_of_declared, refuse
from sluice.scripts.ports import Pools, ScriptStore
from sluice.scripts.sealing import hidden_defaults, with_parameters
from sluice.tasks.actions import TaskDeps, start_script
from sluice.tasks.model import ScriptFacts, Task
from sluice.wire.agent import ScriptOrder
from sluice.wire.shapes.scripts import (
    InstallInput,
    ScriptInput,
    ScriptPatch,
)

_SIMPLE = ("key", "name", "description", "labels")
_NULLABLE = ("timeout_seconds", "pool_id")


@dataclass(frozen=True, slots=True)
class ScriptDeps:
    """What the actions need."""

    transactions: Transactions
    store: ScriptStore
    auth: AuthDeps
    tasks: TaskDeps
    pools: Pools
    keyring: KeyRing
    clock: Clock


# --- keep ----------------------------------------------------------------------


async def create_script(
    deps: ScriptDeps, *, organization: str, wanted: ScriptInput, actor: str
) -> Script:
    """Register a script in an organization, named by its id or its name.

    Raises:
        InvalidInputError: it could not be run; the detail names the field.
        ConflictError: the key is taken.
        NotFoundError: there is no such organization.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    refuse(faults_of_declared(wanted.parameters))
    now = deps.clock.now()
    script = Script(
        id=new_script_id(),
        organization_id=owner.id,
        key=wanted.key,
        name=wanted.name or wanted.key,
        description=wanted.description,
        interpreter=tuple(wanted.interpreter),
        body=wanted.body,
        path=wanted.path,
        timeout_seconds=wanted.timeout_seconds,
        pool_id=None if wanted.pool_id is None else PoolId(wanted.pool_id),
        labels=wanted.labels,
        created_by=actor,
        created_at=now,
        updated_at=now,
    )
    script = with_parameters(deps.keyring, script, wanted.parameters)
    _check_program(script)
    async with deps.transactions.write() as tx:
        await _check_pool(deps, tx, script)
        await deps.store.add(tx, script)
        about(script.id, key=script.key)
    return script


async def list_scripts(deps: ScriptDeps, *, organization: str) -> list[Script]:
    """An organization's scripts by key.

    Raises:
        NotFoundError: there is no such organization.
    """
    owner = await get_organization(deps.auth, id_or_name=organization)
    async with deps.transactions.read() as tx:
        return await deps.store.list_scripts(tx, owner.id)


async def get_script(deps: ScriptDeps, *, script_id: ScriptId) -> Script:
    """One script.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.read() as tx:
        return _known(await deps.store.get(tx, script_id), script_id)


async def change_script(
    deps: ScriptDeps, *, script_id: ScriptId, patch: ScriptPatch
) -> Script:
    """Change a script; tasks that were started from it keep what they have.

    Raises:
        InvalidInputError: it could not be run any more; the detail names the field.
        ConflictError: the key is taken.
        NotFoundError: there is none with this id.
    """
    if patch.parameters is not None:
        refuse(faults_of_declared(patch.parameters))
    async with deps.transactions.write() as tx:
        old = _known(await deps.store.hold(tx, script_id), script_id)
        script = replace(_patched(old, patch), updated_at=deps.clock.now())
        if patch.parameters is not None:
            script = with_parameters(deps.keyring, script, patch.parameters)
        _check_program(script)
        await _check_pool(deps, tx, script)
        await deps.store.save(tx, script)
    return script


async def delete_script(deps: ScriptDeps, *, script_id: ScriptId) -> None:
    """Forget a script; its tasks and their logs stay.

    Raises:
        NotFoundError: there is none with this id.
    """
    async with deps.transactions.write() as tx:
        _known(await deps.store.hold(tx, script_id), script_id)
        await deps.store.delete(tx, script_id)


def _patched(old: Script, patch: ScriptPatch) -> Script:
    given = patch.model_fields_set
    changes: dict[str, object] = {
        name: value
        for name in _SIMPLE
        if name in given and (value := getattr(patch, name)) is not None
    }
    changes |= {name: getattr(patch, name) for name in _NULLABLE if name in given}
    if patch.interpreter is not None:
        changes["interpreter"] = tuple(patch.interpreter)
    if patch.body is not None or patch.path is not None:
        changes |= {"body": patch.body or "", "path": patch.path or ""}
    return replace(old, **changes)  # type: ignore[arg-type]


def _check_program(script: Script) -> None:
    if bool(script.body) == bool(script.path):
        raise InvalidInputError(
            "body: give either the script's text as body, or as path a file on the agent."
        )
    if script.path and not script.path.startswith("/"):
        raise InvalidInputError(
            f"path: {script.path} is not absolute; agents have no directory to begin at."
        )
    if script.body and not script.interpreter and not script.body.startswith("#!"):
        raise InvalidInputError(
            "interpreter: nothing says what runs the body; give an interpreter"
            ' (["/bin/sh"]), or begin the body with `#!`.'
        )


async def _check_pool(deps: ScriptDeps, tx: Tx, script: Script) -> None:
    if script.pool_id is None:
        return
    owner = await deps.pools.pool_organization(tx, script.pool_id)
    if owner != script.organization_id:
        raise InvalidInputError(
            f"pool_id: there is no pool {script.pool_id} in {script.organization_id}."
        )


def _known(script: Script | None, script_id: ScriptId) -> Script:
    if script is None:
        raise NotFoundError(f"There is no script {script_id}.")
    return script


# --- start ---------------------------------------------------------------------


async def install(
    deps: ScriptDeps, *, owner: OrganizationId, wanted: InstallInput, actor: str
) -> Task:
    """Start an organization's script with this key as a task of its own.

    Raises:
        NotFoundError: there is no such script.
        InvalidInputError: parameters do not fit; each is named in ``errors``.
        ConflictError: its pool is gone.
    """
    script = await find_script(deps, owner=owner, key=wanted.key)
    hidden = hidden_defaults(deps.keyring, script)
    variables = environment(script.parameters, wanted.parameters, hidden)
    await _check_pool_is_there(deps, script)
    order = ScriptOrder(
        name=script.name,
        interpreter=list(script.interpreter),
        body=script.body,
        path=script.path,
        environment=variables,
        sensitive=[
            parameter.name
            for parameter in script.parameters
            if parameter.sensitive and parameter.name in variables
        ],
        timeout_seconds=script.timeout_seconds,
    )
    task = await start_script(
        deps.tasks,
        organization_id=owner,
        script=order,
        facts=ScriptFacts(
            name=script.name, key=script.key, version=wanted.version, path=script.path
        ),
        pool_id=script.pool_id,
        labels=script.labels,
        actor=actor,
        message=f"{script.name} {wanted.version}".strip(),
    )
    async with deps.transactions.write() as tx:
        await deps.store.set_last_task(tx, script.id, task.id)
    return task


async def find_owner(
    deps: ScriptDeps,
    *,
    wanted: str | None,
    visible: frozenset[OrganizationId] | None = None,
) -> OrganizationId:
    """The organization of this id or name; the only one ``visible`` where none is wanted.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: there are several and none is wanted.
    """
    if wanted:
        return (await get_organization(deps.auth, id_or_name=wanted)).id
    known = [
        organization
        for organization in await list_organizations(deps.auth)
        if visible is None or organization.id in visible
    ]
    match known:
        case [only]:
            return only.id
        case []:
            raise NotFoundError("There is no organization yet; make one first.")
        case _:
            names = ", ".join(organization.name for organization in known)
            raise InvalidInputError(
                f"organization: there are several ({names}); say which."
            )


async def find_script(deps: ScriptDeps, *, owner: OrganizationId, key: str) -> Script:
    """The organization's script with this key.

    Raises:
        NotFoundError: there is none.
    """
    async with deps.transactions.read() as tx:
        script = await deps.store.find(tx, owner, key)
    if script is None:
        raise NotFoundError(
            f"No script is registered under the key {key!r}; an administrator registers"
            " one, `sluice script list` shows those there are."
        )
    return script


async def newest_task(deps: ScriptDeps, *, owner: OrganizationId, key: str) -> TaskId:
    """The newest run of a script.

    Raises:
        NotFoundError: there is no such script, or it never ran.
    """
    script = await find_script(deps, owner=owner, key=key)
    if script.last_task_id is None:
        raise NotFoundError(f"The script {key} has not run yet; there is no log of it.")
    return script.last_task_id


async def _check_pool_is_there(deps: ScriptDeps, script: Script) -> None:
    if script.pool_id is None:
        return
    async with deps.transactions.read() as tx:
        owner = await deps.pools.pool_organization(tx, script.pool_id)
    if owner is None:
        raise ConflictError(
            f"The pool {script.pool_id} of the script {script.key} is gone, so nothing"
            " can run it; have an administrator name another."
        )
