"""The verbs of registered scripts: what is kept, what is hidden, what a run gets."""

from dataclasses import replace
from typing import Any

import pytest

from sluice.auth.model import Organization
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import OrganizationId, PoolId, ScriptId, TaskId
from sluice.scripts import actions
from sluice.scripts.model import Script
from sluice.tasks.model import Task
from sluice.wire.agent import ScriptOrder
from sluice.wire.shapes.scripts import InstallInput, ScriptInput, ScriptPatch
from tests.scripts.conftest import OTHER_ORG, Scripts

PARAMETERS = [
    {"name": "PORT", "type": "integer", "min": 1, "default": 80},
    {"name": "PREFIX", "required": True},
    {"name": "LICENSE_KEY", "sensitive": True, "default": "hunter2xyz"},
]


async def create(scripts: Scripts, key: str = "nginx", **fields: Any) -> Script:
    wanted = ScriptInput.model_validate(
        {"key": key, "body": "#!/bin/sh\necho hi\n", **fields}
    )
    return await actions.create_script(
        scripts.deps, organization="default", wanted=wanted, actor="ann"
    )


async def change(scripts: Scripts, script: Script, **fields: Any) -> Script:
    return await actions.change_script(
        scripts.deps, script_id=script.id, patch=ScriptPatch.model_validate(fields)
    )


async def start(scripts: Scripts, key: str = "nginx", **fields: Any) -> Task:
    wanted = InstallInput.model_validate({"key": key, **fields})
    owner = await actions.find_owner(scripts.deps, wanted=wanted.organization)
    return await actions.install(scripts.deps, owner=owner, wanted=wanted, actor="bob")


async def order(scripts: Scripts, task: Task) -> ScriptOrder:
    agent = await scripts.world.agent()
    phase = await scripts.world.claim(agent)
    assert phase.order.task_id == task.id
    assert phase.order.script is not None
    return phase.order.script


# --- keep -----------------------------------------------------------------------


async def test_a_new_script_is_kept_whole(scripts: Scripts) -> None:
    made = await create(
        scripts,
        name="Nginx",
        interpreter=["/bin/bash", "-eu"],
        parameters=PARAMETERS,
        timeout_seconds=60,
        pool_id="pool-1",
        labels={"region": "eu"},
    )
    assert made == await actions.get_script(scripts.deps, script_id=made.id)
    assert (made.name, made.created_by) == ("Nginx", "ann")
    assert made.interpreter == ("/bin/bash", "-eu")
    assert [made.key] == [
        script.key
        for script in await actions.list_scripts(scripts.deps, organization="default")
    ]
    assert (await create(scripts, "plain")).name == "plain"


async def test_a_sensitive_default_is_sealed_and_nowhere_in_the_clear(
    scripts: Scripts,
) -> None:
    made = await create(scripts, parameters=PARAMETERS)
    assert made.parameters[2].default is None
    assert "hunter2xyz" not in repr(made)
    assert set(made.sealed_defaults) == {"LICENSE_KEY"}
    task = await start(scripts, prefix="/opt")
    assert "hunter2xyz" not in repr(task)
    assert (await order(scripts, task)).environment["LICENSE_KEY"] == "hunter2xyz"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"body": ""}, "either"),
        ({"path": "/x"}, "either"),
        ({"body": "", "path": "x.sh"}, "not absolute"),
        ({"body": "echo hi"}, "interpreter"),
        ({"pool_id": "pool-9"}, "pool_id"),
        ({"parameters": [{"name": "PATH"}]}, r"parameters\.0\.name"),
    ],
)
async def test_what_could_not_run_is_refused(
    scripts: Scripts, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        await create(scripts, **fields)
    kept = await create(scripts, "kept")
    if fields != {"path": "/x"}:
        with pytest.raises(InvalidInputError, match=words):
            await change(scripts, kept, **fields)
    assert await actions.get_script(scripts.deps, script_id=kept.id) == kept


async def test_a_pool_of_another_organization_is_none(scripts: Scripts) -> None:
    async with scripts.world.transactions.write() as tx:
        await scripts.deps.auth.store.add_organization(
            tx, Organization(OTHER_ORG, "other", scripts.clock.now())
        )
    wanted = ScriptInput(key="x", body="#!/bin/sh\n", pool_id="pool-1")
    with pytest.raises(InvalidInputError, match="pool_id"):
        await actions.create_script(
            scripts.deps, organization="other", wanted=wanted, actor="ann"
        )


async def test_a_change_leaves_what_it_does_not_name(scripts: Scripts) -> None:
    made = await create(scripts, parameters=PARAMETERS, timeout_seconds=60)
    scripts.clock.turn(seconds=5)
    changed = await change(scripts, made, description="new")
    assert (changed.description, changed.timeout_seconds) == ("new", 60)
    assert changed.parameters == made.parameters
    assert changed.sealed_defaults == made.sealed_defaults
    assert changed.updated_at > made.updated_at
    assert (await change(scripts, made, timeout_seconds=None)).timeout_seconds is None


async def test_text_and_path_replace_each_other(scripts: Scripts) -> None:
    made = await create(scripts)
    by_path = await change(scripts, made, path="/opt/x.sh")
    assert (by_path.path, by_path.body) == ("/opt/x.sh", "")
    by_text = await change(scripts, made, body="#!/bin/sh\ntrue\n")
    assert (by_text.path, by_text.body) == ("", "#!/bin/sh\ntrue\n")


async def test_a_sensitive_default_stays_until_it_is_named(scripts: Scripts) -> None:
    made = await create(scripts, parameters=PARAMETERS)
    key = {"name": "LICENSE_KEY", "sensitive": True}
    kept = await change(scripts, made, parameters=[key])
    assert kept.sealed_defaults == made.sealed_defaults
    with pytest.raises(
        InvalidInputError, match=r"parameters\.0\.default.*true or false"
    ):
        await change(scripts, made, parameters=[{**key, "type": "boolean"}])
    other = await change(scripts, made, parameters=[{**key, "default": "another"}])
    assert other.sealed_defaults != made.sealed_defaults
    none = await change(scripts, made, parameters=[{**key, "default": None}])
    assert none.sealed_defaults == {}
    shown = await change(scripts, other, parameters=[{"name": "LICENSE_KEY"}])
    assert (shown.sealed_defaults, shown.parameters[0].default) == ({}, None)


async def test_a_taken_key_and_an_unknown_script(scripts: Scripts) -> None:
    made, other = await create(scripts), await create(scripts, "other")
    with pytest.raises(ConflictError):
        await create(scripts)
    with pytest.raises(ConflictError):
        await change(scripts, other, key="nginx")
    await actions.delete_script(scripts.deps, script_id=made.id)
    for verb in (actions.get_script, actions.delete_script):
        with pytest.raises(NotFoundError, match=made.id):
            await verb(scripts.deps, script_id=made.id)
    with pytest.raises(NotFoundError):
        await actions.change_script(
            scripts.deps, script_id=ScriptId("none"), patch=ScriptPatch()
        )


# --- start ----------------------------------------------------------------------


async def test_a_run_gets_the_script_as_it_was(scripts: Scripts) -> None:
    made = await create(
        scripts,
        name="Nginx",
        interpreter=["/bin/bash", "-eu"],
        parameters=PARAMETERS,
        timeout_seconds=60,
    )
    hostile = "/opt; rm -rf / $(x) `y` \"z\" 'w'\n"
    task = await start(scripts, version="1.2", prefix=hostile, port="8080")
    await change(scripts, made, body="#!/bin/sh\nfalse\n", interpreter=[])
    assert task.script is not None
    assert (task.script.key, task.script.version) == ("nginx", "1.2")
    assert (task.created_by, task.message) == ("bob", "Nginx 1.2")
    got = await order(scripts, task)
    assert (got.interpreter, got.body, got.path) == (
        ["/bin/bash", "-eu"],
        "#!/bin/sh\necho hi\n",
        "",
    )
    assert got.environment == {
        "VERSION": "1.2",
        "PREFIX": hostile,
        "PORT": "8080",
        "LICENSE_KEY": "hunter2xyz",
    }
    assert (got.sensitive, got.timeout_seconds) == (["LICENSE_KEY"], 60)


async def test_the_newest_run_is_found_by_the_key(scripts: Scripts) -> None:
    await create(scripts)
    owner = await actions.find_owner(scripts.deps, wanted=None)

    async def newest() -> TaskId:
        return await actions.newest_task(scripts.deps, owner=owner, key="nginx")

    with pytest.raises(NotFoundError, match="has not run"):
        await newest()
    first = await start(scripts)
    assert await newest() == first.id
    second = await start(scripts)
    assert await newest() == second.id != first.id


async def test_what_cannot_be_started(scripts: Scripts) -> None:
    await create(scripts, parameters=PARAMETERS)
    with pytest.raises(NotFoundError, match="'apache'"):
        await start(scripts, "apache")
    with pytest.raises(InvalidInputError) as refused:
        await start(scripts, port=0, colour="red")
    errors = refused.value.extra["errors"]
    assert isinstance(errors, list)
    assert {error["field"] for error in errors} == {"port", "colour", "PREFIX"}
    with pytest.raises(NotFoundError):
        await start(scripts, organization="nobody")


async def test_where_there_are_several_organizations(scripts: Scripts) -> None:
    await create(scripts)
    async with scripts.world.transactions.write() as tx:
        await scripts.deps.auth.store.add_organization(
            tx, Organization(OTHER_ORG, "other", scripts.clock.now())
        )
    with pytest.raises(InvalidInputError, match=r"several \(default, other\)"):
        await start(scripts)
    with pytest.raises(NotFoundError):
        await start(scripts, organization="other")
    assert (await start(scripts, organization="default")).organization_id == "org-1"
    # those that the caller may not know of do not count
    visible = frozenset({OrganizationId("org-1")})
    owner = await actions.find_owner(scripts.deps, wanted=None, visible=visible)
    assert owner == "org-1"


async def test_a_script_whose_pool_is_gone(scripts: Scripts) -> None:
    made = await create(scripts, pool_id="pool-1")
    await scripts.world.nothing(await scripts.world.agent())
    async with scripts.world.transactions.write() as tx:
        await scripts.store.save(tx, replace(made, pool_id=PoolId("pool-gone")))
    with pytest.raises(ConflictError, match="pool-gone of the script nginx is gone"):
        await start(scripts)
