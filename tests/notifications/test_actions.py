"""What can be taken of a notification, and what is kept of what people do."""

from typing import Any

import pytest

from sluice.auth.audit import AuditFilter
from sluice.auth.model import SITE
from sluice.base.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import DeliveryId, NotificationId, WorkspaceId
from sluice.base.paging import Page
from sluice.notifications import actions
from sluice.notifications.schedule import Outcome
from sluice.notifications.sealing import secret_of, url_of
from sluice.wire.notification import NotificationKind, Trigger
from sluice.wire.shapes.notifications import NotificationChange
from tests.notifications.rig import (
    ORG,
    URL,
    WS,
    Rig,
    ScriptedRelay,
    make_delivery,
    organization_place,
)

EMAIL, SLACK = NotificationKind.EMAIL, NotificationKind.SLACK


async def change(rig: Rig, notification_id: NotificationId, **given: Any) -> Any:
    return await actions.change_notification(
        rig.deps,
        notification_id=notification_id,
        change=NotificationChange(**given),
        actor="bob",
    )


async def test_its_url_and_its_secret_are_sealed(rig: Rig) -> None:
    made = await rig.make(secret="sesame")
    assert made.endpoint == "https://hooks.example.com"
    assert made.sealed_url is not None
    assert b"with-token" not in made.sealed_url
    assert made.sealed_secret is not None
    assert b"sesame" not in made.sealed_secret
    assert url_of(rig.deps.keyring, made) == URL
    assert secret_of(rig.deps.keyring, made) == "sesame"
    bare = await change(rig, made.id, secret="")
    assert bare.sealed_secret is None
    moved = await change(rig, made.id, endpoint_url="https://b.example/x")
    assert moved.endpoint == "https://b.example"
    assert url_of(rig.deps.keyring, moved) == "https://b.example/x"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"endpoint_url": None}, "endpoint_url"),
        ({"kind": SLACK, "endpoint_url": None}, "endpoint_url"),
        ({"kind": SLACK, "secret": "x"}, "secret"),
        ({"recipients": ["a@example.com"]}, "recipients"),
        ({"kind": EMAIL}, "recipients"),
        ({"kind": EMAIL, "recipients": ["a@example.com\r\nBcc: b@c"]}, "recipients"),
        ({"kind": EMAIL, "recipients": ["a@b"], "endpoint_url": URL}, "endpoint_url"),
        ({"kind": EMAIL, "recipients": ["a@b"], "secret": "x"}, "secret"),
        ({"kind": EMAIL, "users": ["nobody"]}, "users"),
        ({"name": "two\nlines"}, "name"),
        ({"name": " x"}, "name"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    rig: Rig, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: "):
        await rig.make(**given)
    assert await actions.list_notifications(rig.deps, place=organization_place()) == []


async def test_a_server_without_mail_takes_no_mail(rig: Rig) -> None:
    relay = rig.deps.relay
    assert isinstance(relay, ScriptedRelay)
    relay.sender = ""
    with pytest.raises(InvalidInputError, match="SLUICE_SMTP_HOST"):
        await rig.make(kind=EMAIL, recipients=["a@example.com"])


async def test_a_change_leaves_what_it_does_not_name(rig: Rig) -> None:
    made = await rig.make()
    assert await change(rig, made.id, enabled=True) == made
    changed = await change(rig, made.id, triggers=["task:applying"], name="new")
    assert (changed.name, changed.triggers) == ("new", (Trigger.APPLYING,))
    assert changed.sealed_url == made.sealed_url
    assert await actions.get_notification(rig.deps, notification_id=made.id) == changed


async def test_there_is_a_most(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MOST", 2)
    await rig.make("a")
    await rig.make("b")
    with pytest.raises(ConflictError, match="2 notifications"):
        await rig.make("c")
    await rig.make("c", place=organization_place())


async def test_a_test_is_sent_at_once_and_kept_nowhere(rig: Rig) -> None:
    made = await rig.make()
    tried = await actions.try_notification(
        rig.deps, notification_id=made.id, actor="ann"
    )
    assert tried.outcome is Outcome.SENT
    [sent] = rig.endpoints.sent
    assert b'"type":"test"' in sent.body
    assert await rig.messages(made.id) == []
    for kind in (SLACK, EMAIL):
        to: dict[str, Any] = {}
        if kind is EMAIL:
            to = {"recipients": ["a@example.com"]}
        other = await rig.make(kind.value, kind=kind, **to)
        await actions.try_notification(rig.deps, notification_id=other.id, actor="ann")
    assert b"Sluice: test of slack" in rig.endpoints.sent[1].body
    assert rig.relay.sent[0][1]["Subject"] == "Sluice: test of email"


async def test_what_is_not_there_is_said(rig: Rig) -> None:
    made = await rig.make()
    nowhere = NotificationId("ntf-x")
    for call in (
        actions.get_notification(rig.deps, notification_id=nowhere),
        change(rig, nowhere, name="x"),
        actions.delete_notification(rig.deps, notification_id=nowhere, actor="ann"),
        actions.try_notification(rig.deps, notification_id=nowhere, actor="ann"),
        actions.list_deliveries(
            rig.deps, notification_id=nowhere, status=None, page=Page()
        ),
        actions.redeliver(
            rig.deps,
            notification_id=made.id,
            delivery_id=DeliveryId("msg-x"),
            actor="ann",
        ),
        actions.place_of_workspace(rig.deps, WorkspaceId("ws-x")),
        actions.place_of_organization(rig.deps, "nowhere"),
        rig.make(place=SITE),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_only_what_does_not_wait_is_sent_again(rig: Rig) -> None:
    made = await rig.make()
    await rig.put(message := make_delivery(made))

    async def redeliver() -> None:
        await actions.redeliver(
            rig.deps, notification_id=made.id, delivery_id=message.id, actor="ann"
        )

    with pytest.raises(ConflictError, match="waits"):
        await redeliver()
    await rig.send_all()
    await redeliver()
    await change(rig, made.id, enabled=False)
    with pytest.raises(ConflictError, match="switched off"):
        await redeliver()


async def test_what_people_do_is_in_the_audit_log(rig: Rig) -> None:
    made = await rig.make(secret="sesame")
    await change(rig, made.id, endpoint_url="https://b.example/token", enabled=False)
    await actions.try_notification(rig.deps, notification_id=made.id, actor="ann")
    await actions.delete_notification(rig.deps, notification_id=made.id, actor="ann")
    async with rig.deps.transactions.read() as tx:
        found, _ = await rig.deps.audit.page(
            tx, AuditFilter(organization_id=ORG, subject=made.id), Page()
        )
    assert [entry.action for entry in found[::-1]] == [
        "notification.create",
        "notification.update",
        "notification.test",
        "notification.delete",
    ]
    assert found[2].detail["changed"] == "enabled, endpoint_url"
    assert "token" not in repr(found)
    assert "sesame" not in repr(found)
    place = await actions.place_of_workspace(rig.deps, WS)
    assert place.organization_id == ORG
