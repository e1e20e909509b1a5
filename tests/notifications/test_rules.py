"""What is told, how it is written, and when it is tried again."""

import json
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP, default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.notifications.mail import is_address, mail_of
from sluice.notifications.payload import Happening, Names, content_of
from sluice.notifications.schedule import (
    TRIES,
    Outcome,
    Tried,
    anew,
    begun,
    concluded,
    judge_http,
)
from sluice.notifications.slack import slack_message
from sluice.notifications.triggers import in_order, trigger_of
from sluice.tasks.model import Task, TaskState
from sluice.wire.notification import DeliveryStatus, Trigger
from sluice.wire.webhooks import encode_payload
from tests.notifications.rig import NOW, WS, document, make_delivery, make_notification
from tests.tasks.factory import make_task

SENT, FAILED = Tried(Outcome.SENT, 200), Tried(Outcome.FAILED, 503, "it is away")


def task(state: TaskState, **fields: Any) -> Task:
    return replace(make_task(), workspace_id=WS, state=state, **fields)


# --- which changes are told -----------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, TaskState.QUEUED, Trigger.CREATED),
        (TaskState.QUEUED, TaskState.PLANNING, Trigger.PLANNING),
        (TaskState.QUEUED, TaskState.AT_GATE, None),
        (TaskState.PLANNING, TaskState.PLANNING, None),
        (TaskState.PLANNING, TaskState.QUEUED, None),
        (TaskState.PLANNING, TaskState.APPLY_PENDING, Trigger.NEEDS_ATTENTION),
        (TaskState.AT_GATE, TaskState.BLOCKED, Trigger.NEEDS_ATTENTION),
        (TaskState.APPLY_PENDING, TaskState.APPLY_READY, None),
        (TaskState.APPLY_READY, TaskState.APPLYING, Trigger.APPLYING),
        (TaskState.APPLYING, TaskState.SUCCESS, Trigger.COMPLETED),
        (TaskState.APPLYING, TaskState.FAILED, Trigger.ERRORED),
        (TaskState.PLANNING, TaskState.CANCELED, Trigger.CANCELED),
        (TaskState.APPLY_PENDING, TaskState.DISCARDED, Trigger.CANCELED),
    ],
)
def test_a_change_is_told_by_its_name(
    before: TaskState | None, after: TaskState, told: Trigger | None
) -> None:
    was = None if before is None else task(before)
    assert trigger_of(was, task(after)) is told


def test_an_agent_that_is_lost_is_told_once_and_scripts_never_are() -> None:
    at_work = task(TaskState.APPLYING)
    lost = replace(at_work, agent_lost=True)
    assert trigger_of(at_work, lost) is Trigger.AGENT_LOST
    assert trigger_of(lost, lost) is None
    assert trigger_of(lost, at_work) is None
    assert trigger_of(None, replace(at_work, workspace_id=None)) is None


def test_triggers_are_kept_once_and_in_order() -> None:
    wanted = [Trigger.ERRORED, Trigger.CREATED, Trigger.ERRORED]
    assert in_order(wanted) == (Trigger.CREATED, Trigger.ERRORED)


# --- what is told ----------------------------------------------------------------


def test_a_payload_says_what_happened_to_whom_by_whom() -> None:
    before = task(TaskState.APPLYING)
    after = replace(before, state=TaskState.FAILED, error="exit 1\x1b[31m", reason="r")
    happening = Happening(Trigger.ERRORED, before, after, "agent-1", NOW)
    names = Names("hello", "acme", "https://s.example.com")
    told = content_of(happening, make_notification(), names)
    assert told["type"] == "task:errored"
    assert told["timestamp"] == "2026-11-21T10:00:00.000Z"
    data = told["data"]
    assert (data["previous_status"], data["status"]) == ("running", "failed")
    assert data["reason"] == "exit 1 [31m"
    assert data["workspace"] == {"id": WS, "name": "hello"}
    assert data["organization"]["name"] == "acme"
    assert data["actor"] == "agent-1"
    assert data["links"]["task"].endswith(f"/workspaces/{WS}/tasks/{after.id}")
    json.loads(encode_payload(told))


def test_a_payload_holds_no_variables_and_no_long_texts() -> None:
    after = task(TaskState.QUEUED, message="m" * 5000, sealed_variables=b"sealed!")
    happening = Happening(Trigger.CREATED, None, after, "ann", NOW)
    told = content_of(happening, make_notification(), Names("w", "o", ""))
    assert len(told["data"]["task"]["message"]) == 2000
    assert told["data"]["previous_status"] is None
    assert b"sealed" not in encode_payload(told)


# --- Slack -------------------------------------------------------------------------


def test_slack_gets_no_mention_and_no_link_that_somebody_wrote() -> None:
    evil = "<!channel> <https://evil.example|click> & <@U123>"
    told = document(reason=evil, task={"message": evil}, actor=evil)
    told["data"]["workspace"]["name"] = evil
    message = slack_message(told)
    text = json.dumps(message)
    assert "<!" not in text
    assert "<@" not in text
    assert "<https://evil" not in text
    assert "&lt;!channel&gt;" in text
    # the one link is ours
    assert text.count("<http") == 1
    assert "<https://sluice.example.com/workspaces/ws-1/tasks/task-1|" in text


@given(st.text(alphabet="&<>ab\n\u202e", max_size=4000))
def test_slack_texts_keep_within_bounds_and_break_no_escape(text: str) -> None:
    message = slack_message(document(reason=text, task={"message": text}, actor=text))
    assert len(message["text"]) <= 150
    for block in message["blocks"]:
        shown = block["text"]["text"]
        assert 0 < len(shown) <= 3000
        rest = shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in rest


# --- e-mail ------------------------------------------------------------------------


def mail(told: dict[str, Any]) -> bytes:
    return mail_of(
        told,
        message_id="msg-1",
        sender="sluice@example.com",
        recipient="ops@example.com",
        at=NOW,
    ).as_bytes(policy=SMTP)


def test_a_mail_has_the_headers_that_mail_servers_ask_for() -> None:
    read = message_from_bytes(mail(document()), policy=default)
    assert read["From"] == "Sluice <sluice@example.com>"
    assert read["To"] == "ops@example.com"
    assert read["Subject"] == "acme/hello: plan and apply is complete"
    assert read["Message-ID"] == "<msg-1@example.com>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Date"].datetime == NOW
    assert read.get_content_type() == "text/plain"
    assert "Status: running → success" in read.get_content()


@pytest.mark.parametrize(
    "name",
    [
        "x\r\nBcc: all@example.com",
        "x\nBcc: all@example.com\n\nbody",
        "x\rBcc: all@example.com",
        "x\u2028Bcc: all@example.com",
        "x\x85Bcc: all@example.com",
        "x\x0bBcc: all@example.com",
        "=?utf-8?q?x=0D=0ABcc:_all@example.com?=",
        "ünïcode 名前 " * 40,
    ],
)
def test_no_name_becomes_a_header(name: str) -> None:
    told = document(task={"message": name}, actor=name)
    told["data"]["workspace"]["name"] = name
    raw = mail(told)
    read = message_from_bytes(raw, policy=default)
    assert read["Bcc"] is None
    assert sorted(read.keys()) == sorted(message_from_bytes(mail(document())).keys())
    head = raw.partition(b"\r\n\r\n")[0]
    assert not any(line.startswith(b"Bcc") for line in head.splitlines())
    assert all(len(line) <= 998 for line in raw.splitlines())


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("ops@example.com", True),
        ("o.p-s+x@mail.example", True),
        ("ops@localhost", True),
        ("ops", False),
        ("ops@", False),
        ("a@b@c", False),
        ("ops@example.com\r\nBcc: x@y", False),
        ("Ops <ops@example.com>", False),
        ("ops@exa mple.com", False),
        ("öps@example.com", False),
        ("a,b@example.com", False),
        (".a@example.com", False),
        ("a" * 250 + "@example.com", False),
    ],
)
def test_what_an_address_is(text: str, *, fits: bool) -> None:
    assert is_address(text) is fits


# --- when -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SENT),
        (204, Outcome.SENT),
        (302, Outcome.REFUSED),
        (400, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (410, Outcome.REFUSED),
        (408, Outcome.FAILED),
        (409, Outcome.FAILED),
        (425, Outcome.FAILED),
        (429, Outcome.FAILED),
        (500, Outcome.FAILED),
        (503, Outcome.FAILED),
        (101, Outcome.REFUSED),
    ],
)
def test_what_an_answer_means(status: int, outcome: Outcome) -> None:
    assert judge_http(status).outcome is outcome


@given(st.floats(0, 1))
def test_all_tries_together_take_about_an_hour(luck: float) -> None:
    delivery, now, tries = make_delivery(make_notification()), NOW, 0
    while delivery.status is DeliveryStatus.PENDING:
        assert delivery.next_at is not None
        now = delivery.next_at
        delivery = concluded(begun(delivery, now), FAILED, now, luck=luck)
        tries += 1
    assert tries == TRIES
    assert timedelta(minutes=45) < now - NOW < timedelta(minutes=75)
    assert (delivery.status, delivery.next_at) == (DeliveryStatus.FAILED, None)
    assert delivery.message == "it is away"


def test_a_refusal_is_final_and_a_repetition_begins_anew() -> None:
    refused = Tried(Outcome.REFUSED, 404, "no")
    first = concluded(
        begun(make_delivery(make_notification()), NOW), refused, NOW, luck=0
    )
    assert (first.status, first.attempts) == (DeliveryStatus.FAILED, 1)
    again = anew(first, NOW)
    assert (again.id, again.attempts, again.next_at) == (first.id, 0, NOW)
    done = concluded(begun(again, NOW), SENT, NOW, luck=0)
    assert (done.status, done.completed_at) == (DeliveryStatus.DELIVERED, NOW)
