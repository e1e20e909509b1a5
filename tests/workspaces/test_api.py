from dataclasses import replace

import pytest

from sluice.base.ids import TaskId
from sluice.events.topics import QUEUE, workspace_topic
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.actions import order_variables
from tests.workspaces.rig import (
    FOREIGN_POOL,
    NOW,
    POOL,
    WS,
    Rig,
    make_lock,
)


async def test_a_workspace_is_made_and_found(rig: Rig) -> None:
    async with rig.client() as client:
        made = await client.post(
            "/organizations/acme/workspaces",
            json={
                "name": "net",
                "execution_mode": "plan_only",
                "auto_apply": True,
                "working_directory": "./env/prod/",
                "terraform_version": "~> 1.11.0",
                "engine": "opentofu",
                "pool_id": POOL,
            },
        )
        assert made.status_code == 201, made.text
        workspace = made.json()
        assert workspace["organization_id"] == "org-1"
        assert workspace["working_directory"] == "env/prod"
        assert workspace["pool_id"] == POOL
        assert workspace["lock"] is None
        assert workspace["created_at"].endswith("Z")
        found = await client.get(f"/workspaces/{workspace['id']}")
        assert found.json() == workspace
        by_id = await client.get("/organizations/org-1/workspaces?name=net")
        assert by_id.json() == {
            "workspaces": [workspace],
            "total": 1,
            "limit": 20,
            "offset": 0,
        }
        listed = (await client.get("/organizations/acme/workspaces")).json()
        assert [row["name"] for row in listed["workspaces"]] == ["hello", "net"]
        assert listed["total"] == 2
        second = "/organizations/acme/workspaces?limit=1&offset=1"
        page = (await client.get(second)).json()
        assert [row["name"] for row in page["workspaces"]] == ["net"]
        assert (page["total"], page["limit"], page["offset"]) == (2, 1, 1)
        none = (await client.get("/organizations/acme/workspaces?name=nix")).json()
        assert (none["workspaces"], none["total"]) == ([], 0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "x", "working_directory": "../up"}, "working_directory"),
        ({"name": "x", "terraform_version": "newest"}, "terraform_version"),
        ({"name": "x", "terraform_version": "1\x00"}, "terraform_version"),
        ({"name": "x", "pool_id": "pool-none"}, "pool_id"),
        ({"name": "x", "pool_id": FOREIGN_POOL}, "pool_id"),
        ({"name": "x", "auto_aply": True}, "auto_aply"),
    ],
)
async def test_settings_that_cannot_be_are_refused_by_name(
    rig: Rig, given: dict[str, object], named: str
) -> None:
    async with rig.client() as client:
        refused = await client.post("/organizations/acme/workspaces", json=given)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]


async def test_unknown_things_are_not_found(rig: Rig) -> None:
    async with rig.client() as client:
        assert (await client.get("/organizations/nix/workspaces")).status_code == 404
        for method, path in (
            ("GET", "/workspaces/ws-none"),
            ("PATCH", "/workspaces/ws-none"),
            ("DELETE", "/workspaces/ws-none"),
            ("POST", "/workspaces/ws-none/lock"),
            ("POST", "/workspaces/ws-none/unlock"),
            ("POST", "/workspaces/ws-none/force-unlock"),
            ("GET", "/workspaces/ws-none/variables"),
            ("POST", "/workspaces/ws-none/variables"),
            ("PATCH", f"/workspaces/{WS}/variables/var-none"),
            ("DELETE", f"/workspaces/{WS}/variables/var-none"),
        ):
            body = {"key": "a"} if path.endswith("variables") else {}
            answer = await client.request(
                method, path, json=body if method in {"PATCH", "POST"} else None
            )
            assert answer.status_code == 404, (method, path, answer.text)


async def test_a_taken_name_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        again = await client.post(
            "/organizations/acme/workspaces", json={"name": "hello"}
        )
        assert again.status_code == 409
        assert "'hello'" in again.json()["detail"]
        made = await client.post("/organizations/acme/workspaces", json={"name": "b"})
        renamed = await client.patch(
            f"/workspaces/{made.json()['id']}", json={"name": "hello"}
        )
        assert renamed.status_code == 409
        elsewhere = await client.post(
            "/organizations/other/workspaces", json={"name": "hello"}
        )
        assert elsewhere.status_code == 201


async def test_a_patch_changes_what_it_names(rig: Rig) -> None:
    async with rig.client() as client:
        before = (await client.get(f"/workspaces/{WS}")).json()
        with rig.hub.subscribe(workspace_topic(WS)) as changes:
            changed = await client.patch(
                f"/workspaces/{WS}", json={"auto_apply": True, "pool_id": POOL}
            )
            assert await changes.wait(1)
        assert changed.json() == {**before, "auto_apply": True, "pool_id": POOL}
        cleared = await client.patch(f"/workspaces/{WS}", json={"pool_id": None})
        assert cleared.json() == {**before, "auto_apply": True}
        same_name = await client.patch(f"/workspaces/{WS}", json={"name": "hello"})
        assert same_name.status_code == 200
        bad = await client.patch(f"/workspaces/{WS}", json={"terraform_version": "x"})
        assert bad.status_code == 422
        foreign = await client.patch(
            f"/workspaces/{WS}", json={"pool_id": FOREIGN_POOL}
        )
        assert foreign.status_code == 422


async def test_a_sensitive_value_is_never_shown_again(rig: Rig) -> None:
    secret = "hunter2-ünï"
    async with rig.client() as client:
        made = await client.post(
            f"/workspaces/{WS}/variables",
            json={"key": "password", "value": secret, "sensitive": True},
        )
        assert made.status_code == 201
        assert made.json()["value"] is None
        path = f"/workspaces/{WS}/variables/{made.json()['id']}"
        described = await client.patch(path, json={"description": "of the db"})
        listed = await client.get(f"/workspaces/{WS}/variables")
        opened = await client.patch(path, json={"sensitive": False})
        for answer in (made, described, listed, opened):
            assert secret not in answer.text
        assert opened.status_code == 422
        assert "new value" in opened.json()["detail"]
        replaced = await client.patch(path, json={"sensitive": False, "value": "plain"})
        assert replaced.json()["value"] == "plain"
        hidden = await client.patch(path, json={"sensitive": True})
        assert hidden.json()["value"] is None
    [variable] = order_variables(rig.workspaces, await rig.variables())
    assert variable.value == "plain"
    assert variable.sensitive


async def test_a_sensitive_value_lies_sealed_in_the_store(rig: Rig) -> None:
    async with rig.client() as client:
        await client.post(
            f"/workspaces/{WS}/variables",
            json={"key": "password", "value": "hunter2", "sensitive": True},
        )
    async with rig.transactions.read() as tx:
        [kept] = await rig.stores.variables.list_variables(tx, WS)
    assert kept.value is None
    assert kept.sealed is not None
    assert b"hunter2" not in kept.sealed
    assert rig.keyring.open(kept.sealed, f"variable:{kept.id}") == b"hunter2"


async def test_a_task_gets_all_values(rig: Rig) -> None:
    given = [
        {"key": "b", "value": '["x"]', "hcl": True},
        {"key": "a", "value": "s3cret", "sensitive": True},
        {"key": "AWS_REGION", "value": "eu", "category": "env"},
    ]
    async with rig.client() as client:
        for variable in given:
            added = await client.post(f"/workspaces/{WS}/variables", json=variable)
            assert added.status_code == 201
    found = order_variables(rig.workspaces, await rig.variables())
    assert [(v.key, v.value, v.category, v.hcl, v.sensitive) for v in found] == [
        ("AWS_REGION", "eu", "env", False, False),
        ("a", "s3cret", "terraform", False, True),
        ("b", '["x"]', "terraform", True, False),
    ]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"key": "taken"}, 409),
        ({"key": "taken", "category": "env"}, 201),
        ({"key": "1a"}, 422),
        ({"key": "a=b"}, 422),
        ({"key": "a\n"}, 422),
        ({"key": "E", "category": "env", "hcl": True}, 422),
        ({"key": "nul", "value": "a\x00b"}, 422),
    ],
)
async def test_variables_that_cannot_be_are_refused(
    rig: Rig, given: dict[str, object], status: int
) -> None:
    async with rig.client() as client:
        await client.post(f"/workspaces/{WS}/variables", json={"key": "taken"})
        answer = await client.post(f"/workspaces/{WS}/variables", json=given)
    assert answer.status_code == status, answer.text


async def test_broken_hcl_is_refused_with_its_place(rig: Rig) -> None:
    path = f"/workspaces/{WS}/variables"
    broken = '["s3cret", {a = 1]'
    async with rig.client() as client:
        answer = await client.post(path, json={"key": "a", "value": broken})
        assert answer.status_code == 201
        one = f"{path}/{answer.json()['id']}"
        hcl = {"key": "b", "value": broken, "hcl": True, "sensitive": True}
        for refused in (
            await client.post(path, json=hcl),
            await client.patch(one, json={"hcl": True}),
            await client.patch(one, json={"hcl": True, "value": '"s3cret'}),
        ):
            assert refused.status_code == 422
            detail = refused.json()["detail"]
            assert detail.startswith("value: the ")
            assert "in line 1, column " in detail
            assert "s3cret" not in detail
        assert (await client.patch(one, json={"description": "x"})).status_code == 200
        mended = {"hcl": True, "value": '["s3cret", {a = 1}]'}
        assert (await client.patch(one, json=mended)).status_code == 200
        again = await client.patch(one, json={"value": "["})
        assert "the bracket `[` in line 1, column 1 is not closed" in again.text


async def test_a_variable_is_deleted(rig: Rig) -> None:
    async with rig.client() as client:
        made = await client.post(f"/workspaces/{WS}/variables", json={"key": "a"})
        path = f"/workspaces/{WS}/variables/{made.json()['id']}"
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(f"/workspaces/{WS}/variables")).json() == []


async def test_the_lock_names_its_holder_and_only_they_give_it_back(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        locked = await ann.post(
            f"/workspaces/{WS}/lock", json={"reason": "moving the db"}
        )
        assert locked.status_code == 200
        lock = locked.json()["lock"]
        assert (lock["holder"], lock["kind"]) == ("ann", "user")
        for path in ("lock", "unlock"):
            refused = await bob.post(f"/workspaces/{WS}/{path}")
            assert refused.status_code == 423
            assert "ann" in refused.json()["detail"]
            assert "moving the db" in refused.json()["detail"]
        assert (await ann.post(f"/workspaces/{WS}/lock")).status_code == 423
        with rig.hub.subscribe(QUEUE) as queue:
            freed = await ann.post(f"/workspaces/{WS}/unlock")
            assert await queue.wait(1)
        assert freed.json()["lock"] is None
        again = await ann.post(f"/workspaces/{WS}/unlock")
        assert again.status_code == 409
        assert "not locked" in again.json()["detail"]
        assert (await bob.post(f"/workspaces/{WS}/lock")).status_code == 200


async def test_a_lock_is_broken_by_force(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        nothing = await bob.post(f"/workspaces/{WS}/force-unlock")
        assert nothing.status_code == 409
        await ann.post(f"/workspaces/{WS}/lock")
        broken = await bob.post(
            f"/workspaces/{WS}/force-unlock", json={"reason": "ann is away"}
        )
        assert broken.status_code == 200
        assert broken.json()["lock"] is None


async def test_the_lock_of_a_task_that_goes_on_is_not_broken(rig: Rig) -> None:
    task = TaskId("task-7")
    lock = replace(make_lock(kind=LockHolderKind.TASK), id=task)
    async with rig.transactions.write() as tx:
        await rig.stores.workspaces.take_lock(tx, WS, lock)
    rig.tasks.going.add(task)
    async with rig.client() as client:
        refused = await client.post(f"/workspaces/{WS}/force-unlock")
        assert refused.status_code == 409
        assert "cancel" in refused.json()["detail"]
        assert (await client.post(f"/workspaces/{WS}/unlock")).status_code == 423
        rig.tasks.going.clear()
        assert (await client.post(f"/workspaces/{WS}/force-unlock")).is_success


async def test_a_workspace_goes_with_what_belongs_to_it(rig: Rig) -> None:
    await rig.blobs.put("plans/task-1/plan", b"plan")
    rig.tasks.blobs.append("plans/task-1/plan")
    async with rig.client() as client:
        await client.post(f"/workspaces/{WS}/variables", json={"key": "a"})
        await client.post(f"/workspaces/{WS}/configuration-versions")
        deleted = await client.delete(f"/workspaces/{WS}")
        assert deleted.status_code == 204, deleted.text
        assert (await client.get(f"/workspaces/{WS}")).status_code == 404
    assert rig.blob_files() == []


async def test_a_workspace_that_is_needed_is_deleted_by_force_alone(rig: Rig) -> None:
    state = (
        b'{"version":4,"serial":1,"lineage":"l","resources":'
        b'[{"mode":"managed","instances":[{},{}]}]}'
    )
    rig.tasks.going.add(TaskId("task-1"))
    async with rig.client() as client:
        stored = await client.post(f"/workspaces/{WS}/state-versions", content=state)
        assert stored.status_code == 201, stored.text
        await client.post(f"/workspaces/{WS}/lock", json={"reason": "mine"})
        refused = await client.delete(f"/workspaces/{WS}")
        assert refused.status_code == 409
        for hindrance in ("2 resources", "1 tasks have not ended", "mine", "force"):
            assert hindrance in refused.json()["detail"]
        assert len(rig.blob_files()) == 1
        forced = await client.delete(f"/workspaces/{WS}?force=true")
        assert forced.status_code == 204
    assert rig.blob_files() == []


async def test_a_lock_by_terraform_is_shown_like_any_other(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        held = await ann.request(
            "LOCK",
            f"/workspaces/{WS}/state-backend",
            json={"ID": "abc", "Operation": "OperationTypeApply", "Who": "ann@laptop"},
        )
        assert held.status_code == 200
        lock = (await bob.get(f"/workspaces/{WS}")).json()["lock"]
        assert (lock["kind"], lock["holder"]) == ("terraform", "ann")
        refused = await bob.post(f"/workspaces/{WS}/lock")
        assert refused.status_code == 423
        assert "ann@laptop" in refused.json()["detail"]
        unlocked = await bob.post(f"/workspaces/{WS}/force-unlock")
        assert unlocked.status_code == 200


async def test_nobody_gets_in_without_the_permission(rig: Rig) -> None:
    async with rig.client("task") as task:
        assert (await task.get(f"/workspaces/{WS}")).status_code == 403
        assert (await task.get(f"/workspaces/{WS}/variables")).status_code == 403
    async with rig.client("ann") as client:
        del client.headers["authorization"]
        assert (await client.get(f"/workspaces/{WS}")).status_code == 401


async def test_times_are_kept_to_the_microsecond(rig: Rig) -> None:
    at = NOW.replace(microsecond=123456)
    lock = replace(make_lock(), locked_at=at)
    async with rig.transactions.write() as tx:
        await rig.stores.workspaces.take_lock(tx, WS, lock)
    async with rig.transactions.read() as tx:
        found = await rig.stores.workspaces.get(tx, WS)
    assert found is not None
    assert found.lock is not None
    assert found.lock.locked_at == at
