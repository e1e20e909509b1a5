"""The words of notifications: kinds, triggers, and where a message stands."""

from enum import StrEnum


class NotificationKind(StrEnum):
    """How somebody is told."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    EMAIL = "email"


class Trigger(StrEnum):
    """What happened to a task of a workspace.

    `task:needs_attention` is a task that waits for confirmation, or is blocked at a gate;
    `task:canceled` one that was canceled or discarded; `task:agent_lost` one whose agent
    is not heard of any more.
    """

    CREATED = "task:created"
    PLANNING = "task:planning"
    NEEDS_ATTENTION = "task:needs_attention"
    APPLYING = "task:applying"
    COMPLETED = "task:completed"
    ERRORED = "task:errored"
    CANCELED = "task:canceled"
    AGENT_LOST = "task:agent_lost"


TEST_TYPE = "test"
"""The type of a message that somebody sends to see whether it arrives."""


class DeliveryStatus(StrEnum):
    """Where a message stands; `stopped` was not sent because its notification was disabled."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    STOPPED = "stopped"
