import asyncio
import json

import pytest

from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import StateVersionId, TaskId, WorkspaceId
from sluice.events.topics import workspace_topic
from sluice.state.actions import create_state_version, current_state, read_state
from tests.state.states import OUTPUTS, RESOURCES, state
from tests.workspaces.rig import WS, Rig

VERSIONS = f"/workspaces/{WS}/state-versions"


async def test_a_state_is_kept_sealed_and_given_back(rig: Rig) -> None:
    content = state(3, resources=RESOURCES, outputs=OUTPUTS)
    async with rig.client() as client:
        none = await client.get(f"{VERSIONS}/current")
        assert none.status_code == 404
        with rig.hub.subscribe(workspace_topic(WS)) as changes:
            stored = await client.post(VERSIONS, content=content)
            assert await changes.wait(1)
        assert stored.status_code == 201, stored.text
        version = stored.json()
        assert version["serial"] == 3
        assert version["lineage"] == "line-1"
        assert version["resource_count"] == 2
        assert version["size_bytes"] == len(content)
        assert version["created_by"] == "ann"
        path = f"/state-versions/{version['id']}"
        assert (await client.get(f"{VERSIONS}/current")).json() == version
        assert (await client.get(path)).json() == version
        back = await client.get(f"{path}/download")
        assert back.content == content
        assert back.headers["cache-control"] == "no-store"
    [key] = rig.blob_files()
    assert key == f"states/{version['id']}"
    sealed = await rig.blobs.get(key)
    assert b"hunter2" not in sealed
    assert b"lineage" not in sealed
    assert rig.keyring.open(sealed, f"state:{version['id']}") == content


async def test_outputs_are_shown_without_sensitive_values(rig: Rig) -> None:
    async with rig.client() as client:
        assert (await client.get(f"/workspaces/{WS}/outputs")).json() == []
        await client.post(VERSIONS, content=state(outputs=OUTPUTS))
        shown = await client.get(f"/workspaces/{WS}/outputs")
    assert "hunter2" not in shown.text
    assert shown.json() == [
        {
            "name": "all",
            "sensitive": False,
            "type": ["object", {"a": ["list", "number"]}],
            "value": {"a": [1, 2.5]},
        },
        {"name": "key", "sensitive": True, "type": "string", "value": None},
        {"name": "who", "sensitive": False, "type": "string", "value": "bob"},
    ]


async def test_serial_and_lineage_are_checked(rig: Rig) -> None:
    async with rig.client() as client:
        first = await client.post(VERSIONS, content=state(3))
        again = await client.post(VERSIONS, content=state(3))
        assert again.status_code == 201
        assert again.json() == first.json()
        for content in (state(3, note="b"), state(2), state(4, lineage="line-2")):
            refused = await client.post(VERSIONS, content=content)
            assert refused.status_code == 409
        assert len(rig.blob_files()) == 1
        forced = await client.post(
            f"{VERSIONS}?force=true", content=state(1, lineage="line-2")
        )
        assert forced.status_code == 201
        current = (await client.get(f"{VERSIONS}/current")).json()
        assert (current["serial"], current["lineage"]) == (1, "line-2")


async def test_of_states_sent_at_once_one_follows(rig: Rig) -> None:
    async with rig.client() as client:
        answers = await asyncio.gather(
            *(
                client.post(VERSIONS, content=state(1, note=number))
                for number in range(6)
            )
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [201, 409, 409, 409, 409, 409]
        assert len((await client.get(VERSIONS)).json()) == 1
    assert len(rig.blob_files()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"version": 3, "serial": 1, "lineage": "x"}', "version 3"),
        (b'{"version": 4, "serial": 1}', "lineage"),
    ],
)
async def test_what_is_no_state_is_refused(rig: Rig, content: bytes, said: str) -> None:
    async with rig.client() as client:
        refused = await client.post(VERSIONS, content=content)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
    assert rig.blob_files() == []


async def test_too_large_a_state_is_refused(rig: Rig) -> None:
    async with rig.client() as client:
        refused = await client.post(
            VERSIONS, content=b"", headers={"content-length": str(2**30)}
        )
    assert refused.status_code == 413


async def test_versions_are_listed_newest_first(rig: Rig) -> None:
    async with rig.client() as client:
        for serial in (1, 2, 3):
            await client.post(VERSIONS, content=state(serial))
        listed = (await client.get(VERSIONS)).json()
        assert [version["serial"] for version in listed] == [3, 2, 1]
        paged = (await client.get(f"{VERSIONS}?limit=1&offset=1")).json()
        assert [version["serial"] for version in paged] == [2]
        assert (await client.get(f"{VERSIONS}?limit=0")).status_code == 422


async def test_rolling_back_makes_a_new_version_of_the_old_content(rig: Rig) -> None:
    async with rig.client() as client:
        old = await client.post(VERSIONS, content=state(1, outputs=OUTPUTS))
        await client.post(VERSIONS, content=state(7))
        rolled = await client.post(f"{VERSIONS}/{old.json()['id']}/rollback")
        assert rolled.status_code == 201, rolled.text
        version = rolled.json()
        assert version["serial"] == 8
        assert version["rollback_of"] == old.json()["id"]
        assert (await client.get(f"{VERSIONS}/current")).json() == version
        content = await client.get(f"/state-versions/{version['id']}/download")
        assert content.json() == {
            **json.loads(state(1, outputs=OUTPUTS)),
            "serial": 8,
        }
        outputs = (await client.get(f"/workspaces/{WS}/outputs")).json()
        assert len(outputs) == 3
        follows = await client.post(VERSIONS, content=state(9))
        assert follows.status_code == 201


async def test_rolling_back_over_another_lineage_takes_the_old_one_up(
    rig: Rig,
) -> None:
    async with rig.client() as client:
        old = await client.post(VERSIONS, content=state(5, lineage="line-1"))
        await client.post(f"{VERSIONS}?force=true", content=state(1, lineage="line-2"))
        rolled = await client.post(f"{VERSIONS}/{old.json()['id']}/rollback")
        assert (rolled.json()["serial"], rolled.json()["lineage"]) == (6, "line-1")


async def test_what_another_workspace_has_is_not_rolled_back_to(rig: Rig) -> None:
    async with rig.client() as client:
        other = await client.post(
            "/organizations/acme/workspaces", json={"name": "other"}
        )
        path = f"/workspaces/{other.json()['id']}/state-versions"
        foreign = await client.post(path, content=state())
        await client.post(VERSIONS, content=state())
        refused = await client.post(f"{VERSIONS}/{foreign.json()['id']}/rollback")
        assert refused.status_code == 404


async def test_only_the_holder_of_the_lock_changes_the_state(rig: Rig) -> None:
    async with rig.client("ann") as ann, rig.client("bob") as bob:
        old = await ann.post(VERSIONS, content=state(1))
        await ann.post(f"/workspaces/{WS}/lock", json={"reason": "surgery"})
        rollback = f"{VERSIONS}/{old.json()['id']}/rollback"
        for refused in (
            await bob.post(VERSIONS, content=state(2)),
            await bob.post(f"{VERSIONS}?force=true", content=state(2)),
            await bob.post(rollback),
        ):
            assert refused.status_code == 423
            assert "ann" in refused.json()["detail"]
            assert "surgery" in refused.json()["detail"]
        assert (await ann.post(VERSIONS, content=state(2))).status_code == 201
        assert (await ann.post(rollback)).status_code == 201
    assert len(rig.blob_files()) == 3


@pytest.mark.parametrize("way", ["new", "again", "rollback"])
async def test_a_person_who_says_what_the_state_is_ends_its_divergence(
    rig: Rig, way: str
) -> None:
    async def diverged() -> str | None:
        async with rig.transactions.read() as tx:
            workspace = await rig.stores.workspaces.get(tx, WS)
        assert workspace is not None
        return workspace.state_diverged

    async with rig.client() as client:
        first = await client.post(VERSIONS, content=state(1))
        async with rig.transactions.write() as tx:
            await rig.stores.workspaces.set_diverged(tx, WS, "kept on agent-1")
        refused = await client.post(VERSIONS, content=state(1, note="x"))
        assert refused.status_code == 409
        backend = f"/workspaces/{WS}/state-backend"
        assert (await client.post(backend, content=state(2))).is_success
        await create_state_version(
            rig.states, workspace_id=WS, content=state(3), created_by="task-1"
        )
        assert await diverged() == "kept on agent-1"
        path = f"{VERSIONS}/{first.json()['id']}/rollback"
        answer = (
            await client.post(path)
            if way == "rollback"
            else await client.post(VERSIONS, content=state(4 if way == "new" else 3))
        )
        assert answer.is_success
    assert await diverged() is None


async def test_a_task_stores_its_state_whoever_holds_the_lock(rig: Rig) -> None:
    task = TaskId("task-1")
    async with rig.client("ann") as ann:
        await ann.post(f"/workspaces/{WS}/lock")

    async def send(content: bytes, force: bool = False) -> StateVersionId:
        version = await create_state_version(
            rig.states,
            workspace_id=WS,
            content=content,
            created_by="task-1",
            task_id=task,
            force=force,
        )
        assert version.task_id == task
        return version.id

    first = await send(state(1))
    assert await send(state(1)) == first
    with pytest.raises(ConflictError):
        await send(state(1, note="x"))
    with pytest.raises(InvalidInputError):
        await send(b"nonsense")
    second = await send(state(1, note="x"), force=True)
    current = await current_state(rig.states, workspace_id=WS)
    assert current is not None
    assert current.id == second
    read = await read_state(rig.states, state_version_id=second)
    assert read == state(1, note="x")


async def test_unknown_things_are_not_found(rig: Rig) -> None:
    async with rig.client() as client:
        for method, path in (
            ("GET", "/workspaces/ws-none/state-versions"),
            ("GET", "/workspaces/ws-none/state-versions/current"),
            ("POST", "/workspaces/ws-none/state-versions"),
            ("GET", "/workspaces/ws-none/outputs"),
            ("POST", f"{VERSIONS}/sv-none/rollback"),
            ("GET", "/state-versions/sv-none"),
            ("GET", "/state-versions/sv-none/download"),
        ):
            content = state() if path.endswith("state-versions") else None
            answer = await client.request(method, path, content=content)
            assert answer.status_code == 404, (method, path, answer.text)
    assert rig.blob_files() == []
    with pytest.raises(NotFoundError):
        await create_state_version(
            rig.states,
            workspace_id=WorkspaceId("ws-none"),
            content=state(),
            created_by="ann",
        )
