"""Names of what can change."""

from sluice.base.ids import AgentId, TaskId, WorkspaceId

QUEUE = "queue"
"""Some phase may have become claimable."""

GATES = "gates"
"""A task came to a gate, or one that stood there has ended: its keeper has to look."""

NOTIFICATIONS = "notifications"
"""Somebody wants a message sent now."""

ACCESS = "access"
"""Some credential, or what its user may do, has ended: open streams have to be judged anew."""

STOPPING = "stopping"
"""This server process stops: who waits for nothing in particular ends."""


def task_topic(task_id: TaskId) -> str:
    """The task's status, stage or reason changed."""
    return f"task:{task_id}"


def log_topic(task_id: TaskId) -> str:
    """More of the task's log is durable, or its end."""
    return f"log:{task_id}"


def workspace_topic(workspace_id: WorkspaceId) -> str:
    """A workspace's lock, tasks or state changed."""
    return f"workspace:{workspace_id}"


def watch_topic(task_id: TaskId) -> str:
    """Somebody reads the task's log on some server; repeated while it lasts."""
    return f"watch:{task_id}"


def agent_topic(agent_id: AgentId) -> str:
    """There is an order for the agent; it shall ping now to hear it."""
    return f"agent:{agent_id}"
