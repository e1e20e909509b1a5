import base64
import hashlib

import pytest

from sluice.base.ids import TaskId
from sluice.events.topics import QUEUE
from sluice.wire.shapes.workspaces import LockHolderKind
from sluice.workspaces.model import Lock
from tests.state.states import state
from tests.workspaces.rig import WS, Rig

BACKEND = f"/workspaces/{WS}/state-backend"
ANN = {"ID": "id-ann", "Operation": "OperationTypeApply", "Who": "ann@laptop"}
BOB = {"ID": "id-bob", "Operation": "OperationTypePlan", "Who": "bob@desk"}


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


async def test_a_state_is_written_read_and_deleted(rig: Rig) -> None:
    content = state(1)
    async with rig.client() as client:
        assert (await client.get(BACKEND)).status_code == 204
        written = await client.post(
            BACKEND, content=content, headers={"content-md5": md5(content)}
        )
        assert written.status_code == 200, written.text
        read = await client.get(BACKEND)
        assert read.content == content
        assert read.headers["content-md5"] == md5(content)
        assert (await client.delete(BACKEND)).status_code == 200
        assert (await client.delete(BACKEND)).status_code == 200
        assert (await client.get(BACKEND)).status_code == 204
        current = await client.get(f"/workspaces/{WS}/state-versions/current")
        assert current.status_code == 404
        assert (await client.get(f"/workspaces/{WS}/outputs")).json() == []
        history = (await client.get(f"/workspaces/{WS}/state-versions")).json()
        assert [version["size_bytes"] for version in history] == [0, len(content)]
        gone = await client.get(f"/state-versions/{history[0]['id']}/download")
        assert gone.status_code == 404
        path = f"/workspaces/{WS}/state-versions/{history[1]['id']}/rollback"
        assert (await client.post(path)).status_code == 201
        assert (await client.get(BACKEND)).status_code == 200


async def test_a_new_history_may_begin_after_a_deletion(rig: Rig) -> None:
    async with rig.client() as client:
        await client.post(BACKEND, content=state(9))
        await client.delete(BACKEND)
        begun = await client.post(BACKEND, content=state(1, lineage="line-2"))
        assert begun.status_code == 200


async def test_a_damaged_state_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        refused = await client.post(
            BACKEND, content=state(1), headers={"content-md5": md5(b"other")}
        )
        assert refused.status_code == 422
        assert "Content-MD5" in refused.json()["detail"]
        assert (await client.get(BACKEND)).status_code == 204


async def test_a_serial_that_is_not_higher_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        await client.post(BACKEND, content=state(2))
        assert (await client.post(BACKEND, content=state(2))).status_code == 200
        refused = await client.post(BACKEND, content=state(1))
        assert refused.status_code == 409


async def test_the_lock_has_one_holder_and_others_see_who(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        assert (await ann.request("LOCK", BACKEND, json=ANN)).status_code == 200
        assert (await ann.request("LOCK", BACKEND, json=ANN)).status_code == 200
        for refused in (
            await bob.request("LOCK", BACKEND, json=BOB),
            await bob.request("UNLOCK", BACKEND, json=BOB),
            await bob.post(BACKEND, content=state(1)),
            await bob.post(f"{BACKEND}?ID=id-bob", content=state(1)),
            await bob.delete(BACKEND),
            await bob.delete(f"{BACKEND}?ID=id-bob"),
        ):
            assert refused.status_code == 423
            assert refused.headers["content-type"] == "application/json"
            assert refused.json()["ID"] == "id-ann"
            assert refused.json()["Who"] == "ann@laptop"
        written = await ann.post(f"{BACKEND}?ID=id-ann", content=state(1))
        assert written.status_code == 200
        assert (await bob.get(BACKEND)).content == state(1)
        with rig.hub.subscribe(QUEUE) as queue:
            freed = await ann.request("UNLOCK", BACKEND, json=ANN)
            assert await queue.wait(1)
        assert freed.status_code == 200
        assert (await ann.request("UNLOCK", BACKEND, json=ANN)).status_code == 200
        assert (await bob.request("LOCK", BACKEND, json=BOB)).status_code == 200


async def test_an_empty_unlock_breaks_a_terraforms_lock(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        await ann.request("LOCK", BACKEND, json=ANN)
        assert (await bob.request("UNLOCK", BACKEND)).status_code == 200
        assert (await bob.request("LOCK", BACKEND, json=BOB)).status_code == 200
        late = await ann.post(f"{BACKEND}?ID=id-ann", content=state(1))
        assert late.status_code == 423
        assert late.json()["ID"] == "id-bob"
        await bob.request("UNLOCK", BACKEND, json=BOB)
        saved = await ann.post(f"{BACKEND}?ID=id-ann", content=state(1))
        assert saved.status_code == 200


@pytest.mark.parametrize("kind", [LockHolderKind.TASK, LockHolderKind.USER])
async def test_terraform_cannot_pass_for_a_task_or_a_person(
    rig: Rig, kind: LockHolderKind
) -> None:
    async with rig.client() as client:
        locked = await client.post(f"/workspaces/{WS}/lock", json={"reason": "mine"})
        lock = locked.json()["lock"]
        if kind is LockHolderKind.TASK:
            async with rig.transactions.write() as tx:
                await rig.stores.workspaces.release_lock(tx, WS, lock["id"])
                lock = {"id": "task-1"}
                task = TaskId("task-1")
                held = Lock(task, "task-1", kind, "", rig.states.clock.now())
                await rig.stores.workspaces.take_lock(tx, WS, held)
        stolen = {"ID": lock["id"], "Who": "ann"}
        for refused in (
            await client.request("LOCK", BACKEND, json=stolen),
            await client.request("UNLOCK", BACKEND, json=stolen),
            await client.request("UNLOCK", BACKEND),
            await client.post(f"{BACKEND}?ID={lock['id']}", content=state(1)),
        ):
            assert refused.status_code == 423, refused.request.url
            assert refused.json()["ID"] == lock["id"]
            assert kind.value in refused.json()["Operation"]
        shown = (await client.get(f"/workspaces/{WS}")).json()["lock"]
        assert shown["id"] == lock["id"]


async def test_what_is_no_lock_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        for body in (b"", b"{}", b"nonsense", b'{"ID": ""}'):
            refused = await client.request("LOCK", BACKEND, content=body)
            assert refused.status_code == 422
        large = b'{"ID": "a", "Info": "' + b"x" * 70_000 + b'"}'
        too_large = await client.request("LOCK", BACKEND, content=large)
        assert too_large.status_code == 413


async def test_an_unknown_workspace_is_not_found(rig: Rig) -> None:
    path = "/workspaces/ws-none/state-backend"
    async with rig.client() as client:
        for method, content in (
            ("GET", b""),
            ("POST", state()),
            ("DELETE", b""),
            ("LOCK", b'{"ID":"a"}'),
            ("UNLOCK", b'{"ID":"a"}'),
            ("UNLOCK", b""),
        ):
            answer = await client.request(method, path, content=content)
            assert answer.status_code == 404, method


async def test_a_token_as_a_basic_password_opens(rig: Rig) -> None:
    async with rig.client() as client:
        del client.headers["authorization"]
        assert (await client.get(BACKEND)).status_code == 401
        opened = await client.get(BACKEND, auth=("whoever", "ann"))
        assert opened.status_code == 204
