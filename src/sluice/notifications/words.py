"""Says in words what a message is about, for Slack and e-mail."""

from collections.abc import Mapping
from typing import Any

from sluice.wire.notification import TEST_TYPE, Trigger
from sluice.wire.texts import one_line

_VERBS = {
    Trigger.CREATED: "was created",
    Trigger.PLANNING: "is planning",
    Trigger.NEEDS_ATTENTION: "needs attention",
    Trigger.APPLYING: "is applying",
    Trigger.COMPLETED: "is complete",
    Trigger.ERRORED: "has failed",
    Trigger.CANCELED: "was canceled",
    Trigger.AGENT_LOST: "has lost its agent",
}


def headline(content: Mapping[str, Any]) -> str:
    """One line that says what happened, and where."""
    data = content["data"]
    if content["type"] == TEST_TYPE:
        return one_line(f"Sluice: test of {data['notification']['name']}")
    verb = _VERBS[Trigger(content["type"])]
    if content["type"] == Trigger.CANCELED and data["status"] == "discarded":
        verb = "was discarded"
    where = f"{data['organization']['name']}/{data['workspace']['name']}"
    return one_line(f"{where}: {_kind(data['task']['type'])} {verb}")


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else is to be known, as names and values of one line each."""
    data = content["data"]
    if content["type"] == TEST_TYPE:
        return [("Asked for by", one_line(data["actor"]))]
    task = data["task"]
    previous = data["previous_status"]
    status = f"{previous} → {data['status']}" if previous else data["status"]
    known = [
        ("Status", status),
        ("Reason", data["reason"]),
        ("By", data["actor"]),
        ("Task", task["id"]),
        ("Message", task["message"]),
        ("Created by", task["created_by"]),
    ]
    return [(name, one_line(value)) for name, value in known if value]


def link(content: Mapping[str, Any]) -> str:
    """Where more is to be seen; empty where there is no page."""
    found: str = content["data"]["links"].get("task", "")
    return found


def _kind(task_type: str) -> str:
    return task_type.replace("_", " ")
