"""Notifications on one backing, a clock to turn, and ways out that do what a test says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from prometheus_client import CollectorRegistry

from sluice.auth.actions import AuthDeps
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import KeyRing
from sluice.auth.model import Place
from sluice.base.ids import (
    NotificationId,
    OrganizationId,
    TaskId,
    UserId,
    WorkspaceId,
    new_delivery_id,
    new_notification_id,
)
from sluice.base.paging import Page
from sluice.events.hub import Hub
from sluice.notifications.actions import create_notification
from sluice.notifications.delivering import claim, deliver
from sluice.notifications.deps import NotificationDeps
from sluice.notifications.metrics import NotificationMetrics
from sluice.notifications.model import Delivery, Notification
from sluice.notifications.ports import NotificationStore, Outbox
from sluice.notifications.schedule import Outcome, Tried
from sluice.notifications.store import SqlNotificationStore, SqlOutbox
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_notifications import MemoryNotifications
from sluice.wire.notification import NotificationKind, Trigger
from sluice.wire.shapes.notifications import NotificationInput
from tests.conftest import Backing
from tests.workspaces.rig import ORG, OTHER_ORG, WS, fill, make_workspace, stores_on

__all__ = ["NOW", "ORG", "OTHER_ORG", "OTHER_WS", "WS"]

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
OTHER_WS, FOREIGN_WS = WorkspaceId("ws-2"), WorkspaceId("ws-3")
HERE = Place(ORG, WS)
ALL = (Trigger.CREATED, Trigger.PLANNING, Trigger.COMPLETED, Trigger.ERRORED)
URL = "https://hooks.example.com/path/with-token"


class StandingClock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def turn(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Sent:
    """One call as it left."""

    url: str
    body: bytes
    headers: Mapping[str, str]


Answer = int | Exception


async def _nothing(sent: Sent) -> None:
    pass


@dataclass
class ScriptedEndpoints:
    """Answers calls as a test says; ``meanwhile`` happens before each answer."""

    answer: Answer = 200
    sent: list[Sent] = field(default_factory=list)
    meanwhile: Callable[[Sent], Awaitable[None]] = _nothing

    def check_url(self, url: str) -> None:
        pass

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float
    ) -> int:
        call = Sent(url, body, headers)
        self.sent.append(call)
        await self.meanwhile(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class ScriptedRelay:
    """Takes mails, or does not."""

    sender: str = "sluice@example.com"
    answer: Tried = field(default_factory=lambda: Tried(Outcome.SENT, 250))
    sent: list[tuple[str, EmailMessage]] = field(default_factory=list)

    async def send(self, mail: EmailMessage, *, recipient: str) -> Tried:
        self.sent.append((recipient, mail))
        return self.answer


@dataclass
class Rig:
    """Everything, with shorthands."""

    backing: Backing
    deps: NotificationDeps
    clock: StandingClock
    endpoints: ScriptedEndpoints
    relay: ScriptedRelay
    registry: CollectorRegistry

    async def make(
        self, name: str = "ops", place: Place = HERE, **given: Any
    ) -> Notification:
        """A notification, a webhook where nothing else is said."""
        fields: dict[str, Any] = {
            "name": name,
            "kind": NotificationKind.WEBHOOK,
            "triggers": list(ALL),
            **given,
        }
        if fields["kind"] is not NotificationKind.EMAIL:
            fields.setdefault("endpoint_url", URL)
        wanted = NotificationInput(**fields)
        return await create_notification(
            self.deps, place=place, wanted=wanted, actor="ann"
        )

    async def put(self, *deliveries: Delivery) -> None:
        async with self.deps.transactions.write() as tx:
            await self.deps.outbox.put(tx, deliveries)

    async def messages(self, notification_id: NotificationId) -> list[Delivery]:
        """All messages, the first first."""
        async with self.deps.transactions.read() as tx:
            found, _ = await self.deps.outbox.page(
                tx, notification_id, None, Page(limit=100)
            )
        return found[::-1]

    async def send_all(self) -> int:
        """Send what is due, one after the other; how many tries there were."""
        count = 0
        while (claimed := await claim(self.deps)) is not None:
            await deliver(self.deps, claimed)
            count += 1
        return count

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def make_notification(name: str = "ops", **fields: Any) -> Notification:
    """A webhook of `WS`, without a URL."""
    made = Notification(
        id=new_notification_id(),
        organization_id=ORG,
        workspace_id=WS,
        name=name,
        kind=NotificationKind.WEBHOOK,
        triggers=ALL,
        enabled=True,
        created_by="ann",
        created_at=NOW,
        updated_at=NOW,
        leased_until=NOW,
    )
    return replace(made, **fields)


def make_delivery(
    notification: Notification, version: int = 1, **fields: Any
) -> Delivery:
    """A message that is due, about `task-1`."""
    made = Delivery(
        id=new_delivery_id(),
        notification_id=notification.id,
        organization_id=notification.organization_id,
        workspace_id=notification.workspace_id or WS,
        task_id=TaskId("task-1"),
        version=version,
        trigger=Trigger.COMPLETED,
        recipient="",
        content=document(),
        created_at=NOW,
        next_at=NOW,
    )
    return replace(made, **fields)


def document(**data: Any) -> dict[str, Any]:
    """What a message tells, with some of it replaced."""
    return {
        "type": data.pop("type", "task:completed"),
        "timestamp": "2026-11-21T10:00:00.000Z",
        "data": {
            "notification": {"id": "ntf-1", "name": "ops"},
            "organization": {"id": ORG, "name": "acme"},
            "workspace": {"id": WS, "name": "hello"},
            "task": {
                "id": "task-1",
                "type": "plan_and_apply",
                "message": "nightly",
                "created_by": "ann",
                "created_at": "2026-11-21T09:00:00.000Z",
                **data.pop("task", {}),
            },
            "previous_status": "running",
            "status": "success",
            "reason": "",
            "actor": "agent-1",
            "links": {
                "task": "https://sluice.example.com/workspaces/ws-1/tasks/task-1",
                "api": "https://sluice.example.com/api/v1/tasks/task-1",
            },
            **data,
        },
    }


async def make_rig(backing: Backing) -> Rig:
    """A rig with two organizations and three workspaces, the third one foreign."""
    stores = stores_on(backing)
    await fill(backing.transactions, stores)
    async with backing.transactions.write() as tx:
        await stores.workspaces.add(tx, make_workspace(OTHER_WS, "net"))
        foreign = make_workspace(FOREIGN_WS, "net", OTHER_ORG)
        await stores.workspaces.add(tx, foreign)
    clock, registry = StandingClock(), CollectorRegistry()
    keyring = KeyRing([bytes(range(32))])
    store: NotificationStore = SqlNotificationStore()
    outbox: Outbox = SqlOutbox()
    memory = backing.kind == "memory"
    if memory:
        store = outbox = MemoryNotifications(backing.memory)
    endpoints, relay = ScriptedEndpoints(), ScriptedRelay()
    issuer = TokenIssuer([bytes(range(32))], clock)
    deps = NotificationDeps(
        transactions=backing.transactions,
        store=store,
        outbox=outbox,
        workspaces=stores.workspaces,
        auth=AuthDeps(backing.transactions, stores.auth, issuer, clock),
        audit=MemoryAuditLog(backing.memory) if memory else SqlAuditLog(),
        endpoints=endpoints,
        relay=relay,
        keyring=keyring,
        clock=clock,
        hub=Hub(),
        metrics=NotificationMetrics(registry),
        public_url="https://sluice.example.com",
    )
    return Rig(backing, deps, clock, endpoints, relay, registry)


def organization_place(organization_id: OrganizationId = ORG) -> Place:
    """An organization as a whole."""
    return Place(organization_id)


def user(name: str) -> UserId:
    """The id that the rig's user of this name has."""
    return UserId(f"user-{name}")
