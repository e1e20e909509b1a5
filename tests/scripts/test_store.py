"""The port suite of registered scripts: memory, SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sluice.auth.model import Organization
from sluice.base.errors import ConflictError
from sluice.base.ids import PoolId, ScriptId, TaskId, new_script_id
from sluice.scripts.model import OldLog, Script
from sluice.wire.shapes.scripts import Parameter
from tests.scripts.conftest import ORG, OTHER_ORG, Scripts
from tests.tasks.factory import NOW


def make_script(key: str = "nginx", **fields: Any) -> Script:
    script = Script(
        id=new_script_id(),
        organization_id=ORG,
        key=key,
        name=key,
        created_by="ann",
        created_at=NOW,
        updated_at=NOW,
        body="#!/bin/sh\n",
    )
    return replace(script, **fields)


def full_script() -> Script:
    return make_script(
        name="Nginx ü",
        description="installs\nit",
        interpreter=("/bin/bash", "-eu"),
        body="",
        path="/opt/install.sh",
        parameters=(
            Parameter(name="PORT", type="integer", min=1, max=2**40, default=80),
            Parameter(name="KEY", sensitive=True),
            Parameter(name="DRY", type="boolean", default=False),
        ),
        sealed_defaults={"KEY": "AAEC"},
        timeout_seconds=90.5,
        pool_id=PoolId("pool-1"),
        labels={"region": "eu"},
        last_task_id=TaskId("task-1"),
    )


async def add(scripts: Scripts, *new: Script) -> None:
    async with scripts.world.transactions.write() as tx:
        for script in new:
            await scripts.store.add(tx, script)


async def get(scripts: Scripts, script_id: ScriptId) -> Script | None:
    async with scripts.world.transactions.read() as tx:
        return await scripts.store.get(tx, script_id)


async def other_organization(scripts: Scripts) -> None:
    async with scripts.world.transactions.write() as tx:
        await scripts.deps.auth.store.add_organization(
            tx, Organization(OTHER_ORG, "other", NOW)
        )


async def test_scripts_come_back_as_stored(scripts: Scripts) -> None:
    full, plain = full_script(), make_script("apt")
    await add(scripts, full, plain)
    assert await get(scripts, full.id) == full
    assert await get(scripts, plain.id) == plain
    assert await get(scripts, ScriptId("none")) is None
    async with scripts.world.transactions.write() as tx:
        assert await scripts.store.hold(tx, full.id) == full
        assert await scripts.store.hold(tx, ScriptId("none")) is None


async def test_a_default_keeps_its_type(scripts: Scripts) -> None:
    script = full_script()
    await add(scripts, script)
    found = await get(scripts, script.id)
    assert found is not None
    assert [type(one.default) for one in found.parameters] == [int, type(None), bool]


async def test_scripts_are_found_and_listed_by_key(scripts: Scripts) -> None:
    await other_organization(scripts)
    foreign = make_script("nginx", organization_id=OTHER_ORG)
    own = [make_script(key) for key in ("nginx", "Zsh", "apt-get", "a.b")]
    await add(scripts, foreign, *own)
    store = scripts.store
    async with scripts.world.transactions.read() as tx:
        assert await store.find(tx, ORG, "nginx") == own[0]
        assert await store.find(tx, OTHER_ORG, "nginx") == foreign
        assert await store.find(tx, ORG, "NGINX") is None
        listed = await store.list_scripts(tx, ORG)
        assert [script.key for script in await store.list_scripts(tx, OTHER_ORG)] == [
            "nginx"
        ]
    assert [script.key for script in listed] == ["Zsh", "a.b", "apt-get", "nginx"]


async def test_a_key_is_unique_in_its_organization(scripts: Scripts) -> None:
    first, second = make_script("one"), make_script("two")
    await add(scripts, first, second)
    with pytest.raises(ConflictError, match="the key one already"):
        await add(scripts, make_script("one"))
    with pytest.raises(ConflictError, match="the key one already"):
        async with scripts.world.transactions.write() as tx:
            await scripts.store.save(tx, replace(second, key="one"))
    assert await get(scripts, second.id) == second


async def test_scripts_are_changed_and_deleted(scripts: Scripts) -> None:
    script = make_script()
    await add(scripts, script)
    changed = replace(
        full_script(), id=script.id, key="other", updated_at=NOW + timedelta(days=1)
    )
    async with scripts.world.transactions.write() as tx:
        await scripts.store.save(tx, changed)
        await scripts.store.set_last_task(tx, script.id, TaskId("task-2"))
        await scripts.store.set_last_task(tx, ScriptId("none"), TaskId("task-2"))
    assert await get(scripts, script.id) == replace(
        changed, last_task_id=TaskId("task-2")
    )
    async with scripts.world.transactions.write() as tx:
        await scripts.store.delete(tx, script.id)
        await scripts.store.delete(tx, script.id)
    assert await get(scripts, script.id) is None


async def test_old_logs_are_archived_ones_of_scripts(scripts: Scripts) -> None:
    old = [await scripts.ended(NOW - timedelta(days=n), size=n) for n in (10, 30, 20)]
    await scripts.ended(NOW - timedelta(days=40), archived=False)
    await scripts.ended(NOW)
    workspace = await scripts.world.workspace()
    plan = await scripts.world.create(workspace)
    await scripts.log_of(plan.id, NOW - timedelta(days=90), size=9, archived=True)

    async def found(limit: int = 100) -> list[OldLog]:
        before = NOW - timedelta(days=7)
        async with scripts.world.transactions.read() as tx:
            return await scripts.store.old_logs(tx, ended_before=before, limit=limit)

    expected = [
        OldLog(old[at].id, size, f"logs/{old[at].id}.slz")
        for at, size in ((1, 30), (2, 20), (0, 10))
    ]
    assert await found() == expected
    assert await found(2) == expected[:2]
    async with scripts.world.transactions.write() as tx:
        assert await scripts.logs.retire(tx, old[1].id, at=NOW)
    assert await found() == expected, "the object is still to be deleted"
    async with scripts.world.transactions.write() as tx:
        await scripts.logs.forget_object(tx, old[1].id)
    assert await found() == expected[1:]
