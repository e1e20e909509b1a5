"""Notifications: who is told of what tasks do, and the messages that were sent."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from sluice.wire.notification import DeliveryStatus, NotificationKind, Trigger
from sluice.wire.secret import Secret
from sluice.wire.shapes.base import Input, Resource

MAX_SECRET = 1000
MAX_RECIPIENTS = 50

NotificationName = Annotated[str, Field(min_length=1, max_length=90)]
EndpointUrl = Annotated[Secret, Field(min_length=1, max_length=500)]
SigningSecret = Annotated[Secret, Field(max_length=MAX_SECRET)]
Triggers = Annotated[list[Trigger], Field(max_length=2 * len(Trigger))]
Addresses = Annotated[
    list[Annotated[str, Field(min_length=3, max_length=254)]],
    Field(max_length=MAX_RECIPIENTS),
]
Users = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]],
    Field(max_length=MAX_RECIPIENTS),
]


class NotificationInput(Input):
    """A new notification.

    Attributes:
        endpoint_url: where webhooks and Slack messages are sent; kept sealed, and shown
            without its path.
        secret: signs webhooks; kept sealed and never shown. `whsec_…` is taken as
            libraries of Standard Webhooks take it.
        recipients: e-mail addresses.
        users: names or ids of members of the organization, who get e-mail.
    """

    name: NotificationName
    kind: NotificationKind
    triggers: Triggers = Field(default=[])
    enabled: bool = True
    endpoint_url: EndpointUrl | None = Field(default=None, repr=False)
    secret: SigningSecret | None = Field(default=None, repr=False)
    recipients: Addresses = Field(default=[])
    users: Users = Field(default=[])


class NotificationChange(Input):
    """Changes to a notification; what is absent or null stays.

    Attributes:
        secret: an empty one takes the secret away.
    """

    name: NotificationName | None = None
    triggers: Triggers | None = None
    enabled: bool | None = None
    endpoint_url: EndpointUrl | None = Field(default=None, repr=False)
    secret: SigningSecret | None = Field(default=None, repr=False)
    recipients: Addresses | None = None
    users: Users | None = None


class Notification(Resource):
    """Who is told of which happenings; of a URL only the host is shown.

    Attributes:
        workspace_id: whose tasks; null for those of all workspaces of the organization.
        endpoint: where messages go, without the path; empty for e-mail.
        users: ids of members who get e-mail.
    """

    notification_id: str
    organization_id: str
    workspace_id: str | None
    name: str
    kind: NotificationKind
    triggers: list[Trigger]
    enabled: bool
    endpoint: str
    secret_set: bool
    recipients: list[str]
    users: list[str]
    created_by: str
    created_at: datetime
    updated_at: datetime


class NotificationTest(Resource):
    """What came of a test message; `status_code` is null where no answer has one."""

    ok: bool
    status_code: int | None
    message: str


class Delivery(Resource):
    """One message, and what came of it.

    Attributes:
        delivery_id: also the `webhook-id` of a webhook, the same at each try.
        recipient: the e-mail address or the user's id; empty for the other kinds.
        message: why it is not delivered, in words.
        next_try_at: when it is tried (again); null where it is not.
    """

    delivery_id: str
    notification_id: str
    task_id: str
    workspace_id: str
    trigger: Trigger
    recipient: str
    status: DeliveryStatus
    attempts: int
    status_code: int | None
    message: str
    created_at: datetime
    last_try_at: datetime | None
    next_try_at: datetime | None
    completed_at: datetime | None


class DeliveryList(Resource):
    """A page of a notification's messages, the last first, and how many there are."""

    deliveries: list[Delivery]
    total: int
