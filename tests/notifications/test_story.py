"""A task goes its way, and real receivers are told of it; over real HTTP and SMTP."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.notifications.relay import SmtpTls
from sluice.server.serving import serving
from sluice.server.settings import ServerSettings
from sluice.wire.events import Stage
from tests.agents.house import Caller, House, Json, open_house
from tests.notifications.mail_box import mail_server
from tests.runtasks.services import (
    Call,
    Service,
    new_task,
    open_settings,
    service,
    until,
)

SECRET = "whsec_" + base64.b64encode(b"24 bytes known to 2 only").decode()
WAY = ["task:created", "task:planning", "task:needs_attention"]


@asynccontextmanager
async def house_with(folder: Path, **given: Any) -> AsyncIterator[House]:
    async with open_house(open_settings(folder, **given)) as house:
        yield house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_with(tmp_path / "server") as made:
        yield made


async def notify(house: House, workspace: str, url: str, **fields: Any) -> str:
    """A notification of a workspace, of all that its tasks do."""
    made = await house.admin.post(
        f"/workspaces/{workspace}/notifications",
        {
            "name": "ops",
            "kind": "webhook",
            "triggers": [*WAY, "task:applying", "task:completed", "task:canceled"],
            "endpoint_url": url,
            **fields,
        },
        expect=201,
    )
    return str(made["notification_id"])


async def plan(house: House) -> None:
    """An agent plans what is first in the queue."""
    job = await house.work()
    await job.started()
    await job.caller.get(f"{job.here}/configuration")
    await job.stage(Stage.PLANNING, b"Plan: 1 to add.\n")
    await job.caller.put(f"{job.here}/plan-file", b"PLAN\x00")
    await job.finish(has_changes=True)


async def deliveries(house: House, notification: str, query: str = "") -> list[Json]:
    found = await house.admin.get(f"/notifications/{notification}/deliveries{query}")
    rows: list[Json] = found["deliveries"]
    return rows


def genuine(call: Call, secret: str) -> bool:
    """Standard Webhooks' signature, computed from the specification's words alone."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join(
        [
            call.headers["webhook-id"].encode(),
            call.headers["webhook-timestamp"].encode(),
            call.body,
        ]
    )
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in call.headers["webhook-signature"].split(" ")


async def test_a_webhook_is_told_of_a_tasks_whole_way(house: House) -> None:
    async with service() as receiver:
        workspace = await house.workspace("told")
        before = await new_task(house, workspace)
        await house.admin.post(f"/tasks/{before}/cancel")
        notification = await notify(house, workspace, receiver.url, secret=SECRET)
        task_id = await new_task(house, workspace, "plan_and_apply")
        await plan(house)
        await receiver.call(2)
        await house.admin.post(f"/tasks/{task_id}/discard", {"reason": "not today"})
        last = await receiver.call(3)
    told = [call.payload for call in receiver.calls]
    assert [one["type"] for one in told] == [*WAY, "task:canceled"]
    # nothing of the task that was there before
    assert {one["data"]["task"]["id"] for one in told} == {task_id}
    assert all(genuine(call, SECRET) for call in receiver.calls)
    changed = Call(last.target, last.headers, last.body + b" ")
    assert not genuine(changed, SECRET)
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 4
    data = last.payload["data"]
    assert data["workspace"] == {"id": workspace, "name": "told"}
    assert data["organization"]["name"] == "acme"
    assert (data["previous_status"], data["status"]) == ("apply_pending", "discarded")
    assert "not today" in data["reason"]
    assert "ann" in data["actor"]
    assert data["links"]["api"].endswith(f"/api/v1/tasks/{task_id}")
    assert told[1]["data"]["actor"] == house.agent_id
    assert data["notification"]["id"] == notification


async def test_a_receiver_that_was_away_is_told_by_hand(house: House) -> None:
    answers = [404, 200]

    async def answer(call: Call) -> int:
        return answers[min(len(receiver.calls), len(answers)) - 1]

    async with service(answer) as receiver:
        workspace = await house.workspace("told")
        notification = await notify(
            house, workspace, receiver.url, triggers=["task:created"]
        )
        await new_task(house, workspace)

        async def failed() -> Json | None:
            rows = await deliveries(house, notification, "?status=failed")
            return rows[0] if rows else None

        row = await until("the message to fail", failed)
        assert (row["status_code"], row["attempts"]) == (404, 1)
        assert row["message"] == "it answered with 404"
        path = f"/notifications/{notification}/deliveries/{row['delivery_id']}"
        await house.admin.post(f"{path}/redeliver", expect=202)
        again = await receiver.call(1)
        assert again.headers["webhook-id"] == row["delivery_id"]
        assert again.body == receiver.calls[0].body

        async def delivered() -> bool:
            [found] = await deliveries(house, notification)
            return bool(found["status"] == "delivered")

        await until("the message to be delivered", delivered)


async def test_an_organization_is_told_of_all_its_workspaces(house: House) -> None:
    async with service() as receiver:
        made = await house.admin.post(
            "/organizations/acme/notifications",
            {
                "name": "chat",
                "kind": "slack",
                "triggers": ["task:created"],
                "endpoint_url": receiver.url,
            },
            expect=201,
        )
        assert made["workspace_id"] is None
        for name in ("one", "two"):
            await new_task(house, await house.workspace(name))
        await receiver.call(1)
    texts = {call.payload["text"] for call in receiver.calls}
    assert texts == {
        "acme/one: plan was created",
        "acme/two: plan was created",
    }
    listed = await house.admin.get("/organizations/acme/notifications")
    assert [one["notification_id"] for one in listed] == [made["notification_id"]]


async def test_nothing_shows_its_url_or_its_secret(house: House) -> None:
    workspace = await house.workspace("told")
    url = "https://hooks.example.com/services/T0KEN"
    notification = await notify(house, workspace, url, secret="sesame")
    for path in (
        f"/notifications/{notification}",
        f"/workspaces/{workspace}/notifications",
        f"/notifications/{notification}/deliveries",
    ):
        shown = json.dumps(await house.admin.get(path))
        assert "T0KEN" not in shown
        assert "sesame" not in shown
    found = await house.admin.get(f"/notifications/{notification}")
    assert found["endpoint"] == "https://hooks.example.com"
    assert found["secret_set"] is True


async def test_a_test_says_what_came_of_it(house: House) -> None:
    async def refuse(call: Call) -> int:
        return 403

    workspace = await house.workspace("told")
    async with service(refuse) as receiver:
        notification = await notify(house, workspace, receiver.url)
        told = await house.admin.post(f"/notifications/{notification}/test")
    assert told == {
        "ok": False,
        "status_code": 403,
        "message": "It was not taken: it answered with 403.",
    }
    assert receiver.calls[0].payload["type"] == "test"
    assert await deliveries(house, notification) == []


async def test_addresses_inside_are_refused(tmp_path: Path) -> None:
    async with house_with(
        tmp_path / "closed", outgoing_allowed_cidrs="", outgoing_allow_http=False
    ) as house:
        workspace = await house.workspace("told")
        for url in (
            "https://127.0.0.1/x",
            "https://169.254.169.254/",
            "http://a.example/",
        ):
            refused = await house.admin.post(
                f"/workspaces/{workspace}/notifications",
                {"name": "x", "kind": "webhook", "endpoint_url": url},
                expect=422,
            )
            assert refused["detail"]
        # a name that leads inside is found out when it is called
        notification = await notify(house, workspace, "https://localhost/x")
        told = await house.admin.post(f"/notifications/{notification}/test")
        assert (told["ok"], told["status_code"]) == (False, None)
        await new_task(house, workspace)

        async def failed() -> list[Json]:
            return await deliveries(house, notification, "?status=failed")

        [row] = await until("the message to be given up", failed)
        assert row["attempts"] == 1


async def test_others_may_not_look(house: House) -> None:
    workspace = await house.workspace("told")
    notification = await notify(house, workspace, "https://a.example/")
    everywhere = await house.admin.post(
        "/organizations/acme/notifications",
        {"name": "all", "kind": "webhook", "endpoint_url": "https://a.example/"},
        expect=201,
    )
    made = await house.admin.post("/users", {"name": "eve"}, expect=201)
    token = await house.admin.post(
        f"/users/{made['id']}/tokens", {"name": "eves"}, expect=201
    )
    eve = Caller(house.http, token["token"])
    paths = [
        f"/workspaces/{workspace}/notifications",
        "/organizations/acme/notifications",
        *(
            f"/notifications/{one}{end}"
            for one in (notification, everywhere["notification_id"], "ntf-none")
            for end in ("", "/deliveries")
        ),
    ]
    for path in paths:
        await eve.get(path, expect=404)
    await eve.post(f"/notifications/{notification}/test", expect=404)
    # a member sees the organization, but not whom its notifications tell
    await house.admin.post(
        "/organizations/acme/members", {"user": "eve", "role": "member"}, expect=201
    )
    await eve.get("/organizations/acme/notifications", expect=403)
    await eve.get(f"/notifications/{everywhere['notification_id']}", expect=403)
    await eve.get(f"/notifications/{notification}", expect=404)
    await eve.get("/notifications/ntf-none", expect=404)


async def test_mail_is_sent_by_the_mail_server_of_the_settings(tmp_path: Path) -> None:
    with mail_server(tmp_path, SmtpTls.NONE) as box:
        async with house_with(
            tmp_path / "server",
            smtp_host="127.0.0.1",
            smtp_port=box.port,
            smtp_tls="none",
            smtp_from="sluice@example.com",
        ) as house:
            workspace = await house.workspace("told")
            user = await house.admin.post(
                "/users", {"name": "bob", "email": "bob@example.com"}, expect=201
            )
            wanted = {
                "name": "mail",
                "kind": "email",
                "triggers": ["task:created"],
                "recipients": ["a@example.com", "gone@example.com"],
                "users": ["bob"],
            }
            path = f"/workspaces/{workspace}/notifications"
            # who is no member is told nothing
            await house.admin.post(path, wanted, expect=422)
            await house.admin.post(
                "/organizations/acme/members",
                {"user": "bob", "role": "member"},
                expect=201,
            )
            made = await house.admin.post(path, wanted, expect=201)
            assert made["users"] == [user["id"]]
            await new_task(house, workspace)

            async def settled() -> bool:
                rows = await deliveries(house, made["notification_id"])
                found = {row["recipient"]: row["status"] for row in rows}
                return found == {
                    "a@example.com": "delivered",
                    "gone@example.com": "failed",
                    user["id"]: "delivered",
                }

            await until("all mails to be settled", settled)
            mails = dict(box.mails)
    assert sorted(mails) == ["a@example.com", "bob@example.com"]
    for recipient, mail in mails.items():
        assert mail["To"] == recipient
        assert mail["Subject"] == "acme/told: plan was created"
        assert mail["Auto-Submitted"] == "auto-generated"


async def test_a_workspace_takes_its_notifications_with_it(house: House) -> None:
    workspace = await house.workspace("gone")
    notification = await notify(house, workspace, "https://a.example/")
    await house.admin.ask("DELETE", f"/workspaces/{workspace}", expect=204)
    await house.admin.get(f"/notifications/{notification}", expect=404)


async def test_two_servers_tell_each_once_and_in_order(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    shared = {
        "database_url": empty_postgres_url,
        "auto_migrate": True,
        "encryption_key": base64.b64encode(bytes(range(32))).decode(),
    }
    second: ServerSettings = open_settings(tmp_path / "two", **shared)
    async with (
        service() as receiver,
        house_with(tmp_path / "one", **shared) as house,
        serving(second) as other,
    ):
        workspace = await house.workspace("told")
        notification = await notify(house, workspace, receiver.url, secret=SECRET)
        there = httpx2.AsyncClient(base_url=other.url, trust_env=False, timeout=40)
        async with there:
            elsewhere = Caller(there, house.admin.token)
            tasks = []
            for number in range(6):
                caller = (house.admin, elsewhere)[number % 2]
                made = await caller.post(
                    f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
                )
                tasks.append(made["id"])
                await caller.post(f"/tasks/{made['id']}/cancel")
        await receiver.call(11)

        async def all_kept() -> bool:
            rows = await deliveries(house, notification, "?status=delivered")
            return len(rows) == 12

        await until("all to be delivered", all_kept)
    ids = [call.headers["webhook-id"] for call in receiver.calls]
    assert len(ids) == len(set(ids)) == 12
    for task_id in tasks:
        own = [
            call.payload["type"]
            for call in receiver.calls
            if call.payload["data"]["task"]["id"] == task_id
        ]
        assert own == ["task:created", "task:canceled"]


async def test_a_dead_receiver_does_not_slow_tasks(house: House) -> None:
    hanging = asyncio.Event()

    async def hang(call: Call) -> int:
        await hanging.wait()
        return 200

    dead: Service
    async with service(hang) as dead, service() as alive:
        workspace = await house.workspace("told")
        await notify(house, workspace, dead.url, name="dead")
        await notify(house, workspace, alive.url, name="alive")
        for _ in range(5):
            task_id = await new_task(house, workspace)
            await house.admin.post(f"/tasks/{task_id}/cancel")
        await alive.call(9)
        assert len(dead.calls) < len(alive.calls)
        hanging.set()
